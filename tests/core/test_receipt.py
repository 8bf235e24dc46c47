"""Receipts (C2SP tlog-proof): offline proof that an entry is in the ledger."""

from base64 import b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.backends.keys import PrivateKey, verify
from enforcer.core import merkle
from enforcer.core.checkpoint import Checkpoint, sign_checkpoint
from enforcer.core.merkle import CompactRange
from enforcer.core.note import VerifierKey
from enforcer.core.receipt import EXTRA_BYTES_MAX, Receipt, verify_receipt
from enforcer.errors import IntegrityError

ORIGIN = "example.org/ledger"
KEY = PrivateKey.generate()
VKEY = VerifierKey(ORIGIN, KEY.public_key)
LEAVES = [b"entry %d" % index for index in range(11)]
HASH_LINE = b64encode(bytes(32))

hashes = st.lists(st.binary(min_size=32, max_size=32), max_size=64).map(tuple)


def node(level, index):
    part = LEAVES[index << level : (index + 1) << level]
    return CompactRange.over(map(merkle.leaf_hash, part)).root()


def receipt_for(index, leaves=LEAVES, key=KEY, vkey=VKEY, origin=ORIGIN):
    root = CompactRange.over(map(merkle.leaf_hash, leaves)).root()
    note = sign_checkpoint(Checkpoint(origin, len(leaves), root), vkey, key.sign)
    return Receipt(index, merkle.inclusion_proof(index, len(leaves), node), note)


def problem_of(receipt, leaf):
    with pytest.raises(IntegrityError) as caught:
        verify_receipt(receipt, leaf, ORIGIN, VKEY, verify)
    return caught.value.data["problem"]


@pytest.mark.parametrize("index", range(len(LEAVES)))
def test_a_receipt_verifies_after_its_way_through_text(index):
    receipt = Receipt.parse(receipt_for(index).format())
    checkpoint = verify_receipt(receipt, LEAVES[index], ORIGIN, VKEY, verify)
    assert checkpoint.size == len(LEAVES)


def test_the_text_is_that_of_the_standard():
    lines = receipt_for(4).format().decode().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1] == "index 4"
    assert lines[6:9] == ["", ORIGIN, "11"]


@given(st.integers(0, 2**62), hashes, st.none() | st.binary(max_size=300))
def test_text_reads_back(index, proof, extra):
    receipt = Receipt(index, proof, b"checkpoint\n\nof any kind", extra)
    assert Receipt.parse(receipt.format()) == receipt


@given(st.binary(max_size=300))
def test_any_bytes_are_a_receipt_that_formats_to_them_or_are_refused(data):
    data = b"c2sp.org/tlog-proof@v1\n" + data
    with suppress(IntegrityError):
        assert Receipt.parse(data).format() == data


def test_a_receipt_is_of_one_entry_and_no_other():
    assert problem_of(receipt_for(4), LEAVES[5]) == "proof"


def test_a_receipt_of_one_index_does_not_hold_for_another():
    receipt = receipt_for(4)
    moved = Receipt(5, receipt.hashes, receipt.checkpoint_note)
    assert problem_of(moved, LEAVES[4]) == "proof"


def test_a_proof_does_not_hold_under_a_checkpoint_of_another_tree():
    other = receipt_for(4, leaves=[*LEAVES[:10], b"another end"])
    mixed = Receipt(4, receipt_for(4).hashes, other.checkpoint_note)
    assert problem_of(mixed, LEAVES[4]) == "proof"


def test_a_checkpoint_by_another_key_is_refused():
    other = PrivateKey.generate()
    receipt = receipt_for(4, key=other, vkey=VerifierKey(ORIGIN, other.public_key))
    assert problem_of(receipt, LEAVES[4]) == "other key"


def test_a_checkpoint_of_another_ledger_is_refused():
    assert problem_of(receipt_for(4, origin="example.org/other"), LEAVES[4]) == "other origin"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no empty line"),
        (b"c2sp.org/tlog-proof@v1\nindex 4\n", "no empty line"),
        (b"c2sp.org/tlog-proof@v2\nindex 4\n\nnote", "does not begin with"),
        (b"c2sp.org/tlog-proof@v1\n\nnote", "does not say the index"),
        (b"c2sp.org/tlog-proof@v1\nindex 04\n\nnote", "without leading zeros"),
        (b"c2sp.org/tlog-proof@v1\nindex \xd9\xa5\n\nnote", "without leading zeros"),
        (b"c2sp.org/tlog-proof@v1\nindex \xff\n\nnote", "not UTF-8"),
        (b"c2sp.org/tlog-proof@v1\nindex 4\nextra AAAA\n\nnote", "not canonical base64"),
        (b"c2sp.org/tlog-proof@v1\nindex 4\nAAAA\n\nnote", "has not 32 bytes"),
        (b"c2sp.org/tlog-proof@v1\nindex 4\n" + HASH_LINE + b"\r\n\nnote", "not canonical"),
        (b"c2sp.org/tlog-proof@v1\nindex 4" + (b"\n" + HASH_LINE) * 65 + b"\n\n", "65 hashes"),
        (
            b"c2sp.org/tlog-proof@v1\nextra " + b64encode(bytes(EXTRA_BYTES_MAX + 1)) + b"\n\n",
            "extra data",
        ),
        (b"c2sp.org/tlog-proof@v1\nindex 4\n\n" + bytes(1_200_000), "more than"),
    ],
)
def test_a_malformed_receipt_is_refused_with_the_reason(data, why):
    with pytest.raises(IntegrityError, match=why) as caught:
        Receipt.parse(data)
    assert caught.value.data["problem"] == "malformed"
