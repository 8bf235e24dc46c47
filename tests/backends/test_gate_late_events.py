"""What happens to streams while a worker is looking elsewhere: it is told of all of it at once."""

import os
import signal
from contextlib import contextmanager
from pathlib import Path

from tests.backends.gate_client import framed, query, reset
from tests.backends.gate_tables import compiled, order
from tests.waiting import eventually

NXDOMAIN, NOERROR = 3, 0
NEVER_MS = 600_000
ROUNDS = 3


@contextmanager
def stopped(gate):
    """Have the gate's one worker look at nothing for a while."""
    (worker,) = gate.workers()
    threads = list(Path(f"/proc/{worker}/task").iterdir())
    os.kill(worker, signal.SIGSTOP)
    try:
        eventually(lambda: all(") T " in (each / "stat").read_text() for each in threads))
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


def send_until_stuck(gate, stream, octets):
    """Send until the gate takes no more of it."""
    heard = -ROUNDS
    left = memoryview(octets)
    stream.setblocking(False)
    other = gate.asking()
    while True:
        try:
            left = left[stream.send(left) :]
        except BlockingIOError:
            before, heard = heard, gate.counters()["received"]
            if heard == before + ROUNDS:
                return
            for _ in range(ROUNDS):  # in which its worker came round to every stream
                other.ask(query())


def test_what_comes_late_of_a_stream_does_not_hit_who_has_its_place(start_gate, tmp_path):
    """One that takes no answers is not listened to: of its end only the worst is told."""
    gate = start_gate(tcp_connections_max=1)
    gate.load(compiled(tmp_path / "t", order()))
    deaf = gate.streaming(receive_octets=4_096)
    send_until_stuck(gate, deaf.socket, framed(query()) * 400_000)
    with stopped(gate):
        newcomer = gate.streaming()
        newcomer.send(query(qid=7))
        reset(deaf.socket)
    reply = newcomer.receive()
    assert (reply[:2], reply[3] & 0x0F) == (b"\0\7", NXDOMAIN)
    assert gate.counters()["tcp_closed_idle"] == 1


def test_a_stream_that_broke_is_asked_no_more(start_gate, resolver):
    """Of many queries at once at most the first finds out, and the others go elsewhere."""
    gate = start_gate(upstream_timeout_ms=NEVER_MS)
    client = gate.streaming()
    assert client.ask(query("first.example"))[3] & 0x0F == NOERROR
    with stopped(gate):
        client.send(*(query(f"{qid}.example", qid=qid) for qid in range(40)))
        resolver.reset_streams()
    for _ in range(40):
        assert client.receive()[3] & 0x0F == NOERROR
    assert gate.counters()["upstream_retried"] <= 1
