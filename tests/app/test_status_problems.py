"""What is wrong with a node is said first, each with what to do about it."""

import pytest

from enforcer.app.status_problems import node_problems

READY = {"state": "READY", "reason": ""}
AWAY = {"state": "AWAY", "reason": "Connection refused"}
WELL = {
    "gate": {"state": "HOLDS_TABLE", "problem": "", "override": None},
    "firewall": {"state": "NONE", "problem": ""},
    "feed": {"state": "OK", "reason": "", "paths": {"redis": {"state": "FEEDS"}, "sync": READY}},
    "ledger": {"split_views": []},
    "suspensions": {"held": [], "unlogged": []},
    "waiting_for_witnesses": 0,
    "unlogged_stops": [],
    "missing_lists": [],
    "missing_sealed_lists": [],
}


def test_a_node_that_is_well_has_no_problem():
    assert node_problems(WELL) == {}
    assert node_problems({}) == {}


@pytest.mark.parametrize(
    ("part", "where", "words"),
    [
        ({"gate": {"state": "UNREACHABLE", "problem": "refused"}}, "gate", "enforcer gate -c"),
        ({"gate": {"state": "HOLDS_TABLE", "override": {}}}, None, ""),
        ({"gate": {"state": "HOLDS_TABLE", "override": {"by": "x"}}}, "blocking", "resume"),
        ({"firewall": {"problem": "no right"}}, "firewall", "no right"),
        ({"ledger": {"split_views": [{}]}}, "split view", "Keep both"),
        ({"ledger": {"ineffective": [0, 7]}}, "trust", "root_threshold"),
        ({"ledger": {"ineffective": [7]}}, None, ""),
        ({"waiting_for_witnesses": 3}, "witnesses", "3 orders"),
        ({"unlogged_stops": [{}]}, "acts", "not in the ledger"),
        ({"suspensions": {"unlogged": [{}]}}, "acts", "not in the ledger"),
        ({"missing_sealed_lists": ["x"]}, "lists", "encryption_key_file"),
        ({"feed": {"state": "WAITING", "reason": "ahead"}}, "feed", "clock"),
        ({"feed": {"state": "REFUSING", "reason": "forged"}}, "feed", "forged"),
    ],
)
def test_each_problem_comes_with_what_to_do(part, where, words):
    found = node_problems({**WELL, **part})
    assert list(found) == ([where] if where else [])
    assert words in found.get(where, "")


def test_a_path_that_is_away_is_told_with_the_one_that_is_followed():
    feed = {"state": "OK", "reason": "", "paths": {"redis": AWAY, "sync": {"state": "FEEDS"}}}
    (said,) = node_problems({**WELL, "feed": feed}).values()
    assert "Connection refused; the node follows sync. Start Redis again" in said


def test_when_no_path_is_left_that_is_said_before_each_of_them():
    feed = {"state": "STALE", "reason": "away", "paths": {"redis": AWAY, "copy-1": AWAY}}
    found = node_problems({**WELL, "feed": feed})
    assert list(found) == ["feed", "path redis", "path copy-1"]
    assert "stays, and ends on time" in found["feed"]
    assert "ledger backup" in found["path copy-1"]
