"""What the gate's own answers say, field by field, and that they always fit."""

import struct

import pytest
from dnslib import DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native import packets
from enforcer.core.name import Name
from tests.native.test_wire import ROOT_OPT, header, question, wire_names

ORDER_ID = b"XX-2026-000001"
DOMAIN = Name.from_text("register.example.org").wire
URL = b"https://register.example.org/orders/"
LETTERS = st.text("abcXYZ019-_", min_size=1, max_size=63).map(str.encode)  # dnslib takes no other
TEXT = ORDER_ID + b" " + URL + ORDER_ID


def block(wire: bytes, **changes) -> bytes:
    arguments = {
        "rcode": 3,
        "zone_at": 0,
        "info_code": 16,
        "is_block_page": False,
        "page": b"",
        "order_id": ORDER_ID,
        "register_domain": DOMAIN,
        "register_url": URL,
        "ttl_seconds": 30,
        "serial": 0xFFFFFFFF,
    }
    return packets.block(wire, **{**arguments, **changes})


def opt(*, size: int = 1232, flags: int = 0) -> bytes:
    return b"\0" + struct.pack("!HHBBHH", 41, size, 0, 0, flags, 0)


def options(reply: bytes) -> list[tuple[int, bytes]]:
    records = [record for record in DNSRecord.parse(reply).ar if record.rtype == 41]
    return [(option.code, option.data) for record in records for option in record.rdata]


def test_a_block_is_the_question_and_the_soa_of_an_empty_zone():
    asked = Name.from_text("www.example.org").wire
    wire = header(flags=0x0110) + asked + b"\0\1\0\1"
    soa = (
        b"\x0e" + ORDER_ID + DOMAIN
        + b"\x0ahostmaster" + struct.pack("!H", 0xC000 | (12 + 17 + 4 + 12 + 15))
        + struct.pack("!5I", 0xFFFFFFFF, 3600, 600, 86400, 30)
    )  # fmt: skip
    assert block(wire, zone_at=4) == (
        struct.pack("!6H", 0x1234, 0x8193, 1, 0, 1, 0)
        + asked + b"\0\1\0\1"
        + struct.pack("!HHHIH", 0xC000 | 16, 6, 1, 30, len(soa)) + soa
    )  # fmt: skip


def test_the_names_in_the_soa_are_the_target_the_order_and_the_hostmaster():
    reply = DNSRecord.parse(block(header() + question("a.b.ExAmple.org"), zone_at=4))
    (soa,) = reply.auth
    assert str(soa.rname) == "example.org."
    assert str(soa.rdata.mname) == "XX-2026-000001.register.example.org."
    assert str(soa.rdata.rname) == "hostmaster.register.example.org."


def test_a_block_of_the_root_has_the_root_as_owner():
    reply = DNSRecord.parse(block(header() + question("example.org"), zone_at=12))
    assert str(reply.auth[0].rname) == "."
    reply = DNSRecord.parse(block(header() + question("."), zone_at=0))
    assert str(reply.auth[0].rname) == "."


def test_nodata_is_a_negative_answer_without_an_error_code():
    reply = DNSRecord.parse(block(header() + question(), rcode=0))
    assert (reply.header.rcode, len(reply.rr), len(reply.auth)) == (0, 0, 1)


@pytest.mark.parametrize("flags", [0x0000, 0x0010, 0x0100, 0x0110])
@pytest.mark.parametrize("noise", [0x0000, 0x0460 | 0x0200 | 0x000F])
def test_rd_and_cd_are_copied_and_nothing_else_is(flags, noise):
    for reply in (
        block(header(flags=flags | noise) + question()),
        packets.error(header(flags=flags | noise) + question(), 3),
    ):
        assert struct.unpack_from("!H", reply, 2)[0] == 0x8083 | flags


@pytest.mark.parametrize(("info_code", "is_block_page"), [(16, False), (15, False), (16, True)])
def test_ede_stands_only_where_the_query_had_edns(info_code, is_block_page):
    say = {"info_code": info_code, "is_block_page": is_block_page}
    assert options(block(header() + question(), **say)) == []
    expected = [(15, struct.pack("!H", info_code) + TEXT)]
    if is_block_page:
        expected.append((15, b"\0\4"))
    assert options(block(header(ar=1) + question() + opt(), **say)) == expected


@pytest.mark.parametrize("dnssec_ok", [0, 0x8000])
def test_the_opt_is_ours_with_the_do_bit_echoed(dnssec_ok):
    reply = block(header(ar=1) + question() + opt(size=4096, flags=dnssec_ok | 0x7FFF))
    (record,) = DNSRecord.parse(reply).ar
    assert (record.rtype, record.rclass, record.ttl) == (41, 1232, dnssec_ok)


@pytest.mark.parametrize(
    ("page", "qtype", "shown"),
    [
        (b"\xc0\0\2\7", 1, "192.0.2.7"),
        (bytes.fromhex("20010db8") + b"\0" * 11 + b"\7", 28, "2001:db8::7"),
    ],
)
def test_a_block_page_is_the_pages_address(page, qtype, shown):
    wire = header(ar=1) + question(qtype=qtype) + opt()
    reply = DNSRecord.parse(block(wire, rcode=0, page=page, is_block_page=True, ttl_seconds=9))
    (answer,) = reply.rr
    assert (str(answer.rname), answer.rtype, answer.rclass, answer.ttl) == (
        "example.org.",
        qtype,
        1,
        9,
    )
    assert str(answer.rdata) == shown
    assert len(reply.auth) == 0


def test_the_question_keeps_the_clients_case():
    name = b"\7eXaMpLe\3ORG\0"
    wire = header() + name + b"\0\1\0\1"
    for reply in (block(wire), packets.error(wire, 2)):
        assert reply[12 : 12 + len(name)] == name


def test_where_the_text_does_not_fit_it_goes_and_the_code_stays():
    long_name = "a" * 63 + "." + "b" * 63 + "." + "c" * 63
    with_text = block(header(ar=1) + question(long_name) + opt(size=512))
    assert len(options(with_text)[0][1]) == 2 + len(TEXT)
    reply = block(header(ar=1) + question(long_name) + opt(size=512), register_url=b"h" * 200)
    assert options(reply) == [(15, b"\0\x10")]
    roomy = block(header(ar=1) + question(long_name) + opt(size=600), register_url=b"h" * 200)
    assert len(options(roomy)[0][1]) == 2 + 14 + 1 + 200 + 14


def test_where_the_registers_domain_does_not_fit_the_order_still_stands_in_the_soa():
    longest = b"".join(b"\x3f" + bytes([c]) * 63 for c in b"abc") + b"\x3d" + b"d" * 61 + b"\0"
    domain = b"".join(b"\x3f" + bytes([c]) * 63 for c in b"xyz") + b"\x1c" + b"w" * 28 + b"\0"
    wire = header() + longest + b"\0\1\0\1"
    reply = block(wire, order_id=b"o" * 32, register_domain=domain)
    assert len(reply) <= 512
    assert str(DNSRecord.parse(reply).auth[0].rdata.mname) == "o" * 32 + "."


@given(
    name=wire_names(LETTERS),
    data=st.data(),
    size=st.one_of(st.none(), st.integers(0, 0xFFFF)),
    order_id=st.text("ABC-0123", min_size=1, max_size=32),
    domain=wire_names(LETTERS).filter(lambda wire: len(wire) <= 222),
    url=st.integers(0, 200),
    is_block_page=st.booleans(),
    page=st.sampled_from([b"", b"\xc0\0\2\7", b"\x20\x01\x0d\xb8" + b"\0" * 12]),
    ttl=st.integers(0, 30),
)
def test_every_block_parses_and_fits_what_the_client_takes(
    *, name, data, size, order_id, domain, url, is_block_page, page, ttl
):
    wire = header(ar=size is not None) + name + b"\0\1\0\1"
    if size is not None:
        wire += opt(size=size)
    starts = packets.read(wire)[1]["label_at"]
    reply = block(
        wire,
        zone_at=data.draw(st.sampled_from(starts)),
        order_id=order_id.encode(),
        register_domain=domain,
        register_url=b"u" * url,
        is_block_page=is_block_page,
        page=page,
        ttl_seconds=ttl,
    )
    assert len(reply) <= (512 if size is None else min(max(size, 512), 1232))
    parsed = DNSRecord.parse(reply)
    assert reply[12 : 12 + len(name) + 4] == name + b"\0\1\0\1"
    assert {record.ttl for record in [*parsed.rr, *parsed.auth]} == {ttl}
    assert len(parsed.rr) == bool(page)
    assert len(parsed.auth) == (not page)
    codes = [data[:2] for code, data in options(reply) if code == 15]
    assert codes == ([] if size is None else [b"\0\x10", b"\0\4"][: 1 + is_block_page])


def test_an_error_to_an_unreadable_question_is_a_bare_header():
    assert packets.error(header(qd=2) + question(), 1) == struct.pack(
        "!6H", 0x1234, 0x8181, 0, 0, 0, 0
    )


def test_an_error_keeps_the_opcode_that_is_not_implemented():
    assert packets.error(header(flags=0x2800), 4)[2:4] == b"\xa8\x84"


def test_badvers_stands_in_the_opt():
    reply = packets.error(
        header(ar=1) + question() + b"\0" + struct.pack("!HHBBHH", 41, 512, 0, 1, 0, 0), 16
    )
    assert reply[3] & 0x0F == 0
    assert reply.endswith(b"\0" + struct.pack("!HHBBHH", 41, 1232, 1, 0, 0, 0))


def test_an_error_carries_an_opt_only_where_the_query_did():
    assert packets.error(header() + question(), 5)[10:12] == b"\0\0"
    assert packets.error(header(ar=1) + question() + ROOT_OPT, 5)[10:12] == b"\0\1"


def test_a_refusal_says_why_only_where_the_query_had_edns():
    asked = header(ar=1) + question() + ROOT_OPT
    reply = packets.error(asked, 5, info_code=18)
    options = struct.pack("!HHH", 15, 2, 18)
    assert reply[:4] == b"\x12\x34\x81\x85"
    assert reply.endswith(b"\0" + struct.pack("!HHIH", 41, 1232, 0, 6) + options)
    plain = header() + question()
    assert packets.error(plain, 5, info_code=18) == packets.error(plain, 5)
