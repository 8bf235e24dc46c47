"""Tile names, widths and bundles (C2SP tlog-tiles), and the edge that grows by them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.edge import RightEdge
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.tile import (
    BUNDLE,
    ENTRY_BYTES_MAX,
    TILE_WIDTH,
    Tile,
    decode_bundle,
    encode_bundle,
    split_hashes,
    tile_root,
    width_at,
)
from enforcer.errors import InputError, IntegrityError

tiles = st.builds(
    Tile, st.integers(BUNDLE, 63), st.integers(0, 2**55 - 1), st.integers(1, TILE_WIDTH)
)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 999, 5), "tile/0/999.p/5"),
        (Tile(0, 1000), "tile/0/x001/000"),
        (Tile(3, 1234067), "tile/3/x001/x234/067"),
        (Tile(63, 1, 255), "tile/63/001.p/255"),
        (Tile(BUNDLE, 1234, 1), "tile/entries/x001/234.p/1"),
    ],
)
def test_a_tile_has_the_path_of_the_standard(tile, path):
    assert tile.path == path
    assert Tile.parse(path) == tile


@given(tiles)
def test_a_path_reads_back(tile):
    assert Tile.parse(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/001",
        "tile/0/001/000",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/",
        "tile/0/000/",
        "tile/0/000\n",
        "/tile/0/000",
        "tile/0/../000",
        "tile/data/000",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ],
)
def test_nothing_else_is_a_path(path):
    with pytest.raises(InputError, match="not the path of a tile"):
        Tile.parse(path)


@pytest.mark.parametrize("arguments", [(-2, 0, 1), (64, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_a_tile_that_no_tree_has_cannot_be_made(arguments):
    with pytest.raises(InputError, match="no tree has"):
        Tile(*arguments)


def test_the_widths_of_a_tree_of_seventy_thousand_are_those_of_the_standard():
    size = 70_000
    assert [width_at(0, index, size) for index in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [width_at(1, index, size) for index in (0, 1, 2)] == [256, 17, 0]
    assert [width_at(2, index, size) for index in (0, 1)] == [1, 0]
    assert [width_at(BUNDLE, index, size) for index in (272, 273, 274)] == [256, 112, 0]


@given(st.lists(st.binary(max_size=300), max_size=40))
def test_a_bundle_reads_back(entries):
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


def test_lengths_in_a_bundle_are_big_endian():
    assert encode_bundle([b"a", b"b" * 256]) == b"\x00\x01a\x01\x00" + b"b" * 256


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=10), st.data())
def test_a_cut_bundle_is_refused(entries, data):
    whole = encode_bundle(entries)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(IntegrityError, match="ends within entry") as caught:
        decode_bundle(cut, len(entries))
    assert caught.value.data["problem"] == "cut"


def test_an_entry_has_at_most_65535_bytes():
    largest = bytes(ENTRY_BYTES_MAX)
    assert decode_bundle(encode_bundle([largest]), 1) == [largest]
    with pytest.raises(InputError, match="65536 bytes") as caught:
        encode_bundle([b"", bytes(ENTRY_BYTES_MAX + 1)])
    assert caught.value.data["index"] == 1


@given(st.lists(st.integers(0, 600), min_size=1, max_size=5))
def test_an_edge_grown_in_any_steps_is_the_tree(steps):
    edge, files, count = RightEdge(), {}, 0
    for step in steps:
        edge, new = edge.grow([b"entry %d" % index for index in range(count, count + step)])
        files |= new
        count += step
    leaves = [b"entry %d" % index for index in range(count)]
    assert edge.size == count
    assert edge.root() == CompactRange.over(map(leaf_hash, leaves)).root()
    assert RightEdge.read(count, files.__getitem__) == edge
    # What the standard says each level is, from the leaves alone.
    level_hashes = list(map(leaf_hash, leaves))
    for level in range(len(edge.tiles)):
        for index in range(-(-len(level_hashes) // TILE_WIDTH)):
            part = level_hashes[index * TILE_WIDTH : (index + 1) * TILE_WIDTH]
            assert split_hashes(files[Tile(level, index, len(part))]) == part
        full = len(level_hashes) // TILE_WIDTH
        level_hashes = [tile_root(files[Tile(level, index)]) for index in range(full)]


def test_growing_writes_only_what_changed():
    edge, _ = RightEdge().grow([b"entry"] * 257)
    _, new = edge.grow([b"entry"])
    assert sorted(tile.path for tile in new) == ["tile/0/001.p/2", "tile/entries/001.p/2"]


def test_growing_leaves_the_old_edge_as_it_was():
    edge, _ = RightEdge().grow([b"entry"] * 3)
    root = edge.root()
    edge.grow([b"more"] * 300)
    assert (edge.size, edge.root()) == (3, root)
