"""The whole exception tree, cut by what the caller should do.

Six kinds, each with one exit code and one gRPC status; nothing else crosses a border.
An error says what is wrong, where (``field``, ``line``, ``column``, ``index`` in ``data``),
and what to do (``advice``). Backends translate foreign exceptions into these.
"""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias

Datum: TypeAlias = str | int | bool | None

UNEXPECTED_EXIT_CODE: Final = 70  # EX_SOFTWARE of sysexits.h: a defect, not an input


class EnforcerError(Exception):
    """Base of every error this project raises on purpose; never raised itself."""

    exit_code: ClassVar[int] = UNEXPECTED_EXIT_CODE
    grpc_status: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, advice: str, **data: Datum) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.data: dict[str, Datum] = data

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with advice and data, so that errors cross from worker processes whole."""
        return _restored, (type(self), self.message, self.advice, self.data)

    def diagnostics(self) -> str:
        """Return two lines for people: what is wrong, and what to do."""
        return f"{self.message}\n{self.advice}"


class InputError(EnforcerError):
    """What was given is malformed: correct it and call again."""

    exit_code = 2
    grpc_status = "INVALID_ARGUMENT"


class ConflictError(EnforcerError):
    """What was given contradicts what is recorded: look at the present state first."""

    exit_code = 3
    grpc_status = "ABORTED"


class NotFoundError(EnforcerError):
    """What was named does not exist here."""

    exit_code = 4
    grpc_status = "NOT_FOUND"


class RefusedError(EnforcerError):
    """The rules forbid it, for this person, this key, this order or at this time."""

    exit_code = 5
    grpc_status = "PERMISSION_DENIED"


class UnavailableError(EnforcerError):
    """Something needed is away for now: the same call may succeed later."""

    exit_code = 6
    grpc_status = "UNAVAILABLE"


class IntegrityError(EnforcerError):
    """Signed or hashed data is not what it must be: stop trusting its source."""

    exit_code = 7
    grpc_status = "DATA_LOSS"


def _restored(
    kind: type[EnforcerError], message: str, advice: str, data: dict[str, Datum]
) -> EnforcerError:
    return kind(message, advice=advice, **data)
