"""RFC 4035 and 6840: what a resolver that does not validate owes to clients that do."""

import dns.flags
import dns.rcode
import dns.rdatatype
import pytest

from tests.conformance.client import answers
from tests.conformance.upstream import reply

AD, CD, RD = dns.flags.AD, dns.flags.CD, dns.flags.RD
RRSIG = "A 13 3 60 20300101000000 20200101000000 1 signed.example. AAAA"


def signed(upstream, name):
    """Let a name have a record, with its signature for those who ask with DO, and AD."""

    def script(query, is_tcp):
        lines = [f"{name}. 60 A 192.0.2.1"]
        if query.ednsflags & dns.flags.DO:
            lines.append(f"{name}. 60 RRSIG {RRSIG}")
        yield reply(query, *lines, flags=AD)

    upstream.script(name, script)
    return name


class TestAuthenticData:
    """RFC 6840 §5.7 and §5.8: AD goes to those who understand it, when the resolver said it."""

    @pytest.mark.parametrize(
        ("flags", "dnssec_ok", "is_told"),
        [(RD, False, False), (RD | AD, False, True), (RD, True, True), (RD | AD, True, True)],
    )
    def test_it_is_told_to_who_asks_with_ad_or_do(
        self, client, upstream, flags, dnssec_ok, is_told
    ):
        name = signed(upstream, f"ad{int(flags)}{int(dnssec_ok)}.signed.example")
        for _ in range(2):  # fresh and from the cache
            got = client.ask(name, flags=flags, dnssec_ok=dnssec_ok)
            assert bool(got.flags & AD) is is_told

    def test_who_asks_later_is_told_by_what_he_asks_and_not_by_who_came_before(
        self, client, upstream
    ):
        name = signed(upstream, "later.signed.example")
        told = [bool(client.ask(name, flags=RD | ad).flags & AD) for ad in (0, AD, 0, AD)]
        assert told == [False, True, False, True]
        assert len(upstream.asked(name)) == 1

    def test_it_is_not_made_up(self, client):
        for _ in range(2):
            got = client.ask("unsigned.plain.example", flags=RD | AD, dnssec_ok=True)
            assert not got.flags & AD

    def test_a_block_is_never_authentic(self, client, upstream):
        upstream.says(
            "chain.signed.example",
            "A",
            "chain.signed.example. 60 CNAME www.blocked.example.",
            flags=AD,
        )
        for name in ("www.blocked.example", "host.exact.example", "chain.signed.example"):
            got = client.ask(name, flags=RD | AD | CD, dnssec_ok=True)
            assert not got.flags & AD


class TestDnssecOk:
    """RFC 4035 §3.2.1: signatures go to those who ask for them."""

    def test_do_reaches_the_resolver_and_comes_back(self, client, upstream):
        name = signed(upstream, "do.signed.example")
        for dnssec_ok in (False, True, False, True):
            got = client.ask(name, dnssec_ok=dnssec_ok)
            types = {rrset.rdtype for rrset in got.answer}
            assert (dns.rdatatype.RRSIG in types) is dnssec_ok
            assert bool(got.ednsflags & dns.flags.DO) is dnssec_ok
        sent = [bool(each.message.ednsflags & dns.flags.DO) for each in upstream.asked(name)]
        assert sent == [False, True]

    def test_a_block_answers_with_do_and_signs_nothing(self, client):
        got = client.ask("www.blocked.example", dnssec_ok=True)
        assert got.ednsflags & dns.flags.DO
        types = {rrset.rdtype for rrset in (*got.answer, *got.authority)}
        assert types == {dns.rdatatype.SOA}

    def test_signatures_of_a_blocked_chains_links_stay_with_their_links(self, client, upstream):
        upstream.says(
            "links.signed.example",
            "A",
            "links.signed.example. 60 CNAME www.blocked.example.",
            "links.signed.example. 60 RRSIG CNAME 13 3 60 20300101000000 20200101000000 "
            "1 signed.example. AAAA",
            "www.blocked.example. 60 A 192.0.2.1",
        )
        got = client.ask("links.signed.example", dnssec_ok=True)
        assert [line.split()[1] for line in answers(got)] == ["CNAME", "RRSIG"]
        got = client.ask("links.signed.example")
        assert [line.split()[1] for line in answers(got)] == ["CNAME"]


class TestCheckingDisabled:
    """RFC 4035 §3.2.2, RFC 6840 §5.9: CD is copied, and what came with it is kept apart."""

    def test_it_reaches_the_resolver_and_is_copied_into_the_reply(self, client, upstream):
        for flags in (RD, RD | CD, RD, RD | CD):
            got = client.ask("cd.signed.example", flags=flags)
            assert got.flags & CD == flags & CD
        sent = [bool(each.message.flags & CD) for each in upstream.asked("cd.signed.example")]
        assert sent == [False, True]

    def test_data_that_did_not_validate_goes_only_to_those_who_asked_for_it(self, client, upstream):
        def script(query, is_tcp):
            if query.flags & CD:
                yield reply(query, "bogus.signed.example. 60 A 192.0.2.66")
            else:
                yield reply(query, rcode=dns.rcode.SERVFAIL)

        upstream.script("bogus.signed.example", script)
        for _ in range(2):
            assert answers(client.ask("bogus.signed.example", flags=RD | CD))
            assert client.ask("bogus.signed.example").rcode() == dns.rcode.SERVFAIL

    @pytest.mark.parametrize("flags", [RD, RD | CD, CD, 0])
    def test_a_blocked_name_stays_blocked_for_it(self, client, flags):
        got = client.ask("www.blocked.example", flags=flags, dnssec_ok=True)
        assert got.rcode() == dns.rcode.NXDOMAIN
        assert got.flags & CD == flags & CD
