"""RFC 6962 §2 Merkle tree: hashing, the right edge as it grows, proofs and their verification.

Refuses every proof that is too short, too long or about another tree, and says which. A proof is
built from a reader of perfect subtrees, so that whoever holds tiles need not hold leaves.
Always true: no function here answers True or False; a proof that does not hold raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final, TypeAlias

from enforcer.errors import InputError, IntegrityError

HASH_BYTES: Final = 32
SIZE_MAX: Final = 2**63 - 1
PROOF_HASHES_MAX: Final = 64  # a consistency proof has one hash more than the tree has levels
EMPTY_ROOT: Final = sha256(b"").digest()

NodeReader: TypeAlias = Callable[[int, int], bytes]
"""``node(level, index)``: the hash over leaves ``index << level`` to ``(index + 1) << level``."""

_ASK_AGAIN: Final = "Ask another source for the proof; do not rely on the one that gave this."


def leaf_hash(leaf: bytes) -> bytes:
    """Hash one entry, as RFC 6962 §2.1 does: SHA-256(0x00 || leaf)."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two children of 32 bytes each: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


class CompactRange:
    """The perfect subtrees that cover leaves 0 to ``size``: all that a growing tree must remember.

    Holds one hash for each 1 bit of ``size``; copying it copies at most 63 references.
    """

    __slots__ = ("_roots", "size")

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        """Take the subtree roots from left (largest) to right; none for an empty tree.

        Raises:
            InputError: their number does not fit the size.
        """
        _check_size(size)
        if len(roots) != size.bit_count():
            raise InputError(
                f"{size} leaves are {size.bit_count()} perfect subtrees, not {len(roots)}",
                advice="Build the range from the tiles of this very size.",
                size=size,
                expected=size.bit_count(),
                got=len(roots),
            )
        self.size = size
        self._roots = list(roots)

    @classmethod
    def over(cls, hashes: Iterable[bytes]) -> CompactRange:
        """Build the range over leaf hashes, or over the hashes of one tile."""
        made = cls()
        for each in hashes:
            made.append(each)
        return made

    @property
    def roots(self) -> tuple[bytes, ...]:
        """The subtree roots from left to right."""
        return tuple(self._roots)

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        size = self.size
        roots = self._roots
        while size & 1:
            leaf = node_hash(roots.pop(), leaf)
            size >>= 1
        roots.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return MTH(D[0:size]) of RFC 6962 §2.1."""
        if not self._roots:
            return EMPTY_ROOT
        result = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            result = node_hash(left, result)
        return result

    def copy(self) -> CompactRange:
        """Return a range that grows on its own."""
        return CompactRange(self.size, self._roots)


def root_at(size: int, node: NodeReader) -> bytes:
    """Return the root of the tree of the first ``size`` leaves."""
    _check_size(size)
    return _subtree(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: NodeReader) -> tuple[bytes, ...]:
    """Return PATH(index, D[0:size]) of RFC 6962 §2.1.1, from the leaf's sibling up.

    Raises:
        InputError: there is no such leaf in a tree of that size.
    """
    _check_size(size)
    if not 0 <= index < size:
        raise InputError(
            f"entry {index} is not in a ledger of {size} entries",
            advice="Give an index from 0 up to, and without, the size.",
            field="index",
            index=index,
            size=size,
        )
    begin, end = 0, size
    proof: list[bytes] = []
    while end - begin > 1:
        split = begin + _split(end - begin)
        if index < split:
            proof.append(_subtree(split, end, node))
            end = split
        else:
            proof.append(_subtree(begin, split, node))
            begin = split
    return tuple(reversed(proof))


def consistency_proof(first: int, second: int, node: NodeReader) -> tuple[bytes, ...]:
    """Return PROOF(first, D[0:second]) of RFC 6962 §2.1.2; empty when the sizes are equal.

    Raises:
        InputError: ``first`` is 0 (nothing to prove) or above ``second``.
    """
    _check_size(second)
    if not 0 < first <= second:
        raise InputError(
            f"no consistency proof leads from size {first} to size {second}",
            advice="Give two sizes, the first at least 1 and not above the second.",
            field="first",
            first=first,
            second=second,
        )
    begin, end, first_root_known = 0, second, True
    proof: list[bytes] = []
    while first != end:
        split = begin + _split(end - begin)
        if first <= split:
            proof.append(_subtree(split, end, node))
            end = split
        else:
            proof.append(_subtree(begin, split, node))
            begin = split
            first_root_known = False
    if not first_root_known:
        proof.append(_subtree(begin, end, node))
    return tuple(reversed(proof))


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that the leaf hash ``leaf`` is at ``index`` in the tree of ``size`` and ``root``.

    Follows RFC 9162 §2.1.3.2.

    Raises:
        IntegrityError: index, length of the proof, or root do not fit; ``data`` has both sides.
    """
    if not 0 <= index < size <= SIZE_MAX:
        raise _refused("the entry is outside the tree", f"an index below {size}", index)
    _check_hashes([leaf, root, *proof])
    expected = _inclusion_length(index, size)
    if len(proof) != expected:
        raise _refused("the inclusion proof has the wrong number of hashes", expected, len(proof))
    position, last, computed = index, size - 1, leaf
    for sibling in proof:
        if position & 1 or position == last:
            computed = node_hash(sibling, computed)
            # On the right border levels without a sibling are skipped.
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        position, last = position >> 1, last >> 1
    if computed != root:
        raise _refused(
            f"the inclusion proof of entry {index} leads to another root", root, computed
        )


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree of ``first`` leaves is the beginning of the tree of ``second`` leaves.

    Follows RFC 9162 §2.1.4.2. From size 0 nothing can be proven, so such a proof never holds.

    Raises:
        IntegrityError: sizes, length of the proof, or one of the roots do not fit.
    """
    if not 0 < first <= second <= SIZE_MAX:
        raise _refused(
            "no consistency proof leads between these sizes", f"a size from 1 to {second}", first
        )
    _check_hashes([first_root, second_root, *proof])
    if first == second:
        if proof:
            raise _refused("the consistency proof has the wrong number of hashes", 0, len(proof))
        if first_root != second_root:
            raise _refused(f"two roots for one size, {first}", first_root, second_root)
        return
    expected = _consistency_length(first, second)
    if len(proof) != expected:
        raise _refused("the consistency proof has the wrong number of hashes", expected, len(proof))
    # The smaller tree is one perfect subtree: its root is where the proof starts.
    steps = [first_root, *proof] if first.bit_count() == 1 else list(proof)
    position, last = first - 1, second - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = steps[0]
    for sibling in steps[1:]:
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if old != first_root:
        raise _refused(f"the consistency proof leads to another root at {first}", first_root, old)
    if new != second_root:
        raise _refused(f"the consistency proof leads to another root at {second}", second_root, new)


def _split(width: int) -> int:
    """Return the largest power of two below ``width``, which is at least 2."""
    return 1 << ((width - 1).bit_length() - 1)


def _subtree(begin: int, end: int, node: NodeReader) -> bytes:
    """Return MTH(D[begin:end]) of a subtree of the tree, from its perfect parts."""
    width = end - begin
    if width.bit_count() == 1:
        level = width.bit_length() - 1
        return node(level, begin >> level)
    middle = begin + _split(width)
    return node_hash(_subtree(begin, middle, node), _subtree(middle, end, node))


def _inclusion_length(index: int, size: int) -> int:
    """Return how many hashes prove ``index``: up to the last leaf's path all, then left ones."""
    inner = (index ^ (size - 1)).bit_length()
    return inner + (index >> inner).bit_count()


def _consistency_length(first: int, second: int) -> int:
    """Return how many hashes lead from ``first`` to ``second``, for 0 < first < second."""
    level = (first & -first).bit_length() - 1
    seed = 0 if first.bit_count() == 1 else 1
    return seed + _inclusion_length(first - 1, second) - level


def _check_size(size: int) -> None:
    if not 0 <= size <= SIZE_MAX:
        raise InputError(
            f"{size} is not the size of a tree",
            advice=f"Give a size from 0 to {SIZE_MAX}.",
            field="size",
            size=size,
        )


def _check_hashes(hashes: Iterable[bytes]) -> None:
    for each in hashes:
        if len(each) != HASH_BYTES:
            raise _refused("a hash in the proof has the wrong length", HASH_BYTES, len(each))


def _refused(what: str, expected: bytes | int | str, got: bytes | int) -> IntegrityError:
    """Return the error of a proof that does not hold, with both sides in its data."""
    wanted = expected.hex() if isinstance(expected, bytes) else expected
    given = got.hex() if isinstance(got, bytes) else got
    return IntegrityError(
        f"{what}: expected {wanted}, got {given}",
        advice=_ASK_AGAIN,
        problem="proof",
        expected=wanted,
        got=given,
    )
