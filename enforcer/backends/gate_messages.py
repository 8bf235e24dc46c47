"""What a gate and its node say to each other: JSON, one message a datagram (SOCK_SEQPACKET).

Owns the shapes, their bounds, and how an error crosses whole. A table comes with its request
as a sealed memfd; an answer too long for a datagram goes back the same way. Nothing here names
a client or a query that was asked.
"""

from __future__ import annotations

import fcntl
import os
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from enforcer import errors
from enforcer.errors import Datum, EnforcerError, IntegrityError
from enforcer.ports import GateReport

REQUEST_BYTES_MAX: Final = 4_096
REPLY_BYTES_MAX: Final = 65_536
ATTACHED_BYTES_MAX: Final = 256 << 20
TABLE_BYTES_MAX: Final = 4 << 30
OVERRIDE_SECONDS_MAX: Final = 24 * 3_600
"""A gate enforces again by itself after a day at most."""

BY_MAX: Final = 100
REASON_MAX: Final = 500

SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

_KINDS: Final = {
    kind.__name__: kind
    for kind in (
        errors.InputError,
        errors.ConflictError,
        errors.NotFoundError,
        errors.RefusedError,
        errors.UnavailableError,
        errors.IntegrityError,
    )
}


ModeName: TypeAlias = Literal["enforce", "shadow", "bypass"]


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message; a key that nobody knows is an error."""


class Load(_Message, frozen=True, tag_field="op", tag="load"):
    """Take the base in the memfd that comes along, and the overlay in a second one, if any."""


class Overlay(_Message, frozen=True, tag_field="op", tag="overlay"):
    """Lay the small table in the memfd that comes along over the base that it names."""


class Mode(_Message, frozen=True, tag_field="op", tag="mode"):
    """Do something else than the configuration says, or (ENFORCE) what it says again."""

    mode: ModeName
    by: Annotated[str, Meta(min_length=1, max_length=BY_MAX)]
    reason: Annotated[str, Meta(min_length=1, max_length=REASON_MAX)]
    seconds: Annotated[int, Meta(ge=1, le=OVERRIDE_SECONDS_MAX)] = OVERRIDE_SECONDS_MAX
    """When it ends by itself."""


class Status(_Message, frozen=True, tag_field="op", tag="status"):
    """Say what is held, read back now; hash the table's octets again if `verify`."""

    verify: bool = False


class Check(_Message, frozen=True, tag_field="op", tag="check"):
    """Say what would decide a query of class IN now; it is not counted."""

    qname: Annotated[str, Meta(max_length=1_024)]
    qtype: Annotated[int, Meta(ge=0, le=0xFFFF)]


Request: TypeAlias = Load | Overlay | Status | Check | Mode


class CheckReport(_Message, frozen=True):
    """What decides a name, and why; the words are those of core.verdict."""

    action: str
    cause: str
    kind: str
    denial: str
    zone: str | None
    order_id: str | None
    order_index: int | None
    at_ms: int
    """The time that it was decided for: the clock's, or the table's floor."""
    state: Literal["SERVING", "NO_TABLE"]


class Refusal(_Message, frozen=True):
    """An error of this project, whole."""

    kind: str
    message: str
    advice: str
    data: dict[str, Datum]

    @classmethod
    def of(cls, error: EnforcerError) -> Refusal:
        """Return what `error` says."""
        return cls(type(error).__name__, error.message, error.advice, error.data)

    def error(self) -> EnforcerError:
        """Return the error again, of the same kind."""
        kind = _KINDS.get(self.kind)
        if kind is None:
            raise garbled("it refuses with a kind of error that nobody knows")
        return kind(self.message, advice=self.advice, **self.data)


class Reply(_Message, frozen=True, omit_defaults=True):
    """Exactly one of the four is there."""

    report: GateReport | None = None
    check: CheckReport | None = None
    refusal: Refusal | None = None
    attached_bytes: Annotated[int, Meta(ge=1, le=ATTACHED_BYTES_MAX)] | None = None
    """The reply is in the memfd that comes along, and is this long."""


def sealed_copy(data: bytes | memoryview, name: str) -> int:
    """Return the descriptor of a new memfd with `data`, which nobody can change any more."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        seal(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def seal(fd: int) -> None:
    """Make a memfd unchangeable, for the process that made it as well (fcntl(2))."""
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)


def is_sealed(fd: int) -> bool:
    """Tell whether `fd` is a memfd that can be neither cut, grown nor written."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS) & SEALS == SEALS
    except OSError:  # not a memfd
        return False


def garbled(what: str) -> IntegrityError:
    """Return the error for an answer that no gate of ours would give."""
    return IntegrityError(
        f"the gate's answer is not understood: {what}",
        advice="Run the same release of the node and the gate, then restart both.",
    )
