"""Response rates: what each network gets, and that nothing of it stays."""

from collections import Counter
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native.probe_net import BUCKETS, PER_SECOND_MAX, RateLimit

SECRET = bytes(range(16))
START_MS = 1_000_000


class Readable:
    """The same law, written plainly: a dict of prefixes that is never full."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self.buckets: dict[object, list[int]] = {}  # tokens, seen, over

    def check(self, address: str, now_ms: int) -> str:
        full = self.per_second * 1_000
        ip = ip_address(address)
        ip = getattr(ip, "ipv4_mapped", None) or ip
        prefix = ip_network((ip, 24 if ip.version == 4 else 56), strict=False)
        tokens, seen_ms, over = self.buckets.get(prefix, [full, now_ms, 0])
        tokens = min(full, tokens + (now_ms - seen_ms) * self.per_second)
        over = 0 if tokens == full else over
        verdict = "SEND"
        if tokens >= 1_000:
            tokens -= 1_000
        else:
            over += 1
            verdict = "SLIP" if over % 2 else "DROP"
        self.buckets[prefix] = [tokens, now_ms, over]
        return verdict


def flood(limit: RateLimit, address: str, count: int, now_ms: int = START_MS) -> Counter[str]:
    return Counter(limit.check(address, now_ms) for _ in range(count))


def test_a_network_gets_its_rate_and_of_the_rest_every_second_slips():
    limit = RateLimit(10, SECRET)
    assert [limit.check("192.0.2.1", START_MS) for _ in range(14)] == ["SEND"] * 10 + [
        "SLIP", "DROP", "SLIP", "DROP",
    ]  # fmt: skip
    assert flood(limit, "192.0.2.1", 20, START_MS + 500)["SEND"] == 5
    assert flood(limit, "192.0.2.1", 20, START_MS + 60_000)["SEND"] == 10


def test_neighbours_share_one_bucket_and_strangers_have_their_own():
    limit = RateLimit(5, SECRET)
    assert flood(limit, "192.0.2.1", 5) == {"SEND": 5}
    assert limit.check("192.0.2.254", START_MS) == "SLIP"
    assert limit.check("::ffff:192.0.2.9", START_MS) == "DROP"
    assert limit.check("192.0.3.1", START_MS) == "SEND"
    assert flood(limit, "2001:db8:0:100::1", 5) == {"SEND": 5}
    assert limit.check("2001:db8:0:1ff::1", START_MS) == "SLIP"
    assert limit.check("2001:db8:0:200::1", START_MS) == "SEND"
    assert flood(limit, "10.0.0.1", 6) == {"SEND": 5, "SLIP": 1}
    assert limit.check("a00::1", START_MS) == "SEND"  # the same octets, of the other family


def test_clients_of_no_family_are_limited_too():
    limit = RateLimit(1, SECRET)
    assert [limit.check(None, START_MS) for _ in range(3)] == ["SEND", "SLIP", "DROP"]


def test_a_rate_of_zero_limits_nothing_and_keeps_nothing():
    limit = RateLimit(0, SECRET)
    assert flood(limit, "192.0.2.1", 1_000) == {"SEND": 1_000}
    assert limit.memory() == b""


def test_the_highest_rate_works_and_one_more_is_refused():
    limit = RateLimit(PER_SECOND_MAX, SECRET)
    assert flood(limit, "192.0.2.1", 1_000) == {"SEND": 1_000}
    assert limit.check("192.0.2.1", START_MS + (1 << 40)) == "SEND"
    with pytest.raises(ValueError, match="limited"):
        RateLimit(PER_SECOND_MAX + 1, SECRET)


@given(
    st.integers(1, 50),
    st.lists(
        st.tuples(
            st.sampled_from(["192.0.2.1", "192.0.2.9", "198.51.100.1", "2001:db8::1", "::1"]),
            st.sampled_from([0, 0, 0, 1, 7, 100, 999, 5_000]),
            st.integers(1, 30),
        ),
        max_size=30,
    ),
)
def test_it_decides_as_the_plainly_written_law_does(per_second, steps):
    limit, readable = RateLimit(per_second, SECRET), Readable(per_second)
    now_ms = START_MS
    for address, later_ms, count in steps:
        now_ms += later_ms
        for _ in range(count):
            assert limit.check(address, now_ms) == readable.check(address, now_ms)


def test_the_clocks_low_bits_may_wrap():
    limit = RateLimit(10, SECRET)
    assert flood(limit, "192.0.2.1", 20, (1 << 32) - 100)["SEND"] == 10
    assert flood(limit, "192.0.2.1", 20, (1 << 32) + 400)["SEND"] == 5


def test_nothing_stays_of_a_network_that_was_quiet_for_a_second():
    limit = RateLimit(100, SECRET)
    for octet in range(256):
        flood(limit, f"192.0.{octet}.1", 150)
    assert limit.memory().strip(b"\0")
    limit.sweep(START_MS + 999)
    assert limit.memory().strip(b"\0")
    limit.sweep(START_MS + 1_000)
    assert not limit.memory().strip(b"\0")


def test_the_queries_of_others_wipe_what_is_over():
    limit = RateLimit(100, SECRET)
    flood(limit, "192.0.2.1", 150)
    for _ in range(BUCKETS):
        limit.check("198.51.100.1", START_MS + 2_000)
    left = limit.memory()
    assert sum(left[at : at + 4] != bytes(4) for at in range(0, len(left), 16)) == 1


def test_neither_addresses_nor_their_plain_hashes_are_in_the_memory():
    one, other = RateLimit(10, SECRET), RateLimit(10, bytes(16))
    for limit in (one, other):
        flood(limit, "192.0.2.1", 3)
        flood(limit, "2001:db8:1234:5678::1", 3)
        assert bytes([192, 0, 2]) not in limit.memory()
        assert bytes.fromhex("20010db8") not in limit.memory()
    tags = [
        {memory[at : at + 4] for at in range(0, len(memory), 16)} - {bytes(4)}
        for memory in (one.memory(), other.memory())
    ]
    assert len(tags[0]) == len(tags[1]) == 2
    assert tags[0].isdisjoint(tags[1])


def test_a_full_table_still_limits_who_floods_it():
    limit = RateLimit(10, SECRET)
    for number in range(2 * BUCKETS):  # more networks than there are buckets, one query each
        limit.check(str(ip_address(0x0A000000 + (number << 8))), START_MS)
    assert flood(limit, "192.0.2.1", 50) == {"SEND": 10, "SLIP": 20, "DROP": 20}
    for number in range(2 * BUCKETS):
        limit.check(str(ip_address(0x0A000000 + (number << 8))), START_MS)
    assert flood(limit, "192.0.2.1", 50)["SEND"] == 0
