"""``enforcer list`` and ``order split``: files in, files out, and what is told on the way."""

from __future__ import annotations

import gzip
import json
from hashlib import sha256

import pytest

FILTERS = (
    "[Adblock Plus 2.0]\n||a.example^\n||b.example^\n@@||good.b.example^\n||c.example^$script\n"
)


@pytest.fixture
def filters(tmp_path):
    path = tmp_path / "filters.txt"
    path.write_text(FILTERS)
    return path


def test_a_filter_list_becomes_a_target_list_and_says_what_is_left_out(run, filters, tmp_path):
    to, report = tmp_path / "targets", tmp_path / "report"
    said = run("list", "import", filters, "-o", to, "--report", report)
    assert said.code == 0, said.err
    assert to.read_text() == "subtree a.example\n"
    assert "read as adblock" in said.out
    assert sha256(to.read_bytes()).hexdigest() in said.out
    assert f"{filters}:4:1: an exception" in said.err
    assert "3 of 5 lines" in said.err
    assert [line.split()[:3] for line in report.read_text().splitlines()] == [
        ["4", "1", "left-out"],
        ["5", "13", "left-out"],
        ["4", "1", "left-out"],
    ]
    assert report.stat().st_mode & 0o777 == to.stat().st_mode & 0o777 == 0o600


def test_json_says_the_same(run, filters, tmp_path):
    filters.write_bytes(gzip.compress(FILTERS.encode()))
    said = run("list", "import", filters, "-o", tmp_path / "targets", "--json").json
    assert (said["format"], said["target_count"], said["left_out_count"]) == ("adblock", 1, 3)
    assert said["left_out"][1]["reason"] == "the rule holds only with its options"
    assert said["sha256"] == sha256((tmp_path / "targets").read_bytes()).hexdigest()


def test_a_refused_list_writes_nothing_but_the_report(run, tmp_path):
    (tmp_path / "list").write_text("http://example.org/\n" * 20 + "a.example\n")
    (tmp_path / "targets").write_text("before")
    words = ["list", "import", tmp_path / "list", "-o", tmp_path / "targets"]
    said = run(*words, "--report", tmp_path / "report", "--format", "plain")
    assert said.code == 2
    assert "over the bound of 10" in said.error[0]
    assert "--bad-lines-max" in said.error[1]
    assert (tmp_path / "targets").read_text() == "before"
    assert len((tmp_path / "report").read_text().splitlines()) == 20
    assert run(*words, "--bad-lines-max", 20).code == 0
    assert (tmp_path / "targets").read_text() == "exact a.example\n"


def test_a_list_goes_out_and_comes_in_again(run, tmp_path):
    (tmp_path / "targets").write_text("exact a.example\nnet 192.0.2.0/24\nsubtree b.example\n")
    said = run("list", "export", tmp_path / "targets", "--format", "rpz", "-o", tmp_path / "zone")
    assert said.code == 0, said.err
    run("list", "import", tmp_path / "zone", "-o", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "targets").read_bytes()
    said = run("list", "export", tmp_path / "targets", "--format", "hosts", "-o", tmp_path / "h")
    assert (tmp_path / "h").read_text() == "0.0.0.0 a.example\n"
    assert f"{tmp_path}/targets:2:1: a hosts file has single names alone" in said.err
    said = run("list", "check", tmp_path / "back", "--json")
    assert said.json["target_count"] == 3


@pytest.mark.parametrize(
    ("words", "code", "about"),
    [
        (["import", "{absent}", "-o", "{out}"], 4, "there is no file"),
        (["import", "{list}", "-o", "{list}"], 2, "one file stands for two"),
        (["import", "{list}", "-o", "{out}", "--report", "{out}"], 2, "one file stands for two"),
        (["import", "{list}", "-o", "{out}", "--format", "zip"], 2, "'zip' is not known"),
        (["import", "{list}", "-o", "{absent}/x"], 6, "absent"),
        (["export", "{loose}", "--format", "rpz", "-o", "{out}"], 2, "line 1, column 1"),
        (["export", "{list}", "--format", "auto", "-o", "{out}"], 2, "cannot be written as auto"),
        (["export", "{list}", "--format", "csv", "-o", "{out}", "--entry", "1"], 2, "no entries"),
        (["export", "X-1", "--format", "csv", "-o", "{out}", "--ledger", "{absent}"], 4, "trust"),
        (["check", "{loose}"], 2, "line 1, column 1"),
        (["check", "{absent}"], 4, "there is no file"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(run, tmp_path, words, code, about):
    (tmp_path / "list").write_text("exact a.example\n")
    (tmp_path / "loose").write_text("a.example\n")
    places = {name: tmp_path / name for name in ("list", "loose", "absent", "out")}
    said = run("list", *(word.format(**places) for word in words))
    assert (said.code, about in said.error[0]) == (code, True), said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list", "loose"]


def test_a_list_is_split_by_what_guards_said(run, tmp_path):
    text = "exact a.example\nsubtree co.uk\n"
    (tmp_path / "targets").write_text(text)
    (tmp_path / "guards").write_text(
        f"enforcer guard report 1\nlist {sha256(text.encode()).hexdigest()}\n\n"
        "2 PUBLIC_SUFFIX subtree co.uk | icann co.uk\n"
    )
    words = ["order", "split", tmp_path / "targets", tmp_path / "guards", "-o", tmp_path / "clean"]
    said = run(*words)
    assert said.code == 0, said.err
    assert (tmp_path / "clean").read_text() == "exact a.example\n"
    assert "PUBLIC_SUFFIX  1" in said.out
    assert json.loads(run(*words, "--json").out)["left_out_count"] == 1
