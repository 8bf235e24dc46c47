"""RFC 8914: who blocked, and why, and what the resolver had to say."""

import dns.edns
import dns.rcode
import pytest

from tests.conformance.client import extended_errors
from tests.conformance.world import ADVISED, EXACT, PAGED, SUBTREE

URL = "https://register.example.org/orders/"
BLOCKED, CENSORED, FORGED = 15, 16, 4


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("dnssec_ok", [False, True])
def test_a_block_names_its_order_wherever_the_query_had_edns(client, tcp, dnssec_ok):
    for name, expected in (
        ("www.blocked.example", [(CENSORED, f"{SUBTREE} {URL}{SUBTREE}")]),
        ("host.exact.example", [(CENSORED, f"{EXACT} {URL}{EXACT}")]),
        ("www.advised.example", [(BLOCKED, f"{ADVISED} {URL}{ADVISED}")]),
        ("www.page.example", [(CENSORED, f"{PAGED} {URL}{PAGED}"), (FORGED, "")]),
    ):
        assert extended_errors(client.ask(name, tcp=tcp, dnssec_ok=dnssec_ok)) == expected


def test_without_edns_there_is_no_option_and_the_soa_still_names_the_order(client):
    reply = client.ask("www.blocked.example", edns=False)
    assert (reply.edns, reply.options) == (-1, ())
    assert str(reply.authority[0][0].mname) == f"{SUBTREE}.register.example.org."


def test_a_blocked_link_of_a_chain_is_named_too(client, upstream):
    upstream.says(
        "ede.plain.example",
        "A",
        "ede.plain.example. 60 CNAME www.blocked.example.",
        "www.blocked.example. 60 A 192.0.2.1",
    )
    assert extended_errors(client.ask("ede.plain.example"))[0] == (
        CENSORED,
        f"{SUBTREE} {URL}{SUBTREE}",
    )


def test_what_the_resolver_says_comes_through_fresh_and_from_the_cache(client, upstream):
    said = [dns.edns.EDEOption(3, "stale there"), dns.edns.EDEOption(9)]
    upstream.says("said.plain.example", "A", "said.plain.example. 60 A 192.0.2.1", options=said)
    for _ in range(2):
        errors = extended_errors(client.ask("said.plain.example"))
        assert errors == [(3, "stale there"), (9, "")]
    assert len(upstream.asked("said.plain.example")) == 1
    assert client.ask("said.plain.example", edns=False).edns == -1


def test_a_failure_keeps_the_resolvers_reason(client, upstream):
    upstream.says(
        "why.plain.example",
        "A",
        rcode=dns.rcode.SERVFAIL,
        options=[dns.edns.EDEOption(6, "bogus")],
    )
    reply = client.ask("why.plain.example")
    assert (reply.rcode(), extended_errors(reply)) == (dns.rcode.SERVFAIL, [(6, "bogus")])


def test_an_answer_without_a_reason_has_none(client):
    assert extended_errors(client.ask("mute.plain.example")) == []
