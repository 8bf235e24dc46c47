"""The feed's keys and bounds: what a publisher writes in Redis, and a node may read there.

Always true: a stream id is the ledger index plus one (``<index+1>-0``), so a gap or a replay
shows by number; everything but the two checkpoints and the two streams is immutable. Nothing here
is believed: sizes are only claimed, until somebody checks a signature.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from enforcer.backends.sealing import SEALED_BYTES_MAX
from enforcer.core.checkpoint import Checkpoint
from enforcer.core.note import Note
from enforcer.core.tile import BUNDLE_BYTES_MAX, ENTRY_BYTES_MAX
from enforcer.errors import IntegrityError, NotFoundError
from enforcer.ports import WAYPOINT_ENTRIES, Delta

STREAM_ENTRIES_MIN: Final = 512
"""The stream is cut at multiples of this, so it keeps this many and at most twice as many."""
STOPS_MAX: Final = 1_000
CHUNK_BYTES: Final = 1 << 20
LIST_BYTES_MAX: Final = SEALED_BYTES_MAX
CHECKPOINT_BYTES_MAX: Final = 16_384
MANIFEST_BYTES_MAX: Final = 128
STOP_BYTES_MAX: Final = ENTRY_BYTES_MAX
UPDATE_LEAVES_MAX: Final = 16_384
UPDATE_BYTES_MAX: Final = 32 << 20
READ_ENTRIES_MAX: Final = 128
"""Entries asked for at once: with their checkpoints they stay under `REPLY_BYTES_MAX`."""
REPLY_BYTES_MAX: Final = BUNDLE_BYTES_MAX + (4 << 20)

ENTRY_FIELD: Final = b"entry"
CHECKPOINT_FIELD: Final = b"checkpoint"
ENVELOPE_FIELD: Final = b"envelope"

NODE_COMMANDS: Final = ("getrange", "xrange", "xread", "xrevrange", "ping")
"""All that a node's Redis user needs; none of them writes."""
PUBLISHER_COMMANDS: Final = (
    *("ping", "info", "multi", "exec", "del", "set", "getrange", "strlen"),
    *("xadd", "xlen", "xrange", "xtrim", "scan"),
)
"""All that the control plane's Redis user needs."""


@dataclass(frozen=True, slots=True)
class FeedKeys:
    """The keys of one ledger's feed; the braces keep them on one cluster slot."""

    origin: str

    @property
    def prefix(self) -> str:
        """What every key of the feed begins with."""
        return f"feed:{{{self.origin}}}:"

    @property
    def glob(self) -> str:
        """What Redis finds all keys of the feed by."""
        return escaped(self.prefix) + "*"

    @property
    def head(self) -> str:
        """The newest checkpoint."""
        return self.prefix + "head"

    @property
    def cosigned(self) -> str:
        """The newest checkpoint that has cosignatures; it may lag behind the head."""
        return self.prefix + "cosigned"

    @property
    def log(self) -> str:
        """The stream of the last entries."""
        return self.prefix + "log"

    @property
    def stops(self) -> str:
        """The stream of signed stops that may not be in the ledger yet."""
        return self.prefix + "stops"

    def bundle(self, index: int) -> str:
        """Return the key of a full entry bundle (C2SP tlog-tiles)."""
        return f"{self.prefix}bundle:{index}"

    def waypoint(self, size: int) -> str:
        """Return the key of the checkpoint of so many entries, a multiple of `WAYPOINT_ENTRIES`."""
        return f"{self.prefix}checkpoint:{size}"

    def manifest(self, name: str) -> str:
        """Return the key that says how long a list is; written when all its chunks are there.

        `name` is its SHA-256, or a delta's name.
        """
        return f"{self.prefix}list:{name}"

    def chunk(self, name: str, at: int) -> str:
        """Return the key of one chunk of a target list, or of a delta."""
        return f"{self.prefix}list:{name}:{at}"

    def list_of(self, key: str) -> str | None:
        """Return the SHA-256 or the delta's name that a key is about; None: it is of no list.

        Of a wrap it is the sealed list's.
        """
        kind, _, rest = key.removeprefix(self.prefix).partition(":")
        if not key.startswith(self.prefix) or kind not in ("list", "wrap"):
            return None
        sha256, *parts = rest.split(":")
        is_delta = kind == "list" and parts[:1] == ["from"] and len(parts) > 1
        return delta_name((sha256, parts[1])) if is_delta else sha256

    def wrap(self, sealed_sha256: str, key_id: str) -> str:
        """Return the key of a sealed list's wrap for one receiver."""
        return f"{self.prefix}wrap:{sealed_sha256}:{key_id}"


def delta_name(delta: Delta) -> str:
    """Return under what name a delta stands beside the lists."""
    return ":from:".join(delta)


@dataclass(frozen=True, slots=True)
class Manifest:
    """How many bytes a target list, or a delta, has."""

    size_bytes: int

    @classmethod
    def of(cls, path: Path) -> Manifest:
        """Measure the list in a file."""
        return cls(path.stat().st_size)

    @property
    def chunks(self) -> int:
        """Into how many chunks they are cut, all but the last of `CHUNK_BYTES`."""
        return -(-self.size_bytes // CHUNK_BYTES)

    def chunk_bytes(self, at: int) -> int:
        """Return how long chunk `at` is."""
        return min(CHUNK_BYTES, self.size_bytes - at * CHUNK_BYTES)

    def format(self) -> bytes:
        """Return the one spelling."""
        return b'{"bytes":%d,"chunks":%d}' % (self.size_bytes, self.chunks)

    @classmethod
    def parse(cls, data: bytes, size_bytes_max: int = LIST_BYTES_MAX) -> Manifest | None:
        """Read a manifest; None for what is none, or of a list that cannot be."""
        try:
            plain = json.loads(data)
            size_bytes = plain["bytes"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        if type(size_bytes) is not int or not 0 < size_bytes <= size_bytes_max:
            return None
        made = cls(size_bytes)
        return made if made.format() == data else None


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One message of the log stream, as it claims to be."""

    index: int
    leaf: bytes
    checkpoint: bytes

    @property
    def is_last_of_batch(self) -> bool:
        """Tell whether its checkpoint claims to end with this entry."""
        return claimed_size(self.checkpoint) == self.index + 1


def stream_id(index: int) -> str:
    """Return the stream id of the entry `index`."""
    return f"{index + 1}-0"


def stream_floor(size: int) -> int:
    """Return the first index that the stream keeps when the ledger has `size` entries."""
    return max(size // STREAM_ENTRIES_MIN - 1, 0) * STREAM_ENTRIES_MIN


def next_waypoint(size: int, end: int) -> int | None:
    """Return the waypoint to read to from `size` entries on; None: there is none before `end`."""
    following = (size // WAYPOINT_ENTRIES + 1) * WAYPOINT_ENTRIES
    return following if following < end else None


def read_entry(identity: bytes, fields: Mapping[bytes, bytes]) -> StreamEntry | None:
    """Read one message of the log stream; None for what the publisher never writes."""
    leaf, checkpoint = fields.get(ENTRY_FIELD), fields.get(CHECKPOINT_FIELD)
    number, _, part = identity.partition(b"-")
    if leaf is None or checkpoint is None or len(fields) != 2 or part != b"0":
        return None
    if not 0 < len(leaf) <= ENTRY_BYTES_MAX or len(checkpoint) > CHECKPOINT_BYTES_MAX:
        return None
    return StreamEntry(int(number) - 1, leaf, checkpoint)


def claimed_size(note: bytes | None) -> int:
    """Return the size that a checkpoint note claims, unverified; 0 when it is no note."""
    if note is None:
        return 0
    try:
        return Checkpoint.parse(Note.parse(note).text).size
    except IntegrityError:
        return 0


def node_acl(origin: str) -> tuple[str, ...]:
    """Return the rules of a Redis user (ACL SETUSER) who can read this feed and nothing else."""
    return _acl(origin, NODE_COMMANDS)


def publisher_acl(origin: str) -> tuple[str, ...]:
    """Return the rules of a Redis user who can write this feed and nothing else."""
    return _acl(origin, PUBLISHER_COMMANDS)


def _acl(origin: str, commands: Sequence[str]) -> tuple[str, ...]:
    return ("-@all", *(f"+{command}" for command in commands), f"~{FeedKeys(origin).glob}")


def escaped(text: str) -> str:
    """Return a pattern of Redis that fits this text alone."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", text)


def no_wrap(sealed_sha256: str) -> NotFoundError:
    """Return the error of a wrap that a feed does not have."""
    return NotFoundError(
        f"the feed has no wrap of the sealed list {sealed_sha256} for this receiver",
        advice="Ask the control plane for it.",
        field="sealed_sha256",
    )
