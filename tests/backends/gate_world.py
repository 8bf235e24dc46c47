"""A gate as a process of its own on loopback, a resolver behind it, and a client before it."""

import asyncio
import json
import os
import pwd
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

from dnslib import EDNS0, QTYPE, RR, A, DNSHeader, DNSRecord

from enforcer._native.compiler import compile_overlay, compile_table
from enforcer._native.counts import COUNTER_NAMES, FATES, UPSTREAM_FATES
from enforcer._native.probe import body_sha256
from enforcer.backends.gate_messages import sealed_copy
from enforcer.backends.gate_socket import GateClient
from enforcer.backends.sealed_table import sealed_copy_of
from enforcer.core.table import (
    NO_LOCAL_LAYER,
    Binding,
    DnsMeasure,
    IpMeasure,
    OrderRow,
    PolicyRef,
    table_digest,
)
from enforcer.ports import GateReport

ROOT = Path(__file__).resolve().parent.parent.parent
ORIGIN = "ledger.example.org/one"
REGISTER_URL = "https://register.example.org/orders/"
REGISTER_DOMAIN = "register.example.org"
WAIT_SECONDS = 20.0  # for what must come; a test that passes never waits that long
HOUR_MS = 3_600_000
NXDOMAIN, NODATA, SERVFAIL = 3, 0, 2
PROBE = b"\0\0\2\0\1"  # the root's NS, class IN
PROXY_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

MAIN = """
import json, sys
from pathlib import Path
from enforcer.backends.gate_process import check, run
from enforcer.backends.gate_settings import GateSettings
settings = json.loads(Path(sys.argv[1]).read_text())
for key in ("state_dir", "control_socket"):
    settings[key] = Path(settings[key])
for key in ("listen", "upstreams"):
    settings[key] = tuple(map(tuple, settings[key]))
settings = GateSettings(**settings)
if "--check" in sys.argv:
    print(check(settings))
    sys.exit(0)
def ready(places):
    print(json.dumps(places), flush=True)
sys.exit(run(settings, ready))
"""

# Gives whoever this root becomes a way to the interpreter, in a world of mounts of its own.
REACHABLE = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/home && mount --bind "$1" /mnt/home
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/$2" && mount --bind "/mnt/home/$2" "$1/$2"
shift 2
exec "$@"
"""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def order(
    index: int = 7,
    names: bytes = b"subtree blocked.example\n",
    *,
    measure: DnsMeasure = DnsMeasure.NEGATIVE,
    binding: Binding = Binding.BINDING,
    from_ms: int = 0,
    until_ms: int | None = None,
) -> tuple[OrderRow, bytes]:
    row = OrderRow(
        index=index,
        order_id=f"XX-2026-{index:06}",
        version=1,
        target_list_sha256=sha256(names).hexdigest(),
        target_count=names.count(b"\n"),
        dns_measure=measure,
        ip_measure=IpMeasure.REJECT,
        binding=binding,
        from_ms=from_ms,
        until_ms=now_ms() + HOUR_MS if until_ms is None else until_ms,
    )
    return row, names


def compiled(
    path: Path,
    *orders: tuple[OrderRow, bytes],
    ledger_size: int = 100,
    time_floor_ms: int = 1_700_000_000_000,
    origin: str = ORIGIN,
    core: bytes = b"",
) -> Path:
    rows = [row for row, _ in orders]
    with path.open("w+b") as file:
        compile_table(
            file.fileno(),
            origin=origin,
            ledger_size=ledger_size,
            time_floor_ms=time_floor_ms,
            table_digest=table_digest(origin, PolicyRef(0, "0" * 64), rows, NO_LOCAL_LAYER),
            secret=b"0123456789abcdef",
            register_url=REGISTER_URL,
            register_domain=REGISTER_DOMAIN,
            orders=orders,
            core=core,
        )
    return path


def laid_over(
    path: Path,
    base: Path,
    *rows: OrderRow,
    new: Iterable[tuple[OrderRow, bytes]] = (),
    ledger_size: int = 101,
    time_floor_ms: int = 1_700_000_000_000,
    origin: str = ORIGIN,
    base_sha256: str | None = None,
) -> Path:
    """Compile an overlay of `base` in which `rows` of that and the `new` orders count."""
    new = list(new)
    every = sorted((*rows, *(row for row, _ in new)), key=lambda row: row.index)
    with path.open("w+b") as file:
        compile_overlay(
            file.fileno(),
            origin=origin,
            ledger_size=ledger_size,
            time_floor_ms=time_floor_ms,
            table_digest=table_digest(origin, PolicyRef(0, "0" * 64), every, NO_LOCAL_LAYER),
            secret=b"0123456789abcdef",
            register_url=REGISTER_URL,
            register_domain=REGISTER_DOMAIN,
            base_sha256=base_sha256 or body_sha256(base.read_bytes()),
            rows=every,
            orders=new,
        )
    return path


def eventually(holds: Callable[[], object], within_seconds: float = WAIT_SECONDS) -> object:
    """Return what `holds` returns, once that is true."""
    until = time.monotonic() + within_seconds
    while not (found := holds()):
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.01)
    return found


def framed(*wires: bytes) -> bytes:
    """Return messages as a stream carries them (RFC 1035 §4.2.2)."""
    return b"".join(struct.pack("!H", len(wire)) + wire for wire in wires)


def reset(stream: socket.socket) -> None:
    """Close a stream so that its peer hears of an error (RST)."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


def proxy_head(
    client: tuple[str, int], local: tuple[str, int], *, is_stream: bool = False
) -> bytes:
    """Return the PROXY protocol's header, version 2, that says `client` asked `local`."""
    one, other = ip_address(client[0]), ip_address(local[0])
    family = (0x10 if one.version == 4 else 0x20) | (0x01 if is_stream else 0x02)
    body = one.packed + other.packed + struct.pack("!HH", client[1], local[1])
    return PROXY_SIGNATURE + struct.pack("!BBH", 0x21, family, len(body)) + body


def without_head(octets: bytes) -> tuple[bytes, bytes]:
    """Part a PROXY header, if there is one, from what is behind it."""
    if not octets.startswith(PROXY_SIGNATURE):
        return b"", octets
    length = 16 + struct.unpack("!H", octets[14:16])[0]
    return octets[:length], octets[length:]


class Resolver:
    """What is behind the gate, over UDP and TCP; `respond` makes the messages that answer one."""

    def __init__(self) -> None:
        self.respond: Callable[[bytes], Iterable[bytes]] = self.honest
        self.seen: list[bytes] = []
        self.seen_tcp: list[bytes] = []
        self.sources: list[tuple[str, int]] = []
        """Where the datagrams in `seen` came from."""
        self.heads: list[bytes] = []
        """The PROXY headers before them, and before those in `seen_tcp`."""
        self.is_alive = True
        self.place = ("127.0.0.1", 0)
        self.live()

    def live(self) -> None:
        """Listen, at the port that it had before, if any."""
        while True:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind(self.place)
            self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self._listener.bind(self._socket.getsockname())
            except OSError:  # another's, over TCP
                self._socket.close()
                self._listener.close()
                if self.place[1]:
                    raise
                continue
            break
        self._listener.listen(128)
        self.place = self._socket.getsockname()
        self._streams: list[socket.socket] = []
        self._threads = [threading.Thread(target=each) for each in (self._run, self._accept)]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def honest(query: bytes) -> Iterator[bytes]:
        asked = DNSRecord.parse(query)
        reply = asked.reply(ra=1, aa=0)
        if asked.q.qclass == 1 and asked.q.qtype == QTYPE.A:
            octet = sum(bytes(asked.q.qname.label[0])) % 256 if asked.q.qname.label else 1
            reply.add_answer(RR(asked.q.qname, QTYPE.A, ttl=60, rdata=A(f"192.0.2.{octet}")))
        if asked.ar:
            reply.add_ar(EDNS0(udp_len=1232))
        yield reply.pack()

    @staticmethod
    def mirror(query: bytes) -> Iterator[bytes]:
        """Answer anything at all with itself, made a response."""
        yield query[:2] + bytes([query[2] | 0x80]) + query[3:]

    def _run(self) -> None:
        while True:
            octets, client = self._socket.recvfrom(65_535)
            if octets == b"end":
                return
            head, query = without_head(octets)
            if query[12:17] == PROBE:  # whether it lives: nobody asks that
                if self.is_alive:
                    for reply in self.honest(query):
                        self._socket.sendto(reply, client)
                continue
            self.heads += [head] if head else []
            self.sources.append(client)
            self.seen.append(query)
            for reply in self.respond(query):
                self._socket.sendto(reply, client)

    def _accept(self) -> None:
        while True:
            stream, _ = self._listener.accept()
            if not self._is_listening:
                stream.close()
                return
            self._streams.append(stream)
            self._threads.append(threading.Thread(target=self._serve, args=(stream,)))
            self._threads[-1].start()

    def _serve(self, stream: socket.socket) -> None:
        with suppress(OSError):  # the gate hangs up, or this one does
            octets = b""
            while more := stream.recv(65_535):
                head, octets = without_head(octets + more)
                self.heads += [head] if head else []
                while len(octets) >= 2 and len(octets) >= 2 + int.from_bytes(octets[:2]):
                    length = 2 + int.from_bytes(octets[:2])
                    query, octets = octets[2:length], octets[length:]
                    self.seen_tcp.append(query)
                    stream.sendall(framed(*self.respond(query)))

    _is_listening = True

    def die(self) -> None:
        """Hang up and listen no more, until `live`."""
        self._is_listening = False
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"end", self.place)
        with socket.create_connection(self.place):
            self._threads[1].join(WAIT_SECONDS)
        for stream in self._streams:
            with suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
        for each in (self._socket, self._listener, *self._streams):
            each.close()
        self._is_listening = True

    def reset_streams(self) -> None:
        """Break every stream that was opened to it."""
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.shutdown(socket.SHUT_RD)
        for thread in self._threads[2:]:
            thread.join(WAIT_SECONDS)
        for stream in streams:
            reset(stream)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self.die()


class Asking:
    """A client of the gate with one socket."""

    def __init__(self, place: tuple[str, int], source: str | None = None) -> None:
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        if source is not None:
            self.socket.bind((source, 0))
        self.socket.connect(place)
        self.socket.settimeout(WAIT_SECONDS)

    def close(self) -> None:
        self.socket.close()

    def send(self, wire: bytes) -> None:
        self.socket.send(wire)

    def receive(self) -> bytes:
        return self.socket.recv(65_535)

    def ask(self, wire: bytes) -> bytes:
        self.send(wire)
        return self.receive()

    def is_silent(self) -> bool:
        """Tell whether nothing has come; a later query must have been answered before."""
        self.socket.settimeout(0.0)
        try:
            self.socket.recv(65_535)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(WAIT_SECONDS)
        return False


class AskingStream:
    """A client of the gate over TCP."""

    def __init__(
        self, place: tuple[str, int], source: str | None = None, *, receive_octets: int = 0
    ) -> None:
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(WAIT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_octets:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_octets)
        if source is not None:
            self.socket.bind((source, 0))
        self.socket.connect(place)
        self._came = bytearray()

    def close(self) -> None:
        self.socket.close()

    def send(self, *wires: bytes) -> None:
        self.socket.sendall(framed(*wires))

    def receive(self) -> bytes:
        """Return the next message, or b"" when the gate has hung up."""
        while len(self._came) < 2 or len(self._came) < 2 + int.from_bytes(self._came[:2]):
            try:
                more = self.socket.recv(65_535)
            except ConnectionResetError:
                more = b""
            if not more:
                assert not self._came
                return b""
            self._came += more
        length = 2 + int.from_bytes(self._came[:2])
        wire = bytes(self._came[2:length])
        del self._came[:length]
        return wire

    def ask(self, wire: bytes) -> bytes:
        self.send(wire)
        return self.receive()


def query(
    name: str = "www.blocked.example",
    qtype: int = 1,
    *,
    qid: int = 0x4711,
    edns: int | None = 1232,
    qclass: int = 1,
    flags: int = 0x0100,
    dnssec_ok: bool = False,
) -> bytes:
    record = DNSRecord(DNSHeader(id=qid, bitmap=flags))
    record.add_question(DNSRecord.question(name, qtype="A").q)
    record.q.qtype, record.q.qclass = qtype, qclass
    if edns is not None:
        record.add_ar(EDNS0(udp_len=edns, flags="do" if dnssec_ok else ""))
    return record.pack()


class GateUnderTest:
    """The process, and its node's side of the control socket."""

    def __init__(
        self,
        folder: Path,
        resolver: tuple[str, int],
        *,
        env: dict[str, str] | None = None,
        prefix: Iterable[str] = (),
        **settings: object,
    ) -> None:
        self.env = os.environ | (env or {})
        self._prefix = list(prefix)
        self._file = folder / "settings.json"
        self.settings = {
            "origin": ORIGIN,
            "listen": [("127.0.0.1", 0)],
            "upstreams": [resolver],
            "state_dir": str(folder / "state"),
            "control_socket": str(folder / "gate.sock"),
            "user": "nobody" if os.getuid() == 0 else None,
            **settings,
        }
        self.change({})
        self.control = folder / "gate.sock"
        self.log = folder / "gate.log"
        self.client = GateClient(self.control)
        self.process: subprocess.Popen[str] | None = None
        self.places: list[tuple[str, int]] = []
        self.open = ExitStack()

    def start(self, stderr: Path | int | None = None) -> "GateUnderTest":
        """Start it and wait until it serves; it logs to `stderr`, or into `log`."""
        with open(self.log if stderr is None else stderr, "ab") as log:
            self.process = subprocess.Popen(
                [*self._prefix, sys.executable, "-c", MAIN, str(self._file)],
                cwd=ROOT,
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                extra_groups=[1] if os.getuid() == 0 else None,  # one more right to lose
            )
        self.wait_until_ready()
        return self

    def change(self, settings: dict[str, object]) -> None:
        """Change what its next start, or the next upgrade, finds in its file."""
        self.settings |= settings
        self._file.write_text(json.dumps(self.settings))
        self._file.chmod(0o644)

    def wait_until_ready(self) -> None:
        """Wait until the process, or what it became, says where it serves."""
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"{self._end_of_it()}, having said:\n{self.log.read_text()}")
        self.places = [tuple(place) for place in json.loads(line)]

    def _end_of_it(self) -> str:
        """Say, for a failure's words, how the process ended that says nothing more."""
        process, self.process = self.process, None
        with process:
            try:
                return f"it ended with {process.wait(WAIT_SECONDS)}"
            except subprocess.TimeoutExpired:
                process.kill()
                return "it ran with its output closed"

    def upgrade(self) -> None:
        """Have it become the program as it is now, and wait until only new workers serve."""
        complete = self.log.read_text().count('"handover_complete"')
        self.process.send_signal(signal.SIGHUP)
        self.wait_until_ready()
        eventually(lambda: self.log.read_text().count('"handover_complete"') > complete)

    @property
    def place(self) -> tuple[str, int]:
        return self.places[0]

    def asking(self, number: int = 0, *, source: str | None = None) -> Asking:
        return self.open.enter_context(closing(Asking(self.places[number], source)))

    def streaming(
        self, number: int = 0, *, source: str | None = None, receive_octets: int = 0
    ) -> AskingStream:
        place = self.places[number]
        made = AskingStream(place, source, receive_octets=receive_octets)
        return self.open.enter_context(closing(made))

    def load(self, path: Path, overlay: Path | None = None) -> GateReport:
        """Hand over the base in a file, and the overlay in another."""
        with ExitStack() as stack:
            tables = [
                stack.enter_context(closing(sealed_copy_of(each)))
                for each in (path, overlay)
                if each is not None
            ]
            return asyncio.run(self.client.load(*tables))

    def overlay(self, path: Path) -> GateReport:
        """Hand over the overlay in a file."""
        with closing(sealed_copy_of(path)) as table:
            return asyncio.run(self.client.overlay(table))

    def set_mode(self, mode: str, **more: object) -> dict:
        """Say as its operator what it is to do."""
        said = {"op": "mode", "mode": mode, "by": "an.nguyen", "reason": "it broke"} | more
        return self.say(json.dumps(said).encode())

    def status(self) -> GateReport:
        return asyncio.run(self.client.status())

    def counters(self) -> dict[str, int]:
        """Return the counters, after holding each sum that they must make.

        They are read while others count, so a sum may be short of what is just being counted.
        """

        def whole() -> dict[str, int] | None:
            counters = self.status().counters
            assert set(COUNTER_NAMES) <= set(counters)
            fates = sum(counters[name] for name in (*FATES, "in_flight"))
            upstream_fates = sum(counters[name] for name in UPSTREAM_FATES)
            sums = counters["received"], counters["upstream_received"]
            return counters if sums == (fates, upstream_fates) else None

        return eventually(whole)

    def say(self, message: bytes, *, data: bytes | None = None, fds: Iterable[int] = ()) -> dict:
        """Send `message` (and `data` in a sealed memfd, or `fds`) and return the reply's JSON."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
            peer.settimeout(WAIT_SECONDS)
            peer.connect(str(self.control))
            fds = [sealed_copy(data, "test")] if data is not None else list(fds)
            socket.send_fds(peer, [message], fds)
            for fd in fds:
                os.close(fd)
            return json.loads(peer.recv(65_536))

    def workers(self) -> list[int]:
        """Return the process ids of its workers that live and have ever served."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        served = re.findall(r'"pid": (\d+), "event": "worker_serves"', self.log.read_text())
        return [int(each) for each in served if each in children]

    def end(self, number: int = signal.SIGTERM) -> int:
        process = self.process
        self.process = None
        process.send_signal(number)
        try:
            return process.wait(WAIT_SECONDS)
        finally:
            process.kill()  # does nothing to one that has ended
            process.wait()
            process.stdout.close()


def reaching_python() -> list[str]:
    """Return what to put before a command so that its user `nobody` can run this interpreter.

    An interpreter below a home that is its owner's alone is out of reach for everybody else.
    """
    for folder in reversed(Path(sys.executable).resolve().parents):
        if os.getuid() == 0 and not folder.stat().st_mode & 0o001:
            below = Path(sys.executable).resolve().relative_to(folder).parts[0]
            return ["unshare", "-m", "sh", "-c", REACHABLE, "sh", str(folder), below]
    return []


@contextmanager
def gate_folder(base: Path) -> Iterator[Path]:
    """Yield a folder that an unprivileged gate can reach when its test runs as root."""
    if os.getuid() != 0:
        yield base
        return
    # pytest's folders are root's alone.
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="enforcer-gate-") as name:
        os.chown(name, nobody.pw_uid, nobody.pw_gid)
        yield Path(name)
