"""Each bad input that is known, alone: what the gate makes of it, and what it counts it as."""

import socket
import struct
import threading
import time
from itertools import pairwise

import dns.flags
import dns.message
import dns.rcode
import pytest

from enforcer.errors import ConflictError, EnforcerError, InputError, IntegrityError
from tests.backends.gate_tables import compiled, order
from tests.conformance.client import answers, extended_errors, question
from tests.conformance.upstream import reply
from tests.waiting import eventually

PLAIN = question("www.plain.example", edns=False).to_wire()


def header(flags=0x0100, counts=(1, 0, 0, 0), qid=0x4711):
    return struct.pack("!6H", qid, flags, *counts)


class TestClients:
    @pytest.mark.parametrize("length", range(len(PLAIN)))
    def test_a_query_that_was_cut_is_dropped_or_malformed(self, world, length):
        counter = "dropped_runt" if length < 12 else "formerr"
        with world.counting(**{counter: 1, "passed": 0}), world.client.socket() as udp:
            udp.send(PLAIN[:length])
            if length >= 12:
                assert udp.recv(512)[3] & 15 == dns.rcode.FORMERR

    @pytest.mark.parametrize("octets", [1_500, 4_097, 65_000])
    def test_a_query_that_is_too_long_is_malformed(self, world, octets):
        with world.counting(formerr=1, passed=0):
            wire = world.client.exchange(PLAIN.ljust(octets, b"\0"))
        assert wire[3] & 15 == dns.rcode.FORMERR
        assert len(wire) <= 512

    @pytest.mark.parametrize(
        "name", [b"\xc0\x0c", b"\1a\xc0\x0c", b"\xc0\x04", b"\xff\xff", b"\xc0\x10\1a\0"]
    )
    def test_a_compressed_or_looped_question_is_malformed(self, world, name):
        with world.counting(formerr=1, passed=0):
            wire = world.client.exchange(header() + name + b"\0\1\0\1")
        assert wire[3] & 15 == dns.rcode.FORMERR

    def test_two_questions_are_malformed_also_when_the_second_is_harmless(self, world):
        first = dns.name.from_text("www.blocked.example").to_wire() + b"\0\1\0\1"
        for both in (first + PLAIN[12:], PLAIN[12:] + first):
            with world.counting(formerr=1, passed=0):
                wire = world.client.exchange(header(counts=(2, 0, 0, 0)) + both)
            assert wire[3] & 15 == dns.rcode.FORMERR

    def test_a_response_is_never_answered(self, world):
        asked = question("quiet.plain.example")
        with world.counting(dropped_response=3), world.client.socket() as udp:
            for flags in (b"\x81\x80", b"\x80\x00", b"\xff\xff"):
                udp.send(asked.to_wire()[:2] + flags + asked.to_wire()[4:])
            asked.id ^= 0xFFFF
            udp.send(asked.to_wire())
            assert udp.recv(65_535)[:2] == asked.to_wire()[:2]  # the first that comes at all

    @pytest.mark.parametrize("rdclass", [0, 2, 3, 4, 254, 65_280])
    def test_a_class_that_is_not_the_internets_is_passed_on_unjudged(
        self, world, upstream, rdclass
    ):
        name = f"www{rdclass}.blocked.example"
        upstream.script(name, lambda query, is_tcp: [reply(query, rcode=dns.rcode.REFUSED)])
        with world.counting(passed=1, relayed=1):
            wire = world.client.exchange(
                header() + dns.name.from_text(name).to_wire() + struct.pack("!HH", 1, rdclass)
            )
        assert wire[3] & 15 == dns.rcode.REFUSED

    @pytest.mark.parametrize("rdtype", [251, 252])
    def test_a_zone_transfer_is_refused(self, world, rdtype):
        with world.counting(refused=1, passed=0):
            wire = world.client.exchange(PLAIN[:-4] + struct.pack("!HH", rdtype, 1))
        assert wire[3] & 15 == dns.rcode.REFUSED

    @pytest.mark.parametrize(("name", "opcode"), [("notify", 4), ("update", 5)])
    def test_notify_and_update_are_not_implemented(self, world, name, opcode):
        with world.counting(notimp=1, passed=0):
            wire = world.client.exchange(header(flags=opcode << 11) + PLAIN[12:])
        assert (wire[3] & 15, wire[2] >> 3 & 15) == (dns.rcode.NOTIMP, opcode)


class TestForgedAnswers:
    """What somebody sends who wants to be taken for the resolver (RFC 5452)."""

    def test_another_id_is_not_taken(self, world, upstream):
        def script(query, is_tcp):
            for guess in range(1, 21):
                forged = reply(query, "id.forged.example. 60 A 192.0.2.66")
                forged.id = (query.id + guess * 3_001) % 65_536
                yield forged
            yield reply(query, "id.forged.example. 60 A 192.0.2.1")

        upstream.script("id.forged.example", script)
        with world.counting(upstream_unknown_id=20, relayed=1):
            assert answers(world.client.ask("id.forged.example")) == [
                "id.forged.example. A 192.0.2.1"
            ]

    def test_another_question_is_not_taken(self, world, upstream):
        def script(query, is_tcp):
            for name, rdtype in (
                ("other.forged.example", "A"),
                ("question.forged.example", "AAAA"),
                ("QUESTION.forged.example", "A"),  # the case is part of what must be guessed
            ):
                forged = reply(question(name, rdtype), "x.example. 60 A 192.0.2.66")
                forged.id = query.id
                yield forged
            yield reply(query, "question.forged.example. 60 A 192.0.2.1")

        upstream.script("question.forged.example", script)
        with world.counting(upstream_wrong_question=3, relayed=1):
            assert answers(world.client.ask("question.forged.example")) == [
                "question.forged.example. A 192.0.2.1"
            ]

    def test_another_port_or_address_is_not_heard(self, world, upstream):
        def script(query, is_tcp):
            forged = reply(query, "port.forged.example. 60 A 192.0.2.66").to_wire()
            (seen,) = upstream.asked("port.forged.example")
            for host in ("127.0.0.1", "127.0.0.2"):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                    other.bind((host, 0))
                    other.sendto(forged, ("127.0.0.1", seen.port))
            yield reply(query, "port.forged.example. 60 A 192.0.2.1")

        upstream.script("port.forged.example", script)
        unheard = ("malformed", "unknown_id", "wrong_question")
        none = {f"upstream_{fate}": 0 for fate in unheard}
        with world.counting(upstream_answered=1, relayed=1, **none):
            assert answers(world.client.ask("port.forged.example")) == [
                "port.forged.example. A 192.0.2.1"
            ]

    def test_an_answer_that_comes_twice_is_given_once(self, world, upstream):
        def script(query, is_tcp):
            yield from [reply(query, "twice.forged.example. 60 A 192.0.2.1")] * 2

        upstream.script("twice.forged.example", script)
        with world.counting(upstream_unknown_id=1, relayed=1):
            assert answers(world.client.ask("twice.forged.example"))

    def test_what_cannot_be_read_is_not_taken_and_the_truth_behind_it_is(self, world, upstream):
        def script(query, is_tcp):
            whole = reply(query, "broken.forged.example. 60 A 192.0.2.1").to_wire()
            yield whole[:-3]
            yield whole + b"\0"
            yield whole[:6] + b"\0\5" + whole[8:]
            yield whole

        upstream.script("broken.forged.example", script)
        with world.counting(upstream_malformed=3, relayed=1):
            assert answers(world.client.ask("broken.forged.example"))

    def test_ids_and_ports_cannot_be_foreseen(self, world, upstream):
        for number in range(300):
            world.client.ask(f"draw{number}.forged.example")
        seen = [upstream.asked(f"draw{number}.forged.example")[0] for number in range(300)]
        ids = [each.message.id for each in seen]
        assert len(set(ids)) > 290
        steps = {(after - before) % 65_536 for before, after in pairwise(ids)}
        assert len(steps) > 290
        assert len({each.port for each in seen}) >= 8


class TestFloods:
    def test_beyond_its_capacity_it_sheds_the_oldest_and_answers_the_rest(self, start_world):
        world = start_world(inflight_max=64)
        eventually(lambda: world.gate.counters()["upstream_probed"] >= 1)
        world.upstream.script("never.example", lambda query, is_tcp: [])
        queries = [question("never.example") for _ in range(250)]
        for number, query in enumerate(queries):
            query.id = number
        with world.client.socket() as flood:
            for query in queries:
                flood.send(query.to_wire())
            assert world.client.ask("www.blocked.example").rcode() == dns.rcode.NXDOMAIN
            assert answers(world.client.ask("alive.plain.example"))
            counters = world.gate.counters()
            shed = [dns.message.from_wire(flood.recv(512)) for _ in range(counters["evicted"])]
        assert {each.rcode() for each in shed} == {dns.rcode.SERVFAIL}
        assert {each.id for each in shed} == set(range(len(shed)))  # the oldest
        assert counters["in_flight"] == len(queries) - len(shed)
        spare = counters["upstream_probed"]  # each may have taken a place
        assert 63 - spare <= counters["in_flight"] <= 63

    def test_garbage_in_any_number_leaves_time_for_queries(self, world):
        is_ending = threading.Event()

        def flood():
            with world.client.socket() as udp:
                while not is_ending.is_set():
                    for _ in range(50):
                        udp.send(PLAIN[:20])
                    time.sleep(0.001)

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            for number in range(50):
                assert answers(world.client.ask(f"flood{number}.plain.example"))
        finally:
            is_ending.set()
            thread.join()
        assert answers(world.client.ask("flooded.plain.example"))  # all before it is counted
        assert world.gate.counters()["formerr"] > 0


class TestTables:
    """A table that must not be taken leaves the one before in force, and is counted."""

    @pytest.fixture
    def refusing(self, world):
        before = world.gate.status()
        yield world
        after = world.gate.status()
        assert after.body_sha256 == before.body_sha256
        assert after.rows == before.rows
        assert after.counters["tables_refused"] == before.counters["tables_refused"] + 1
        blocked = world.client.ask("www.blocked.example")
        assert (blocked.rcode(), extended_errors(blocked)[0][0]) == (dns.rcode.NXDOMAIN, 16)

    @pytest.mark.parametrize("data", [b"", b"garbage", bytes(100_000), b"\xff" * 4_096])
    def test_garbage_is_refused(self, refusing, tmp_path, data):
        path = tmp_path / "garbage"
        path.write_bytes(data)
        with pytest.raises((InputError, IntegrityError)) as caught:
            refusing.gate.load(path)
        assert caught.value.advice

    def test_a_table_with_one_bit_flipped_is_refused(self, refusing, tmp_path):
        path = compiled(tmp_path / "t", order(), ledger_size=500)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(IntegrityError):
            refusing.gate.load(path)

    def test_a_table_of_another_ledger_is_refused(self, refusing, tmp_path):
        with pytest.raises(EnforcerError) as caught:
            refusing.gate.load(
                compiled(tmp_path / "t", order(), ledger_size=500, origin="other.example.org/two")
            )
        assert caught.value.advice

    def test_an_older_table_is_refused(self, refusing, tmp_path):
        with pytest.raises(ConflictError):
            refusing.gate.load(compiled(tmp_path / "t", order(), ledger_size=99))
