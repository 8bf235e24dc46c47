"""What shares a target with a short list is found, and nothing else: as a slow reader finds it."""

import pytest
from hypothesis import example, given

from enforcer._native.near import Near
from tests.native.test_sharing import LISTS, grouped, share


def text_of(targets):
    return b"".join(sorted(f"{kind} {value}\n".encode() for kind, value in targets))


@given(LISTS)
@example([{("ip", "192.0.0.1")}, {("net", "192.0.0.0/16")}, {("net", "192.0.0.0/24")}])
def test_lists_that_share_a_target_are_found_from_either_side(lists):
    for one in lists:
        near = Near(text_of(one))
        for other in lists:
            assert near.shares(text_of(other)) is share(one, other)
            assert near.shares(text_of(other)) is (grouped([text_of(one), text_of(other)])[1] == 0)


@pytest.mark.parametrize(
    ("target", "shares"),
    [
        ("ip 192.0.2.7", True),
        ("ip 192.0.2.8", False),
        ("net 192.0.2.0/29", True),
        ("ip 2001:db8:7::1", True),
        ("net 2001:db8::/32", True),
        ("ip 2001:db8:8::1", False),
        ("net 203.0.113.0/25", True),
        ("ip 203.0.113.255", True),
        ("ip 203.0.114.0", False),
        ("exact a.b.example.org", True),
        ("exact example.org", False),
        ("subtree example.org", True),
        ("exact ab.example.org", False),
        ("exact other.example.net", True),
        ("subtree other.example.net", True),
        ("exact below.other.example.net", False),
    ],
)
def test_one_target_in_a_long_list_is_found_by_whatever_covers_it(target, shares):
    lines = {f"ip 198.51.{n >> 8}.{n & 255}" for n in range(5_000)}
    lines |= {f"exact n{n}.example.com" for n in range(5_000)}
    lines |= {f"subtree s{n}.example.com" for n in range(5_000)}
    lines |= {"ip 192.0.2.7", "net 2001:db8:7::/48", "net 203.0.113.0/24"}
    lines |= {"subtree b.example.org", "exact other.example.net"}
    long = "".join(f"{line}\n" for line in sorted(lines)).encode()
    assert Near(f"{target}\n".encode()).shares(long) is shares
    assert Near(long).shares(f"{target}\n".encode()) is shares


def test_nothing_is_shared_with_nothing():
    assert not Near(b"").shares(b"ip 192.0.2.7\n")
    assert not Near(b"ip 192.0.2.7\n").shares(b"")
    assert not Near(b"").shares(b"")
