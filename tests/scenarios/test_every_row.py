"""Every event in README.md is told by a test that is there, and every scenario has its event."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
ROWS = re.findall(
    r"^\| (?!event)(.+?) \| (.+?) \| (.+?) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE
)
TOLD = {test for _, _, tests in ROWS for test in re.findall(r"`(.+?)`", tests)}
EVENTS = (
    "Denmark 2012",
    "Australia 2013 (ASIC)",
    "Austria 2022",
    "Italy 2024 (Piracy Shield)",
    "Spain 2025",
    "UK 2013 (Sky)",
    "Russia 2017",
    "Russia 2018",
    "India 2014",
    "Germany (CUII)",
    "Level 3 2020",
    "UK 2008 (IWF/Wikipedia)",
)
"""What went wrong with blocking systems: none may drop out."""
SOFTWARE = (
    "CrowdSec: lifetimes",
    "CrowdSec: a prefix",
    "nft: merged",
    "pyroute2: a set dump",
    "ExaBGP, GoBGP",
    "PowerDNS, Unbound: one bad line",
    "AdGuard Home, PowerDNS: memory",
    "Unbound, AdGuard: stall",
    "PowerDNS: a new block",
    "PowerDNS #16935",
    "BIND CVE-2026-11331",
    "Unbound CVE-2026-50243",
    "BIND: DO=1",
    "blocky",
    "A Redis-only blocklist",
    "Redis: reading past XTRIM",
    "redis-py: a client behind sentinels",
    "CT log Yeti 2022",
    "CoreDNS",
)
"""What went wrong with software of the same kind, by how its row begins."""
ADDRESSES = 12
"""Rows about what is put in and pulled away of addresses, behind the others."""


def found_in(path: Path) -> set[str]:
    return set(re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))


def test_no_event_of_a_blocking_system_is_left_out():
    assert tuple(event for event, _, _ in ROWS)[: len(EVENTS)] == EVENTS


def test_no_event_of_software_of_the_same_kind_is_left_out():
    rows = [event for event, _, _ in ROWS][len(EVENTS) : -ADDRESSES]
    assert len(rows) == len(SOFTWARE)
    for row, begins in zip(rows, SOFTWARE, strict=True):
        assert row.startswith(begins), begins


@pytest.mark.parametrize(("event", "tests"), [(event, tests) for event, _, tests in ROWS])
def test_each_event_is_told_by_tests_that_are_there(event, tests):
    named = re.findall(r"`(.+?)::(.+?)`", tests)
    assert named, event
    for path, test in named:
        assert test in found_in(ROOT / path), f"{event}: {path}::{test}"


def test_each_scenario_is_in_the_table():
    here = {
        f"{path.relative_to(ROOT)}::{test}"
        for path in FOLDER.glob("test_*.py")
        if path.name != Path(__file__).name
        for test in found_in(path)
    }
    assert here - TOLD == set()
