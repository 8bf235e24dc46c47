"""What a client gets of an upstream's answer, fresh or from the cache."""

import struct

import pytest
from dnslib import DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native.probe_cache import AnswerCache, relay
from tests.messages import (
    AAAA,
    CNAME,
    NS,
    QNAME,
    TXT,
    A,
    name,
    record,
    response,
    soa,
)  # fmt: skip
from tests.native import answer_twin

SECRET = bytes(range(16))
EDE_TEXT = struct.pack("!HHH", 15, 10, 22) + b"a reason"
ADDRESS = record(QNAME, A, b"\xc0\0\2\1")


def opt(
    *, size: int = 1232, rcode: int = 0, dnssec_ok: bool = False, options: bytes = b""
) -> bytes:
    ttl = (rcode >> 4) << 24 | dnssec_ok << 15
    return b"\0" + struct.pack("!HHIH", 41, size, ttl, len(options)) + options


def query(
    qname: str = "www.example.org",
    qtype: int = A,
    *,
    qclass: int = 1,
    flags: int = 0x0100,
    qid: int = 0xBEEF,
    edns: bytes = b"",
) -> bytes:
    header = struct.pack("!6H", qid, flags, 1, 0, 0, bool(edns))
    return header + name(qname) + struct.pack("!HH", qtype, qclass) + edns


def flags_of(wire: bytes) -> int:
    return struct.unpack_from("!H", wire, 2)[0]


def counts_of(wire: bytes) -> tuple[int, ...]:
    return struct.unpack_from("!4H", wire, 4)


def ttls_of(wire: bytes) -> list[int]:
    return [one.ttl for one in answer_twin.Message.read(wire).records]


def kept(asked: bytes, said: bytes, now_ms: int = 0, *, stale_seconds_max: int = 86_400):
    cache = AnswerCache(1 << 17, SECRET, stale_seconds_max)
    assert cache.put(asked, said, now_ms)
    return cache


def test_an_answer_has_the_clients_id_and_question_and_the_upstreams_records():
    asked = query().replace(b"example", b"eXaMpLe")
    expected = (
        struct.pack("!6H", 0xBEEF, 0x8180, 1, 1, 0, 0)
        + b"\3www\7eXaMpLe\3org\0\0\1\0\1"
        + record(QNAME, A, b"\xc0\0\2\1", ttl=300)
    )
    assert relay(asked, response([ADDRESS])) == expected
    assert kept(asked, response([ADDRESS])).answer(asked, 0) == expected
    assert str(DNSRecord.parse(expected).rr[0].rname) == "www.eXaMpLe.org."


@pytest.mark.parametrize("asked_flags", [0x0000, 0x0010, 0x0100, 0x0110])
def test_rd_and_cd_are_the_clients_and_ra_is_set_and_aa_is_not(asked_flags):
    for said_flags in (0x8000, 0x8180, 0x8590):
        asked, said = query(flags=asked_flags), response([ADDRESS], flags=said_flags)
        assert flags_of(relay(asked, said)) == 0x8080 | asked_flags
        assert flags_of(kept(asked, said).answer(asked, 0)) == 0x8080 | asked_flags


@pytest.mark.parametrize("is_validated", [False, True])
@pytest.mark.parametrize("asks_ad", [False, True])
@pytest.mark.parametrize("dnssec_ok", [None, False, True])
def test_ad_is_for_those_who_asked_for_it_or_for_dnssec(is_validated, asks_ad, dnssec_ok):
    edns = b"" if dnssec_ok is None else opt(dnssec_ok=dnssec_ok)
    asked = query(flags=0x0100 | asks_ad << 5, edns=edns)
    said = response([ADDRESS], flags=0x8180 | is_validated << 5)
    expected = is_validated and (asks_ad or bool(dnssec_ok))
    assert bool(flags_of(relay(asked, said)) & 0x20) == expected
    assert bool(flags_of(kept(asked, said).answer(asked, 0)) & 0x20) == expected


def test_an_answer_kept_for_one_who_did_not_ask_for_ad_shows_it_to_one_who_does():
    cache = kept(query(), response([ADDRESS], flags=0x81A0))
    assert flags_of(cache.answer(query(), 0)) == 0x8180
    assert flags_of(cache.answer(query(flags=0x0120), 0)) == 0x81A0


def test_every_record_lives_as_long_as_the_one_that_ends_first():
    records = [
        record(QNAME, CNAME, name("a.example.net"), ttl=4000),
        record(name("a.example.net"), A, bytes(4), ttl=70),
    ]
    said = response(records, [], [record(name("b.example"), AAAA, bytes(16), ttl=500)])
    cache = kept(query(), said, 1_000)
    assert ttls_of(relay(query(), said)) == [70] * 3
    for age_ms, shown in ((0, 70), (1, 69), (1000, 69), (10_500, 59), (68_999, 1), (69_999, 1)):
        assert ttls_of(cache.answer(query(), 1_000 + age_ms)) == [shown] * 3
    assert cache.answer(query(), 71_000) is None


def test_a_clock_that_seems_to_run_back_does_not_prolong_an_answer():
    assert ttls_of(kept(query(), response([ADDRESS]), 5_000).answer(query(), 1_000)) == [300]


@pytest.mark.parametrize("ttl", [0, 1 << 31, 0xFFFFFFFF])
def test_what_is_not_to_be_kept_is_handed_on_with_the_ttls_it_came_with(ttl):
    said = response([record(QNAME, A, bytes(4), ttl=ttl), record(QNAME, A, b"abcd", ttl=7)])
    assert ttls_of(relay(query(), said)) == [ttl, 7]


def test_an_opt_is_ours_and_only_for_those_who_sent_one():
    said = response(
        [ADDRESS], [], [opt(size=4096, dnssec_ok=True, options=b"\0\x0a\0\x08" + bytes(8))]
    )
    for dnssec_ok in (False, True):
        asked = query(edns=opt(size=4096, dnssec_ok=dnssec_ok))
        for wire in (relay(asked, said), kept(asked, said).answer(asked, 0)):
            assert wire.endswith(ADDRESS + opt(size=1232, dnssec_ok=dnssec_ok))
            assert counts_of(wire) == (1, 1, 0, 1)
    for wire in (relay(query(), said), kept(query(), said).answer(query(), 0)):
        assert wire.endswith(ADDRESS)
        assert counts_of(wire) == (1, 1, 0, 0)


def test_the_upstreams_extended_errors_go_to_those_who_sent_edns():
    said = response([ADDRESS], [], [opt(options=EDE_TEXT)])
    asked = query(edns=opt())
    for wire in (relay(asked, said), kept(asked, said).answer(asked, 0)):
        assert wire.endswith(ADDRESS + opt(options=EDE_TEXT))
    assert relay(query(), said).endswith(ADDRESS)


def test_an_extended_rcode_is_whole_with_edns_and_servfail_without():
    said = response([], [], [opt(rcode=16)])
    asked = query(edns=opt())
    assert relay(asked, said).endswith(opt(rcode=16))
    assert flags_of(relay(asked, said)) & 15 == 0
    assert flags_of(relay(query(), said)) & 15 == 2


def test_a_servfail_is_handed_on_without_records():
    said = response([ADDRESS], [soa()], [opt(options=EDE_TEXT)], flags=0x8182)
    asked = query(edns=opt())
    for wire in (relay(asked, said), kept(asked, said).answer(asked, 0)):
        assert (flags_of(wire), counts_of(wire)) == (0x8182, (1, 0, 0, 1))
        assert wire.endswith(b"\0\1\0\1" + opt(options=EDE_TEXT))


def test_a_cut_answer_is_handed_on_cut_and_empty():
    wire = relay(query(edns=opt()), response([ADDRESS], flags=0x83A0))
    assert (flags_of(wire), counts_of(wire)) == (0x8380, (1, 0, 0, 1))
    assert len(wire) == len(query(edns=opt()))


def test_what_does_not_fit_goes_in_order_texts_then_additionals_then_all():
    address, extra = record(QNAME, A, bytes(4)), record(QNAME, TXT, b"\x63" + b"x" * 99)
    said = response([address] * 25, [], [extra, opt(options=EDE_TEXT)])
    asked = query(edns=opt())
    bare = len(query()) + 25 * len(address) + 11
    sizes = {
        bare + len(extra) + len(EDE_TEXT): (25, 0, 2),
        bare + len(extra) + len(EDE_TEXT) - 1: (25, 0, 2),
        bare + len(extra): (25, 0, 2),
        bare + len(extra) - 1: (25, 0, 1),
        bare: (25, 0, 1),
    }
    cache = kept(asked, said)
    for room in range(512, bare + len(extra) + len(EDE_TEXT) + 1):
        wire = cache.answer(asked, 0, room=room)
        assert relay(asked, said, room=room) == wire == answer_twin.relay(asked, said, room)
        assert len(wire) <= room
        if room in sizes:
            assert (counts_of(wire)[1:], flags_of(wire)) == (sizes[room], 0x8180)
    cut = relay(asked, response([address] * 50), room=bare)
    assert (counts_of(cut), flags_of(cut)) == ((1, 0, 0, 1), 0x8380)


def test_no_ttl_is_written_of_a_record_that_was_left_off():
    extra = record(QNAME, 65280, bytes(300))
    said = response([record(QNAME, A, bytes(4))] * 15, [], [extra, ADDRESS])
    for room in range(len(said) - len(ADDRESS) - 11 - 64, len(said) - 11):
        wire = relay(query(edns=opt()), said, room=room)  # which looks behind what was written
        assert counts_of(wire) == (1, 15, 0, 1)


def test_the_client_says_how_much_fits():
    said = response([record(QNAME, A, bytes(4))] * 50)
    assert flags_of(relay(query(), said)) & 0x0200
    assert flags_of(relay(query(edns=opt(size=700)), said)) & 0x0200
    assert not flags_of(relay(query(edns=opt(size=1232)), said)) & 0x0200
    assert not flags_of(relay(query(), said, room=65_535)) & 0x0200


def test_the_longest_question_and_errors_fit_in_the_least_room():
    longest = ".".join(["a" * 63] * 3 + ["a" * 61])
    said = response([], [], [opt(options=EDE_TEXT * 8)], qname=longest, flags=0x8182)
    asked = query(longest, edns=opt(size=512))
    wire = relay(asked, said)
    assert len(wire) == 12 + 259 + 11 + 8 * len(EDE_TEXT) <= 512
    assert DNSRecord.parse(wire).header.rcode == 2


@pytest.mark.parametrize(("rcode", "code"), [(0, 3), (3, 19)])
def test_a_stale_answer_says_so_and_lives_for_half_a_minute(rcode, code):
    said = response([], [soa()], [opt(options=EDE_TEXT)], flags=0x81A0 | rcode)
    asked = query(edns=opt(dnssec_ok=True))
    cache = kept(asked, said)
    assert cache.answer(asked, 59_999, is_stale=True) is None
    wire = cache.answer(asked, 60_000, is_stale=True)
    assert ttls_of(wire) == [30]
    assert flags_of(wire) == 0x8180 | rcode
    stale = struct.pack("!HHH", 15, 2, code)
    assert wire.endswith(opt(dnssec_ok=True, options=stale + EDE_TEXT))


def test_a_stale_answer_to_one_without_edns_has_the_ttl_alone():
    cache = kept(query(), response([ADDRESS]))
    wire = cache.answer(query(), 300_000, is_stale=True)
    assert wire.endswith(record(QNAME, A, b"\xc0\0\2\1", ttl=30))


LABEL = st.text("abXY-_09", min_size=1, max_size=12)
NAMES = st.lists(LABEL, min_size=1, max_size=5).map(".".join)
OWNERS = st.one_of(st.just(QNAME), NAMES.map(name))
TTLS = st.one_of(st.integers(0, 100_000), st.integers(0, 0xFFFFFFFF))
RECORDS = st.one_of(
    st.builds(lambda owner, ttl: record(owner, A, b"\xc0\0\2\1", ttl=ttl), OWNERS, TTLS),
    st.builds(lambda owner, to, ttl: record(owner, NS, to, ttl=ttl), OWNERS, OWNERS, TTLS),
    st.builds(lambda ttl, minimum: soa(ttl=ttl, minimum=minimum), TTLS, TTLS),
    st.builds(
        lambda owner, size, ttl: record(owner, 65280, bytes(size), ttl=ttl),
        OWNERS, st.integers(0, 400), TTLS,
    ),
)  # fmt: skip
OPTS = st.builds(
    lambda options, dnssec_ok, size: [opt(options=options, dnssec_ok=dnssec_ok, size=size)],
    st.sampled_from([b"", EDE_TEXT, EDE_TEXT + b"\0\x0a\0\2ab" + EDE_TEXT]),
    st.booleans(),
    st.integers(0, 4096),
)
SECTIONS = st.tuples(*[st.lists(RECORDS, max_size=5)] * 3)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Return a query and what an upstream says to it."""
    qname, qtype = draw(NAMES), draw(st.sampled_from([A, NS, 65280, 255]))
    answers, authorities, additionals = draw(SECTIONS)
    said = response(
        answers, authorities, additionals + draw(st.one_of(st.just([]), OPTS)),
        qname=qname, qtype=qtype,
        flags=0x8000 | draw(st.sampled_from([0, 0x200])) | draw(st.integers(0, 0xF)) << 4
        | draw(st.sampled_from([0, 0, 0, 3, 2, 5])),
    )  # fmt: skip
    asked = query(
        draw(st.sampled_from([qname, qname.swapcase()])), qtype,
        flags=draw(st.sampled_from([0, 0x10, 0x20, 0x100, 0x130])),
        edns=b"".join(draw(st.one_of(st.just([]), OPTS))),
    )  # fmt: skip
    return asked, said


@given(exchanges(), st.integers(512, 2000))
def test_an_answer_is_what_the_plain_twin_makes_of_it(exchange, room):
    asked, said = exchange
    assert relay(asked, said, room=room) == answer_twin.relay(asked, said, room)


@given(exchanges(), st.integers(0, 100_000_000), st.integers(512, 2000))
def test_a_kept_answer_is_what_the_plain_twin_kept(exchange, age_ms, room):
    asked, said = exchange
    cache, twin = AnswerCache(1 << 17, SECRET), answer_twin.CacheTwin()
    assert cache.put(asked, said, 7) == twin.put(asked, said, 7)
    assert cache.answer(asked, 7 + age_ms, room=room) == twin.answer(asked, 7 + age_ms, room)
