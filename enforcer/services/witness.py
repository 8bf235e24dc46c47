"""A witness: it remembers, on disk, what it cosigned of each log, and goes on from there alone.

The rules are core's (`judge_checkpoint`); here is the memory. Always true: what is cosigned was
durable before it was signed, under one lock, so that no crash and no race makes it sign two
histories. A checkpoint that contradicts what was cosigned is kept beside it, for everybody to
see. Refuses a log once it turns out that this memory is older than a cosignature of its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Final

import structlog

from enforcer.core.checkpoint import Checkpoint, open_checkpoint
from enforcer.core.cosignature import CosignerKey, cosign, cosigned_at
from enforcer.core.note import Note, VerifierKey, Verify
from enforcer.core.witness import AddCheckpoint, judge_checkpoint, log_name
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
)
from enforcer.ports import Clock, KeptFiles, Signer

SPLIT_VIEWS_MAX: Final = 100
"""Of all logs; the first ones are kept."""
SPLIT_VIEW_FOLDER: Final = "split-views"

_log: Final = structlog.get_logger(__name__)


class Witness:
    """One witness of some logs; its calls block, and may come from any thread."""

    def __init__(
        self,
        *,
        name: str,
        signer: Signer,
        logs: Mapping[str, VerifierKey],
        files: KeptFiles,
        clock: Clock,
        verify: Verify,
    ) -> None:
        """Read what was cosigned of each of `logs`, origin -> key.

        Raises:
            IntegrityError: a file holds something else than a checkpoint of its log.
            UnavailableError: a file cannot be read.
        """
        self.key = CosignerKey(name, signer.public_key)
        self._signer = signer
        self._logs = dict(logs)
        self._files = files
        self._clock = clock
        self._verify = verify
        self._turn = threading.Lock()
        self._notes: dict[str, bytes] = {}
        """Origin -> the note of the latest checkpoint that was cosigned, as the log signed it."""
        self._outdated = {origin for origin in logs if files.read(_outdated(origin)) is not None}
        for origin, key in logs.items():
            note = files.read(_latest(origin))
            if note is not None:
                open_checkpoint(note, origin, key, verify)
                self._notes[origin] = note

    def add_checkpoint(self, body: bytes) -> bytes:
        """Judge a request and return the cosignature's line (C2SP tlog-witness, add-checkpoint).

        Raises:
            InputError, RefusedError, NotFoundError, ConflictError, IntegrityError: the statuses
                400, 403, 404, 409, 422 of the document.
            UnavailableError: the disk did not take it, or this memory is known to be old.
        """
        request = AddCheckpoint.parse(body)
        origin = request.claimed.origin
        key = self._logs.get(origin)
        if key is None:
            raise NotFoundError(
                "this witness does not know the log",
                advice="Have its operator add the log's origin and key.",
                field="origin",
            )
        with self._turn:
            self._check_memory(origin, request, key)
            latest = self.latest(origin)
            try:
                offered = judge_checkpoint(latest, request, key, self._verify)
            except (ConflictError, IntegrityError) as error:
                self._look_into(origin, request, key, error)
                raise
            if latest is None or offered.size > latest.size:
                self._files.write(_latest(origin), request.note)
                self._notes[origin] = request.note
            t_seconds = self._clock.now_ms() // 1_000
            line = cosign(offered.text, self.key, self._signer.sign, t_seconds)
        return line.text.encode()

    def latest(self, origin: str) -> Checkpoint | None:
        """Return the latest checkpoint of a log that was cosigned, if there is one."""
        note = self._notes.get(origin)
        return Checkpoint.parse(Note.parse(note).text) if note is not None else None

    def latest_note(self, name: str) -> bytes:
        """Return the latest checkpoint that was cosigned, with a line that says so of now.

        `name` is the log's, by `log_name`. It tells nothing that was not signed before; whoever
        goes on with another history, or with less, is told so by a signature.

        Raises:
            NotFoundError: of no such log anything was cosigned.
            UnavailableError: this memory is known to be old.
        """
        with self._turn:
            origin = next((each for each in self._notes if log_name(each) == name), None)
            if origin is None:
                raise NotFoundError(
                    "this witness has cosigned nothing of such a log",
                    advice="The name is the SHA-256 of the log's origin, in hexadecimal digits.",
                )
            if origin in self._outdated:
                raise _outdated_memory()
            note = Note.parse(self._notes[origin])
            line = cosign(note.text, self.key, self._signer.sign, self._clock.now_ms() // 1_000)
        own = next(each for each in note.signatures if each.is_of(self._logs[origin]))
        return Note(note.text, (own, line)).format()

    def split_views(self) -> bytes:
        """Return all pairs of checkpoints that contradict each other, as a JSON array."""
        names = self._files.names(SPLIT_VIEW_FOLDER)
        return b"[" + b",".join(self._files.read(name) or b"null" for name in names) + b"]\n"

    def _look_into(
        self,
        origin: str,
        request: AddCheckpoint,
        key: VerifierKey,
        error: ConflictError | IntegrityError,
    ) -> None:
        """Keep a checkpoint that contradicts, or is not shown to extend, what was cosigned."""
        problem = error.data.get("problem")
        note = self._notes.get(origin)
        if problem not in ("split view", "proof") or note is None:
            return
        is_proven = problem == "split view"
        offered = open_checkpoint(request.note, origin, key, self._verify)
        if is_proven:
            _log.error("split_view", origin=origin, ledger_size=offered.size)
            name = f"{SPLIT_VIEW_FOLDER}/{offered.size}-{offered.root.hex()}.json"
        else:
            # Anybody can send a true checkpoint with a wrong proof: of these only the last one.
            _log.warning("not_shown_to_extend", origin=origin, ledger_size=offered.size)
            name = f"{SPLIT_VIEW_FOLDER}/unproven-{_named(origin)}.json"
        pair = {
            "origin": origin,
            "is_proven": is_proven,
            "cosigned": note.decode(),
            "offered": request.note.decode(),
        }
        try:
            if len(self._files.names(SPLIT_VIEW_FOLDER)) < SPLIT_VIEWS_MAX:
                self._files.write(name, json.dumps(pair, ensure_ascii=False).encode())
        except EnforcerError as failed:  # the answer is what it is all the same
            _log.error("cannot keep a split view", problem=failed.message)

    def _check_memory(self, origin: str, request: AddCheckpoint, key: VerifierKey) -> None:
        """Refuse a log for good once it shows our own cosignature on more than we remember."""
        if origin not in self._outdated and self._is_ahead_of_us(origin, request, key):
            self._files.write(_outdated(origin), request.note)
            self._outdated.add(origin)
        if origin in self._outdated:
            _log.error("memory_is_older_than_a_cosignature", origin=origin)
            raise _outdated_memory()

    def _is_ahead_of_us(self, origin: str, request: AddCheckpoint, key: VerifierKey) -> bool:
        latest = self.latest(origin)
        try:
            shown = open_checkpoint(request.note, origin, key, self._verify)
            if latest is not None and shown.size <= latest.size:
                return False
            return cosigned_at(Note.parse(request.note), self.key, self._verify) is not None
        except IntegrityError:
            return False


def _outdated_memory() -> UnavailableError:
    return UnavailableError(
        "this witness's memory is older than a cosignature of its own",
        advice="Its operator must give it another key, and have trust files name that.",
        problem="outdated",
    )


def _named(origin: str) -> str:
    """Return an origin as a file's name can have it."""
    return log_name(origin)[:32]


def _latest(origin: str) -> str:
    return f"latest/{_named(origin)}.note"


def _outdated(origin: str) -> str:
    return f"outdated/{_named(origin)}.note"
