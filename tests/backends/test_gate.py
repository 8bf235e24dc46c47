"""A gate asked over UDP: what it blocks, with which words, and what it passes on."""

import shutil
import socket
import struct
import subprocess
from contextlib import closing

import pytest
from dnslib import QTYPE, DNSRecord

from enforcer.core.table import Binding, DnsMeasure
from enforcer.core.verdict import QTYPES_OF_ZONES
from tests.backends.gate_client import NODATA, NXDOMAIN, SERVFAIL, Asking, query
from tests.backends.gate_tables import HOUR_MS, REGISTER_URL, compiled, now_ms, order
from tests.ports import HeldPort
from tests.waiting import eventually


def ede(reply):
    """Return the extended errors in a reply: (info code, text)."""
    return [
        (struct.unpack("!H", option.data[:2])[0], option.data[2:].decode())
        for record in reply.ar
        if record.rtype == QTYPE.OPT
        for option in record.rdata
        if option.code == 15
    ]


def text_of(order_id):
    return f"{order_id} {REGISTER_URL}{order_id}"


class TestBlocked:
    def test_a_subtree_is_an_empty_zone_that_says_who_ordered_it(self, gate, asking, tmp_path):
        gate.load(compiled(tmp_path / "t", order(), ledger_size=2**32 + 5))
        wire = asking.ask(query("WwW.BLocked.Example", flags=0x0110))
        assert wire[:4] == struct.pack("!HH", 0x4711, 0x8193)
        assert wire[12:33] == b"\3WwW\7BLocked\7Example\0"
        reply = DNSRecord.parse(wire)
        (soa,) = reply.auth
        assert reply.rr == []
        assert str(soa.rname) == "BLocked.Example."
        assert (soa.rtype, soa.rclass, soa.ttl) == (QTYPE.SOA, 1, 28)
        assert str(soa.rdata.mname) == "XX-2026-000007.register.example.org."
        assert str(soa.rdata.rname) == "hostmaster.register.example.org."
        assert soa.rdata.times == (5, 3600, 600, 86400, 28)
        assert ede(reply) == [(16, text_of("XX-2026-000007"))]

    def test_an_advisory_order_is_blocked_and_not_censored(self, gate, asking, tmp_path):
        gate.load(compiled(tmp_path / "t", order(binding=Binding.ADVISORY)))
        assert ede(DNSRecord.parse(asking.ask(query()))) == [(15, text_of("XX-2026-000007"))]

    def test_an_exact_target_and_one_with_a_pass_inside_deny_only_the_data(
        self, gate, asking, tmp_path
    ):
        gate.load(
            compiled(
                tmp_path / "t",
                order(names=b"exact one.example\nsubtree two.example\n"),
                core=b"exact time.two.example\n",
            )
        )
        for name, zone in (("one.example", "one.example."), ("a.two.example", "two.example.")):
            reply = DNSRecord.parse(asking.ask(query(name)))
            assert (reply.header.rcode, str(reply.auth[0].rname)) == (NODATA, zone)
            assert reply.rr == []
        for name in ("sub.one.example", "time.two.example"):
            assert DNSRecord.parse(asking.ask(query(name))).rr != []

    @pytest.mark.parametrize("qtype", sorted(QTYPES_OF_ZONES))
    def test_what_children_validate_with_passes_an_exact_target(
        self, gate, asking, resolver, tmp_path, qtype
    ):
        gate.load(compiled(tmp_path / "t", order(names=b"exact one.example\n")))
        reply = DNSRecord.parse(asking.ask(query("one.example", qtype)))
        assert (reply.auth, len(resolver.seen)) == ([], 1)
        gate.load(compiled(tmp_path / "t", order(names=b"subtree one.example\n"), ledger_size=101))
        reply = DNSRecord.parse(asking.ask(query("www.one.example", qtype)))
        assert (reply.header.rcode, len(resolver.seen)) == (NXDOMAIN, 1)

    @pytest.mark.parametrize("dnssec_ok", [False, True])
    @pytest.mark.parametrize("rd", [0, 0x0100])
    def test_validating_and_iterating_clients_are_blocked_too(
        self, gate, asking, tmp_path, dnssec_ok, rd
    ):
        gate.load(compiled(tmp_path / "t", order()))
        reply = DNSRecord.parse(asking.ask(query(flags=rd | 0x0020, dnssec_ok=dnssec_ok)))
        assert (reply.header.rcode, reply.header.ad, reply.header.rd) == (NXDOMAIN, 0, rd >> 8)
        assert reply.ar[0].ttl == (0x8000 if dnssec_ok else 0)

    def test_without_edns_there_is_no_opt_in_the_answer(self, gate, asking, tmp_path):
        gate.load(compiled(tmp_path / "t", order()))
        reply = DNSRecord.parse(asking.ask(query(edns=None)))
        assert (reply.header.rcode, reply.ar) == (NXDOMAIN, [])

    def test_other_classes_pass_and_any_class_does_not(self, gate, asking, resolver, tmp_path):
        gate.load(compiled(tmp_path / "t", order()))
        assert DNSRecord.parse(asking.ask(query(qclass=3))).header.rcode == 0
        assert len(resolver.seen) == 1
        assert DNSRecord.parse(asking.ask(query(qclass=255))).header.rcode == NXDOMAIN
        assert len(resolver.seen) == 1

    def test_an_order_that_ends_stops_blocking_without_a_new_table(self, gate, asking, tmp_path):
        ends_ms = now_ms() + 1_500
        gate.load(compiled(tmp_path / "t", order(until_ms=ends_ms)))
        reply = DNSRecord.parse(asking.ask(query()))
        if now_ms() < ends_ms:  # else this machine has slept; the rest holds all the same
            assert reply.header.rcode == NXDOMAIN
            assert reply.auth[0].ttl <= 1
        eventually(lambda: now_ms() > ends_ms)
        assert DNSRecord.parse(asking.ask(query())).rr != []

    def test_the_next_order_takes_over_from_the_one_that_ended(self, gate, asking, tmp_path):
        gate.load(
            compiled(tmp_path / "t", order(7, until_ms=1_700_000_000_000), order(9), order(8))
        )
        assert ede(DNSRecord.parse(asking.ask(query())))[0][1] == text_of("XX-2026-000008")

    def test_a_clock_before_the_time_floor_revives_no_block(self, gate, asking, tmp_path):
        floor_ms = now_ms() + HOUR_MS
        gate.load(compiled(tmp_path / "t", order(until_ms=floor_ms - 1), time_floor_ms=floor_ms))
        assert DNSRecord.parse(asking.ask(query())).rr != []

    def test_each_answer_counts_for_its_order_across_tables(self, gate, asking, tmp_path):
        other = order(9, b"subtree other.example\n")
        gate.load(compiled(tmp_path / "t", order(7), other))
        for name in ("a.blocked.example", "b.blocked.example", "other.example", "free.example"):
            asking.ask(query(name))
        gate.load(compiled(tmp_path / "t", other, order(11, b"exact x.example\n"), ledger_size=101))
        asking.ask(query("other.example"))
        report = gate.status()
        assert report.order_counters == {7: 2, 9: 2, 11: 0}
        assert gate.counters()["blocked_nxdomain"] == 4


class TestBlockPage:
    def load(self, gate, tmp_path):
        gate.load(compiled(tmp_path / "t", order(measure=DnsMeasure.BLOCK_PAGE)))

    def test_addresses_are_the_pages_and_other_types_have_no_data(self, start_gate, tmp_path):
        gate = start_gate(block_page_ipv4="192.0.2.80", block_page_ipv6="2001:db8::80")
        self.load(gate, tmp_path)
        asking = gate.asking()
        for qtype, address in ((1, "192.0.2.80"), (28, "2001:db8::80")):
            reply = DNSRecord.parse(asking.ask(query(qtype=qtype)))
            assert [(str(rr.rdata), rr.ttl, rr.rtype) for rr in reply.rr] == [(address, 28, qtype)]
            assert ede(reply) == [(16, text_of("XX-2026-000007")), (4, "")]
        reply = DNSRecord.parse(asking.ask(query(qtype=65)))
        assert (reply.header.rcode, reply.rr, len(reply.auth)) == (NODATA, [], 1)
        assert gate.counters()["blocked_page"] == 2

    def test_a_family_without_a_page_has_no_data(self, start_gate, tmp_path):
        gate = start_gate(block_page_ipv4="192.0.2.80")
        self.load(gate, tmp_path)
        reply = DNSRecord.parse(gate.asking().ask(query(qtype=28)))
        assert (reply.header.rcode, reply.rr) == (NODATA, [])

    def test_without_any_page_the_name_is_denied(self, gate, asking, tmp_path):
        self.load(gate, tmp_path)
        assert DNSRecord.parse(asking.ask(query())).header.rcode == NXDOMAIN


class TestRefusedQueries:
    @pytest.mark.parametrize(
        ("wire", "rcode", "counter"),
        [
            (query()[:4] + b"\0\2" + query()[6:], 1, "formerr"),
            (query()[:-1], 1, "formerr"),
            (query() + b"x" * 8_000, 1, "formerr"),
            (query(flags=0x2800), 4, "notimp"),
            (query(flags=0x2000), 4, "notimp"),
            (query(qtype=252), 5, "refused"),
            (query(qtype=251), 5, "refused"),
        ],
    )
    def test_each_is_answered_with_its_code_and_counted(self, gate, asking, wire, rcode, counter):
        reply = asking.ask(wire)
        assert reply[:2] == wire[:2]
        assert reply[3] & 0x0F == rcode
        assert gate.counters()[counter] == 1

    def test_a_later_edns_version_is_answered_badvers(self, gate, asking):
        opt = b"\0" + struct.pack("!HHBBHH", 41, 1232, 0, 1, 0, 0)
        reply = asking.ask(query(edns=None)[:10] + b"\0\1" + query(edns=None)[12:] + opt)
        assert (reply[3] & 0x0F, reply[-6]) == (0, 1)
        assert gate.counters()["badvers"] == 1

    def test_responses_and_fragments_of_headers_are_dropped_and_counted(self, gate, asking):
        for wire in (query(flags=0x8180), query()[:11], b""):
            asking.send(wire)
        asking.ask(query("free.example"))
        assert asking.is_silent()
        counters = gate.counters()
        assert (counters["dropped_response"], counters["dropped_runt"]) == (1, 2)


class TestPassed:
    NAMES = ("free.example", "ANother.Free.Example", "x.y.z.example.org", "example.org")

    @pytest.mark.parametrize("edns", [None, 1232])
    def test_answers_are_the_resolvers_own_but_for_the_id(
        self, gate, asking, resolver, tmp_path, edns
    ):
        gate.load(compiled(tmp_path / "t", order()))
        direct = gate.open.enter_context(closing(Asking(resolver.place)))
        for qid, name in enumerate(self.NAMES):
            for qtype in (1, 28, 16, 255, 43):
                wire = query(name, qtype, qid=qid, edns=edns)
                assert asking.ask(wire) == direct.ask(wire)

    def test_ids_at_the_resolver_are_others_and_do_not_repeat(self, gate, asking, resolver):
        for number in range(64):
            asking.ask(query(f"{number}.example", qid=1))
        ids = {wire[:2] for wire in resolver.seen}
        assert len(ids) > 56

    def test_both_address_families_are_served(self, start_gate, tmp_path):
        gate = start_gate(listen=[("127.0.0.1", 0), ("::1", 0)])
        gate.load(compiled(tmp_path / "t", order()))
        for number in (0, 1):
            asking = gate.asking(number)
            assert DNSRecord.parse(asking.ask(query("free.example"))).rr != []
            assert DNSRecord.parse(asking.ask(query())).header.rcode == NXDOMAIN

    @pytest.mark.parametrize(("wildcard", "asked"), [("0.0.0.0", "127.0.0.2"), ("::", "::1")])
    def test_an_answer_leaves_from_the_address_that_was_asked(
        self, start_gate, tmp_path, wildcard, asked
    ):
        gate = start_gate(listen=[(wildcard, 0)])
        gate.load(compiled(tmp_path / "t", order()))
        with closing(Asking((asked, gate.place[1]))) as asking:  # takes answers from there alone
            assert DNSRecord.parse(asking.ask(query())).header.rcode == NXDOMAIN
            assert DNSRecord.parse(asking.ask(query("free.example"))).rr != []

    def test_without_a_table_everything_passes_and_the_log_and_status_say_so(self, gate, asking):
        assert DNSRecord.parse(asking.ask(query())).rr != []
        report = gate.status()
        assert (report.table_digest, report.body_sha256, report.rows) == ("", "", ())
        assert report.counters["has_table"] == 0
        assert gate.log.read_text().count('"no_table"') == 1

    def test_an_answer_that_is_not_the_one_asked_for_is_dropped(self, gate, asking, resolver):
        def spoofed(wire):
            (honest,) = resolver.honest(wire)
            yield honest[:2] + bytes([honest[2] & 0x7F]) + honest[3:]  # a query
            yield honest[:2] + bytes([honest[2] | 0x28]) + honest[3:]  # another opcode
            yield honest[:7]
            yield bytes([honest[0] ^ 1]) + honest[1:]  # another id
            yield honest.replace(b"\4free", b"\4FREE")  # another spelling
            yield honest[:5] + b"\0" + honest[6:]  # no question, but no error either
            yield honest[:5] + b"\2" + honest[6:]
            yield honest[:14]
            yield honest

        resolver.respond = spoofed
        wire = query("free.example")
        assert DNSRecord.parse(asking.ask(wire)).rr != []
        assert asking.is_silent()
        counters = gate.counters()
        assert counters["upstream_malformed"] == 3
        assert counters["upstream_unknown_id"] == 1
        assert counters["upstream_wrong_question"] == 4
        assert counters["relayed"] == 1

    def test_an_answer_from_elsewhere_never_reaches_the_client(self, gate, asking, resolver):
        ports = []
        original = resolver._socket

        class Spy:
            def recvfrom(self, size):
                data, client = original.recvfrom(size)
                ports.append(client)
                return data, client

            def __getattr__(self, name):
                return getattr(original, name)

        def respond(wire):
            (honest,) = resolver.honest(wire)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.sendto(honest.replace(b"\xc0\0\2", b"\xc0\0\3"), ports[-1])
            yield honest

        resolver._socket = Spy()
        asking.ask(query("warm.example"))  # the resolver's thread now receives by the spy
        resolver.respond = respond
        assert "192.0.2." in str(DNSRecord.parse(asking.ask(query("free.example"))).rr[0].rdata)
        assert asking.is_silent()

    def test_a_bare_error_of_the_resolver_is_relayed(self, gate, asking, resolver):
        resolver.respond = lambda wire: [wire[:2] + b"\x81\x81" + bytes(8)]
        reply = DNSRecord.parse(asking.ask(query("free.example")))
        assert (reply.header.id, reply.header.rcode, reply.rr) == (0x4711, 1, [])
        assert gate.counters()["relayed"] == 1

    def test_an_answer_too_long_to_relay_becomes_a_truncated_one(self, gate, asking, resolver):
        resolver.respond = lambda wire: [honest + bytes(5_000) for honest in resolver.honest(wire)]
        reply = DNSRecord.parse(asking.ask(query("free.example")))
        assert (reply.header.tc, reply.header.rcode, reply.rr) == (1, 0, [])
        assert gate.counters()["upstream_cut"] == 1

    def test_a_silent_resolver_is_a_servfail_in_time(self, start_gate, resolver):
        gate = start_gate(upstream_timeout_ms=100)
        resolver.respond = lambda _: []
        wire = query("free.example", flags=0x0110, dnssec_ok=True)
        reply = DNSRecord.parse(gate.asking().ask(wire))
        assert (reply.header.rcode, reply.header.rd, reply.header.cd) == (SERVFAIL, 1, 1)
        assert (str(reply.q.qname), reply.ar[0].ttl) == ("free.example.", 0x8000)
        counters = gate.counters()
        assert (counters["timed_out"], counters["in_flight"]) == (1, 0)

    def test_an_answer_after_its_time_is_dropped(self, start_gate, resolver):
        gate = start_gate(upstream_timeout_ms=50)
        resolver.respond = lambda _: []
        asking = gate.asking()
        assert asking.ask(query("free.example"))[3] & 0x0F == SERVFAIL
        eventually(lambda: resolver.seen)
        unknown = gate.counters()["upstream_unknown_id"]  # a probe's answer may have been late too
        resolver.is_alive = False
        resolver.answer_last()
        eventually(lambda: gate.counters()["upstream_unknown_id"] > unknown)
        assert asking.ask(query("other.example"))[3] & 0x0F == SERVFAIL
        assert asking.is_silent()
        assert gate.counters()["upstream_answered"] == 0

    def test_nobody_behind_the_gate_is_a_servfail_too(self, start_gate):
        with HeldPort() as nobody:
            gate = start_gate(upstreams=[nobody.place], upstream_timeout_ms=100)
            asking = gate.asking()
            for qid in range(40):
                assert asking.ask(query("free.example", qid=qid))[3] & 0x0F == SERVFAIL
            assert gate.counters()["passed"] == 40

    def test_when_all_slots_are_taken_the_oldest_query_gives_way(self, start_gate, resolver):
        gate = start_gate(inflight_max=64)
        eventually(lambda: gate.counters()["upstream_probed"] >= 1)
        resolver.respond = lambda wire: resolver.honest(wire) if b"other" in wire else []
        asking = gate.asking()
        for qid in range(70):
            asking.send(query("free.example", qid=qid))
        asking.send(query("other.example", qid=99))
        evicted = []
        while (reply := DNSRecord.parse(asking.receive())).header.id != 99:
            assert reply.header.rcode == SERVFAIL
            evicted.append(reply.header.id)
        assert reply.rr != []
        counters = gate.counters()
        while len(evicted) < counters["evicted"]:
            evicted.append(DNSRecord.parse(asking.receive()).header.id)
        assert sorted(evicted) == list(range(len(evicted)))
        assert counters["in_flight"] == 70 - len(evicted)
        assert 7 <= len(evicted) <= 7 + counters["upstream_probed"]  # a probe may take a place


@pytest.mark.peers
@pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed (bind9-dnsutils)")
class TestDig:
    def dig(self, gate, *words):
        host, port = gate.place
        return subprocess.run(
            ["dig", f"@{host}", "-p", str(port), "+tries=1", "+time=5", *words],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def test_dig_shows_the_order_and_the_register(self, gate, tmp_path):
        gate.load(compiled(tmp_path / "t", order()))
        shown = self.dig(gate, "www.blocked.example")
        assert "status: NXDOMAIN" in shown
        assert "EDE: 16 (Censored)" in shown
        assert text_of("XX-2026-000007") in shown
        assert "XX-2026-000007.register.example.org. hostmaster.register.example.org. 100 " in shown

    def test_dig_gets_the_answer_of_a_free_name(self, gate, tmp_path):
        gate.load(compiled(tmp_path / "t", order()))
        assert "192.0.2." in self.dig(gate, "free.example", "+short")
        assert "status: NOTIMP" in self.dig(gate, "+opcode=UPDATE", "free.example")
