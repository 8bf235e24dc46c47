"""What an order would hit beside its aim, over whole lists, against what is obvious."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native.flow_targets import FlowTargets
from enforcer.backends.collateral_scan import scan_collateral
from enforcer.core.collateral import CollateralJob, LineFound
from enforcer.core.policy import Pins
from enforcer.errors import IntegrityError
from enforcer.ports import CollateralWork
from tests.native.test_flow_targets import line_of, networks

CORE = b"ip 192.0.2.53\nsubtree time.example\n"
PROTECTED = b"net 198.51.100.0/24\nsubtree bank.example\n"
SHARED = b"shared 2001:db8::/32 cloud\nshared 203.0.113.0/24 cdn\nshared 203.0.113.64/26 cdn-edge\n"


def scanned(folder, text, *others, core=CORE, protected=PROTECTED, shared=SHARED):
    """Compare a list with all of that; `others` are lists of entries 1, 2 …"""
    names = {}
    for each in (text, core, protected, shared, *others):
        names[each] = sha256(each).hexdigest()
        (folder / names[each]).write_bytes(each)
    pins = Pins(names[core], names[protected], None, names[shared])
    job = CollateralJob(
        names[text], pins, tuple((index, names[each]) for index, each in enumerate(others, 1))
    )
    return scan_collateral(CollateralWork(job, {name: folder / name for name in job.lists}))


def test_an_address_in_a_range_is_told_with_the_nearest_and_the_wider(tmp_path):
    found = scanned(tmp_path, b"exact a.example\nip 203.0.113.70\nip 233.252.0.1\n")
    assert found.lines == (
        LineFound(
            2, "ip 203.0.113.70", "1", "shared 203.0.113.64/26 cdn-edge",
            ("shared 203.0.113.0/24 cdn",), (),
        ),
    )  # fmt: skip
    assert [
        (each.line, each.addresses, each.lines_in_it, each.nearest_for) for each in found.ranges
    ] == [
        ("shared 203.0.113.0/24 cdn", "256", 1, 0),
        ("shared 203.0.113.64/26 cdn-edge", "64", 1, 1),
    ]
    assert (found.ipv4_addresses, found.ipv6_addresses, found.lines_known) == ("2", "0", 1)


def test_what_a_prefix_takes_in_is_told(tmp_path):
    found = scanned(tmp_path, b"net 192.0.2.0/24\nnet 198.51.0.0/16\nnet 2001:db8:1::/48\n")
    assert [(each.line, each.lies_in_list, each.lines_in_it) for each in found.protected] == [
        ("ip 192.0.2.53", True, 0),
        ("net 198.51.100.0/24", True, 0),
    ]
    assert [(each.line, each.lies_in_list, each.addresses) for each in found.ranges] == [
        ("shared 2001:db8::/32 cloud", False, str(1 << 96))
    ]
    assert found.ipv4_addresses == str(256 + 65_536)
    assert found.ipv6_addresses == str(1 << 80)
    assert found.prefixes == (("ipv4/16", 1), ("ipv4/24", 1), ("ipv6/48", 1))


def test_other_orders_at_and_around_are_told(tmp_path):
    found = scanned(
        tmp_path,
        b"ip 192.0.2.7\nnet 203.0.112.0/24\n",
        b"net 192.0.2.0/24\n",
        b"ip 203.0.112.9\nip 203.0.112.10\n",
        b"ip 192.0.2.8\nsubtree names.example\n",
    )
    assert [(o.entry_index, o.lines_in_it, o.its_lines_in_list) for o in found.others] == [
        (1, 1, 0), (2, 0, 2),
    ]  # fmt: skip
    assert [(line.line, line.orders) for line in found.lines] == [("ip 192.0.2.7", (1,))]
    assert found.lines_known == 0  # by ranges and networks: orders are counted by themselves


def test_names_alone_have_nothing_to_tell(tmp_path):
    found = scanned(tmp_path, b"exact a.example\n", b"exact a.example\n")
    assert (found.ranges, found.others, found.lines, found.ipv4_addresses) == ((), (), (), "0")


def test_a_list_that_was_altered_is_refused(tmp_path):
    text = b"ip 192.0.2.7\n"
    scanned(tmp_path, text)
    (tmp_path / sha256(text).hexdigest()).write_bytes(b"ip 192.0.2.8\n")
    names = Pins(None, None, None, None)
    job = CollateralJob(sha256(text).hexdigest(), names, ())
    with pytest.raises(IntegrityError):
        scan_collateral(CollateralWork(job, {name: tmp_path / name for name in job.lists}))


NETS = st.sets(networks(), max_size=8)


@given(NETS, NETS)
def test_lines_inside_and_spans_are_what_ipaddress_says(own, known):
    text = b"".join(sorted(line_of(net).encode() for net in own))
    index = FlowTargets()
    for owner, net in enumerate(sorted(known, key=str)):
        index.add(owner, line_of(net).encode())
    hits, each, longest, told = index.covers(text, 100)
    ordered = sorted(known, key=str)
    wanted = {
        owner: sum(one.version == net.version and one.subnet_of(net) for one in own)
        for owner, net in enumerate(ordered)
    }
    assert each == {owner: count for owner, count in wanted.items() if count}
    inside = [
        one for one in own if any(one.version == n.version and one.subnet_of(n) for n in known)
    ]
    assert hits == len(told) == sum(longest.values()) == len(inside)
    assert [number for number, _, _ in told] == sorted(
        text.decode().splitlines().index(line_of(one).strip()) + 1 for one in inside
    )
    mine = FlowTargets()
    mine.add(0, text)
    four, six = mine.spans()
    for version, bits, spans in ((4, 32, four), (6, 128, six)):
        addresses = {a for net in own if net.version == version for a in net}
        assert sum(count << (bits - length) for length, count in spans.items()) == len(addresses)
