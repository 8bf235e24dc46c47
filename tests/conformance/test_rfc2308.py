"""RFC 2308: negative answers, the resolver's and the gate's own."""

import dns.rcode
import dns.rdatatype
import pytest

from tests.conformance.upstream import SOA
from tests.waiting import eventually


def soa_of(reply):
    """Return owner, TTL and MINIMUM of the only record of the authority section."""
    (rrset,) = reply.authority
    assert rrset.rdtype == dns.rdatatype.SOA
    return str(rrset.name), rrset.ttl, rrset[0].minimum


class TestResolversNegatives:
    """§2, §3, §5."""

    @pytest.mark.parametrize("rcode", [dns.rcode.NXDOMAIN, dns.rcode.NOERROR])
    def test_with_an_soa_they_are_kept_and_run_down(self, client, upstream, rcode):
        name = f"neg{int(rcode)}.none.example"
        upstream.says(name, "A", authority=[f"none.example. 50 SOA {SOA}"], rcode=rcode)
        first = client.ask(name)
        eventually(lambda: soa_of(client.ask(name))[1] < 50)
        second = client.ask(name)
        for reply in (first, second):
            assert (reply.rcode(), reply.answer) == (rcode, [])
        assert soa_of(first)[1] == 50
        assert soa_of(second)[1] < 50
        assert len(upstream.asked(name)) == 1

    def test_they_live_as_long_as_the_lesser_of_ttl_and_minimum(self, client, upstream):
        short = SOA.rsplit(" ", 1)[0] + " 1"
        upstream.says(
            "brief.none.example",
            "A",
            authority=[f"none.example. 600 SOA {short}"],
            rcode=dns.rcode.NXDOMAIN,
        )
        client.ask("brief.none.example")
        assert len(upstream.asked("brief.none.example")) == 1

        def is_asked_again():
            client.ask("brief.none.example")
            return len(upstream.asked("brief.none.example")) == 2

        eventually(is_asked_again)

    def test_without_an_soa_they_are_not_kept(self, client, upstream):
        upstream.says("bare.none.example", "A", rcode=dns.rcode.NXDOMAIN)
        for _ in range(2):
            assert client.ask("bare.none.example").rcode() == dns.rcode.NXDOMAIN
        assert len(upstream.asked("bare.none.example")) == 2

    def test_no_data_of_one_type_is_not_that_of_another(self, client, upstream):
        upstream.says("only.none.example", "TXT", 'only.none.example. 60 TXT "here"')
        assert client.ask("only.none.example", "AAAA").answer == []
        assert len(client.ask("only.none.example", "TXT").answer) == 1

    def test_a_referral_is_passed_on_and_not_kept(self, client, upstream):
        upstream.says(
            "deleg.none.example", "A", authority=["deleg.none.example. 60 NS ns.none.example."]
        )
        for _ in range(2):
            reply = client.ask("deleg.none.example")
            assert reply.authority[0].rdtype == dns.rdatatype.NS
        assert len(upstream.asked("deleg.none.example")) == 2

    def test_an_nxdomain_at_a_chains_end_is_kept_with_the_chain(self, client, upstream):
        upstream.says(
            "chain.none.example",
            "A",
            "chain.none.example. 60 CNAME gone.none.example.",
            authority=[f"none.example. 60 SOA {SOA}"],
            rcode=dns.rcode.NXDOMAIN,
        )
        for _ in range(2):
            reply = client.ask("chain.none.example")
            assert (reply.rcode(), len(reply.answer)) == (dns.rcode.NXDOMAIN, 1)
        assert len(upstream.asked("chain.none.example")) == 1


class TestFailures:
    """§7: a failure is passed on as one, and kept for five minutes at most."""

    @pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
    def test_a_resolvers_failure_is_never_made_into_data(self, client, upstream, rcode):
        name = f"fail{int(rcode)}.none.example"
        upstream.says(name, "A", rcode=rcode)
        for _ in range(2):
            reply = client.ask(name)
            assert (reply.rcode(), reply.answer, reply.authority) == (rcode, [], [])

    def test_what_a_resolver_calls_bogus_stays_a_failure_and_a_blocked_name_blocked(
        self, client, upstream
    ):
        for name in ("bogus.none.example", "bogus.blocked.example"):
            upstream.says(name, "A", rcode=dns.rcode.SERVFAIL)
        assert client.ask("bogus.none.example").rcode() == dns.rcode.SERVFAIL
        assert client.ask("bogus.blocked.example").rcode() == dns.rcode.NXDOMAIN
        assert upstream.asked("bogus.blocked.example") == []


class TestBlocks:
    """§5 and DESIGN: a block is the negative answer of an empty zone at the target."""

    @pytest.mark.parametrize(
        ("name", "zone", "rcode"),
        [
            ("blocked.example", "blocked.example.", dns.rcode.NXDOMAIN),
            ("a.b.c.blocked.example", "blocked.example.", dns.rcode.NXDOMAIN),
            ("host.exact.example", "host.exact.example.", dns.rcode.NOERROR),
            ("open.example", "open.example.", dns.rcode.NOERROR),
            ("x.open.example", "open.example.", dns.rcode.NOERROR),
        ],
    )
    @pytest.mark.parametrize("tcp", [False, True])
    def test_the_soa_is_the_targets_and_its_ttl_is_its_minimum(
        self, client, name, zone, rcode, tcp
    ):
        reply = client.ask(name, tcp=tcp)
        owner, ttl, minimum = soa_of(reply)
        assert (reply.rcode(), reply.answer, owner) == (rcode, [], zone)
        assert 0 < ttl == minimum <= 30
        assert str(reply.authority[0][0].mname).endswith(".register.example.org.")
