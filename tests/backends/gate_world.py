"""A gate as a process of its own on loopback, and its node's side of the control socket."""

import asyncio
import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from enforcer._native.counts import COUNTER_NAMES, FATES, UPSTREAM_FATES
from enforcer.backends.gate_messages import sealed_copy
from enforcer.backends.gate_socket import GateClient
from enforcer.backends.sealed_table import sealed_copy_of
from enforcer.ports import GateReport
from tests.backends.gate_client import Asking, AskingStream
from tests.backends.gate_tables import ORIGIN
from tests.waiting import NEVER_MS, WAIT_SECONDS, eventually

ROOT = Path(__file__).resolve().parent.parent.parent

NEVER = {"upstream_timeout_ms": NEVER_MS, "upstream_try_ms": NEVER_MS}

MAIN = """
import json, sys
from pathlib import Path
from enforcer.backends import gate_golden
from enforcer.backends.gate_process import check, run
from enforcer.backends.gate_settings import GateSettings
settings = json.loads(Path(sys.argv[1]).read_text())
gate_golden.WAIT_SECONDS = settings.pop("golden_wait_seconds", gate_golden.WAIT_SECONDS)
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

# To be lost. Set by a program of its own: what Popen sets itself, it sets in a copy of this
# process, which may end there because of gRPC's threads here.
ONE_MORE_RIGHT = ["setpriv", "--groups", "1"] if os.getuid() == 0 else []

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


class GateUnderTest:
    """The process, and its node's side of the control socket.

    It gives up no query and no resolver that is slow, unless a test says when: a busy machine may
    halt for longer than a gate of its own would wait. One that is not patient is as it is shipped.
    """

    def __init__(
        self,
        folder: Path,
        resolver: tuple[str, int],
        *,
        env: dict[str, str] | None = None,
        prefix: Iterable[str] = (),
        is_patient: bool = True,
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
            **(NEVER if is_patient else {}),
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
                [*ONE_MORE_RIGHT, *self._prefix, sys.executable, "-c", MAIN, str(self._file)],
                cwd=ROOT,
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.wait_until_ready()
        return self

    def stop(self, pid: int) -> None:
        """Have one of its processes halt, and return when none of its threads runs any more."""
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: all(") T " in (each / "stat").read_text() for each in threads))

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
