"""RFC 8482: what becomes of ANY is the resolver's decision, but for what is blocked."""

import dns.rcode


def test_any_of_a_free_name_is_the_resolvers_answer_each_time(client, upstream):
    upstream.says("any.plain.example", "ANY", 'any.plain.example. 60 HINFO "RFC8482" ""')
    for _ in range(2):
        (rrset,) = client.ask("any.plain.example", "ANY").answer
        assert rrset[0].to_text() == '"RFC8482" ""'
    assert len(upstream.asked("any.plain.example", "ANY")) == 2


def test_any_is_not_answered_from_what_is_known_of_a_type(client, upstream):
    client.ask("part.plain.example", "A")
    client.ask("part.plain.example", "ANY")
    assert len(upstream.asked("part.plain.example", "ANY")) == 1


def test_any_of_a_blocked_name_is_the_block(client, upstream):
    for name, rcode in (
        ("any.blocked.example", dns.rcode.NXDOMAIN),
        ("host.exact.example", dns.rcode.NOERROR),
        ("www.page.example", dns.rcode.NOERROR),
    ):
        reply = client.ask(name, "ANY")
        assert (reply.rcode(), reply.answer) == (rcode, [])
        assert len(reply.authority) == 1
        assert upstream.asked(name, "ANY") == []


def test_any_that_leads_to_a_blocked_name_is_blocked(client, upstream):
    upstream.says(
        "anyalias.plain.example", "ANY", "anyalias.plain.example. 60 CNAME www.blocked.example."
    )
    reply = client.ask("anyalias.plain.example", "ANY")
    assert reply.rcode() == dns.rcode.NXDOMAIN


def test_any_with_a_blocked_address_in_it_is_blocked(client, upstream):
    upstream.says(
        "anybad.plain.example",
        "ANY",
        'anybad.plain.example. 60 TXT "x"',
        "anybad.plain.example. 60 A 198.51.100.66",
    )
    assert client.ask("anybad.plain.example", "ANY").answer == []
