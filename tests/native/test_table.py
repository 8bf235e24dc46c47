"""What a table that was cut, altered or forged does: it is refused, or it stays in its bounds."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer._native import probe
from enforcer._native.probe import BODY_SHA256_AT, HEADER_BYTES, Table
from enforcer.core import name, table_frame
from enforcer.core.name import ROOT, Name
from enforcer.core.verdict import Action, Cause
from enforcer.errors import InputError, IntegrityError
from tests.tables import compile_bytes, order_row, target_list

LIST = target_list(
    "exact www.example.com",
    "subtree example.org",
    "subtree a.b.c.d.example.net",
    "ip 192.0.2.7",
    "ip 192.0.2.9",
    "ip 203.0.113.5",
    "net 192.0.2.0/24",
    "net 2001:db8::/32",
    "net 2001:db8:5::/48",
    "net 2a00:db8::/48",
)
OTHER = target_list("exact www.example.com", "subtree example.org")
ROWS = [order_row(5, LIST), order_row(8, OTHER, until_ms=3000)]
TABLE = compile_bytes(
    [(ROWS[0], LIST), (ROWS[1], OTHER)],
    core=target_list("subtree safe.example.org"),
    protected=target_list("exact bank.example.org"),
)
QNAMES = [ROOT] + [
    Name.from_text(text)
    for text in (
        "www.example.com",
        "example.org",
        "x.example.org",
        "a.safe.example.org",
        "bank.example.org",
        "z.a.b.c.d.example.net",
        "a." * 126 + "a",
    )
]

ADDRESSES = [ip_address(text) for text in ("192.0.2.7", "192.0.2.8", "2001:db8::1", "::1")]

# native/layout.pxd, by hand: where the fields of the header stand.
BASE_SHA256_AT = 152
U32 = {"version": 8, "header_bytes": 12} | {
    field: 264 + 4 * number
    for number, field in enumerate(
        (
            "slot_count",
            "probes_max",
            "labels_max",
            "order_count",
            "posting_count",
            "word_count",
            "register_url_bytes",
            "register_domain_bytes",
        )
    )
}
U32 |= {
    field: 392 + 4 * number
    for number, field in enumerate(
        ("key_count.4", "key_count.6", "index_bits.4", "index_bits.6", "nest_count")
    )
}
SECTIONS = ("slots", "orders", "strings", "postings", "words", "networks")
U64 = {"total_bytes": 16, "name_count": 216, "network_count": 224} | {
    f"{section}.{field}": 296 + 16 * number + 8 * (field == "size_bytes")
    for number, section in enumerate(SECTIONS)
    for field in ("offset", "size_bytes")
}


def sealed(octets: bytes | bytearray) -> bytes:
    """Return `octets` with the checksum that they must carry."""
    region = bytearray(octets)
    digest = bytes.fromhex(probe.body_sha256(region))
    region[BODY_SHA256_AT : BODY_SHA256_AT + 32] = digest
    return bytes(region)


def read(field: str) -> int:
    if field in U32:
        return int(struct.unpack_from("<I", TABLE, U32[field])[0])
    return int(struct.unpack_from("<Q", TABLE, U64[field])[0])


KEYS6_AT = read("networks.offset")
KEYS4_AT = KEYS6_AT + 24 * read("key_count.6")
INDEX6_AT = KEYS4_AT + 8 * read("key_count.4")
INDEX4_AT = INDEX6_AT + 4 * (2 ** read("index_bits.6") + 1)
NESTS_AT = INDEX4_AT + 4 * (2 ** read("index_bits.4") + 1)
LAST_WORD_AND_ONE = struct.pack("<II", read("word_count") - 1, 2)  # begins inside, ends outside


def forged(field: str, number: int) -> bytes:
    """Return TABLE with one field of the header changed, and a checksum that is right."""
    region = bytearray(TABLE)
    if field in U32:
        struct.pack_into("<I", region, U32[field], number)
    else:
        struct.pack_into("<Q", region, U64[field], number)
    return sealed(region)


def forged_at(at: int, octets: bytes) -> bytes:
    return sealed(TABLE[:at] + octets + TABLE[at + len(octets) :])


def use(region: bytes) -> None:
    """Take the table if it is not refused, and look things up in it."""
    try:
        table = Table(region)
    except IntegrityError:
        return
    table.orders()
    for qname in QNAMES:
        for qtype in (1, 43):
            verdict = table.decide(qname.wire, qtype, 1500)
            assert verdict.action in (Action.PASS, Action.BLOCK)
            assert (verdict.action is Action.BLOCK) == (verdict.order is not None)
            assert (verdict.cause is Cause.NO_MATCH) == (verdict.zone is None)
    for address in ADDRESSES:
        table.match_many(address.packed * 20, len(address.packed), 1500)
        verdict = table.decide_address(address, 1500)
        assert verdict.action in (Action.PASS, Action.BLOCK)
        assert (verdict.action is Action.BLOCK) == (verdict.order is not None)
        assert (verdict.cause is Cause.NO_MATCH) == (verdict.network is None)


def test_the_layout_is_the_one_that_others_repeat():
    assert probe.layout() == {
        "header_bytes": HEADER_BYTES,
        "slot_bytes": 16,
        "posting_bytes": 20,
        "order_bytes": 104,
        "labels_max": name.LABELS_MAX,
        "orders_max": table_frame.ORDERS_MAX,
        "order_id_bytes_max": table_frame.ORDER_ID_BYTES_MAX,
        "register_url_bytes_max": table_frame.REGISTER_URL_BYTES_MAX,
        "register_domain_bytes_max": table_frame.REGISTER_DOMAIN_BYTES_MAX,
    }
    assert TABLE[:16] == b"ENFTABLE" + struct.pack("<II", 3, 512)
    assert read("total_bytes") == len(TABLE)
    assert read("name_count") == 5
    assert read("word_count") == 5
    assert [read(f"key_count.{version}") for version in (4, 6)] == [4, 3]
    assert read("slots.offset") == HEADER_BYTES
    assert read("register_domain_bytes") == len(Name.from_text("register.example.org").wire)


def test_rows_and_header_read_back_as_they_were_given():
    table = Table(TABLE)
    assert table.orders() == ROWS
    assert table.header.ledger_size == 7
    assert table.header.time_floor_ms == 900
    assert table.header.table_digest == "ab" * 32
    assert table.header.register_url == "https://register.example.org/o/"
    assert table.header.register_domain == "register.example.org"
    assert table.header.labels_max == 6


def test_a_table_cut_anywhere_is_refused():
    for size in range(len(TABLE)):
        with pytest.raises(IntegrityError):
            Table(TABLE[:size])
        with pytest.raises(IntegrityError):
            Table(sealed(TABLE[:size]) if size >= HEADER_BYTES else TABLE[:size])


def test_octets_too_many_are_refused():
    with pytest.raises(IntegrityError, match="size"):
        Table(sealed(TABLE + b"\0"))
    longer = forged("total_bytes", len(TABLE) + 16)
    with pytest.raises(IntegrityError, match="sections"):
        Table(sealed(longer + bytes(16)))


def test_any_changed_octet_is_noticed_by_the_checksum():
    for at in range(len(TABLE)):
        region = bytearray(TABLE)
        region[at] ^= 1
        with pytest.raises(IntegrityError):
            Table(region)


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_any_forged_octet_is_refused_or_stays_in_bounds(mask: int):
    for at in range(len(TABLE)):
        region = bytearray(TABLE)
        region[at] ^= mask
        use(sealed(region))


header_fields = st.sampled_from([*U32, *U64])
numbers = st.one_of(
    st.integers(0, 40), st.integers(0, 2**32 - 1), st.sampled_from([2**32 - 1, 2**31, len(TABLE)])
)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(header_fields, numbers), min_size=1, max_size=4))
def test_forged_headers_are_refused_or_stay_in_bounds(changes: list[tuple[str, int]]):
    region = bytearray(TABLE)
    for field, number in changes:
        if field in U32:
            struct.pack_into("<I", region, U32[field], number)
        else:
            struct.pack_into("<Q", region, U64[field], number)
    use(sealed(region))


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.integers(HEADER_BYTES, len(TABLE) - 4), numbers), max_size=8))
def test_forged_rows_are_refused_or_stay_in_bounds(changes: list[tuple[int, int]]):
    region = bytearray(TABLE)
    for at, number in changes:
        struct.pack_into("<I", region, at & ~3, number)
    use(sealed(region))


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (sealed(b"NOTTABLE" + TABLE[8:]), "does not begin as a table"),
        (forged("version", 1), "another format version"),
        (forged("header_bytes", 256), "another format version"),
        (forged("total_bytes", len(TABLE) + 1), "size"),
        (forged("slot_count", 0), "count"),
        (forged("slot_count", read("slot_count") + 1), "sections"),
        (forged("probes_max", 0), "count"),
        (forged("probes_max", read("slot_count") + 1), "count"),
        (forged("labels_max", 128), "count"),
        (forged("name_count", read("slot_count")), "count"),
        (forged("name_count", read("name_count") - 1), "miscounted"),
        (forged("order_count", 1), "sections"),
        (forged("order_count", 1 << 25), "count"),
        (forged("posting_count", read("posting_count") + 1), "sections"),
        (forged("word_count", read("word_count") + 1), "sections"),
        (forged("register_url_bytes", 201), "count"),
        (forged("register_domain_bytes", 0), "count"),
        (forged("register_domain_bytes", 223), "count"),
        (forged("slots.offset", 0), "sections"),
        (forged("words.offset", 2**64 - 16), "sections"),
        (forged("postings.size_bytes", 2**64 - 1), "sections"),
        (forged("network_count", 0), "count"),
        (forged("index_bits.4", 21), "count"),
        (forged("index_bits.6", 2**32 - 1), "count"),
        (forged("nest_count", 0), "count"),
        (forged("nest_count", read("nest_count") + 1), "sections"),
        (forged("key_count.4", read("key_count.4") + 1), "count"),
        (forged("key_count.4", read("key_count.4") - 1), "sections"),
        (forged("key_count.6", read("key_count.6") - 1), "sections"),
        (forged("networks.offset", 0), "sections"),
        (forged_at(BASE_SHA256_AT, b"\1"), "lies on no base"),
        (forged_at(read("postings.offset"), b"\1"), "posting"),
        (forged_at(read("postings.offset") + 20, b"\x20"), "posting"),
        (forged_at(read("postings.offset") + 20 + 4, b"\xff" * 4), "posting"),
        (forged_at(read("postings.offset") + 20 + 8, b"\xff" * 4), "posting"),
        (forged_at(read("postings.offset") + 20 + 4, LAST_WORD_AND_ONE), "posting"),
        (forged_at(read("postings.offset") + 20 + 12, LAST_WORD_AND_ONE), "posting"),
        (forged_at(read("postings.offset") + 20 + 16, b"\xff" * 4), "posting"),
        (forged_at(read("words.offset"), b"\2"), "posting"),
        (forged_at(read("orders.offset") + 16, b"\x09"), "order"),
        (forged_at(read("orders.offset") + 36, b"\0"), "order"),
        (forged_at(read("orders.offset") + 37, b"\4"), "order"),
        (forged_at(read("orders.offset") + 38, b"\3"), "order"),
        (forged_at(read("orders.offset") + 39, b"\0"), "order"),
        (forged_at(read("orders.offset") + 39, b"\x21"), "order"),
        (forged_at(read("orders.offset") + 72, b"\n"), "order"),
        (forged_at(read("strings.offset"), b" "), "register"),
        (forged_at(read("strings.offset") + read("register_url_bytes"), b"\x40"), "register"),
        (forged_at(read("strings.offset") + read("register_url_bytes"), b"\0"), "register"),
    ],
)
def test_each_kind_of_forgery_is_refused_in_words(region: bytes, words: str):
    with pytest.raises(IntegrityError, match=words) as caught:
        Table(region)
    assert caught.value.advice


def test_a_slot_with_a_posting_that_is_not_there_is_refused():
    slots = range(read("slots.offset"), read("orders.offset"), 16)
    used = next(at for at in slots if TABLE[at + 12 : at + 16] != bytes(4))
    beyond = struct.pack("<I", read("posting_count") + 1)
    for posting in (beyond, b"\xff" * 4, bytes(4)):
        with pytest.raises(IntegrityError, match="slot"):
            Table(forged_at(used + 12, posting))


@pytest.mark.parametrize(
    ("at", "octets"),
    [
        (NESTS_AT, b"\1"),  # nest 0 is none
        (NESTS_AT + 4, b"\1"),
        (NESTS_AT + 8, b"\1"),
        (NESTS_AT + 12, bytes(4)),  # no posting
        (NESTS_AT + 12, b"\xff" * 4),
        (NESTS_AT + 16, b"\1"),  # around itself
        (NESTS_AT + 16, b"\xff" * 4),
        (NESTS_AT + 20, b"\0"),  # no bits
        (NESTS_AT + 20, b"\x81"),
        (KEYS4_AT, b"\xff" * 4),  # behind the next
        (KEYS4_AT + 4, bytes(4)),
        (KEYS4_AT + 4, b"\xff" * 4),
        (KEYS6_AT, b"\xff" * 8),
        (KEYS6_AT + 16, bytes(4)),
        (KEYS6_AT + 16, b"\xff" * 4),
        (INDEX4_AT, b"\1"),  # the first bucket begins with the first key
        (INDEX4_AT + 4, bytes(4)),
        (INDEX4_AT + 4, b"\xff" * 4),
        (INDEX6_AT + 4, bytes(4)),
        (NESTS_AT - 4, b"\xff" * 4),  # the last bucket ends with the last key
    ],
)
def test_a_search_that_could_leave_the_networks_is_refused(at: int, octets: bytes):
    with pytest.raises(IntegrityError, match="prefixes"):
        Table(forged_at(at, octets))


def test_a_table_that_is_not_aligned_is_refused():
    shifted = bytearray(b"\0" + TABLE)
    with pytest.raises(IntegrityError, match="aligned"):
        Table(memoryview(shifted)[1:])


def test_a_name_that_is_none_is_refused():
    table = Table(TABLE)
    for wire in (b"", b"\1", b"\1a", b"\1a\0\0", b"\xc0\0", b"\x40" + b"a" * 64 + b"\0"):
        with pytest.raises(InputError):
            table.decide(wire, 1, 1500)
    too_long = b"".join([b"\x3f" + b"x" * 63] * 3) + b"\x3e" + b"y" * 62 + b"\0"
    assert len(too_long) == 256
    with pytest.raises(InputError):
        table.decide(too_long, 1, 1500)


def test_many_names_are_decided_in_one_call():
    wires = b"".join(qname.wire for qname in QNAMES)
    count, blocked, elapsed_ns = Table(TABLE).decide_many(wires, 1, 1500)
    single = [Table(TABLE).decide(qname.wire, 1, 1500).action for qname in QNAMES]
    assert (count, blocked) == (len(QNAMES), single.count(Action.BLOCK))
    assert elapsed_ns > 0
    with pytest.raises(InputError):
        Table(TABLE).decide_many(wires + b"\3ab", 1, 1500)
