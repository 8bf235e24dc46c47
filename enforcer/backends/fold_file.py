"""A kept fold in a file of its own: :class:`enforcer.ports.FoldStore`.

Frames of msgpack, read by the types of what they hold and by no others; a head that names the
code, the trust file, the ledger, its size and root; and its owner's signature over all of it.
Always true: what is not whole, not ours, of other code or of another trust file is as good as
absent. It is written and read in parts, so that nobody waits long for the interpreter, and never
mapped: a sector that cannot be read would be a SIGBUS.
"""

from __future__ import annotations

import os
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, make_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar, get_type_hints

import msgspec
import structlog

from enforcer import core
from enforcer.backends import durable
from enforcer.core.envelope import Verify
from enforcer.core.running import Additions, LiveOrders
from enforcer.core.sharing import one, share_record
from enforcer.core.state import OrderRecord, State
from enforcer.core.trust import Trust
from enforcer.errors import EnforcerError, IntegrityError
from enforcer.ports import KeptFold, KeptHistory, Signer

CONTEXT: Final = b"enforcer: a kept fold\n"
FORMAT: Final = 1
FOLD_FILE: Final = "fold"
"""Its name beside a ledger."""
READ_BYTES: Final = 1 << 20
ORDERS_IN_FRAME: Final = 500
PAIRS_IN_FRAME: Final = 20_000
SIGNATURE_BYTES: Final = 64
_LENGTH_BYTES: Final = 4
PACKAGE: Final = Path(core.__file__).parents[1]
FOLDING: Final = (
    *("core/*.py", "services/replica.py", "services/witnessed.py"),
    *("services/warm_fold.py", "services/order_history.py"),
)
"""Files of the package that decide what a kept fold holds."""

T = TypeVar("T")

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Head:
    format: int
    code_sha256: str
    trust_sha256: str
    size: int
    root: bytes
    ineffective: tuple[int, ...]
    witnessed_size: int
    changes: tuple[tuple[int, int, int], ...]
    has_history: bool


@dataclass(frozen=True, slots=True)
class _History:
    several: tuple[tuple[int, tuple[int, ...]], ...]
    reviews: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Sums:
    live: dict[int, tuple[int, int]]
    growth: dict[str, tuple[list[tuple[int, int]], int]]


_APART: Final = {
    *("verify", "root_keys", "size", "live", "growth"),
    *("orders", "index_of_payload", "index_of_request"),
}
"""Fields of a state that are long, or follow from the rest, or need another form."""
_PLAIN: Final = [each.name for each in fields(State) if each.name not in _APART]
# By the state's own types, so that a field that is new there is kept as well.
_Body: Final = make_dataclass("_Body", [(name, get_type_hints(State)[name]) for name in _PLAIN])


class FoldFile:
    """The fold kept in the file `path`; one process uses it."""

    def __init__(self, path: Path, trust: Trust, key: Signer, verify: Verify) -> None:
        self._path = path
        self._trust = trust
        self._key = key
        self._verify = verify

    def load(self) -> KeptFold | None:
        """Return what was kept, if it is whole, ours, of this code and this trust; it blocks."""
        try:
            with durable.reporting(self._path, "read"):
                try:
                    file = self._path.open("rb")
                except FileNotFoundError:
                    return None
                with file:
                    size = os.fstat(file.fileno()).st_size
                    return self._read(file, size - SIGNATURE_BYTES) if size else None
        except (EnforcerError, msgspec.MsgspecError, ValueError) as error:
            problem = error.message if isinstance(error, EnforcerError) else str(error)
            _log.warning("reads the whole ledger: what was kept of it is of no use", why=problem)
            return None

    def keep(self, fold: KeptFold) -> None:
        """Replace the file, durably; nobody may change the state meanwhile; it blocks.

        Raises:
            UnavailableError: the disk did not take it.
        """
        temporary = durable.temporary_of(self._path)
        with durable.reporting(self._path, "write"):
            try:
                descriptor = os.open(
                    temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, durable.PRIVATE_MODE
                )
                with open(descriptor, "wb") as file:
                    self._write(file, fold)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self._path)
            finally:
                durable.remove_quietly(temporary)
        durable.sync_directory(self._path.parent)

    def _write(self, file: BinaryIO, fold: KeptFold) -> None:
        hashed = sha256(CONTEXT)
        encoder = msgspec.msgpack.Encoder()
        for part in _parts(self._head(fold), fold):
            frame = encoder.encode(part)
            for octets in (len(frame).to_bytes(_LENGTH_BYTES, "big"), frame):
                hashed.update(octets)
                file.write(octets)
        file.write(self._key.sign(CONTEXT + hashed.digest()))

    def _head(self, fold: KeptFold) -> _Head:
        return _Head(
            FORMAT,
            code_sha256(),
            trust_sha256(self._trust),
            fold.state.size,
            fold.root,
            fold.ineffective,
            fold.witnessed_size,
            fold.changes,
            fold.history is not None,
        )

    def _read(self, file: BinaryIO, end: int) -> KeptFold:
        """Read what is signed, up to the octet `end`, after the signature behind it."""
        hashed = sha256(CONTEXT)
        for at in range(0, end, READ_BYTES):
            hashed.update(_octets(file, min(READ_BYTES, end - at)))
        message = CONTEXT + hashed.digest()
        signature = file.read(SIGNATURE_BYTES)
        if end < 0 or not self._verify(self._key.public_key, message, signature):
            raise _useless("it was not written here, or altered since")
        file.seek(0)
        frames = _frames(file, end)
        head = _next(frames, _Head)
        expected = (FORMAT, code_sha256(), trust_sha256(self._trust))
        if (head.format, head.code_sha256, head.trust_sha256) != expected:
            raise _useless("it is of another release, or of another trust file")
        state = self._state(head, frames)
        history = _history(frames) if head.has_history else None
        if next(frames, None) is not None:
            raise _useless("something stands behind its end")
        return KeptFold(
            head.root, state, head.ineffective, head.witnessed_size, head.changes, history
        )

    def _state(self, head: _Head, frames: Iterator[bytes]) -> State:
        body: Any = _next(frames, _Body)
        state = State(body.origin, body.roots, self._verify, head.size)
        for name in _PLAIN:
            setattr(state, name, getattr(body, name))
        sums = _next(frames, _Sums)
        state.live = LiveOrders(sums.live)
        state.growth = {
            authority: Additions(deque(added), total)
            for authority, (added, total) in sums.growth.items()
        }
        # Each text once, as when it was folded: it is most of what a state takes.
        orders = map(share_record, _all(frames, list[OrderRecord]))
        state.orders = {order.index: order for order in orders}
        ids = {index: order.payload.order_id for index, order in state.orders.items()}
        state.versions = {ids[found[0]]: found for found in state.versions.values()}
        hashes = {index: order.payload_sha256 for index, order in state.orders.items()}
        payloads = _all(frames, list[tuple[str, int]])
        state.index_of_payload = {hashes.get(index, text): index for text, index in payloads}
        for key, request, index in _all(frames, list[tuple[str, str, int]]):
            order = state.orders.get(index)
            text = request if order is None else order.payload.request_id
            state.index_of_request.setdefault(one(key), {})[text] = index
        return state


def code_sha256(package: Path = PACKAGE) -> str:
    """Return the hash of the code that folds: another release may fold otherwise."""
    hashed = sha256()
    for path in sorted(path for pattern in FOLDING for path in package.glob(pattern)):
        hashed.update(path.read_bytes())
    return hashed.hexdigest()


def trust_sha256(trust: Trust) -> str:
    """Return the hash of a trust file's content."""
    return sha256(msgspec.msgpack.encode(trust)).hexdigest()


def _parts(head: _Head, fold: KeptFold) -> Iterator[object]:
    state, history = fold.state, fold.history
    yield head
    yield _Body(*(getattr(state, name) for name in _PLAIN))
    growth = {
        authority: (list(added.added), added.sum) for authority, added in state.growth.items()
    }
    yield _Sums(dict(state.live), growth)
    yield from _in_frames(list(state.orders.values()), ORDERS_IN_FRAME)
    yield from _in_frames(list(state.index_of_payload.items()), PAIRS_IN_FRAME)
    requests = [
        (key, request, index)
        for key, found in state.index_of_request.items()
        for request, index in found.items()
    ]
    yield from _in_frames(requests, PAIRS_IN_FRAME)
    if history is not None:
        yield _History(history.several, history.reviews)
        yield from _in_frames(list(history.orders), PAIRS_IN_FRAME)


def _history(frames: Iterator[bytes]) -> KeptHistory:
    rest = _next(frames, _History)
    return KeptHistory(array("q", _all(frames, list[int])), rest.several, rest.reviews)


def _in_frames(items: Sequence[T], count: int) -> Iterator[Sequence[T]]:
    """Yield the items in lists, and an empty one at the end."""
    for at in range(0, len(items), count):
        yield items[at : at + count]
    yield []


def _frames(file: BinaryIO, end: int) -> Iterator[bytes]:
    at = 0
    while at < end:
        length = int.from_bytes(_octets(file, _LENGTH_BYTES), "big")
        at += _LENGTH_BYTES + length
        if at > end:
            raise _useless("it ends early")
        yield _octets(file, length)


def _octets(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise _useless("it ends early")
    return data


def _next(frames: Iterator[bytes], kind: type[T]) -> T:
    frame = next(frames, None)
    if frame is None:
        raise _useless("it ends early")
    return msgspec.msgpack.decode(frame, type=kind)


def _all(frames: Iterator[bytes], kind: type[list[T]]) -> Iterator[T]:
    decode: Callable[[bytes], list[T]] = msgspec.msgpack.Decoder(kind).decode
    while True:
        frame = next(frames, None)
        if frame is None:
            raise _useless("it ends early")
        items = decode(frame)
        if not items:
            return
        yield from items


def _useless(problem: str) -> IntegrityError:
    return IntegrityError(problem, advice="Nothing is lost: the ledger is read again.")
