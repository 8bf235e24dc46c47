"""RFC 1034 and 1035, with 2181, 3597 and 4343 where they say it clearer: the protocol itself."""

import struct

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest

from tests.conformance.client import answers, mixed_case, question
from tests.conformance.upstream import ADDRESS, records, reply
from tests.waiting import eventually

NAME_255 = ".".join(["a" * 63] * 3 + ["a" * 53, "example"]) + "."


def named(octets: bytes) -> bytes:
    """Return a query for one A record whose name is these octets, as they stand."""
    return struct.pack("!6H", 0x4711, 0x0100, 1, 0, 0, 0) + octets + b"\0\1\0\1"


class TestHeader:
    """RFC 1035 §4.1.1."""

    @pytest.mark.parametrize("name", ["www.plain.example", "www.blocked.example"])
    @pytest.mark.parametrize("tcp", [False, True])
    def test_id_opcode_and_rd_are_the_querys_and_recursion_is_available(self, client, name, tcp):
        for flags in (dns.flags.RD, 0):
            reply = client.ask(name, flags=flags, tcp=tcp)
            assert reply.flags & dns.flags.RA
            assert reply.flags & dns.flags.RD == flags
            assert not reply.flags & (dns.flags.AA | dns.flags.TC | dns.flags.AD)

    def test_the_reserved_bit_is_zero_whatever_the_query_and_the_resolver_say(
        self, client, upstream
    ):
        upstream.says("zbit.example", "A", "zbit.example. 60 A 192.0.2.7", flags=0x0040)
        for name in ("zbit.example", "z.blocked.example"):
            for _ in range(2):
                reply = client.ask(name, flags=dns.flags.RD | 0x0040)
                assert not reply.flags & 0x0040

    @pytest.mark.parametrize("opcode", [1, 2, 3, 4, 5, 6, 15])
    def test_an_opcode_that_is_not_query_is_not_implemented(self, world, opcode):
        wire = bytearray(question("www.plain.example").to_wire())
        wire[2] |= opcode << 3
        with world.counting(notimp=1, passed=0):
            reply = world.client.exchange(bytes(wire))
        assert reply[:2] == wire[:2]
        assert (reply[2] >> 3 & 15, reply[3] & 15) == (opcode, dns.rcode.NOTIMP)

    @pytest.mark.parametrize("count", [0, 2, 65_535])
    def test_a_query_has_one_question(self, world, count):
        wire = bytearray(question("www.plain.example", edns=False).to_wire())
        wire[4:6] = struct.pack("!H", count)
        if count == 2:
            wire += wire[12:]
        with world.counting(formerr=1, passed=0):
            assert world.client.exchange(bytes(wire))[3] & 15 == dns.rcode.FORMERR


class TestNames:
    """RFC 1035 §2.3.4 and §4.1.4, RFC 4343."""

    def test_the_question_is_echoed_as_it_was_spelt_fresh_and_from_the_cache(self, client):
        for _ in range(8):  # the client holds it
            client.ask(mixed_case("www.spelling.example"))
        for _ in range(4):
            client.ask(mixed_case("www.blocked.example"))

    def test_case_makes_no_other_name(self, client, upstream):
        for _ in range(6):
            assert answers(client.ask(mixed_case("case.plain.example")))
        assert len(upstream.asked("case.plain.example")) == 1
        assert client.ask(mixed_case("deep.down.blocked.example")).rcode() == dns.rcode.NXDOMAIN

    def test_a_name_of_255_octets_passes_and_one_of_256_is_malformed(self, client):
        name = dns.name.from_text(NAME_255)
        assert len(name.to_wire()) == 255
        assert client.ask(NAME_255).rcode() == dns.rcode.NOERROR
        longer = b"\x3f" + b"a" * 63
        wire = named(longer * 3 + b"\x36" + b"a" * 54 + b"\7example\0")
        assert client.exchange(wire)[3] & 15 == dns.rcode.FORMERR

    @pytest.mark.parametrize(
        "octets",
        [
            b"\x40" + b"a" * 64 + b"\0",  # 0x40 is no label length
            b"\x80a\0",
            b"\xc0\x0c",  # a pointer to itself
            b"\1a\xc0\x0c",  # back to its own beginning
            b"\xc0\x20",  # forward
            b"\1a\1b\xc0\x0e",
            b"\3www\7example",  # no end
        ],
    )
    def test_a_name_that_cannot_be_read_is_malformed(self, world, octets):
        with world.counting(formerr=1, passed=0):
            assert world.client.exchange(named(octets))[3] & 15 == dns.rcode.FORMERR

    @pytest.mark.parametrize("name", [r"a\.b.plain.example", r"\000\255.plain.example", "."])
    def test_a_label_may_hold_any_octet_and_the_root_is_a_name(self, client, name):
        assert client.ask(name).rcode() == dns.rcode.NOERROR

    def test_a_dot_inside_a_label_is_no_end_of_the_label(self, client):
        assert answers(client.ask(r"www\.blocked.example"))
        assert answers(client.ask(r"x\.blocked.example.plain.example"))


class TestTransports:
    """RFC 1035 §4.2; more on TCP in test_rfc7766."""

    def test_without_edns_an_answer_over_udp_has_at_most_512_octets(self, client, upstream):
        lines = [f"many.plain.example. 60 A 192.0.2.{n}" for n in range(60)]
        upstream.says("many.plain.example", "A", *lines)
        for _ in range(2):  # fresh and cached
            reply = client.ask("many.plain.example", edns=False)
            assert reply.flags & dns.flags.TC
            assert reply.answer == []
            whole = client.ask("many.plain.example", edns=False, tcp=True)
            assert len(answers(whole)) == 60
            assert not whole.flags & dns.flags.TC

    def test_a_zone_transfer_is_refused(self, world):
        for rdtype in ("AXFR", "IXFR"):
            for tcp in (False, True):
                wire = question("plain.example", rdtype).to_wire()
                with world.counting(refused=1, passed=0):
                    reply = world.client.exchange(wire, tcp=tcp)
                assert reply[3] & 15 == dns.rcode.REFUSED


class TestClassesAndTypes:
    """RFC 1035 §3.2, RFC 3597."""

    def test_a_class_that_is_not_the_internets_is_not_judged(self, client, upstream):
        upstream.script(
            "www.blocked.example", lambda query, is_tcp: [reply(query, rcode=dns.rcode.REFUSED)]
        )
        for rdclass in ("CH", "HS"):
            assert client.ask("www.blocked.example", rdclass=rdclass).rcode() == dns.rcode.REFUSED
        assert client.ask("www.blocked.example", rdclass="ANY").rcode() == dns.rcode.NXDOMAIN

    def test_a_type_that_nobody_knows_passes_octet_for_octet(self, client, upstream):
        line = r"odd.plain.example. 60 TYPE65280 \# 6 c00c00ff0a0d"
        upstream.says("odd.plain.example", "TYPE65280", line)
        for _ in range(2):
            (found,) = answers(client.ask("odd.plain.example", "TYPE65280"))
            assert found.endswith(r"\# 6 c00c00ff0a0d")
        assert len(upstream.asked("odd.plain.example")) == 1

    @pytest.mark.parametrize("rdtype", ["MX", "TXT", "SRV", "NAPTR", "CAA", "PTR", "NS", "SOA"])
    def test_records_with_names_inside_come_through_whole(self, client, upstream, rdtype):
        rdata = {
            "MX": "10 mail.plain.example.",
            "TXT": '"one" "two"',
            "SRV": "1 2 53 host.plain.example.",
            "NAPTR": '1 2 "u" "sip" "!^.*$!sip:a@example.org!" .',
            "CAA": '0 issue "ca.example.org"',
            "PTR": "host.plain.example.",
            "NS": "ns.plain.example.",
            "SOA": "ns.plain.example. hostmaster.plain.example. 1 2 3 4 5",
        }[rdtype]
        name = f"{rdtype.lower()}.plain.example"
        upstream.says(name, rdtype, f"{name}. 60 {rdtype} {rdata}")
        for _ in range(2):
            assert answers(client.ask(name, rdtype)) == [f"{name}. {rdtype} {rdata}"]


class TestCache:
    """RFC 1035 §3.2.1 and §7.4, RFC 2181 §5.2 and §8."""

    def test_what_was_answered_is_not_asked_again_and_its_ttl_runs_down(self, client, upstream):
        upstream.says("kept.plain.example", "A", f"kept.plain.example. 100 A {ADDRESS}")
        first = client.ask("kept.plain.example").answer[0].ttl
        eventually(lambda: client.ask("kept.plain.example").answer[0].ttl < first)
        second = client.ask("kept.plain.example").answer[0].ttl
        assert first == 100
        assert 90 <= second < first
        assert len(upstream.asked("kept.plain.example")) == 1

    def test_an_answer_with_ttl_zero_or_above_31_bits_is_not_kept(self, client, upstream):
        for name, ttl in (("zero.plain.example", 0), ("high.plain.example", 0x8000_0001)):
            upstream.script(name, lambda query, is_tcp, ttl=ttl: [with_ttl(query, ttl)])
            for _ in range(2):
                assert client.ask(name).answer[0].ttl in (0, 0x8000_0001)
            assert len(upstream.asked(name)) == 2

    def test_the_least_ttl_ends_the_whole_answer(self, client, upstream):
        upstream.says(
            "mixed.plain.example",
            "A",
            "mixed.plain.example. 300 CNAME end.plain.example.",
            "end.plain.example. 1 A 192.0.2.4",
        )
        client.ask("mixed.plain.example")
        assert len(upstream.asked("mixed.plain.example")) == 1

        def is_asked_again():
            client.ask("mixed.plain.example")
            return len(upstream.asked("mixed.plain.example")) == 2

        eventually(is_asked_again)

    def test_a_query_without_recursion_goes_past_the_cache(self, client, upstream):
        for flags in (dns.flags.RD, 0, 0):
            client.ask("norec.plain.example", flags=flags)
        asked = upstream.asked("norec.plain.example")
        assert [bool(each.message.flags & dns.flags.RD) for each in asked] == [True, False, False]

    def test_types_and_classes_are_kept_apart(self, client, upstream):
        for rdtype in ("A", "TXT", "A", "TXT"):
            client.ask("apart.plain.example", rdtype)
        assert len(upstream.asked("apart.plain.example")) == 2

    def test_all_sections_come_from_the_cache_as_they_came_from_the_resolver(
        self, client, upstream
    ):
        upstream.says(
            "full.plain.example",
            "MX",
            "full.plain.example. 60 MX 10 mail.full.plain.example.",
            authority=["plain.example. 60 NS ns.plain.example."],
            additional=["mail.full.plain.example. 60 A 192.0.2.25"],
        )
        first, second = (client.ask("full.plain.example", "MX") for _ in range(2))
        assert len(upstream.asked("full.plain.example")) == 1
        for section in ("answer", "authority", "additional"):
            assert getattr(first, section) == getattr(second, section) != []


class TestChains:
    """RFC 1034 §3.6.2: a CNAME and what it leads to are one answer."""

    def test_a_chain_passes_whole_and_in_order(self, client, upstream):
        lines = [
            "c0.plain.example. 60 CNAME c1.plain.example.",
            "c1.plain.example. 60 CNAME c2.plain.example.",
            "c2.plain.example. 60 A 192.0.2.9",
        ]
        upstream.says("c0.plain.example", "A", *lines)
        for _ in range(2):
            assert client.ask("c0.plain.example").answer == records(*lines)

    def test_a_chain_to_a_blocked_name_ends_there(self, client, upstream):
        upstream.says(
            "alias.plain.example",
            "A",
            "alias.plain.example. 60 CNAME two.plain.example.",
            "two.plain.example. 60 CNAME www.blocked.example.",
            "www.blocked.example. 60 A 192.0.2.9",
        )
        for _ in range(2):  # fresh and from the cache
            reply = client.ask("alias.plain.example")
            assert answers(reply) == [
                "alias.plain.example. CNAME two.plain.example.",
                "two.plain.example. CNAME www.blocked.example.",
            ]
            assert reply.rcode() == dns.rcode.NXDOMAIN  # of the last name, RFC 2308 §2.1
            (soa,) = reply.authority
            assert str(soa.name) == "blocked.example."
            assert soa.ttl <= 30

    def test_a_chain_to_a_host_that_is_blocked_alone_has_no_data(self, client, upstream):
        upstream.says(
            "tohost.plain.example",
            "A",
            "tohost.plain.example. 60 CNAME host.exact.example.",
            "host.exact.example. 60 A 192.0.2.9",
        )
        reply = client.ask("tohost.plain.example")
        assert answers(reply) == ["tohost.plain.example. CNAME host.exact.example."]
        assert reply.rcode() == dns.rcode.NOERROR
        assert str(reply.authority[0].name) == "host.exact.example."

    def test_a_chain_through_a_blocked_name_is_blocked(self, client, upstream):
        upstream.says(
            "through.plain.example",
            "A",
            "through.plain.example. 60 CNAME www.blocked.example.",
            "www.blocked.example. 60 CNAME end.plain.example.",
            "end.plain.example. 60 A 192.0.2.9",
        )
        reply = client.ask("through.plain.example")
        assert answers(reply) == ["through.plain.example. CNAME www.blocked.example."]
        assert reply.rcode() == dns.rcode.NXDOMAIN

    def test_a_dname_to_a_blocked_tree_is_blocked(self, client, upstream):
        upstream.says(  # RFC 6672 §3.1: the DNAME and the CNAME made from it
            "www.moved.example",
            "A",
            "moved.example. 60 DNAME blocked.example.",
            "www.moved.example. 60 CNAME www.blocked.example.",
            "www.blocked.example. 60 A 192.0.2.9",
        )
        reply = client.ask("www.moved.example")
        assert "www.moved.example. CNAME www.blocked.example." in answers(reply)
        assert not [line for line in answers(reply) if " A " in line]
        assert reply.rcode() == dns.rcode.NXDOMAIN

    def test_a_circle_is_a_failure_and_no_answer(self, client, upstream):
        upstream.says(
            "circle.plain.example",
            "A",
            "circle.plain.example. 60 CNAME back.plain.example.",
            "back.plain.example. 60 CNAME circle.plain.example.",
        )
        for _ in range(2):
            reply = client.ask("circle.plain.example")
            assert (reply.rcode(), reply.answer) == (dns.rcode.SERVFAIL, [])

    def test_a_chain_to_a_page_has_the_pages_address(self, client, upstream):
        upstream.says(
            "topage.plain.example",
            "A",
            "topage.plain.example. 60 CNAME www.page.example.",
            "www.page.example. 60 A 192.0.2.9",
        )
        assert answers(client.ask("topage.plain.example")) == [
            "topage.plain.example. CNAME www.page.example.",
            "www.page.example. A 192.0.2.80",
        ]


class TestAddresses:
    """An address that an order names is never given out, whatever has it."""

    @pytest.mark.parametrize(
        ("rdtype", "address"),
        [("A", "198.51.100.66"), ("A", "203.0.113.200"), ("AAAA", "2001:db8:bad::1")],
    )
    def test_a_name_with_a_blocked_address_has_no_data(self, client, upstream, rdtype, address):
        name = f"at-{address.replace('.', '-').replace(':', '-')}.plain.example"
        upstream.says(name, rdtype, f"{name}. 60 {rdtype} {address}")
        for _ in range(2):
            reply = client.ask(name, rdtype)
            assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
            assert str(reply.authority[0].name) == f"{name}."

    def test_one_blocked_address_among_others_blocks_the_answer(self, client, upstream):
        upstream.says(
            "among.plain.example",
            "A",
            "among.plain.example. 60 A 192.0.2.5",
            "among.plain.example. 60 A 198.51.100.66",
        )
        assert client.ask("among.plain.example").answer == []

    def test_behind_a_chain_the_chain_is_kept(self, client, upstream):
        upstream.says(
            "far.plain.example",
            "A",
            "far.plain.example. 60 CNAME near.plain.example.",
            "near.plain.example. 60 A 198.51.100.66",
        )
        reply = client.ask("far.plain.example")
        assert answers(reply) == ["far.plain.example. CNAME near.plain.example."]
        assert str(reply.authority[0].name) == "near.plain.example."

    def test_an_ipv4_address_inside_a_nat64_prefix_is_blocked_too(self, client, upstream):
        upstream.says("six.plain.example", "AAAA", "six.plain.example. 60 AAAA 64:ff9b::c633:6442")
        assert client.ask("six.plain.example", "AAAA").answer == []

    def test_neighbours_of_blocked_addresses_pass(self, client, upstream):
        for number, (rdtype, address) in enumerate(
            [
                ("A", "198.51.100.67"),
                ("A", "203.0.112.255"),
                ("A", "203.0.114.0"),
                ("AAAA", "2001:db8:bac:ffff::1"),
                ("AAAA", "64:ff9b::c633:6443"),
            ]
        ):
            name = f"near{number}.plain.example"
            upstream.says(name, rdtype, f"{name}. 60 {rdtype} {address}")
            assert len(answers(client.ask(name, rdtype))) == 1


def with_ttl(query: dns.message.Message, ttl: int) -> bytes:
    """Return an answer whose one record has this TTL, also one that the library refuses."""
    wire = reply(query, f"{query.question[0].name} 77 A {ADDRESS}").to_wire()
    return wire.replace(struct.pack("!I", 77), struct.pack("!I", ttl), 1)
