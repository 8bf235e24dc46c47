"""Which lists may share a target is the same however it is found out."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from enforcer.backends import guard_groups
from enforcer.backends.guard_groups import near_lists
from tests.tables import target_list

LONG = [f"exact n{at:05}.example.com" for at in range(20_000)]
TEXTS = {
    "long": target_list(*LONG),
    "other long": target_list(*LONG[10_000:], "exact www.example.net"),
    "apart": target_list(*(f"subtree a{at:05}.example.net" for at in range(15_000))),
    "covers": target_list("subtree n00007.example.com"),
    "below": target_list("exact below.a00003.example.net"),
    "alone": target_list("exact www.example.org", "ip 192.0.2.1"),
}
SHARING = {
    "long": {"long", "other long", "covers"},
    "other long": {"long", "other long"},
    "apart": {"apart", "below"},
    "covers": {"covers", "long"},
    "below": {"below", "apart"},
    "alone": {"alone"},
}


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    for name, text in TEXTS.items():
        (tmp_path / name).write_bytes(text)
    return {name: tmp_path / name for name in TEXTS}


def refuse(*_: object) -> None:
    raise AssertionError("lists were grouped")


@pytest.mark.parametrize("name", TEXTS)
def test_a_list_of_any_length_is_compared_without_grouping_all(monkeypatch, paths, name):
    monkeypatch.setattr(guard_groups, "Sharing", refuse)
    assert near_lists([name], paths) == {name: SHARING[name]}
    assert near_lists([name, "alone"], paths) == {name: SHARING[name], "alone": {"alone"}}


def test_many_lists_at_once_are_grouped_and_none_that_shares_is_left_out(monkeypatch, paths):
    monkeypatch.setattr(guard_groups, "NEAR_LISTS_MAX", 0)
    found = near_lists(list(paths), paths)
    assert all(SHARING[name] <= found[name] for name in paths)
    assert found["alone"] == {"alone"}


def test_lists_that_would_be_read_more_often_than_for_groups_are_grouped(monkeypatch, paths):
    monkeypatch.setattr(guard_groups, "Near", refuse)
    assert near_lists(list(paths), paths)["covers"] >= SHARING["covers"]


def test_many_short_lists_that_cover_names_are_grouped_with_a_long_one(monkeypatch, paths):
    """Each looked up in it by itself would read it once more."""
    monkeypatch.setattr(guard_groups, "Near", refuse)
    few = {"long": paths["long"]}
    for number in range(8):
        few[f"{number}"] = paths["long"].with_name(f"{number}")
        few[f"{number}"].write_bytes(target_list(f"subtree n{number:05}.example.com"))
    assert near_lists(["long"], few) == {"long": few.keys()}


def test_many_short_lists_that_cover_nothing_are_looked_up_in_a_long_one(monkeypatch, paths):
    monkeypatch.setattr(guard_groups, "Sharing", refuse)
    few = {"long": paths["long"]}
    for number in range(8):
        few[f"{number}"] = paths["long"].with_name(f"{number}")
        few[f"{number}"].write_bytes(target_list(f"exact n{number:05}.example.com"))
    assert near_lists(["long"], few) == {"long": few.keys()}


def test_a_salted_list_is_compared_behind_its_salt(paths):
    text = b"\xff" * 32 + TEXTS["long"]
    name = sha256(text).hexdigest()
    path = paths["long"].with_name(name)
    path.write_bytes(text)
    found = near_lists([name], {name: path, **paths}, frozenset([name]))
    assert found == {name: {name, *SHARING["long"]}}
