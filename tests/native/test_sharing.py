"""Groups of lists that share targets: never too small, and no larger than sharing explains."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native.sharing import Sharing

VALUES = st.integers(0, 40).map(lambda n: f"n{n}.example.org")
BELOW = st.tuples(st.sampled_from("ab"), VALUES).map(".".join)
NAMES = st.tuples(st.sampled_from(["exact", "subtree"]), VALUES | BELOW)
ADDRESSES = st.integers(0, 255).map(lambda n: ("ip", f"192.0.{n // 16}.{n % 16}"))
PREFIXES = st.tuples(st.integers(0, 15), st.integers(16, 24)).map(
    lambda each: ("net", str(ip_network(f"192.0.{each[0]}.0/{each[1]}", strict=False)))
)
LISTS = st.lists(st.sets(NAMES | ADDRESSES | PREFIXES, max_size=4), max_size=12)


def grouped(texts, **options):
    targets = sum(text.count(b"\n") for text in texts)
    sharing = Sharing(len(texts), targets, **options)
    for number in range(sharing.passes):
        sharing.begin(number)
        for read in (sharing.add, sharing.cover):
            for owner, text in enumerate(texts):
                read(owner, text)
    return sharing.groups()


def covers(one, other):
    if "ip" in (kind := one[0]) or kind == "net":
        return other[0] in ("ip", "net") and ip_network(other[1]).subnet_of(ip_network(one[1]))
    return one[1] == other[1] or (kind == "subtree" and other[1].endswith(f".{one[1]}"))


def share(one, other):
    return any(covers(a, b) or covers(b, a) for a in one for b in other)


def oracle(lists):
    """Join what shares a target, until nothing changes."""
    groups = list(range(len(lists)))
    changed = True
    while changed:
        changed = False
        for one in range(len(lists)):
            for other in range(one):
                if groups[one] != groups[other] and share(lists[one], lists[other]):
                    least = min(groups[one], groups[other])
                    groups = [
                        least if group in (groups[one], groups[other]) else group
                        for group in groups
                    ]
                    changed = True
    return groups


@given(LISTS)
def test_lists_that_share_a_target_are_in_one_group(lists):
    texts = [b"".join(sorted(f"{k} {v}\n".encode() for k, v in each)) for each in lists]
    assert grouped(texts) == oracle(lists)


def test_many_passes_find_the_same_as_one():
    lists = [{("exact", f"n{number % 9000}.example.org")} for number in range(10_000)]
    texts = ["".join(f"{k} {v}\n" for k, v in each).encode() for each in lists]
    assert Sharing(len(texts), len(texts), slots_max=1024).passes > 10
    found = grouped(texts, slots_max=1024)
    assert found == grouped(texts)
    assert [owner for owner, group in enumerate(found) if group != owner] == list(
        range(9_000, 10_000)
    )


def test_what_covers_is_found_in_whatever_pass_it_stands():
    lists = [f"exact a.n{number}.example.org\n".encode() for number in range(3_000)]
    lists += [f"subtree n{number}.example.org\n".encode() for number in range(3_000)]
    assert grouped(lists, slots_max=1024) == [*range(3_000), *range(3_000)]


def test_addresses_and_prefixes_are_other_values_than_names():
    assert grouped([b"ip 192.0.2.7\n", b"net 192.0.3.0/24\n", b"ip 192.0.2.7\n"]) == [0, 1, 0]
    assert grouped([b"ip 192.0.2.7\n", b"net 192.0.2.0/24\n"]) == [0, 0]
    assert grouped([b"", b""]) == [0, 1]
    assert grouped([]) == []


def test_more_than_was_announced_is_refused():
    sharing = Sharing(1, 1)
    many = b"".join(b"exact n%04d.example.org\n" % number for number in range(2_000))
    with pytest.raises(ValueError, match="more targets"):
        sharing.add(0, many)
    with pytest.raises(ValueError, match="no such list"):
        sharing.add(1, b"")
    with pytest.raises(ValueError, match="no such list"):
        sharing.cover(1, b"")
