"""Our errors ⇄ gRPC status with ``google.rpc`` details (AIP-193).

ErrorInfo carries the kind as reason, and the advice and the data as metadata; what concerns
one field is a BadRequest as well. The client gets back the error that the server raised. What
no server of ours said (a network that is down, a message over the limit) becomes an error of
the same six kinds.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from enforcer.errors import (
    ConflictError,
    Datum,
    EnforcerError,
    InputError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)

DOMAIN: Final = "enforcer"
DETAILS_KEY: Final = "grpc-status-details-bin"
TEXT_CHARACTERS_MAX: Final = 500
"""Of each message and datum: details travel in HTTP/2 headers, which are small."""
KINDS: Final[dict[str, type[EnforcerError]]] = {
    kind.__name__: kind
    for kind in (
        InputError,
        ConflictError,
        NotFoundError,
        RefusedError,
        UnavailableError,
        IntegrityError,
    )
}

Trailers: TypeAlias = tuple[tuple[str, bytes], ...]

_GRPC_WORDS: Final = re.compile(
    "failed to connect to all addresses; last error: [A-Z]+: (ipv[46]:)?"
    "|Failed to connect to remote host: "
)
"""What gRPC says around what the system said."""
_INTEGER: Final = re.compile("0|-?[1-9][0-9]{0,15}")
_WORDS: Final[dict[str, Datum]] = {"true": True, "false": False, "null": None}


def status_of(error: EnforcerError) -> tuple[grpc.StatusCode, str, Trailers]:
    """Return code, message and trailing metadata by which a call is to be ended."""
    code = grpc.StatusCode[error.grpc_status]
    message = _text(error.message)
    status = status_pb2.Status(code=code_pb2.Code.Value(error.grpc_status), message=message)
    metadata = {key: _spell(value) for key, value in error.data.items()}
    metadata["advice"] = _text(error.advice)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=type(error).__name__, domain=DOMAIN, metadata=metadata)
    )
    field = error.data.get("field")
    if field and isinstance(field, str):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=metadata["field"], description=f"{message}. {metadata['advice']}"
        )
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    return code, message, ((DETAILS_KEY, status.SerializeToString()),)


def error_of(error: grpc.aio.AioRpcError) -> EnforcerError:
    """Return the error that the server raised, or what the failure of the call amounts to."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            known = _restored(value)
            if known is not None:
                return known
    details = error.details() or "no details"
    match error.code():
        case grpc.StatusCode.RESOURCE_EXHAUSTED if "larger than max" in details:
            return InputError(
                f"the message is over the limit: {details}",
                advice="Send fewer or smaller side files in one call.",
                field="side_files",
            )
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return UnavailableError(
                "no answer came in time",
                advice="Send the same act again: if it was recorded, that gives its receipt.",
            )
        case grpc.StatusCode.UNIMPLEMENTED:
            return UnavailableError(
                "the server does not know this method",
                advice="Check the address, and that both sides run the same version.",
            )
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return UnavailableError(
                f"the server cannot be reached: {_GRPC_WORDS.sub('', details)}",
                advice="Check the address, that it runs, and the certificates of both sides.",
            )
        case code:
            return UnavailableError(
                f"the server failed with {code.name}: {details}",
                advice="Look into the server's log, then try again.",
            )


def _restored(data: bytes) -> EnforcerError | None:
    """Read our own details; None where they are none."""
    info = error_details_pb2.ErrorInfo()
    try:
        status = status_pb2.Status.FromString(data)
        ours = any(
            detail.Unpack(info) and info.domain == DOMAIN and info.reason in KINDS
            for detail in status.details
        )
    except DecodeError:
        return None
    if not ours:
        return None
    metadata = dict(info.metadata)
    advice = metadata.pop("advice", "")
    made = KINDS[info.reason](status.message, advice=advice)
    made.data.update((key, _unspell(value)) for key, value in metadata.items())
    return made


def _spell(value: Datum) -> str:
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    return _text(str(value))


def _text(text: str) -> str:
    """Return what of it a message can carry: bounded, and without lone surrogates."""
    return text[:TEXT_CHARACTERS_MAX].encode("utf-8", "replace").decode("utf-8")


def _unspell(text: str) -> Datum:
    """Read a datum back; a text that looks like a number becomes one, which harms nobody."""
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _INTEGER.fullmatch(text) else text
