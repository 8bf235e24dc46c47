"""RFC 6891: EDNS is between neighbours; the gate speaks its own to either side."""

import struct

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from tests.conformance.client import answers, question

OUR_OCTETS = 1_232
NAMES = ["www.plain.example", "www.blocked.example"]
COOKIE = dns.edns.GenericOption(10, b"12345678")
SUBNET = dns.edns.ECSOption("192.0.2.0", 24)
NSID = dns.edns.GenericOption(3, b"")
UNKNOWN = dns.edns.GenericOption(65_001, b"tracking")


def opt(payload=OUR_OCTETS, version=0, flags=0, rdata=b"", owner=b"\0"):
    """Return an OPT record as octets."""
    head = struct.pack("!HHBBHH", 41, payload, 0, version, flags, len(rdata))
    return owner + head + rdata


def query_with(*opts, additionals=None, name="www.plain.example"):
    """Return a query with these records as its additional section."""
    wire = bytearray(question(name, edns=False).to_wire())
    wire[10:12] = struct.pack("!H", len(opts) if additionals is None else additionals)
    return bytes(wire) + b"".join(opts)


class TestAnswers:
    """§6.1.1, §6.2.3, §7."""

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("tcp", [False, True])
    def test_who_asks_with_an_opt_gets_one_of_ours_and_who_does_not_gets_none(
        self, client, name, tcp
    ):
        for _ in range(2):
            reply = client.ask(name, tcp=tcp)
            assert (reply.edns, reply.payload) == (0, OUR_OCTETS)
            assert reply.ednsflags == 0
            assert client.ask(name, tcp=tcp, edns=False).edns == -1

    def test_the_resolvers_size_is_not_ours(self, client, upstream):
        def script(query, is_tcp):
            made = dns.message.make_response(query, our_payload=4_096)
            yield made

        upstream.script("size.plain.example", script)
        for _ in range(2):
            assert client.ask("size.plain.example").payload == OUR_OCTETS

    @pytest.mark.parametrize("octets", [0, 100, 511])
    def test_a_size_under_512_counts_as_512(self, client, upstream, octets):
        name = f"small{octets}.plain.example"
        upstream.says(name, "TXT", f'{name}. 60 TXT "{"x" * 200}" "{"y" * 180}"')
        reply = client.ask(name, "TXT", octets=octets)
        assert len(reply.answer) == 1

    def test_an_answer_that_does_not_fit_the_clients_size_is_cut(self, client, upstream):
        lines = [f"wide.plain.example. 60 A 192.0.2.{n}" for n in range(50)]
        upstream.says("wide.plain.example", "A", *lines)
        for octets, is_cut in ((512, True), (700, True), (1_232, False), (512, True)):
            reply = client.ask("wide.plain.example", octets=octets)
            assert bool(reply.flags & dns.flags.TC) is is_cut
            assert len(answers(reply)) == (0 if is_cut else 50)
            assert reply.edns == 0  # §7: also in one that is cut

    def test_no_answer_over_udp_is_longer_than_ours_however_much_the_client_takes(
        self, client, upstream
    ):
        lines = [f"huge.plain.example. 60 A 192.0.2.{n}" for n in range(100)]
        upstream.says("huge.plain.example", "A", *lines)
        query = question("huge.plain.example", octets=4_096)
        wire = client.exchange(query.to_wire())
        assert len(wire) <= OUR_OCTETS
        assert dns.message.from_wire(wire).flags & dns.flags.TC

    def test_codes_above_15_come_through(self, client, upstream):
        upstream.says("code.plain.example", "A", rcode=dns.rcode.BADCOOKIE)
        assert client.ask("code.plain.example").rcode() == dns.rcode.BADCOOKIE


class TestVersions:
    """§6.1.3."""

    @pytest.mark.parametrize("version", [1, 255])
    @pytest.mark.parametrize("name", NAMES)
    def test_another_version_is_told_ours(self, world, version, name):
        with world.counting(badvers=1, passed=0):
            wire = world.client.exchange(query_with(opt(version=version), name=name))
        reply = dns.message.from_wire(wire)
        assert (reply.rcode(), reply.edns) == (dns.rcode.BADVERS, 0)
        assert reply.answer == reply.authority == []


class TestMalformed:
    """§6.1.1 and §6.1.2: one OPT, owned by the root, filled by its options."""

    @pytest.mark.parametrize(
        "opts",
        [
            [opt(), opt()],
            [opt(owner=b"\1a\0")],
            [opt(rdata=b"\0\x0a\0\x08abc")],  # an option longer than the record
            [opt(rdata=b"\0\x0a\0")],
            [opt()[:-1]],
            [opt()[:-2] + b"\0\7"],
        ],
    )
    def test_each_is_a_format_error(self, world, opts):
        with world.counting(formerr=1, passed=0):
            wire = world.client.exchange(query_with(*opts))
        assert wire[3] & 15 == dns.rcode.FORMERR

    def test_records_that_are_announced_and_missing_are_a_format_error(self, world):
        with world.counting(formerr=1, passed=0):
            wire = world.client.exchange(query_with(opt(), additionals=2))
        assert wire[3] & 15 == dns.rcode.FORMERR

    def test_octets_after_the_message_are_a_format_error(self, world):
        with world.counting(formerr=1, passed=0):
            wire = world.client.exchange(query_with(opt()) + b"\0")
        assert wire[3] & 15 == dns.rcode.FORMERR

    def test_flags_that_nobody_knows_are_ignored(self, client):
        wire = client.exchange(query_with(opt(flags=0x7FFF)))
        reply = dns.message.from_wire(wire)
        assert (reply.rcode(), reply.ednsflags) == (dns.rcode.NOERROR, 0)


class TestHops:
    """§6.1.1: options are for the next hop alone; RFC 7871 §7.1.2: nobody's subnet goes on."""

    def test_nothing_that_tells_clients_apart_reaches_the_resolver(self, client, upstream):
        for number, options in enumerate(([SUBNET], [COOKIE], [NSID], [UNKNOWN], [SUBNET, COOKIE])):
            name = f"hop{number}.plain.example"
            reply = client.ask(name, options=options)
            assert answers(reply)
            assert not [option for option in reply.options if int(option.code) == 8]
            (seen,) = upstream.asked(name)
            assert list(seen.message.options) == []

    def test_the_subnet_makes_no_other_answer(self, client, upstream):
        for network in ("192.0.2.0", "198.51.100.0"):
            client.ask("ecs.plain.example", options=[dns.edns.ECSOption(network, 24)])
        assert len(upstream.asked("ecs.plain.example")) == 1

    def test_the_resolvers_options_end_here(self, client, upstream):
        upstream.says(
            "back.plain.example",
            "A",
            "back.plain.example. 60 A 192.0.2.1",
            options=[dns.edns.ECSOption("192.0.2.0", 24, 24), COOKIE, UNKNOWN],
        )
        for _ in range(2):
            assert client.ask("back.plain.example", options=[SUBNET, COOKIE]).options == ()

    def test_the_resolver_is_told_the_size_that_the_gate_takes(self, client, upstream):
        client.ask("told.plain.example", octets=512)
        client.ask("told2.plain.example", octets=4_096)
        sizes = {
            each.message.payload
            for name in ("told.plain.example", "told2.plain.example")
            for each in upstream.asked(name)
        }
        assert sizes == {OUR_OCTETS}

    def test_a_resolver_that_knows_no_edns_is_heard_all_the_same(self, client, upstream):
        def script(query, is_tcp):
            plain = dns.message.make_response(query)
            plain.use_edns(-1)
            yield plain

        upstream.script("plainold.plain.example", script)
        assert client.ask("plainold.plain.example").edns == 0
