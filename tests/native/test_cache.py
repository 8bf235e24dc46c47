"""What the answer cache keeps, for whom, how long, and in how much memory."""

import os
import random
import struct
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native.probe_cache import AnswerCache, siphash13
from tests.messages import AAAA, CNAME, NS, QNAME, TXT, A, name, record, response, soa
from tests.native import answer_twin
from tests.native.test_answer import SECRET, opt, query

SMALL = 1 << 17
ANSWER = response([record(QNAME, A, b"\xc0\0\2\1")])
DAY_MS = 86_400_000


def cache(octets_max: int = SMALL, **changes) -> AnswerCache:
    return AnswerCache(octets_max, SECRET, **changes)


def exchange(number: int, *, size: int = 0, ttl: int = 300) -> tuple[bytes, bytes]:
    """Return a query and an answer of about `size` octets more than the least."""
    qname = f"host-{number}.example.org"
    records = [record(QNAME, A, number.to_bytes(4), ttl=ttl)]
    if size:
        records.append(record(QNAME, 65280, bytes(size), ttl=ttl))
    return query(qname), response(records, qname=qname)


def test_an_answer_is_fresh_until_its_ttl_has_run_out_and_not_a_millisecond_longer():
    answers = cache()
    assert answers.find(query(), 0) is None
    assert answers.put(query(), ANSWER, 5)
    assert answers.find(query(), 300_004)["is_fresh"]
    assert not answers.find(query(), 300_005)["is_fresh"]


def test_the_case_of_a_name_and_who_asks_do_not_matter():
    answers = cache()
    answers.put(query(), ANSWER, 0)
    for asked in (
        query("WWW.eXample.ORG", qid=1, flags=0x0120),
        query(edns=opt(size=4000)),
        query(edns=opt(options=b"\0\x0a\0\x08" + bytes(8))),
    ):
        assert answers.find(asked, 0)["message"] == ANSWER


@pytest.mark.parametrize(
    "other",
    [
        query("ww.example.org"),
        query("www.example.com"),
        query("example.org"),
        query("www.www.example.org"),
        query(qtype=AAAA),
        query(qtype=257),
        query(qclass=3),
        query(flags=0x0110),
        query(edns=opt(dnssec_ok=True)),
    ],
)
def test_name_type_class_do_and_cd_make_another_answer(other):
    answers = cache()
    answers.put(query(), ANSWER, 0)
    assert answers.find(other, 0) is None


ADDRESS = record(QNAME, A, bytes(4))
ENDED = record(QNAME, A, bytes(4), ttl=0)
LONG = record(QNAME, TXT, bytes(99))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        pytest.param(query(), response([ADDRESS], flags=0x8380), id="cut"),
        pytest.param(query(), response(flags=0x8185), id="refused"),
        pytest.param(query(), response(flags=0x8184), id="not implemented"),
        pytest.param(query(), response(flags=0x8181), id="format error"),
        pytest.param(query(), response([], [], [opt(rcode=16)]), id="bad version"),
        pytest.param(query(), response([], [record(QNAME, NS, QNAME)]), id="referral"),
        pytest.param(query(), response(), id="no data, no SOA"),
        pytest.param(query(), response(flags=0x8183), id="no name, no SOA"),
        pytest.param(query(), response([ENDED]), id="no TTL"),
        pytest.param(query(), response([record(QNAME, A, bytes(4), ttl=1 << 31)]), id="TTL"),
        pytest.param(query(), response([ADDRESS], [], [ENDED]), id="one TTL"),
        pytest.param(query(), response([], [soa(minimum=0)]), id="no negative TTL"),
        pytest.param(query(qclass=3), response([ADDRESS], qclass=3), id="class CH"),
        pytest.param(query(qtype=255), response([ADDRESS], qtype=255), id="ANY"),
        pytest.param(query(qtype=250), response([record(QNAME, 250, b"")], qtype=250), id="meta"),
        pytest.param(query(), response([ADDRESS, *[LONG] * 76]), id="long"),
        pytest.param(query(), response([ADDRESS] * 513), id="many"),
        pytest.param(query("a.org"), ANSWER, id="another question"),
    ],
)  # fmt: skip
def test_this_is_not_kept(asked, said):
    answers = cache()
    answers.put(asked, said, 0)
    assert not answers.put(asked, said, 0)
    assert (answers.find(asked, 0), answers.check()) == (None, (0, 0))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (response([record(QNAME, A, bytes(4), ttl=86_401)]), 86_400),
        (response([record(QNAME, A, bytes(4), ttl=(1 << 31) - 1)]), 86_400),
        (response([], [soa(ttl=90_000, minimum=90_000)]), 10_800),
        (response([], [soa(ttl=90_000, minimum=90_000)], flags=0x8183), 10_800),
        (response([record(QNAME, CNAME, name("a.example"))], [soa()], flags=0x8183), 60),
        (response(flags=0x8182), 5),
    ],
)
def test_no_answer_is_kept_longer_than_its_sort_allows(said, seconds):
    answers = cache()
    assert answers.put(query(), said, 0)
    assert answers.find(query(), 0)["ttl_seconds"] == seconds


def test_the_newest_answer_counts():
    answers = cache()
    newer = response([record(QNAME, A, b"\xc0\0\2\2")])
    answers.put(query(), ANSWER, 0)
    answers.put(query(), newer, 1)
    assert answers.find(query(), 1)["message"] == newer
    assert answers.check() == (2, 1)


def test_what_is_kept_is_a_whole_message_without_opt_and_the_errors_beside_it():
    answers = cache()
    error = struct.pack("!HHH", 15, 2, 22)
    said = response([ADDRESS], [], [ADDRESS, opt(options=error), ADDRESS])
    answers.put(query("WWW.example.org"), said.replace(b"www", b"WWW"), 0)
    found = answers.find(query(), 0)
    assert found["message"] == response([ADDRESS], [], [ADDRESS])
    assert (found["errors"], found["has_links"]) == (error, True)


def test_a_servfail_neither_replaces_an_answer_nor_becomes_one():
    answers, error = cache(), response(flags=0x8182)
    answers.put(query(), ANSWER, 0)
    answers.put(query(), error, 100_000)
    assert answers.find(query(), 100_000)["rcode"] == 0
    answers.put(query(), error, 300_000)
    assert answers.find(query(), 304_999)["rcode"] == 2
    found = answers.find(query(), 305_000)
    assert (found["rcode"], found["is_fresh"], found["may_serve_stale"]) == (0, False, True)
    assert answers.find(query(), 300_001, is_answer=True)["rcode"] == 0


def test_an_error_is_never_stale():
    answers = cache()
    answers.put(query(), response(flags=0x8182), 0)
    assert answers.answer(query(), 4_999) is not None
    assert answers.find(query(), 5_000) is None
    assert answers.answer(query(), 5_000, is_stale=True) is None


@pytest.mark.parametrize("most", [0, 1, 86_400, 604_800])
def test_a_stale_answer_is_there_as_long_as_the_operator_allows(most):
    answers = cache(stale_seconds_max=most)
    answers.put(query(), ANSWER, 0)
    for late_ms, allowed in ((-1, False), (0, most > 0), (most * 1000 - 1, most > 0)):
        assert answers.find(query(), 300_000 + late_ms)["may_serve_stale"] == allowed
    assert not answers.find(query(), 300_000 + most * 1000)["may_serve_stale"]


def test_nobody_can_ask_for_answers_staler_than_a_week():
    answers = cache(stale_seconds_max=10**9)
    answers.put(query(), ANSWER, 0)
    assert answers.find(query(), 300_000 + 7 * DAY_MS - 1)["may_serve_stale"]
    assert not answers.find(query(), 300_000 + 7 * DAY_MS)["may_serve_stale"]


def test_a_failed_refresh_is_not_tried_again_for_half_a_minute():
    answers = cache()
    answers.put(query(), ANSWER, 0)
    assert not answers.find(query(), 0)["is_failing"]
    answers.note(query(), 400_000)
    assert answers.find(query(), 429_999)["is_failing"]
    assert not answers.find(query(), 430_000)["is_failing"]
    answers.put(query(), ANSWER, 410_000)
    assert not answers.find(query(), 410_000)["is_failing"]


def test_a_judgement_belongs_to_one_answer_and_to_no_later_one():
    answers = cache()
    answers.put(query(), ANSWER, 0)
    assert answers.find(query(), 0)["judged"] == (0, 0)
    answers.note(query(), 0, (7, 1234))
    assert answers.find(query(), 0)["judged"] == (7, 1234)
    answers.put(query(), ANSWER, 1)
    assert answers.find(query(), 1)["judged"] == (0, 0)


def test_what_was_asked_for_stays_with_its_judgement_and_the_rest_goes():
    answers = cache()
    hot = [exchange(number) for number in range(20)]
    for asked, said in hot:
        answers.put(asked, said, 0)
        answers.note(asked, 0, (3, 99))
    for number in range(20, 5_000):
        answers.put(*exchange(number), 0)
        if number % 100 == 0:
            for asked, said in hot:
                found = answers.find(asked, 0)
                assert (found["message"][16:], found["judged"]) == (said[16:], (3, 99))
    assert answers.counts["moved"] >= 20
    assert answers.find(query("host-20.example.org"), 0) is None
    answers.check()


def test_what_was_asked_for_once_goes_in_the_end():
    answers = cache()
    asked, said = exchange(0)
    answers.put(asked, said, 0)
    answers.find(asked, 0)
    for number in range(1, 10_000):
        answers.put(*exchange(number), 0)
    assert answers.find(asked, 0) is None
    assert answers.counts["moved"] == 1


@pytest.mark.parametrize("said", [exchange(0)[1], exchange(0)[1].replace(b"\x81\x80", b"\x81\x82")])
def test_what_is_too_old_to_serve_gets_no_second_chance(said):
    answers = cache(stale_seconds_max=10 if said[3] == 0x80 else 86_400)
    asked = exchange(0)[0]
    answers.put(asked, said, 0)
    assert answers.find(asked, 0)["is_fresh"]
    for number in range(1, 2_000):
        answers.put(*exchange(number), 310_000)
    assert answers.counts["moved"] == 0


def resident_octets() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


def test_memory_stays_the_same_over_hundreds_of_thousands_of_answers():
    answers, draw = cache(1 << 20), random.Random(1)
    some = [exchange(number, size=draw.choice([0, 0, 40, 500, 7_000])) for number in range(3_000)]
    wholes = []
    before = 0
    for turn in range(200_000):
        asked, said = some[draw.randrange(len(some))]
        answers.put(asked, said, turn)
        if turn % 3 == 0:
            answers.find(some[draw.randrange(len(some))][0], turn)
        if turn % 20_000 == 19_999:
            standing, found = answers.check()
            wholes.append(standing)
            assert found <= standing
            before = before or resident_octets()
    assert answers.counts["octets"] == 1 << 20
    assert answers.counts["written"] == 200_000
    assert min(wholes) > 100
    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # which keeps what Python has let go
        assert resident_octets() - before < 2 << 20


def test_few_answers_are_lost_to_a_full_bucket():
    answers = cache(1 << 20)
    for number in range(20_000):
        answers.put(*exchange(number), 0)
    standing, found = answers.check()
    assert standing > 6_000
    assert found > 0.98 * standing


@pytest.mark.parametrize("times", [1, 2])  # where positions end by our count, and in their slots
def test_after_petabytes_positions_begin_again_and_nothing_old_is_found(times):
    answers = cache()
    answers.wind(times * answers.laps_max - 1)
    for number in range(3_000):
        asked, said = exchange(number)
        assert answers.put(asked, said, 0)
        assert answers.find(asked, 0)["message"][16:] == said[16:]
    standing, found = answers.check()
    assert 0 < found <= standing
    assert answers.find(query("host-5.example.org"), 0) is None


@pytest.mark.parametrize("octets_max", [0, SMALL - 1, 1 << 40, (1 << 64) - 1])
def test_a_cache_of_a_size_that_makes_no_sense_is_refused(octets_max):
    with pytest.raises(ValueError, match="size"):
        cache(octets_max)


@pytest.mark.parametrize("octets_max", [SMALL, SMALL + 65_535, 10_000_000])
def test_a_cache_takes_no_more_than_it_was_given(octets_max):
    assert 0 <= octets_max - cache(octets_max).counts["octets"] < 65_536


def test_a_cache_that_came_round_many_times_never_shows_another_answer_than_the_newest():
    draw = random.Random(7)
    answers, twin = cache(), answer_twin.CacheTwin()
    hits = 0
    for turn in range(8_000):
        number, now_ms = int(draw.paretovariate(0.6)) % 2_000, turn * 50
        asked, said = exchange(number, size=draw.choice([0, 3, 900]), ttl=draw.choice([1, 60, 900]))
        if draw.random() < 0.1:
            said = said[:3] + b"\x82" + said[4:]
        if draw.random() < 0.5:
            answers.put(asked, said, now_ms)
            twin.put(asked, said, now_ms)
        shown = answers.answer(asked, now_ms, room=2_000)
        assert shown in (None, twin.answer(asked, now_ms, 2_000)) or shown[3] & 15 == 2
        hits += shown is not None
    assert hits > 2_000
    answers.check()


def key_word(asked: bytes) -> int:
    """Return entry.pxd's key of a query of type A without DO and CD."""
    return 1 | (len(asked) - 16) << 16 | 1 << 32


def look_alikes() -> tuple[int, int]:
    """Return two hosts whose names have one bucket in the smallest cache and one tag in it."""
    seen: dict[tuple[int, int], int] = {}
    for number in range(100_000, 200_000):
        asked = exchange(number)[0]
        digest = siphash13(SECRET, key_word(asked), asked[12:-4])
        other = seen.setdefault(((digest >> 32) * (SMALL // 512) >> 32, digest & 0xFFFF), number)
        if other != number:
            return other, number
    raise AssertionError("no two names look alike")


@pytest.mark.parametrize("step", [1, -1])
def test_two_names_whose_hashes_look_alike_have_two_answers(step):
    answers = cache()
    (asked, said), (other, other_said) = map(exchange, look_alikes()[::step])
    answers.put(asked, said, 0)
    assert answers.find(other, 0) is None
    answers.put(other, other_said, 0)
    assert answers.find(asked, 0)["message"] == said
    assert answers.find(other, 0)["message"] == other_said


@pytest.mark.parametrize("phase", range(8))
def test_octets_inside_of_an_answer_are_never_taken_for_an_entry(phase):
    answers = cache()
    for number in range(4):  # so that the victim does not stand where the next lap's first will
        answers.put(*exchange(number), 0)
    answers.put(query(), ANSWER, 0)
    key = key_word(query())
    forged = struct.pack(  # Entry of entry.pxd
        "<IIQqqQq5H4B2x", 8, 86_400, key, 0, 0, 0, 0, len(query()), 0, 0, 0, 0, 1, 0, 0, 1
    )
    forged = (forged + query()).ljust(128, b"\0")
    for number in range(30):
        qname = f"forger-{number:02}.example"
        asked = query(qname, 65280)
        rdata_at = 64 + 2 + len(asked) + 12
        rdata = bytes(-rdata_at % 16 + 16 * phase) + forged * 50
        said = response([record(QNAME, 65280, rdata)], qname=qname, qtype=65280)
        assert answers.put(asked, said, 0)
    assert answers.find(query(), 0) is None


def hit_ratio_of_lru(asked: list[int], capacity: int) -> float:
    kept: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for number in asked:
        if number in kept:
            hits += 1
            kept.move_to_end(number)
        else:
            kept[number] = None
            if len(kept) > capacity:
                kept.popitem(last=False)
    return hits / len(asked)


def test_with_room_for_a_quarter_it_hits_about_as_often_as_the_least_recently_used():
    names, answers = 4_000, cache()
    some = [exchange(number) for number in range(names)]
    weights = list(accumulate(1 / (rank + 1) ** 0.9 for rank in range(names)))
    asked = random.Random(3).choices(range(names), cum_weights=weights, k=60_000)
    hits = 0
    for number in asked:
        if answers.find(some[number][0], 0) is None:
            answers.put(*some[number], 0)
        else:
            hits += 1
    capacity = answers.check()[0]
    assert names / 6 < capacity < names / 3
    assert hits / len(asked) > 0.95 * hit_ratio_of_lru(asked, capacity)


def siphash(key: bytes, data: bytes, compressions: int, finals: int) -> int:
    """Return SipHash-c-d with 64 bits, as its paper has it."""
    mask = (1 << 64) - 1
    k0, k1 = struct.unpack("<2Q", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D]
    v += [k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def turn(word: int, bits: int) -> int:
        return (word << bits | word >> (64 - bits)) & mask

    def rounds(count: int) -> None:
        for _ in range(count):
            for a, b, bits in ((0, 1, 13), (2, 3, 16), (0, 3, 21), (2, 1, 17)):
                v[a] = (v[a] + v[b]) & mask
                v[b] = turn(v[b], bits) ^ v[a]
                if bits in (13, 17):
                    v[a] = turn(v[a], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for (block,) in struct.iter_unpack("<Q", padded):
        v[3] ^= block
        rounds(compressions)
        v[0] ^= block
    v[2] ^= 0xFF
    rounds(finals)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def test_the_plain_siphash_gives_the_papers_example():
    assert siphash(SECRET, bytes(range(15)), 2, 4) == 0xA129CA6149BE45E5


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**64 - 1), st.binary(max_size=260))
def test_the_hash_is_siphash_1_3_of_the_key_word_and_the_name(key, first, data):
    assert siphash13(key, first, data) == siphash(key, first.to_bytes(8, "little") + data, 1, 3)
