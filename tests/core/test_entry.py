"""The leaf: one spelling, a closed list of kinds, and what stops whoever follows."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from enforcer.core.entry import ENTRY_BYTES_MAX, KINDS, Entry, encode, parse, parse_payload
from enforcer.core.envelope import Envelope, Signature
from enforcer.errors import InputError, IntegrityError
from tests.people import Land

LAND = Land.founded()
LEAF = LAND.leaves[0]


def test_a_leaf_reads_back_to_itself():
    for leaf in LAND.leaves:
        assert encode(parse(leaf)) == leaf


def test_the_bytes_of_a_leaf_are_pinned():
    """Changing this literal means that every ledger ever written stops verifying."""
    envelope = Envelope(
        "application/vnd.enforcer.order-stopped.v1+json", b"{}", (Signature("ab" * 32, bytes(64)),)
    )
    leaf = encode(Entry(1_800_000_000_000, envelope))
    assert leaf == (
        b'{"recorded_at_ms":1800000000000,"envelope":{"payloadType":"application/vnd.enforcer.'
        b'order-stopped.v1+json","payload":"e30=","signatures":[{"keyid":"' + b"ab" * 32 + b'",'
        b'"sig":"' + b"A" * 86 + b'=="}]}}'
    )
    assert sha256(leaf).hexdigest() == sha256(encode(parse(leaf))).hexdigest()


def test_the_kinds_are_a_closed_list():
    assert sorted(kind.__name__ for kind in KINDS.values()) == [
        "AppealDecided",
        "AppealFiled",
        "AssessmentRecorded",
        "AttestationsRecorded",
        "HoldLifted",
        "KeyRegistered",
        "KeyRevoked",
        "LogKeyRotated",
        "NotificationSent",
        "OrderApproved",
        "OrderConfirmed",
        "OrderExtended",
        "OrderHeld",
        "OrderProposed",
        "OrderPublished",
        "OrderRejected",
        "OrderResumed",
        "OrderStopped",
        "OrderSuspended",
        "PolicyAdopted",
        "ReviewDone",
        "RootsChanged",
    ]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda leaf: leaf + b" ",
        lambda leaf: leaf.replace(b'{"recorded_at_ms"', b'{ "recorded_at_ms"', 1),
        lambda leaf: leaf.replace(b'"recorded_at_ms":', b'"recorded_at_ms":-', 1),
        lambda leaf: leaf.replace(b'"recorded_at_ms":', b'"recorded_at":', 1),
        lambda leaf: leaf[:-1] + b',"note":"x"}',
        lambda leaf: leaf.replace(b"policy-adopted.v1", b"policy-adopted.v2"),
        lambda leaf: leaf[:100],
        lambda leaf: b"",
        lambda leaf: bytes(ENTRY_BYTES_MAX + 1),
    ],
)
def test_a_leaf_that_cannot_be_understood_stops_following(spoil):
    with pytest.raises(IntegrityError):
        parse(spoil(LEAF))


def test_a_malformed_payload_of_a_known_kind_is_an_input_error():
    envelope = parse(LEAF).envelope
    with pytest.raises(InputError, match="PolicyAdopted"):
        parse_payload(replace(envelope, payload=b'{"ledger_origin":"x"}'))
    with pytest.raises(InputError, match="unknown"):
        parse_payload(replace(envelope, payload_type="application/json"))
