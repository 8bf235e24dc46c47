"""RFC 8020: an NXDOMAIN denies all that is below; so a block says it only where that is true."""

import dns.rcode
import pytest


def test_below_an_nxdomain_everything_is_nxdomain(client):
    for name in ("blocked.example", "www.blocked.example", "a.b.www.blocked.example"):
        for rdtype in ("A", "AAAA", "TXT", "NS"):
            assert client.ask(name, rdtype).rcode() == dns.rcode.NXDOMAIN
    assert client.ask("www.blocked.example", "DS").rcode() == dns.rcode.NXDOMAIN


def test_whether_a_denied_zone_is_signed_is_its_parents_word(client, upstream):
    assert client.ask("blocked.example", "DS").rcode() == dns.rcode.NOERROR
    assert len(upstream.asked("blocked.example", "DS")) == 1


def test_a_host_blocked_alone_is_no_data_and_what_is_below_resolves(client):
    assert client.ask("host.exact.example").rcode() == dns.rcode.NOERROR
    assert client.ask("host.exact.example").answer == []
    assert len(client.ask("www.host.exact.example").answer) == 1
    assert len(client.ask("other.exact.example").answer) == 1


def test_a_tree_with_an_open_name_inside_is_no_data_throughout(client):
    for name in ("open.example", "www.open.example", "x.time.open.example"):
        reply = client.ask(name)
        assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
    assert len(client.ask("time.open.example").answer) == 1


@pytest.mark.parametrize("rdtype", ["DS", "DNSKEY", "NS", "SOA"])
def test_what_children_are_validated_with_passes_where_children_pass(client, upstream, rdtype):
    for name in ("zone.example", "open.example"):
        before = len(upstream.asked(name, rdtype))
        assert client.ask(name, rdtype, dnssec_ok=True).rcode() == dns.rcode.NOERROR
        assert len(upstream.asked(name, rdtype)) >= max(before, 1)
    assert client.ask("www.blocked.example", rdtype).rcode() == dns.rcode.NXDOMAIN
    assert upstream.asked("www.blocked.example", rdtype) == []


def test_an_order_that_has_ended_denies_nothing(client):
    assert len(client.ask("www.ended.example").answer) == 1
