"""An upgrade without a lost query: the supervisor becomes the new program, sockets and all.

First the new program checks itself and its file, as a child; one that fails, or that would need
other sockets, is refused and nothing has happened. Then this process executes it (execve(2), same
process id) with every descriptor that must live on: queries wait in the sockets, the former
workers serve until each has a successor. What is handed over is described in sealed memory, its
descriptor named by the environment.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

import msgspec
import structlog

from enforcer.backends.forked import flush_printed
from enforcer.backends.gate_messages import sealed_copy
from enforcer.backends.gate_settings import GateSettings
from enforcer.backends.watch import Watch
from enforcer.errors import ConflictError, EnforcerError, IntegrityError, UnavailableError

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What the supervisor handles."""
VARIABLE: Final = "ENFORCER_GATE_HANDOVER"
FORMAT: Final = 1
CHECK_BYTES_MAX: Final = 65_536
CHECK_SECONDS_MAX: Final = 60.0
STATE_BYTES_MAX: Final = 16 << 20

log: Final = structlog.get_logger()


class HandedWorker(msgspec.Struct, frozen=True):
    """One that serves, and the descriptor of its channel."""

    number: int
    region: int
    pid: int
    channel: int


class Handed(msgspec.Struct, frozen=True):
    """What a supervisor leaves to its successor; all but the counts are descriptors.

    A later release may add keys with defaults, and must read these as they are.
    """

    format: int
    fixed: str
    listener: int
    peers: tuple[int, ...]
    sockets: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    """For each worker those for UDP and those for TCP."""
    tables: tuple[int, ...]
    stats: int
    workers: tuple[HandedWorker, ...]
    floor_ms: int
    confirmed_at_ms: int
    counts: dict[str, int]

    @property
    def descriptors(self) -> list[int]:
        """All that must live on."""
        sockets = [fd for pair in self.sockets for kind in pair for fd in kind]
        channels = [each.channel for each in self.workers]
        return [self.listener, *self.peers, *sockets, *self.tables, self.stats, *channels]


def own_command() -> tuple[str, ...]:
    """Return the command line that started this process, as execve(2) wants it."""
    return (sys.executable, *sys.orig_argv[1:])


def fixed_text(settings: GateSettings) -> str:
    """Return in one line what a reload cannot change: a check prints it, to be compared."""
    return json.dumps(settings.fixed, default=str)


def take_over(settings: GateSettings) -> Handed | None:
    """Return what a former image of this process left, or None at a first start.

    Raises:
        IntegrityError: it cannot be understood.
        ConflictError: the settings want other sockets.
    """
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return None
    try:
        fd = int(text)
        data = os.pread(fd, STATE_BYTES_MAX, 0)
        os.close(fd)
        handed = msgspec.json.decode(data, type=Handed)
        for each in handed.descriptors:
            os.set_inheritable(each, False)
    except (ValueError, OSError, msgspec.MsgspecError) as error:
        raise IntegrityError(
            f"what the gate left to its successor is not understood: {error}",
            advice="Restart the gate instead of reloading it.",
        ) from error
    if handed.format != FORMAT or handed.fixed != fixed_text(settings):
        raise _needs_restart()
    return handed


def hand_over(handed: Handed, command: Sequence[str]) -> NoReturn:
    """Become `command`, with all that `handed` names.

    Raises:
        UnavailableError: it cannot be executed; this process goes on as it was.
    """
    fd = sealed_copy(msgspec.json.encode(handed), "enforcer-handover")
    kept = [fd, *handed.descriptors]
    try:
        for each in kept:
            os.set_inheritable(each, True)
        flush_printed()
        # What comes meanwhile waits: it would kill a program that handles no signals yet.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        os.execve(command[0], tuple(command), os.environ | {VARIABLE: str(fd)})  # noqa: S606 - it is us
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        for each in kept:
            os.set_inheritable(each, False)
        os.close(fd)
        raise _cannot_run(command, error) from error


class Checking:
    """The new program's check of itself, while this one goes on."""

    def __init__(
        self,
        command: Sequence[str],
        settings: GateSettings,
        watch: Watch,
        done: Callable[[EnforcerError | None], None],
    ) -> None:
        """Start it; `done` is called once, with what speaks against the reload.

        Raises:
            UnavailableError: it cannot be executed.
        """
        self._watch = watch
        self._done = done
        self._fixed = fixed_text(settings)
        self._out, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            self._pid = os.posix_spawn(
                command[0],
                [*command, "--check"],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 1)],
            )
        except OSError as error:
            os.close(self._out)
            raise _cannot_run(command, error) from error
        finally:
            os.close(theirs)
        self._process = os.pidfd_open(self._pid)
        self._until_seconds = time.monotonic() + CHECK_SECONDS_MAX
        watch.add(self._process, self._ended)

    def tend(self) -> float:
        """Kill it when it takes too long; return the seconds that it has left."""
        left_seconds = self._until_seconds - time.monotonic()
        if left_seconds <= 0:
            os.kill(self._pid, signal.SIGKILL)
            return CHECK_SECONDS_MAX
        return left_seconds

    def _ended(self) -> None:
        self._watch.forget(self._process)
        os.close(self._process)
        _, status = os.waitpid(self._pid, 0)
        said = os.read(self._out, CHECK_BYTES_MAX)
        os.close(self._out)
        if status != 0:
            self._done(_failed(f"exit code {os.waitstatus_to_exitcode(status)}"))
        elif said.decode("utf-8", "replace").strip() != self._fixed:
            self._done(_needs_restart())
        else:
            self._done(None)


def _failed(why: str) -> UnavailableError:
    return UnavailableError(
        f"the new program fails its own check: {why}",
        advice="Run `enforcer gate --check` with the gate's --config; the former program serves.",
    )


def _needs_restart() -> ConflictError:
    return ConflictError(
        "a reload keeps the sockets, and origin, listen, workers, state_dir or control_socket "
        "have changed",
        advice="Put them back, or restart the gate.",
    )


def _cannot_run(command: Sequence[str], error: OSError) -> UnavailableError:
    return UnavailableError(
        f"cannot run {command[0]}: {error.strerror or error}",
        advice="Let the gate's user read and run the program.",
    )
