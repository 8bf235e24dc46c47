"""What happens to streams while a worker is looking elsewhere: it is told of all of it at once."""

import os
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.backends.gate_client import framed, query, reset
from tests.backends.gate_tables import compiled, order
from tests.waiting import eventually

NXDOMAIN, NOERROR = 3, 0
ROUNDS = 3
ESTABLISHED, LISTENING = "01", "0A"
STILL_SECONDS = 0.3  # longer than TCP holds back an acknowledgement


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


def tcp_streams():
    """Return the kernel's streams: their ends, state, octets to be sent and to be read (proc(5)).

    Of a listener, what is to be read are the streams that wait to be taken.
    """
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        (int(local[-4:], 16), int(remote[-4:], 16), state, queues)
        for _, local, remote, state, queues, *_ in rows
    ]


def queues_at(port):
    return sorted(queues for local, _, _, queues in tcp_streams() if local == port)


def has_one_waiting(gate):
    return (gate.place[1], 0, LISTENING, "00000000:00000001") in tcp_streams()


def has_streams_to(resolver):
    """Tell whether the gate's kernel takes a stream to the resolver for a whole one."""
    port = resolver.place[1]
    return any((remote, state) == (port, ESTABLISHED) for _, remote, state, _ in tcp_streams())


def send_until_stuck(gate, stream, octets):
    """Send until the gate takes no more of it, and nothing of it is on its way any more.

    An acknowledgement that was held back makes room in the gate's buffer when it comes.
    """
    left = memoryview(octets)
    stream.setblocking(False)
    other = gate.asking()
    asked, before, still_since = 0, None, time.monotonic()
    while time.monotonic() - still_since < STILL_SECONDS:
        with suppress(BlockingIOError):
            left = left[stream.send(left) :]
        for _ in range(ROUNDS):  # in which its worker came round to every stream
            other.ask(query())
        asked += ROUNDS
        now = gate.counters()["received"] - asked, queues_at(gate.place[1])
        if now != before:
            before, still_since = now, time.monotonic()


def test_what_comes_late_of_a_stream_does_not_hit_who_has_its_place(start_gate, tmp_path):
    """One that takes no answers is not listened to: of its end only the worst is told."""
    gate = start_gate(tcp_connections_max=1)
    gate.load(compiled(tmp_path / "t", order()))
    deaf = gate.streaming(receive_octets=4_096)
    send_until_stuck(gate, deaf.socket, framed(query()) * 400_000)
    with stopped(gate):
        newcomer = gate.streaming()
        newcomer.send(query(qid=7))
        eventually(lambda: has_one_waiting(gate))  # so its worker hears of that one first
        reset(deaf.socket)
    reply = newcomer.receive()
    assert (reply[:2], reply[3] & 0x0F) == (b"\0\7", NXDOMAIN)
    assert gate.counters()["tcp_closed_idle"] == 1


def test_a_stream_that_broke_is_asked_no_more(start_gate, resolver):
    """Of many queries at once at most the first finds out, and the others go elsewhere."""
    gate = start_gate()
    client = gate.streaming()
    assert client.ask(query("first.example"))[3] & 0x0F == NOERROR
    with stopped(gate):
        client.send(*(query(f"{qid}.example", qid=qid) for qid in range(40)))
        assert has_streams_to(resolver)
        resolver.reset_streams()
        eventually(lambda: not has_streams_to(resolver))
    for _ in range(40):
        assert client.receive()[3] & 0x0F == NOERROR
    assert gate.counters()["upstream_retried"] <= 1
