"""An intruder with the publisher's Redis password, who does to the feed whatever that allows.

He forges, replays, reorders, truncates and rolls back; puts garbage and oversized values into
every key and field; and has neither the log's key nor anybody's else. A move that Redis refuses
counts as made. Every choice comes from the seed, and the number of moves is bounded.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import redis

from enforcer.app.demo_land import AUTHORITY
from enforcer.backends.feed_format import (
    CHECKPOINT_FIELD,
    ENTRY_FIELD,
    ENVELOPE_FIELD,
    FeedKeys,
    Manifest,
    claimed_size,
    stream_id,
)
from enforcer.backends.keys import PrivateKey
from enforcer.core.checkpoint import Checkpoint, sign_checkpoint
from enforcer.core.entry import Entry, encode, parse
from enforcer.core.envelope import Envelope, Signature, format_envelope
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.note import VerifierKey
from enforcer.core.order import OrderProposed, OrderRef
from tests.e2e.chaos.invariants import FORGED, exact
from tests.e2e.installation import ORIGIN, Installation, now_ms
from tests.people import Person, seal

KEYS = FeedKeys(ORIGIN)
MOVES_MAX = 12
PAUSE_SECONDS_MAX = 0.15
FLOOD = 500
"""Messages that he floods a stream with."""
LARGE_OCTETS = 1 << 20
FARTHEST = "18446744073709551615"

Message = tuple[bytes, dict[bytes, bytes]]


class Thief:
    """One intruder; `always` is in force and `proposed` has one signature, for him to act on."""

    def __init__(
        self,
        installation: Installation,
        always: OrderRef,
        proposed: OrderRef,
        chance: random.Random,
    ) -> None:
        self._installation = installation
        self._chance = chance
        self._key = PrivateKey.generate()
        self._vkey = VerifierKey(ORIGIN, self._key.public_key)
        self._always, self._proposed = always, proposed
        self._old: list[tuple[bytes, list[Message]]] = []
        """Heads and streams that he saw earlier."""
        self.moves: tuple[Callable[[], None], ...] = (
            self.forge_entries,
            self.forge_under_the_true_head,
            self.borrow_a_signature,
            self.replay_an_entry,
            self.reorder,
            self.truncate,
            self.roll_back,
            self.hide_all,
            self.head_of_another_ledger,
            self.head_of_garbage,
            self.cosigned_of_garbage,
            self.bundle_of_garbage,
            self.list_of_other_names,
            self.list_of_garbage,
            self.entry_of_garbage,
            self.stop_forged,
            self.stop_of_garbage,
            self.stop_replayed,
            self.streams_to_their_ends,
            self.keys_of_another_kind,
            self.flood,
        )

    def strike(self) -> str:
        """Make some moves, and say which."""
        return "thief: " + ", ".join(self.move() for _ in range(self._chance.randint(3, MOVES_MAX)))

    def move(self, kind: Callable[[], None] | None = None) -> str:
        """Make one move, any or this one, and return its name."""
        time.sleep(self._chance.uniform(0.0, PAUSE_SECONDS_MAX))
        kind = kind or self._chance.choice(self.moves)
        with self._way_in(), suppress(redis.RedisError):
            if (head := self._feed.getrange(KEYS.head, 0, 20_000)) and self._chance.random() < 0.3:
                self._old.append((head, self._stream()))
            kind()
        return kind.__name__

    # What he does with what is not his to say.

    def forge_entries(self) -> None:
        """An order and its approval by keys of his own, under a head of his own."""
        order = self._installation.land.order(exact(FORGED), authority=AUTHORITY)
        proposal = seal(order, self._key)
        size = self._size()
        approval = self._installation.land.approval(
            OrderRef(order.order_id, size, proposal.payload_sha256)
        )
        self._append([proposal, seal(approval, self._key)])

    def forge_under_the_true_head(self) -> None:
        """The same entry with the log's own note, the size in it changed."""
        approval = self._installation.land.approval(self._proposed)
        head = self._feed.getrange(KEYS.head, 0, 20_000)
        size = claimed_size(head)
        grown = head.replace(b"\n%d\n" % size, b"\n%d\n" % (size + 1), 1)
        leaf = encode(Entry(now_ms(), seal(approval, self._key)))
        self._add(size, leaf, grown)
        self._feed.set(KEYS.head, grown)

    def borrow_a_signature(self) -> None:
        """An approval that names a true approver's key, and was signed by his own."""
        approval = self._installation.land.approval(self._proposed)
        self._append([self._borrowed(approval, self._installation.land.approver)])

    def replay_an_entry(self) -> None:
        """An entry that is in the ledger, once more as the next."""
        messages = self._stream()
        if messages:
            leaf = self._chance.choice(messages)[1].get(ENTRY_FIELD, b"x")
            head = self._feed.getrange(KEYS.head, 0, 20_000)
            self._add(self._size(), leaf, head)

    def reorder(self) -> None:
        """The stream's entries in another order, under the ids of before."""
        messages = self._stream()
        fields = [each for _, each in messages]
        self._chance.shuffle(fields)
        self._rewrite(
            [(identity, each) for (identity, _), each in zip(messages, fields, strict=True)]
        )

    def truncate(self) -> None:
        """The stream without its end, under the head of before."""
        messages = self._stream()
        self._rewrite(messages[: self._chance.randint(0, len(messages))])

    def roll_back(self) -> None:
        """Stream and head as they were a while ago, all signed by the log."""
        if self._old:
            head, messages = self._chance.choice(self._old)
            self._rewrite(messages)
            self._feed.set(KEYS.head, head)
            self._feed.set(KEYS.cosigned, head)

    def hide_all(self) -> None:
        """Nothing."""
        self._feed.delete(KEYS.head, KEYS.log, KEYS.stops, KEYS.cosigned)

    def head_of_another_ledger(self) -> None:
        """A head whose words name another ledger, or another key."""
        for origin in ("other.example.org/ledger", ORIGIN):
            vkey = VerifierKey(origin, self._key.public_key)
            checkpoint = Checkpoint(origin, self._size() + 7, self._chance.randbytes(32))
            self._feed.set(KEYS.head, sign_checkpoint(checkpoint, vkey, self._key.sign))
            time.sleep(0.05)

    # Garbage, in every key and field.

    def head_of_garbage(self) -> None:
        self._feed.set(KEYS.head, self._garbage())

    def cosigned_of_garbage(self) -> None:
        self._feed.set(KEYS.cosigned, self._garbage())

    def bundle_of_garbage(self) -> None:
        self._feed.set(KEYS.bundle(self._chance.randrange(3)), self._garbage())

    def list_of_other_names(self) -> None:
        """The names that he wants blocked, as the list of somebody's order."""
        for digest in self._lists():
            text = exact(FORGED)
            self._feed.set(KEYS.chunk(digest, 0), text)
            self._feed.set(KEYS.manifest(digest), Manifest(len(text)).format())

    def list_of_garbage(self) -> None:
        for digest in self._lists():
            self._feed.set(KEYS.manifest(digest), self._garbage())
            self._feed.set(KEYS.chunk(digest, 0), self._garbage())

    def entry_of_garbage(self) -> None:
        """Messages that are no entries, or such as cannot be."""
        head = self._feed.getrange(KEYS.head, 0, 20_000)
        for fields in (
            {ENTRY_FIELD: self._garbage(), CHECKPOINT_FIELD: head},
            {ENTRY_FIELD: b"x", CHECKPOINT_FIELD: self._garbage()},
            {self._garbage()[:100]: b"x"},
        ):
            with suppress(redis.RedisError):
                self._feed.xadd(KEYS.log, fields, id=stream_id(self._size()))

    def stop_forged(self) -> None:
        """Stops of what is in force: signed by nobody known, and under a borrowed name."""
        stop = self._installation.land.stopping(self._always)
        for envelope in (
            seal(stop, self._key),
            self._borrowed(stop, self._installation.land.oversight),
        ):
            self._feed.xadd(KEYS.stops, {ENVELOPE_FIELD: format_envelope(envelope)})

    def stop_of_garbage(self) -> None:
        for fields in (
            {ENVELOPE_FIELD: self._garbage()},
            {b"other": b"x"},
            {ENVELOPE_FIELD: b"{}"},
        ):
            self._feed.xadd(KEYS.stops, fields)

    def stop_replayed(self) -> None:
        """Whatever acts the stream has, stops and others, as stops."""
        for _, fields in self._stream()[-5:]:
            with suppress(Exception):
                envelope = parse(fields[ENTRY_FIELD]).envelope
                self._feed.xadd(KEYS.stops, {ENVELOPE_FIELD: format_envelope(envelope)})

    def streams_to_their_ends(self) -> None:
        """Ids so high that no later one exists."""
        self._feed.xadd(KEYS.stops, {b"x": b"x"}, id=f"{FARTHEST}-{FARTHEST}")
        self._feed.xadd(KEYS.log, {b"x": b"x"}, id=f"{FARTHEST}-0")

    def keys_of_another_kind(self) -> None:
        """A stream where a value belongs, and a value where a stream does."""
        for key in (KEYS.head, KEYS.cosigned, KEYS.bundle(0), *map(KEYS.manifest, self._lists())):
            self._feed.delete(key)
            self._feed.xadd(key, {b"x": b"x"})
        for key in (KEYS.log, KEYS.stops):
            self._feed.set(key, b"x")

    def flood(self) -> None:
        """More messages than either stream ever has."""
        entry = {ENTRY_FIELD: b"x", CHECKPOINT_FIELD: b"x"}
        with self._feed.pipeline(transaction=False) as turn:
            for at in range(FLOOD):
                turn.xadd(KEYS.stops, {ENVELOPE_FIELD: b"x%d" % at})
                turn.xadd(KEYS.log, entry, id=f"{10**9 + at}-0")
            turn.execute(raise_on_error=False)

    # His tools.

    @contextmanager
    def _way_in(self) -> Iterator[None]:
        with self._installation.feed("publisher") as self._feed:
            yield

    def _stream(self) -> list[Message]:
        return self._feed.xrange(KEYS.log)

    def _size(self) -> int:
        return claimed_size(self._feed.getrange(KEYS.head, 0, 20_000))

    def _append(self, envelopes: Sequence[Envelope]) -> None:
        """Add entries and a head over all there is, under a key of his own."""
        tree, leaves = CompactRange(), [encode(Entry(now_ms(), each)) for each in envelopes]
        for _, fields in self._stream():
            tree.append(leaf_hash(fields.get(ENTRY_FIELD, b"")))
        for leaf in leaves:
            tree.append(leaf_hash(leaf))
        size = self._size()
        checkpoint = Checkpoint(ORIGIN, size + len(leaves), tree.root())
        note = sign_checkpoint(checkpoint, self._vkey, self._key.sign)
        for at, leaf in enumerate(leaves, size):
            self._add(at, leaf, note)
        self._feed.set(KEYS.head, note)

    def _add(self, index: int, leaf: bytes, note: bytes) -> None:
        self._feed.xadd(KEYS.log, {ENTRY_FIELD: leaf, CHECKPOINT_FIELD: note}, id=stream_id(index))

    def _rewrite(self, messages: Sequence[Message]) -> None:
        with self._feed.pipeline() as turn:
            turn.delete(KEYS.log)
            for identity, fields in messages:
                turn.xadd(KEYS.log, fields, id=identity)
            turn.execute()

    def _borrowed(self, payload: object, person: Person) -> Envelope:
        """Sign with his own key under somebody's key id."""
        mine = seal(payload, self._key)
        borrowed = Signature(person.key.key_id, mine.signatures[0].octets)
        return Envelope(mine.payload_type, mine.payload, (borrowed,))

    def _lists(self) -> list[str]:
        """Return the lists of the orders that the stream tells of last."""
        found = []
        for _, fields in self._stream()[-20:]:
            with suppress(Exception):  # what stands there may be his own garbage
                envelope = parse(fields[ENTRY_FIELD]).envelope
                if envelope.payload_type == OrderProposed.TYPE:
                    found.append(json.loads(envelope.payload)["target_list_sha256"])
        return found

    def _garbage(self) -> bytes:
        """Return octets of any kind and size, a few of them far too many."""
        size = self._chance.choice((1, 7, 200, 20_000, 70_000, LARGE_OCTETS))
        kind = self._chance.randrange(3)
        if kind == 0:
            return self._chance.randbytes(size)
        if kind == 1:
            return b"[" * size
        return (self._feed.getrange(KEYS.head, 0, 20_000) + b"x") * (size // 500 + 1)
