"""The tree and its proofs, held against the RFC's own definitions and the shared vectors."""

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core import merkle
from enforcer.core.merkle import CompactRange
from enforcer.errors import InputError, IntegrityError

VECTORS = Path(__file__).parent.parent / "vectors" / "merkle"


def split(width):
    """The largest power of two smaller than width (RFC 6962 §2.1)."""
    power = 1
    while power * 2 < width:
        power *= 2
    return power


def rfc_root(leaves):
    """MTH of RFC 6962 §2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return sha256(b"\x01" + rfc_root(leaves[:k]) + rfc_root(leaves[k:])).digest()


def rfc_path(m, leaves):
    """PATH of RFC 6962 §2.1.1, word for word."""
    if len(leaves) == 1:
        return ()
    k = split(len(leaves))
    if m < k:
        return (*rfc_path(m, leaves[:k]), rfc_root(leaves[k:]))
    return (*rfc_path(m - k, leaves[k:]), rfc_root(leaves[:k]))


def rfc_subproof(m, leaves, is_whole):
    """SUBPROOF of RFC 6962 §2.1.2, word for word; PROOF(m, D) is SUBPROOF(m, D, true)."""
    if m == len(leaves):
        return () if is_whole else (rfc_root(leaves),)
    k = split(len(leaves))
    if m <= k:
        return (*rfc_subproof(m, leaves[:k], is_whole), rfc_root(leaves[k:]))
    return (*rfc_subproof(m - k, leaves[k:], False), rfc_root(leaves[:k]))


def node_of(leaves):
    """A reader of perfect subtrees that refuses to read past the leaves."""

    def node(level, index):
        part = leaves[index << level : (index + 1) << level]
        assert len(part) == 1 << level
        return rfc_root(part)

    return node


LEAVES = [b"leaf %d" % index for index in range(80)]

trees = st.integers(min_value=1, max_value=len(LEAVES)).map(lambda size: LEAVES[:size])
indexed_trees = trees.flatmap(
    lambda leaves: st.tuples(st.just(leaves), st.integers(0, len(leaves) - 1))
)


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_a_growing_range_has_the_root_of_the_rfc(leaves):
    growing = CompactRange()
    for leaf in leaves:
        growing.append(merkle.leaf_hash(leaf))
    assert growing.root() == rfc_root(leaves)
    assert growing.size == len(leaves)


@given(trees)
def test_a_range_taken_up_from_its_roots_grows_on(leaves):
    growing = CompactRange.over(map(merkle.leaf_hash, leaves))
    resumed = CompactRange(growing.size, growing.roots)
    copied = growing.copy()
    resumed.append(merkle.leaf_hash(b"next"))
    assert resumed.root() == rfc_root([*leaves, b"next"])
    assert growing.root() == copied.root() == rfc_root(leaves)


@given(trees)
def test_the_root_is_read_from_perfect_subtrees_alone(leaves):
    assert merkle.root_at(len(leaves), node_of(leaves)) == rfc_root(leaves)


@given(indexed_trees)
def test_an_inclusion_proof_is_that_of_the_rfc_and_verifies(case):
    leaves, index = case
    proof = merkle.inclusion_proof(index, len(leaves), node_of(leaves))
    assert proof == rfc_path(index, leaves)
    merkle.verify_inclusion(
        merkle.leaf_hash(leaves[index]), index, len(leaves), proof, rfc_root(leaves)
    )


@given(indexed_trees)
def test_a_consistency_proof_is_that_of_the_rfc_and_verifies(case):
    leaves, first = case[0], case[1] + 1
    proof = merkle.consistency_proof(first, len(leaves), node_of(leaves))
    assert proof == rfc_subproof(first, leaves, True)
    merkle.verify_consistency(first, len(leaves), rfc_root(leaves[:first]), rfc_root(leaves), proof)


@given(indexed_trees, st.data())
def test_an_altered_inclusion_proof_is_refused(case, data):
    leaves, index = case
    size = len(leaves)
    proof = list(rfc_path(index, leaves))
    good = (merkle.leaf_hash(leaves[index]), index, size, proof, rfc_root(leaves))
    leaf, at, width, hashes, root = good
    other = merkle.leaf_hash(b"another leaf")
    altered = [
        (other, at, width, hashes, root),
        (leaf, at, width, hashes, other),
        (leaf, at, width, [*hashes, other], root),
        (leaf, size, width, hashes, root),
        (leaf, -1, width, hashes, root),
    ]
    if hashes:
        changed = data.draw(st.integers(0, len(hashes) - 1))
        altered += [
            (leaf, at, width, hashes[:-1], root),
            (leaf, at, width, [*hashes[:changed], other, *hashes[changed + 1 :]], root),
            (leaf, at ^ 1, width, hashes, root),
        ]
    for arguments in altered:
        with pytest.raises(IntegrityError):
            merkle.verify_inclusion(*arguments)


@given(indexed_trees, st.data())
def test_an_altered_consistency_proof_is_refused(case, data):
    leaves, first = case[0], case[1] + 1
    second = len(leaves)
    proof = list(rfc_subproof(first, leaves, True))
    old, new = rfc_root(leaves[:first]), rfc_root(leaves)
    other = merkle.leaf_hash(b"another leaf")
    altered = [
        (first, second, other, new, proof),
        (first, second, old, other, proof),
        (first, second, old, new, [*proof, other]),
        (0, second, old, new, proof),
        (second + 1, second, old, new, proof),
    ]
    if proof:
        changed = data.draw(st.integers(0, len(proof) - 1))
        altered += [
            (first, second, old, new, proof[:-1]),
            (first, second, old, new, [*proof[:changed], other, *proof[changed + 1 :]]),
        ]
    for arguments in altered:
        with pytest.raises(IntegrityError):
            merkle.verify_consistency(*arguments)


def test_a_proof_for_another_tree_is_refused_and_names_both_roots():
    theirs = [b"their %d" % index for index in range(9)]
    ours = [b"our %d" % index for index in range(9)]
    with pytest.raises(IntegrityError, match="another root") as caught:
        merkle.verify_inclusion(
            merkle.leaf_hash(theirs[3]), 3, 9, rfc_path(3, theirs), rfc_root(ours)
        )
    assert caught.value.data["expected"] == rfc_root(ours).hex()
    assert caught.value.data["got"] == rfc_root(theirs).hex()


def test_a_fork_with_the_same_size_is_refused():
    with pytest.raises(IntegrityError, match="two roots for one size"):
        merkle.verify_consistency(2, 2, rfc_root([b"a", b"b"]), rfc_root([b"a", b"c"]), [])


def test_from_size_zero_nothing_is_proven_not_even_by_an_empty_proof():
    with pytest.raises(IntegrityError, match="no consistency proof"):
        merkle.verify_consistency(0, 0, merkle.EMPTY_ROOT, merkle.EMPTY_ROOT, [])
    with pytest.raises(IntegrityError, match="no consistency proof"):
        merkle.verify_consistency(0, 3, merkle.EMPTY_ROOT, rfc_root(LEAVES[:3]), [])
    with pytest.raises(InputError, match="no consistency proof"):
        merkle.consistency_proof(0, 3, node_of(LEAVES))


def test_a_hash_of_the_wrong_length_is_refused():
    with pytest.raises(IntegrityError, match="wrong length"):
        merkle.verify_inclusion(b"\x00" * 32, 0, 2, [b"\x00" * 31], b"\x00" * 32)


@pytest.mark.parametrize("size", [-1, 2**63])
def test_a_size_out_of_bounds_is_refused(size):
    with pytest.raises(InputError, match="not the size of a tree"):
        merkle.inclusion_proof(0, size, node_of(LEAVES))


def test_a_range_with_too_few_subtrees_is_refused():
    with pytest.raises(InputError, match="2 perfect subtrees, not 1"):
        CompactRange(3, [merkle.EMPTY_ROOT])


def test_the_reference_tree_of_eight_leaves():
    tree = json.loads((VECTORS / "rfc6962_reference_tree.json").read_text())
    leaves = [bytes.fromhex(each) for each in tree["leaf_inputs_hex"]]
    growing = CompactRange()
    roots = [growing.root().hex()]
    for leaf in leaves:
        growing.append(merkle.leaf_hash(leaf))
        roots.append(growing.root().hex())
    assert roots == tree["root_hashes_hex_by_size"]
    for level, nodes in enumerate(tree["node_hashes_hex_by_level"]):
        for index, expected in enumerate(nodes):
            part = leaves[index << level : (index + 1) << level]
            assert CompactRange.over(map(merkle.leaf_hash, part)).root().hex() == expected


def vectors(kind):
    found = sorted(VECTORS.glob(f"{kind}/*/*.json"))
    return [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in found]


def test_the_vectors_are_all_here():
    assert (len(vectors("inclusion")), len(vectors("consistency"))) == (49, 43)


@pytest.mark.parametrize("path", vectors("inclusion"))
def test_inclusion_vector(path):
    vector = json.loads(path.read_text())
    arguments = (
        b64decode(vector["leafHash"]),
        vector["leafIdx"],
        vector["treeSize"],
        [b64decode(each) for each in vector["proof"] or ()],
        b64decode(vector["root"]),
    )
    check(merkle.verify_inclusion, arguments, vector["wantErr"])


@pytest.mark.parametrize("path", vectors("consistency"))
def test_consistency_vector(path):
    vector = json.loads(path.read_text())
    arguments = (
        vector["size1"],
        vector["size2"],
        b64decode(vector["root1"]),
        b64decode(vector["root2"]),
        [b64decode(each) for each in vector["proof"] or ()],
    )
    check(merkle.verify_consistency, arguments, vector["wantErr"])


def check(verify, arguments, must_fail):
    if must_fail:
        with pytest.raises(IntegrityError):
            verify(*arguments)
    else:
        verify(*arguments)
