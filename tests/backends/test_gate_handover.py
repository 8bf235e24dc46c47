"""A worker that dies and a program that is upgraded, while somebody asks without a pause."""

import os
import random
import signal
import socket
import struct
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from dnslib import DNSRecord

from tests.backends.gate_client import Asking, query
from tests.backends.gate_tables import compiled, now_ms, order
from tests.backends.gate_world import reaching_python
from tests.waiting import WAIT_SECONDS, eventually

NXDOMAIN = 3
SEED = 20_261_122


class Steady:
    """Somebody who asks all the time, from many ports; what was asked and not answered is lost."""

    def __init__(self, place):
        self.asked = self.answered = 0
        self.failures = []
        self._place = place
        self._random = random.Random(SEED)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watched)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join(WAIT_SECONDS)

    def _watched(self):
        try:
            while not self._is_over.is_set():
                self._ask_some()
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            self.failures.append(error)

    def _ask_some(self):
        with closing(Asking(self._place)) as asking:  # a new port: any of the workers
            expected = {}
            for qid in self._random.sample(range(65_536), self._random.randrange(1, 20)):
                expected[qid] = self._random.choice((NXDOMAIN, 0))
                name = "www.blocked.example" if expected[qid] else "free.example"
                asking.send(query(name, qid=qid))
            self.asked += len(expected)
            for _ in range(len(expected)):
                reply = asking.receive()
                assert expected.pop(struct.unpack("!H", reply[:2])[0]) == reply[3] & 0x0F
                self.answered += 1


class SteadyStream(Steady):
    """The same over TCP: queries in a stream, which ends after some; RFC 7766 §6.2.4 has a client
    ask again, on another stream, what was not answered when the gate closed one.
    """

    def _ask_some(self):
        left = {}
        for qid in self._random.sample(range(65_536), self._random.randrange(1, 20)):
            left[qid] = self._random.choice((NXDOMAIN, 0))
        self.asked += len(left)
        while left:
            with suppress(ConnectionError, EOFError):
                self._ask_on_one(left)

    def _ask_on_one(self, left):
        with socket.create_connection(self._place, WAIT_SECONDS) as stream:
            file = stream.makefile("rb")
            with closing(file):
                for qid, rcode in tuple(left.items()):
                    wire = query("www.blocked.example" if rcode else "free.example", qid=qid)
                    stream.sendall(struct.pack("!H", len(wire)) + wire)
                for _ in range(len(left)):
                    header = file.read(2)
                    if len(header) < 2:
                        raise EOFError
                    reply = file.read(struct.unpack("!H", header)[0])
                    assert left.pop(struct.unpack("!H", reply[:2])[0]) == reply[3] & 0x0F
                    self.answered += 1


@pytest.fixture
def gate(folder, resolver, start_gate, tmp_path):
    """A gate with two workers whose user can run the program again."""
    gate = start_gate(workers=2, prefix=reaching_python())
    gate.load(compiled(tmp_path / "t", order()))
    return gate


def test_three_upgrades_lose_no_query(gate, tmp_path):
    pid, before = gate.process.pid, set(gate.workers())
    with (
        Steady(gate.place) as datagrams,
        SteadyStream(gate.place) as streams,
    ):
        for number in range(3):
            gate.upgrade()
            for steady in (datagrams, streams):
                enough = steady.asked + 20
                eventually(lambda each=steady, least=enough: each.asked > least or each.failures)
                assert steady.failures == []
            gate.load(compiled(tmp_path / "t", order(), ledger_size=101 + number))
    for steady in (datagrams, streams):
        assert steady.failures == []
        assert steady.answered == steady.asked > 60
    assert gate.process.pid == pid
    assert len(gate.workers()) == 2
    assert not before & set(gate.workers())
    assert gate.status().ledger_size == 103
    assert gate.status().counters["tables_loaded"] == 4


def test_an_upgraded_gate_has_its_table_its_time_and_no_right(gate, tmp_path):
    ahead_ms = now_ms() + 3_600_000
    gate.load(compiled(tmp_path / "t", order(), ledger_size=101, time_floor_ms=ahead_ms))
    loaded = gate.load(compiled(tmp_path / "t", order(), ledger_size=102))
    gate.upgrade()
    report = gate.status()
    assert (report.body_sha256, report.rows) == (loaded.body_sha256, loaded.rows)
    verdict = gate.say(b'{"op":"check","qname":"www.blocked.example","qtype":1}')["check"]
    assert verdict["at_ms"] >= ahead_ms
    for pid in (gate.process.pid, *gate.workers()):
        status = Path(f"/proc/{pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status
        assert Path(f"/proc/{pid}/mem").stat().st_uid == 0  # not to be looked into


def test_a_conversation_outlives_the_upgrade(gate):
    with closing(peer_of(gate)) as peer:
        peer.send(b'{"op":"status"}')
        assert b"report" in peer.recv(65_536)
        gate.upgrade()
        peer.send(b'{"op":"status"}')
        assert b"report" in peer.recv(65_536)


@pytest.mark.parametrize("change", [{"listen": [("127.0.0.2", 53)]}, {"workers": 1}])
def test_settings_that_need_other_sockets_are_refused_and_it_serves_on(gate, change):
    refused(gate, change, "restart the gate")


def test_a_program_that_fails_its_own_check_is_refused_and_the_former_serves_on(gate):
    refused(gate, {"allow": ["192.0.2.1/24"]}, "fails its own check")


def test_a_worker_that_is_killed_is_replaced_and_its_queries_wait(gate):
    for _ in range(3):
        victim = gate.workers()[0]
        asking = [gate.asking() for _ in range(16)]  # some of them are the victim's
        gate.stop(victim)
        for each in asking:
            each.send(query())
        os.kill(victim, signal.SIGKILL)
        for each in asking:
            assert DNSRecord.parse(each.receive()).header.rcode == NXDOMAIN
        eventually(lambda gone=victim: gone not in gate.workers() and len(gate.workers()) == 2)
    counters = gate.status().counters
    assert (counters["workers_died"], counters["workers_serving"]) == (3, 2)


def test_a_killed_worker_costs_what_it_had_in_flight_and_its_counts_stay(gate, resolver):
    resolver.respond = lambda wire: [] if b"slow" in wire else resolver.honest(wire)
    for asking in [gate.asking() for _ in range(16)]:  # by chance each worker has some
        asking.send(query("slow.example"))
    for stream in [gate.streaming() for _ in range(16)]:
        assert stream.ask(query())[3] & 0x0F == NXDOMAIN
        stream.send(query("slow.example"))
    eventually(lambda: gate.counters()["in_flight"] == 32)
    victim = gate.workers()[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in gate.workers() and len(gate.workers()) == 2)
    counters = gate.counters()
    assert counters["lost"] + counters["in_flight"] == 32
    assert counters["lost"] > 0
    assert (counters["received"], counters["blocked_nxdomain"]) == (48, 16)
    for number in range(16):
        assert gate.asking().ask(query())[3] & 0x0F == NXDOMAIN
        assert gate.streaming().ask(query(f"{number}.example"))[3] & 0x0F == 0
    counters = gate.counters()
    assert (counters["received"], counters["blocked_nxdomain"]) == (80, 32)


def test_workers_end_with_a_supervisor_that_is_killed(gate):
    workers = gate.workers()
    gate.end(signal.SIGKILL)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def peer_of(gate):
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.settimeout(WAIT_SECONDS)
    peer.connect(str(gate.control))
    return peer


def refused(gate, change, words):
    """Reload with other settings, and see that nothing has changed but the log."""
    workers = gate.workers()
    gate.change(change)
    gate.process.send_signal(signal.SIGHUP)
    eventually(lambda: '"reload_refused"' in gate.log.read_text())
    assert words in gate.log.read_text()
    assert gate.workers() == workers
    with closing(Asking(gate.place)) as asking:
        assert DNSRecord.parse(asking.ask(query())).header.rcode == NXDOMAIN
