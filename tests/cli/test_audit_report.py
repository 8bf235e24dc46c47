"""``enforcer audit report`` as people run it: on a directory or an archive, and checked again."""

import json

import pytest

from tests.ledgers import Archive
from tests.report_story import half_a_year


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    half_a_year().write(folder / "ledger")
    half_a_year().write_trust(folder / "trust.toml")
    return folder


@pytest.fixture
def report(run, copy, tmp_path):
    """Run ``enforcer audit report LEDGER WORDS`` with the trust file."""

    def report(*words, ledger=copy / "ledger"):
        return run("audit", "report", ledger, "--trust", copy / "trust.toml", *words)

    return report


WHOLE = ("--from", "2027-01-01", "--to", "2027-03-01")


def test_a_report_is_written_in_all_forms_and_found_true(report, tmp_path):
    said = report(*WHOLE, "--language", "vi", "--utc-offset", "+07:00", "--out", tmp_path)
    assert said.code == 0
    assert said.out.startswith("WRITTEN")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"report-2027-01-01_2027-03-01.vi.{each}" for each in ("html", "csv", "json")}
    said = report("--check", tmp_path / "report-2027-01-01_2027-03-01.vi.json")
    assert (said.code, said.out.split(":")[0]) == (0, "GOOD")


def test_a_report_of_a_period_that_the_copy_does_not_reach_says_so(report, tmp_path):
    said = report("--period", "2027-H1", "--format", "json", "--out", tmp_path)
    assert said.code == 2
    assert said.out.startswith("INCOMPLETE")
    assert [path.name for path in tmp_path.iterdir()] == ["report-2027-H1.en.json"]


def test_a_false_figure_is_a_violation_with_its_place(report, tmp_path):
    said = report(*WHOLE, "--format", "json", "--out", tmp_path, "--json")
    (path,) = said.json["files"]
    assert said.json["is_whole"] is True
    told = json.loads((tmp_path / path).read_text())
    told["figures"][0]["rows"][0]["value"] += 1
    (tmp_path / path).write_text(json.dumps(told))
    said = report("--check", path)
    assert said.code == 1
    assert said.out.startswith("VIOLATION")
    assert "figures[orders.proposed].rows[].value" in said.out
    said = report("--check", path, "--json")
    assert said.code == 1
    assert said.json["outcome"] == "VIOLATION"
    assert [each["severity"] for each in said.json["differences"]] == ["VIOLATION"]


def test_an_archive_gives_the_same_report_as_the_directory(report, run, copy, tmp_path):
    words = (*WHOLE, "--format", "json", "--out")
    assert report(*words, tmp_path / "a").code == 0
    trust = ("--trust", copy / "trust.toml")
    said = run("audit", "export", copy / "ledger", tmp_path / "ledger.tar.gz", *trust)
    assert said.code == 0, said.err
    assert report(*words, tmp_path / "b", ledger=tmp_path / "ledger.tar.gz").code == 0
    (first,), (second,) = ((tmp_path / each).iterdir() for each in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert report("--check", first, ledger=tmp_path / "ledger.tar.gz").code == 0


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--from", "2027-01-01"),
        ("--period", "2027", "--to", "2027-03-01"),
        ("--period", "2027-Q1"),
        (*WHOLE, "--language", "fr"),
        (*WHOLE, "--format", "pdf"),
        (*WHOLE, "--utc-offset", "7"),
    ],
)
def test_what_is_not_clear_is_said_and_nothing_is_written(report, tmp_path, words):
    said = report(*words, "--out", tmp_path)
    assert said.code == 2
    assert said.error[0].startswith("error:")
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_by_another_key_makes_no_report(report, tmp_path):
    Archive(tmp_path / "other").write(lists=())
    said = report(*WHOLE, "--out", tmp_path / "out")
    assert said.code == 0
    (tmp_path / "other" / "checkpoint").write_bytes(b"nothing\n")
    said = report(*WHOLE, "--out", tmp_path / "none", ledger=tmp_path / "other")
    assert said.code == 7
    assert not (tmp_path / "none").exists()
