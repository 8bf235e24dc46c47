"""The witness's rules: it goes on by proof, never back, and never signs two roots of one size."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.backends.keys import PrivateKey, verify
from enforcer.core.checkpoint import Checkpoint, sign_checkpoint
from enforcer.core.merkle import EMPTY_ROOT, CompactRange, consistency_proof, leaf_hash
from enforcer.core.note import VerifierKey
from enforcer.core.witness import REQUEST_BYTES_MAX, AddCheckpoint, judge_checkpoint
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    InputError,
    IntegrityError,
    RefusedError,
)

ORIGIN = "example.org/ledger"
SIGNER = PrivateKey.generate()
KEY = VerifierKey(ORIGIN, SIGNER.public_key)
HONEST = [leaf_hash(b"%d" % at) for at in range(40)]
FORKED = [*HONEST[:5], *(leaf_hash(b"other %d" % at) for at in range(35))]


def checkpoint(leaves):
    return Checkpoint(ORIGIN, len(leaves), CompactRange.over(leaves).root())


def prove(leaves, first, second):
    def node(level, index):
        return CompactRange.over(leaves[index << level : (index + 1) << level]).root()

    return consistency_proof(first, second, node) if 0 < first < second else ()


def request(leaves, old, size, signer=SIGNER):
    note = sign_checkpoint(checkpoint(leaves[:size]), KEY, signer.sign)
    return AddCheckpoint(old, prove(leaves, old, size), note)


def judge(latest, asked):
    return judge_checkpoint(latest, AddCheckpoint.parse(asked.format()), KEY, verify)


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_witness_goes_on_from_any_size_to_any_later_one(first, second):
    first, second = sorted((first, second))
    latest = checkpoint(HONEST[:first]) if first else None
    assert judge(latest, request(HONEST, first, second)) == checkpoint(HONEST[:second])


def test_the_same_checkpoint_again_is_cosigned_again():
    assert judge(checkpoint(HONEST[:7]), request(HONEST, 7, 7)).size == 7


def test_two_roots_of_one_size_are_never_cosigned():
    for old in (0, 7):  # whatever the log says that we saw
        with pytest.raises(ConflictError) as caught:
            judge(checkpoint(HONEST[:7]), request(FORKED, old, 7))
        assert caught.value.data["problem"] == "split view"
        assert caught.value.data["size"] == 7


@given(st.integers(6, 39), st.integers(1, 40))
def test_a_larger_tree_of_another_history_is_refused_whatever_the_proof(first, more):
    second = min(first + more, 40)
    asked = request(FORKED, first, second)
    with pytest.raises(ConflictError if first == second else IntegrityError):
        judge(checkpoint(HONEST[:first]), asked)
    honest = replace(asked, proof=prove(HONEST, first, second))
    with pytest.raises(ConflictError if first == second else IntegrityError):
        judge(checkpoint(HONEST[:first]), honest)


def test_an_old_checkpoint_replayed_is_a_conflict_that_names_the_size():
    for old in (0, 3, 5):
        with pytest.raises(ConflictError) as caught:
            judge(checkpoint(HONEST[:9]), request(HONEST, old, 5))
        assert caught.value.data["size"] == 9
    with pytest.raises(InputError):  # from 9 to 5: that is no request at all
        judge(checkpoint(HONEST[:9]), request(HONEST, 9, 5))


def test_who_says_another_old_size_hears_the_right_one():
    for latest, size in ((None, 0), (checkpoint(HONEST[:4]), 4)):
        with pytest.raises(ConflictError) as caught:
            judge(latest, request(HONEST, 6, 8))
        assert caught.value.data["size"] == size


@pytest.mark.parametrize(
    "proof",
    [
        (),
        prove(HONEST, 6, 20)[:-1],
        (*prove(HONEST, 6, 20), bytes(32)),
        prove(HONEST, 6, 21),
        tuple(reversed(prove(HONEST, 6, 20))),
    ],
)
def test_a_wrong_proof_is_refused(proof):
    with pytest.raises(IntegrityError) as caught:
        judge(checkpoint(HONEST[:6]), replace(request(HONEST, 6, 20), proof=proof))
    assert caught.value.data["problem"] == "proof"


def test_a_proof_from_nothing_has_no_hashes():
    with pytest.raises(IntegrityError):
        judge(None, replace(request(HONEST, 0, 3), proof=(bytes(32),)))
    with pytest.raises(IntegrityError):
        judge(checkpoint(HONEST[:3]), replace(request(HONEST, 3, 3), proof=(bytes(32),)))


def test_what_the_log_did_not_sign_is_refused():
    stranger = PrivateKey.generate()
    with pytest.raises(RefusedError):
        judge(None, request(HONEST, 0, 3, stranger))


def test_an_empty_log_can_be_witnessed():
    assert judge(None, request(HONEST, 0, 0)).root == EMPTY_ROOT


GOOD = request(HONEST, 6, 20).format()


@pytest.mark.parametrize(
    ("body", "at"),
    [
        (b"", 1),
        (b"old 6", 1),
        (b"6\n\n" + request(HONEST, 0, 3).note, 1),
        (GOOD.replace(b"old 6", b"old 06"), 1),
        (GOOD.replace(b"old 6", b"old -6"), 1),
        (GOOD.replace(b"old 6\n", b"old 6\nnonsense\n"), 2),
        (GOOD.replace(b"old 6\n", b"old 6\nAAAA\n"), 2),
        (b"old 1\n" + b"A" * 43 + b"=\n" * 64 + b"\n\nx", 65),
        (GOOD + b"x" * REQUEST_BYTES_MAX, 1),
        (GOOD[:-1], len(prove(HONEST, 6, 20)) + 3),
        (GOOD.partition(b"\n\n")[0] + b"\n\n", len(prove(HONEST, 6, 20)) + 3),
    ],
)
def test_what_is_no_request_is_refused_with_its_line(body, at):
    with pytest.raises(InputError) as caught:
        AddCheckpoint.parse(body)
    assert caught.value.data["line"] == at


@given(st.binary(max_size=200), st.integers(0, len(GOOD)))
def test_no_body_does_more_than_be_refused(noise, at):
    for body in (noise, GOOD[:at] + noise + GOOD[at:], GOOD[:at] + noise):
        try:
            judge_checkpoint(checkpoint(HONEST[:6]), AddCheckpoint.parse(body), KEY, verify)
        except EnforcerError:
            continue
        assert AddCheckpoint.parse(body).claimed == checkpoint(HONEST[:20])
