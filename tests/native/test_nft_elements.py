"""Pieces become elements and pieces again; what the kernel would never say harms nothing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native.conntrack import connections_hit
from enforcer._native.nft_elements import SHARD_COUNT, SetReader, encode
from enforcer.backends.nft_frame import buckets, in_table
from enforcer.backends.nft_socket import NftSocket
from enforcer.backends.nft_wire import (
    NLM_F_DUMP_INTR,
    NLMSG_OVERRUN,
    Verb,
    fields,
    messages,
    nest,
    text,
    text_of,
)
from enforcer.core.firewall import ADDRESS_OCTETS, PIECE_OCTETS, FirewallRow, unpack_pieces
from enforcer.core.table import IpMeasure
from enforcer.errors import ConflictError, InputError, IntegrityError
from tests.netlink import DONE, connection, element, told

ROWS = (
    FirewallRow(1, IpMeasure.REJECT),
    FirewallRow(70_000, IpMeasure.DROP),
    FirewallRow(2**32 - 1, IpMeasure.REJECT),
)
HEADS = {v: [in_table(text(2, name)) for name in buckets(v)] for v in ADDRESS_OCTETS}


def packed(version, pieces):
    wide = ADDRESS_OCTETS[version]
    return b"".join(
        first.to_bytes(wide, "big") + last.to_bytes(wide, "big") + row.to_bytes(4, "little")
        for first, last, row in pieces
    )


@st.composite
def some_pieces(draw, version):
    """Disjoint pieces inside a few targets, at the family's edges too."""
    bits, low = 8 * ADDRESS_OCTETS[version], {4: 16, 6: 96}[version]
    tops = draw(st.sets(st.sampled_from([0, 1, 2**16 - 1, 2 ** (bits - low) - 1]), max_size=4))
    found = []
    for top in sorted(tops):
        inside = st.integers(0, 2**low - 1)
        edges = sorted(draw(st.sets(st.one_of(inside, st.just(2**low - 1)), max_size=12)))
        for first, last in zip(edges[::2], edges[1::2], strict=False):
            row = draw(st.sampled_from(ROWS)).index
            if draw(st.booleans()):
                found.append(((top << low) + first, (top << low) + first, row))
                continue
            found.append(((top << low) + first, (top << low) + last, row))
    return found


def dumps(version, made):
    """Return what the kernel would tell of each set after these messages: type and form agree."""
    told = dict.fromkeys(buckets(version), b"")
    at = 0
    for each in messages(made):
        size = struct.unpack_from("=I", made, at)[0]
        told[text_of(fields(each.body)[2])] += made[at : at + size]
        at += size
    return told


def read(version, told):
    reader = SetReader(version)
    for bucket, name in enumerate(buckets(version)):
        reader.begin(bucket)
        assert reader.feed(told[name]) is False
        assert reader.feed(DONE) is True
        reader.end()
    return reader, reader.pieces()


@pytest.mark.parametrize("version", [4, 6])
@given(data=st.data())
def test_pieces_come_back_as_they_went(version, data):
    pieces = packed(version, data.draw(some_pieces(version)))
    made = b"".join(encode(pieces, version, ROWS, HEADS[version], is_new=True, number=7))
    reader, found = read(version, dumps(version, made))
    assert found == pieces
    assert reader.strange == 0


def test_many_pieces_of_one_set_are_several_messages_and_none_is_too_long():
    pieces = packed(4, [(0x0A000000 + 2 * n, 0x0A000000 + 2 * n, 1) for n in range(30_000)])
    made = b"".join(encode(pieces, 4, ROWS, HEADS[4], is_new=True, number=7))
    each = list(messages(made))
    assert len(each) > 10
    assert all(len(one.body) < 66_000 for one in each)
    assert read(4, dumps(4, made))[1] == pieces


def test_taking_out_names_addresses_alone():
    pieces = packed(4, [(0x0A000000, 0x0A000000, 1), (0x0A000002, 0x0A000005, 1)])
    made = b"".join(encode(pieces, 4, ROWS, HEADS[4], is_new=False, number=7))
    assert b"reject" not in made.replace(b"reject4_", b"")
    assert {each.type for each in messages(made)} == {Verb.DELETE_ELEMENTS}


@pytest.mark.parametrize(
    ("pieces", "index"),
    [
        ([(5, 4, 1)], 0),
        ([(4, 4, 1), (4, 4, 1)], 1),
        ([(4, 9, 1), (9, 12, 1)], 1),
        ([(9, 9, 1), (4, 4, 1)], 1),
        ([(4, 4, 1), (5, 5, 2)], 1),
        ([(4, 4, 1), (0xFFFF, 0x10000, 1)], 1),
    ],
)
def test_pieces_that_are_wrong_are_refused_by_their_number(pieces, index):
    with pytest.raises(InputError) as error:
        encode(packed(4, pieces), 4, ROWS, HEADS[4], is_new=True, number=7)
    assert error.value.data["index"] == index


HOSTS, NETS = 0, SHARD_COUNT
KEY, NEXT = b"\x0a\0\0\7", b"\x0a\0\0\x09"


@pytest.mark.parametrize(
    ("bucket", "elements"),
    [
        (HOSTS, [element(KEY)]),
        (HOSTS, [element(KEY, "drop1")]),
        (HOSTS, [element(KEY, "reject01")]),
        (HOSTS, [element(KEY, "reject4294967296")]),
        (HOSTS, [element(KEY, "reject")]),
        (HOSTS, [element(KEY[:3], "reject1")]),
        (HOSTS, [element(b"\x0a\1\0\7", "reject1")]),
        (HOSTS, [element(KEY, is_end=True)]),
        (NETS, [element(KEY, "reject1"), element(NEXT, "reject1")]),
        (NETS, [element(KEY, is_end=True)]),
        (NETS, [nest(1)]),
    ],
)
def test_elements_that_are_none_of_ours_are_counted(bucket, elements):
    reader = SetReader(4)
    reader.begin(bucket)
    assert reader.feed(told(*elements) + DONE) is True
    reader.end()
    reader.pieces()
    assert reader.strange >= 1


def test_pieces_that_overlap_across_sets_are_counted():
    reader = SetReader(4)
    reader.begin(HOSTS)
    reader.feed(told(element(KEY, "reject1")) + DONE)
    reader.end()
    reader.begin(NETS)
    reader.feed(told(element(KEY, "reject1"), element(NEXT, is_end=True)) + DONE)
    reader.end()
    reader.pieces()
    assert reader.strange == 1


@pytest.mark.parametrize(
    "first",
    [
        told(element(KEY, "reject1"), flags=NLM_F_DUMP_INTR),
        struct.pack("=IHHII", 16, NLMSG_OVERRUN, 0, 0, 0),
    ],
)
def test_a_dump_that_was_interrupted_is_not_a_whole_one(first):
    reader = SetReader(4)
    reader.begin(HOSTS)
    assert reader.feed(first) is False
    assert reader.feed(DONE) is None
    reader.begin(HOSTS)
    assert reader.feed(told(element(KEY, "reject1")) + DONE) is True
    assert reader.end() == 1


def test_an_error_in_the_middle_of_a_dump_is_one():
    reader = SetReader(4)
    reader.begin(HOSTS)
    with pytest.raises(IntegrityError):
        reader.feed(struct.pack("=IHHIIi", 20, 2, 0, 0, 0, -12))
    assert reader.error == -12


@given(st.binary(max_size=200), st.integers(0, 150), st.binary(min_size=1, max_size=4))
def test_hostile_octets_are_read_within_their_bounds(octets, at, over):
    good = told(element(KEY, "reject1"), element(NEXT, "reject1"))
    mixed = good[:at] + over + good[at + len(over) :]
    for each in (octets, mixed, good[:at], good + octets):
        for bucket in (HOSTS, NETS):
            reader = SetReader(4)
            reader.begin(bucket)
            try:
                reader.feed(each)
            except IntegrityError:
                continue
            reader.end()
            assert len(reader.pieces()) % PIECE_OCTETS[4] == 0


def test_connections_are_hit_by_either_address_and_named_exactly():
    four = packed(4, [(0x0A000000, 0x0A0000FF, 1), (0x0A000200, 0x0A000200, 1)])
    six = packed(6, [(1 << 64, (1 << 64) + 5, 1)])
    inside, outside = b"\x0a\0\0\x09", b"\x0a\0\1\0"
    dump = b"".join(
        [
            connection(inside, outside),
            connection(outside, inside),
            connection(outside, outside),
            connection(outside, b"\x0a\0\2\1"),
            connection(outside, b"\x0a\0\2\0"),
            connection(bytes(16), (1 << 64).to_bytes(16, "big"), family=10),
            connection(bytes(16), (6 + (1 << 64)).to_bytes(16, "big"), family=10),
            connection(inside, outside, kind=0x102),
        ]
    )
    hits = connections_hit(dump, four, six)
    assert [each[0] for each in hits] == [2, 2, 2, 10]
    named = fields(hits[0][1:])
    assert set(named) == {1, 12, 18}
    assert named[12] == b"abcd"
    assert named[18] == b"\0\5"


@given(st.binary(max_size=200), st.integers(0, 130), st.binary(min_size=1, max_size=4))
def test_hostile_connections_are_read_within_their_bounds(octets, at, over):
    good = connection(b"\x0a\0\0\x09", b"\x0a\0\1\0")
    four = packed(4, [(0x0A000000, 0x0A0000FF, 1)])
    mixed = good[:at] + over + good[at + len(over) :]
    for each in (octets, mixed, good[:at], good + octets):
        assert all(len(hit) % 4 == 1 for hit in connections_hit(each, four, b""))


class Restless(NftSocket):
    """A kernel whose dumps are interrupted so often."""

    def __init__(self, times):
        self.left = times

    def datagrams(self, verb, *attrs, family=None):
        self.left -= 1
        yield told(element(KEY), flags=NLM_F_DUMP_INTR if self.left >= 0 else 0)
        yield DONE


def test_an_interrupted_dump_is_asked_for_again_and_not_for_ever():
    assert len(Restless(3).dump(Verb.GET_ELEMENTS)) == 1
    with pytest.raises(ConflictError):
        Restless(100).dump(Verb.GET_ELEMENTS)


def test_the_twin_unpacks_what_was_packed():
    pieces = [(4, 4, 1), (5, 9, 70_000)]
    assert list(unpack_pieces(packed(6, pieces), 6)) == pieces
