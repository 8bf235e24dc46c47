"""The gate as a whole: what it answers, forwards, refuses to load, and survives."""

import asyncio
import json
import os
import shutil
import socket
import struct
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import pytest
from dnslib import QTYPE, DNSRecord

from enforcer._native.probe import BODY_SHA256_AT, body_sha256
from enforcer.core.table import Binding, DnsMeasure
from enforcer.core.verdict import QTYPES_OF_ZONES
from enforcer.errors import ConflictError, InputError, IntegrityError, UnavailableError
from tests.backends.gate_world import (
    HOUR_MS,
    ORIGIN,
    REGISTER_URL,
    WAIT_SECONDS,
    Asking,
    GateUnderTest,
    compiled,
    eventually,
    now_ms,
    order,
    query,
)

NXDOMAIN, NODATA, SERVFAIL = 3, 0, 2


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
        late = []
        gate = start_gate(upstream_timeout_ms=50)
        resolver.respond = lambda wire: late.append(wire) or []
        asking = gate.asking()
        assert asking.ask(query("free.example"))[3] & 0x0F == SERVFAIL
        resolver.respond = lambda wire: [*resolver.honest(late[0]), *resolver.honest(wire)]
        asking.ask(query("other.example"))
        assert asking.is_silent()
        # The late one comes to whichever socket the new query left by: never to a client.
        counters = gate.counters()
        assert counters["upstream_unknown_id"] + counters["upstream_wrong_question"] == 1

    def test_nobody_behind_the_gate_is_a_servfail_too(self, start_gate):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            place = closed.getsockname()
        gate = start_gate(upstreams=[place], upstream_timeout_ms=100)
        asking = gate.asking()
        for qid in range(40):
            assert asking.ask(query("free.example", qid=qid))[3] & 0x0F == SERVFAIL
        assert gate.counters()["passed"] == 40

    def test_when_all_slots_are_taken_the_oldest_query_gives_way(self, start_gate, resolver):
        gate = start_gate(inflight_max=64, upstream_timeout_ms=60_000)
        resolver.respond = lambda wire: resolver.honest(wire) if b"other" in wire else []
        asking = gate.asking()
        for qid in range(70):
            asking.send(query("free.example", qid=qid))
        evicted = [struct.unpack("!H", asking.receive()[:2])[0] for _ in range(6)]
        assert sorted(evicted) == list(range(6))
        assert DNSRecord.parse(asking.ask(query("other.example", qid=99))).header.rcode == 2
        assert DNSRecord.parse(asking.receive()).header.id == 99
        counters = gate.counters()
        assert (counters["evicted"], counters["in_flight"]) == (7, 63)


class TestTables:
    def test_the_report_is_read_back_from_what_is_used(self, gate, tmp_path):
        seven, nine = order(7), order(9, b"exact x.example\n")
        path = compiled(tmp_path / "t", seven, nine)
        report = gate.load(path)
        octets = path.read_bytes()
        assert report.body_sha256 == body_sha256(octets)
        assert report.rows == (seven[0], nine[0])
        assert (report.ledger_size, report.name_count) == (100, 2)
        assert len(report.table_digest) == 64
        assert gate.status().rows == report.rows

    def test_no_query_is_lost_while_tables_are_swapped(self, gate, tmp_path):
        paths = [
            compiled(tmp_path / str(number), order(until_ms=2 * now_ms()), ledger_size=number)
            for number in range(50)
        ]
        gate.load(paths[0])
        answered, is_over = [], threading.Event()

        def ask_on():
            asking, qid = gate.asking(), 0
            while not is_over.is_set():
                window = range(qid, qid + 16)
                for each in window:
                    name = "www.blocked.example" if each % 2 else "free.example"
                    asking.send(query(name, qid=each % 65_536))
                replies = [asking.receive() for _ in window]
                ids = {struct.unpack("!H", reply[:2])[0] for reply in replies}
                assert ids == {each % 65_536 for each in window}
                answered.extend(reply[3] & 0x0F for reply in replies)
                qid += 16

        failures = []

        def watched():
            try:
                ask_on()
            except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
                failures.append(error)

        thread = threading.Thread(target=watched)
        thread.start()
        for path in paths[1:]:
            gate.load(path)
        is_over.set()
        thread.join(WAIT_SECONDS)
        assert failures == []
        assert answered.count(NXDOMAIN) == answered.count(0) == len(answered) // 2 > 0
        counters = gate.counters()
        assert counters["tables_loaded"] == 50
        assert counters["received"] == len(answered)

    def test_a_killed_gate_blocks_again_from_its_last_good_table(self, gate, tmp_path):
        loaded = gate.load(compiled(tmp_path / "t", order()))
        eventually((gate.control.parent / "state" / "last-good.table").exists)
        assert gate.end(9) == -9
        gate.start()
        assert DNSRecord.parse(gate.asking().ask(query())).header.rcode == NXDOMAIN
        assert gate.status().body_sha256 == loaded.body_sha256

    @pytest.mark.parametrize("damage", ["flip", "cut", "empty", "garbage"])
    def test_a_damaged_last_good_table_is_refused_and_everything_passes(
        self, gate, tmp_path, damage
    ):
        path = compiled(tmp_path / "t", order())
        gate.load(path)
        assert gate.end() == 0
        kept = gate.control.parent / "state" / "last-good.table"
        octets = kept.read_bytes()
        assert octets == path.read_bytes()
        kept.write_bytes(
            {
                "flip": octets[:600] + bytes([octets[600] ^ 1]) + octets[601:],
                "cut": octets[:-1],
                "empty": b"",
                "garbage": os.urandom(4_096),
            }[damage]
        )
        gate.start()
        assert DNSRecord.parse(gate.asking().ask(query())).rr != []
        assert '"last_good_table_refused"' in gate.log.read_text()
        assert gate.log.read_text().count('"no_table"') == 2
        gate.load(path)
        assert DNSRecord.parse(gate.asking().ask(query())).header.rcode == NXDOMAIN

    def test_an_older_table_is_refused_and_the_present_one_stays(self, gate, asking, tmp_path):
        present = compiled(tmp_path / "a", order(), ledger_size=100, time_floor_ms=50)
        gate.load(present)
        free = order(names=b"exact free.example\n")
        for size, floor in ((99, 60), (100, 49)):
            older = compiled(tmp_path / "b", free, ledger_size=size, time_floor_ms=floor)
            with pytest.raises(ConflictError, match=f"ledger size {size} and time floor {floor}"):
                gate.load(older)
        gate.load(present)  # the same again is no step back
        assert DNSRecord.parse(asking.ask(query())).header.rcode == NXDOMAIN
        assert DNSRecord.parse(asking.ask(query("free.example"))).rr != []
        assert gate.counters()["tables_refused"] == 2

    def test_a_table_of_another_ledger_is_refused(self, gate, asking, tmp_path):
        foreign = compiled(tmp_path / "t", order(), origin="ledger.example.org/two")
        with pytest.raises(IntegrityError, match=f"another ledger than {ORIGIN}"):
            gate.load(foreign)
        assert DNSRecord.parse(asking.ask(query())).rr != []

    def test_a_damaged_table_is_refused(self, gate, asking, tmp_path):
        path = compiled(tmp_path / "t", order())
        octets = path.read_bytes()
        for damaged in (octets[:-16], octets + bytes(16), octets[:100], octets[:-1] + b"\xff", b""):
            path.write_bytes(damaged)
            with pytest.raises(IntegrityError, match="the table is refused"):
                gate.load(path)
        assert DNSRecord.parse(asking.ask(query())).rr != []

    def test_a_table_with_a_true_checksum_over_false_offsets_is_refused(self, gate, tmp_path):
        path = compiled(tmp_path / "t", order())
        octets = bytearray(path.read_bytes())
        octets[0xE0:0xE8] = b"\xff" * 8
        octets[BODY_SHA256_AT : BODY_SHA256_AT + 32] = bytes.fromhex(body_sha256(octets))
        path.write_bytes(octets)
        with pytest.raises(IntegrityError, match="the table is refused"):
            gate.load(path)

    def test_a_table_in_memory_that_can_change_is_refused(self, gate, tmp_path):
        octets = compiled(tmp_path / "t", order()).read_bytes()
        open_memory = os.memfd_create("open", os.MFD_ALLOW_SEALING)
        os.write(open_memory, octets)
        plain_file = os.open(tmp_path / "t", os.O_RDONLY)
        for fd in (open_memory, plain_file):
            refusal = gate.say(b'{"op":"load"}', fds=[fd])["refusal"]
            assert refusal["kind"] == "IntegrityError"
            assert "not in sealed memory" in refusal["message"]
        assert "report" in gate.say(b'{"op":"load"}', data=octets)

    def test_a_disk_that_keeps_nothing_is_loud_and_not_fatal(self, gate, asking, tmp_path):
        shutil.rmtree(gate.control.parent / "state")
        gate.load(compiled(tmp_path / "t", order()))
        assert DNSRecord.parse(asking.ask(query())).header.rcode == NXDOMAIN
        eventually(lambda: gate.counters()["tables_unkept"] == 1)
        assert '"table_not_kept"' in gate.log.read_text()


class TestControl:
    def test_check_says_what_would_decide_and_counts_nothing(self, gate, tmp_path):
        assert check(gate, "www.blocked.example")["state"] == "NO_TABLE"
        gate.load(compiled(tmp_path / "t", order()))
        verdict = check(gate, "www.Blocked.example")
        assert abs(verdict.pop("at_ms") - now_ms()) < HOUR_MS
        assert verdict == {
            "action": "BLOCK",
            "cause": "ORDER",
            "kind": "SUBTREE",
            "denial": "NXDOMAIN",
            "zone": "blocked.example",
            "order_id": "XX-2026-000007",
            "order_index": 7,
            "state": "SERVING",
        }
        assert check(gate, "free.example")["cause"] == "NO_MATCH"
        assert gate.counters()["received"] == 0
        assert gate.status().order_counters == {7: 0}
        with pytest.raises(InputError, match="a label is empty"):
            check(gate, "a..b")

    @pytest.mark.parametrize(
        "message",
        [
            b"\0",
            b"{",
            b"[]",
            b"{}",
            b'{"op":"stop"}',
            b'{"op":"status","more":1}',
            b'{"op":"check","qname":"a"}',
            b'{"op":"check","qname":"a","qtype":65536}',
            b'{"op":"load"}',
            b"[" * 4_000,
            b"\xff" * 4_096,
            b'"' + b"x" * 5_000,
        ],
    )
    def test_garbage_gets_an_error_and_the_next_request_its_answer(self, gate, message):
        assert gate.say(message)["refusal"]["kind"] == "InputError"
        assert "report" in gate.say(b'{"op":"status"}')

    def test_several_requests_fit_into_one_conversation(self, gate):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
            peer.connect(str(gate.control))
            peer.settimeout(WAIT_SECONDS)
            for _ in range(3):
                peer.send(b'{"op":"status"}')
                assert "report" in json.loads(peer.recv(65_536))

    def test_many_idle_conversations_lock_nobody_out(self, gate):
        for _ in range(40):
            idle = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            gate.open.enter_context(idle).connect(str(gate.control))
        assert gate.status().counters["received"] == 0

    def test_a_report_longer_than_a_message_comes_whole(self, gate, tmp_path):
        orders = [order(index, b"exact x.example\n") for index in range(1_000)]
        report = gate.load(compiled(tmp_path / "t", *orders))
        assert [row.index for row in report.rows] == list(range(1_000))
        assert set(report.order_counters) == set(range(1_000))

    def test_descriptors_that_come_with_other_requests_are_closed(self, gate):
        gate.say(b'{"op":"status"}')  # so that all that serves conversations is open
        before = open_files(gate)
        for _ in range(5):
            fds = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
            assert "report" in gate.say(b'{"op":"status"}', fds=fds)
        eventually(lambda: open_files(gate) <= before)  # it hangs up after we did

    def test_a_user_who_is_not_on_the_list_is_turned_away(self, start_gate):
        gate = start_gate(allowed_uids=[12_345])
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
            peer.settimeout(WAIT_SECONDS)
            peer.connect(str(gate.control))
            refusal = json.loads(peer.recv(65_536))["refusal"]
        assert refusal["kind"] == "RefusedError"
        assert "allowed_uids" in refusal["advice"]

    def test_no_gate_at_the_socket_is_said_so(self, gate):
        gate.end()
        with pytest.raises(UnavailableError, match="does not answer"):
            gate.status()


class TestProcess:
    def test_sigterm_answers_what_is_in_flight_and_takes_no_more(self, gate, asking, resolver):
        asked, may_answer = threading.Event(), threading.Event()

        def slow(wire):
            asked.set()
            assert may_answer.wait(WAIT_SECONDS)
            return resolver.honest(wire)

        resolver.respond = slow
        asking.send(query("free.example"))
        assert asked.wait(WAIT_SECONDS)
        gate.process.terminate()
        eventually(lambda: not gate.control.exists() or is_draining(gate))
        may_answer.set()
        assert DNSRecord.parse(asking.receive()).rr != []
        assert gate.end() == 0

    def test_draining_is_bounded(self, start_gate, resolver):
        gate = start_gate(upstream_timeout_ms=600_000)
        asking, asked = gate.asking(), threading.Event()
        resolver.respond = lambda _: asked.set() or []
        asking.send(query("free.example"))
        assert asked.wait(WAIT_SECONDS)
        assert gate.end() == 0

    def test_the_process_is_a_nobody_that_gains_nothing(self, gate):
        for pid in (gate.process.pid, *gate.workers()):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            status = dict(line.split(":\t", 1) for line in lines)
            assert status["NoNewPrivs"] == "1"
            assert set(status["Uid"].split()) == {str(gate.control.stat().st_uid)} != {"0"}
            if os.getuid() == 0:
                held = ("CapInh", "CapPrm", "CapEff", "CapAmb")
                assert [int(status[kind], 16) for kind in held] == [0, 0, 0, 0]
                assert status["Groups"].strip() == ""

    def test_the_control_socket_is_for_its_owner_and_group(self, gate):
        assert gate.control.stat().st_mode & 0o777 == 0o660

    def test_a_second_gate_at_the_same_control_socket_is_refused(self, gate, resolver):
        second = GateUnderTest(gate.control.parent, resolver.place)
        with pytest.raises(AssertionError, match="another gate is listening"):
            second.start()
        assert gate.status().counters["received"] == 0

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"workers": 65}, "no number for workers"),
            ({"allow": ["192.0.2.1/24"]}, "is no prefix"),
            ({"listen": [("localhost", 0)]}, "is no IP address"),
            ({"listen": []}, "0 is no number for listen"),
            ({"upstreams": [("192.0.2.1", 0)]}, "nowhere to send"),
            ({"block_page_ipv4": "2001:db8::1"}, "block page's address is wrong"),
            ({"user": "no-such-user-here"}, "no user"),
            ({"inflight_max": 1}, "no number for inflight_max"),
        ],
    )
    def test_wrong_settings_are_refused_in_words(self, folder, resolver, settings, words):
        gate = GateUnderTest(folder, resolver.place, **settings)
        with pytest.raises(AssertionError, match=words):
            gate.start()

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can be refused for being root")
    @pytest.mark.parametrize("user", [None, "root"])
    def test_root_without_another_user_is_refused(self, folder, resolver, user):
        gate = GateUnderTest(folder, resolver.place, user=user)
        with pytest.raises(AssertionError, match="InputError"):
            gate.start()

    @pytest.mark.root
    @pytest.mark.skipif(os.getuid() != 0, reason="only root can read another's memory")
    @pytest.mark.skipif(
        "asan" in os.environ.get("LD_PRELOAD", ""), reason="a sanitiser's shadow never ends"
    )
    def test_no_trace_of_a_client_is_left_in_memory(self, gate, resolver, tmp_path):
        gate.load(compiled(tmp_path / "t", order()))
        asking = gate.asking(source="127.77.66.55")
        family, port = socket.AF_INET, asking.socket.getsockname()[1]
        address = struct.pack("=H", family) + struct.pack("!H4B", port, 127, 77, 66, 55)
        may_answer = threading.Event()
        resolver.respond = lambda wire: [*resolver.honest(wire)] * may_answer.wait(WAIT_SECONDS)
        asking.send(query("free.example"))
        eventually(lambda: gate.counters()["in_flight"] == 1)
        assert address in memory(gate)  # the in-flight slot: what is looked for can be found
        may_answer.set()
        asking.receive()
        for name in ("www.blocked.example", "free.example"):
            asking.ask(query(name))
        asking.ask(query()[:-1])
        asking.send(b"")
        eventually(lambda: gate.counters()["dropped_runt"] == 1)
        assert address not in memory(gate)

    def test_neither_clients_nor_names_are_in_the_log_or_the_report(self, gate, asking, tmp_path):
        gate.load(compiled(tmp_path / "t", order()))
        for name in ("secret.blocked.example", "secret.free.example"):
            asking.ask(query(name))
        asking.ask(query("secret.example")[:-1])
        port = str(asking.socket.getsockname()[1])
        status = str(gate.say(b'{"op":"status"}'))
        gate.end()
        for text in (gate.log.read_text(), status):
            assert "secret" not in text
            assert port not in text


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


def check(gate, name):
    return asyncio.run(gate.client.check(name, 1))


def open_files(gate):
    return len(list(Path(f"/proc/{gate.process.pid}/fd").iterdir()))


def memory(gate):
    """Return what its processes can write: their heaps, stacks and mapped memory."""
    octets = bytearray()
    for pid in (gate.process.pid, *gate.workers()):
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as image:
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                span, rights = line.split()[:2]
                # The counters' memory is gigabytes of holes, and nothing but counters goes in.
                if rights.startswith("rw") and "enforcer-counts" not in line:
                    start, end = (int(edge, 16) for edge in span.split("-"))
                    image.seek(start)
                    octets += image.read(end - start)
    return octets


def is_draining(gate):
    """Tell whether the gate no longer takes queries: one that it would refuse stays silent."""
    probe = gate.asking()
    probe.socket.settimeout(0.05)
    try:
        probe.ask(query(flags=0x2800))
    except TimeoutError:
        return True
    return False
