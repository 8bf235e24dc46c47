"""C2SP tlog-witness: what a witness may cosign after what it has cosigned; pure, and all of it.

A witness remembers one checkpoint for each log, the latest that it cosigned. It goes on only by
a consistency proof that leads from there to a checkpoint that the log's key signed. It never
goes back, and never signs two roots of one size. Each refusal is an error of the kind that the
document gives a status: InputError 400, RefusedError 403, NotFoundError 404, ConflictError 409,
IntegrityError 422.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from enforcer.core.checkpoint import Checkpoint, open_checkpoint, parse_decimal
from enforcer.core.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency
from enforcer.core.note import Note, VerifierKey, Verify, decode_base64
from enforcer.errors import ConflictError, InputError, IntegrityError, RefusedError

REQUEST_BYTES_MAX: Final = 65_536
PROOF_LINES_MAX: Final = 63

_OLD: Final = "old "


def log_name(origin: str) -> str:
    """Return a log's name as a path can have it."""
    return sha256(origin.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """The body of a request: the size that the witness is at, and the way from there to a note."""

    old_size: int
    proof: tuple[bytes, ...]
    note: bytes

    def format(self) -> bytes:
        """Return the body."""
        lines = [f"{_OLD}{self.old_size}", *(b64encode(each).decode() for each in self.proof)]
        return "\n".join(lines).encode() + b"\n\n" + self.note

    @classmethod
    def parse(cls, body: bytes) -> AddCheckpoint:
        """Read a body; its note is well-formed, and nothing in it is verified.

        Raises:
            InputError: it is none; ``data["line"]`` says where.
        """
        if len(body) > REQUEST_BYTES_MAX:
            raise _bad(f"the request has over {REQUEST_BYTES_MAX} bytes", 1)
        head, blank, note = body.partition(b"\n\n")
        lines = head.decode("ascii", "replace").split("\n")
        if not blank or not lines[0].startswith(_OLD):
            raise _bad("the request does not begin with an old size, a proof, an empty line", 1)
        if len(lines) - 1 > PROOF_LINES_MAX:
            raise _bad(f"the proof has more than {PROOF_LINES_MAX} lines", PROOF_LINES_MAX + 2)
        at = 1
        try:
            old_size = parse_decimal(lines[0].removeprefix(_OLD))
            proof = []
            for at, line in enumerate(lines[1:], 2):
                proof.append(decode_base64(line))
                if len(proof[-1]) != HASH_BYTES:
                    raise _bad(f"a hash of the proof has not {HASH_BYTES} bytes", at)
            at = len(lines) + 2
            Checkpoint.parse(Note.parse(note).text)
        except IntegrityError as error:
            raise _bad(error.message, at) from error
        return cls(old_size, tuple(proof), note)

    @property
    def claimed(self) -> Checkpoint:
        """The checkpoint that the note says; unverified."""
        return Checkpoint.parse(Note.parse(self.note).text)


def judge_checkpoint(
    latest: Checkpoint | None, request: AddCheckpoint, key: VerifierKey, verify: Verify
) -> Checkpoint:
    """Return the checkpoint that may be cosigned after `latest`; None: none was cosigned yet.

    `key` is the log's; that the request is about this log has been looked up by its origin.

    Raises:
        RefusedError: the log's key did not sign it.
        InputError: the old size is above the checkpoint's.
        ConflictError: the old size is not the latest, which is ``data["size"]``; or there are two
            roots for one size, and ``data["problem"]`` is ``split view``.
        IntegrityError: the proof does not lead from the latest to it (``problem`` is ``proof``).
    """
    origin = request.claimed.origin
    try:
        offered = open_checkpoint(request.note, origin, key, verify)
    except IntegrityError as error:
        raise RefusedError(
            error.message,
            advice="Have the checkpoint signed by the key that the witness has for this log.",
            problem=error.data.get("problem"),
        ) from error
    if request.old_size > offered.size:
        raise InputError(
            f"the old size {request.old_size} is above the checkpoint's, {offered.size}",
            advice="Give the size that the witness cosigned last, and a newer checkpoint.",
            line=1,
        )
    seen = latest or Checkpoint(origin, 0, EMPTY_ROOT)
    if request.old_size != seen.size:
        if seen.size == offered.size and seen.root != offered.root:
            raise _split_view(seen, offered)
        raise ConflictError(
            f"the witness is at size {seen.size}, not at {request.old_size}",
            advice="Prove the way from the size that it is at.",
            size=seen.size,
            problem="old size",
        )
    if seen.size == offered.size and seen.root != offered.root:
        raise _split_view(seen, offered)
    if seen.size == 0:
        if request.proof:
            raise IntegrityError(
                "a proof from size 0 has no hashes",
                advice="Leave the proof away.",
                problem="proof",
            )
        return offered
    verify_consistency(seen.size, offered.size, seen.root, offered.root, request.proof)
    return offered


def _split_view(seen: Checkpoint, offered: Checkpoint) -> ConflictError:
    return ConflictError(
        f"the log signed two histories of {seen.size} entries",
        advice="Keep both checkpoints: together they prove that the log lies to somebody.",
        size=seen.size,
        problem="split view",
        expected=seen.root.hex(),
        got=offered.root.hex(),
    )


def _bad(what: str, line: int) -> InputError:
    return InputError(
        what,
        advice="Send `old SIZE`, the proof's hashes, an empty line and the checkpoint "
        "(C2SP tlog-witness).",
        line=line,
    )
