"""A gate's process: its control socket, its rights, what it refuses at its start, how it ends."""

import asyncio
import json
import os
import socket
import struct
import threading
from pathlib import Path

import pytest
from dnslib import DNSRecord

from enforcer.errors import InputError, UnavailableError
from tests.backends.gate_client import query
from tests.backends.gate_tables import HOUR_MS, compiled, now_ms, order
from tests.backends.gate_world import GateUnderTest
from tests.waiting import WAIT_SECONDS, eventually


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
        gate = start_gate()
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
        assert gate.asking().ask(query())  # what it had read before is wiped by now
        assert address not in memory(gate)

    def test_neither_clients_nor_names_are_in_the_log_or_the_report(self, gate, tmp_path):
        gate.load(compiled(tmp_path / "t", order()))
        clients = ["127.91.7.3", "127.92.8.4", "127.93.9.5"]
        for source in clients:
            each = gate.asking(source=source)
            for name in ("secret.blocked.example", "secret.free.example"):
                each.ask(query(name))
            each.ask(query("secret.example")[:-1])
        status = str(gate.say(b'{"op":"status"}'))
        gate.end()
        for text in (gate.log.read_text(), status):
            assert "secret" not in text
            assert [each for each in clients if each in text] == []


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
