"""Orders whose targets are not public, at the command line against a running country."""

from __future__ import annotations

import itertools
import json

import pytest

from enforcer.app.demo_dns import Watch, ask
from enforcer.app.demo_land import APPROVER, AUDITOR, OVERSIGHT, PROPOSER
from enforcer.cli.demo_story import ORDER_TOML
from enforcer.core.judge_orders import PROPOSAL_DAYS_MAX
from tests.waiting import WAIT_SECONDS

numbers = itertools.count(701)  # another beginning than the other files that share the stage


@pytest.fixture
def order(stage, tmp_path):
    """Return a function that writes an order's file and its list, and the words to propose it."""

    def order(text=None, *, category="child_abuse_material"):
        number = next(numbers)
        text = text or f"exact hidden{number}.example.org\n"
        toml = ORDER_TOML.format(number=number, reasons="Pages that harm.", expires_at="+20d")
        toml = toml.replace(f"00000{number}", f"{number:06}")
        toml = toml.replace('category = "phishing"', f'category = "{category}"')
        (tmp_path / "order.toml").write_text(toml)
        (tmp_path / "list.txt").write_text(text)
        words = ["--targets", tmp_path / "list.txt", "--order", tmp_path / "order.toml"]
        identity = f"VN-2026-{number:06}"
        return identity, text.split()[1], ["order", "propose", *words, "--yes"]

    return order


def by(stage, who):
    return ["-c", stage.person(who)]


def list_key(tmp_path, identity):
    (path,) = tmp_path.glob(f"{identity}-*.list.key")
    return path


def test_oversight_signs_and_two_others_block_what_nobody_is_shown(run, stage, order, tmp_path):
    identity, name, propose = order()
    act, seen = tmp_path / "act.json", tmp_path / "seen.txt"
    said = run(*propose, "--restricted", "--out", act, *by(stage, PROPOSER))
    assert said.code == 0, said.err
    assert "order cosign" in said.out
    assert list_key(tmp_path, identity).stat().st_mode & 0o777 == 0o600
    assert run("order", "show", identity, *by(stage, PROPOSER)).code == 4  # nothing is recorded

    words = ["order", "cosign", act, "--yes"]
    assert run(*words, *by(stage, PROPOSER)).code == 4  # nothing is wrapped for a proposer
    judged = run(*words, "--validate-only", "--json", *by(stage, OVERSIGHT))
    assert judged.json == {"valid": True}
    said = run(*words, "--targets", seen, *by(stage, OVERSIGHT))
    assert said.code == 0, said.err
    assert name not in said.out + said.err
    assert seen.read_text() == f"exact {name}\n"
    assert seen.stat().st_mode & 0o777 == 0o600

    with Watch(stage.dns_port, name, until_blocked=True) as watch:
        said = run("order", "approve", identity, *by(stage, APPROVER), "--yes")
        assert said.code == 0, said.err
        assert "not shown: the list is not public" in said.err
        watch.changed_ms(WAIT_SECONDS)
    shown = run("order", "show", identity, *by(stage, APPROVER))
    text = " ".join(shown.out.split())
    assert "restricted: targets not shown" in text
    assert f"hidden by {OVERSIGHT}" in text
    plain = run("order", "show", identity, "--json", *by(stage, AUDITOR)).json
    assert plain["signed_by"] == [PROPOSER, APPROVER]
    assert plain["cosigner"] == OVERSIGHT
    assert name not in shown.out + json.dumps(plain)


def test_who_has_the_key_or_a_wrap_reads_the_targets_and_nobody_else(run, stage, order, tmp_path):
    identity, name, propose = order()
    act, to = tmp_path / "act.json", tmp_path / "whole.txt"
    run(*propose, "--restricted", "--out", act, *by(stage, PROPOSER))
    said = run("order", "cosign", act, "--yes", *by(stage, OVERSIGHT))
    assert said.code == 0, said.err
    show = ["order", "show", identity, "--targets", to]
    said = run(*show, *by(stage, APPROVER))
    assert said.code == 4
    assert "--list-key" in said.error[1]
    assert not to.exists()
    key = list_key(tmp_path, identity)
    said = run("order", "approve", identity, "--list-key", key, *by(stage, APPROVER))
    assert f"exact {name}" in said.err  # and then nobody was there to confirm
    assert run(*show, *by(stage, OVERSIGHT)).code == 0
    assert to.read_text() == f"exact {name}\n"


def test_a_delayed_order_is_published_by_who_has_its_key(run, stage, order, tmp_path):
    identity, name, propose = order(category="phishing")
    said = run(*propose, "--delayed-until", "+5d", *by(stage, PROPOSER))
    assert said.code == 0, said.err
    assert run("order", "approve", identity, *by(stage, APPROVER), "--yes").code == 0
    before = run("order", "show", identity, "--json", *by(stage, APPROVER)).json
    publish = ["order", "publish", identity, "--yes"]
    assert run(*publish, *by(stage, PROPOSER)).code == 4  # without the key
    other, _, propose = order(category="phishing")
    assert run(*propose, "--delayed-until", "+5d", *by(stage, PROPOSER)).code == 0
    wrong = run(*publish, "--list-key", list_key(tmp_path, other), *by(stage, PROPOSER))
    assert wrong.code == 2
    assert "not the key of the list" in wrong.error[0]
    said = run(*publish, "--list-key", list_key(tmp_path, identity), *by(stage, PROPOSER))
    assert said.code == 0, said.err
    shown = run("order", "show", identity, *by(stage, APPROVER))
    assert f"exact {name}" in shown.out
    after = run("order", "show", identity, "--json", *by(stage, APPROVER)).json
    assert after["until_ms"] - before["until_ms"] > 14 * 86_400_000
    assert ask(stage.dns_port, name).is_blocked
    assert run(*publish, *by(stage, OVERSIGHT)).code == 3  # again; by its own wrap


def test_oversight_publishes_with_its_own_key(run, stage, order):
    identity, _, propose = order(category="phishing")
    run(*propose, "--delayed-until", "+5d", *by(stage, PROPOSER))
    said = run("order", "publish", identity, "--yes", *by(stage, OVERSIGHT))
    assert said.code == 0, said.err


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["--restricted"], 2, "written for oversight"),
        (["--restricted", "--delayed-until", "+5d", "--out", "x"], 2, "either restricted or"),
        (["--restricted", "--validate-only", "--out", "x"], 2, "judged when oversight"),
        (["--out", "x"], 2, "written for oversight"),
        (["--delayed-until", "soon"], 2, "is no time"),
        (["--delayed-until", f"+{PROPOSAL_DAYS_MAX + 1}d"], 5, "more than 30 days"),
    ],
)
def test_what_cannot_be_hidden_so_is_refused(run, stage, order, words, code, problem):
    _, name, propose = order(category="phishing")
    said = run(*propose, *words, *by(stage, PROPOSER))
    assert said.code == code
    assert problem in said.error[0]
    assert name not in said.err


def test_another_category_is_not_restricted(run, stage, order, tmp_path):
    _, name, propose = order(category="phishing")
    act = tmp_path / "act.json"
    assert run(*propose, "--restricted", "--out", act, *by(stage, PROPOSER)).code == 0
    said = run("order", "cosign", act, "--yes", *by(stage, OVERSIGHT))
    assert said.code == 5
    assert "not restricted" in said.error[0]
    assert name not in said.err


def test_an_altered_list_or_file_is_signed_by_nobody(run, stage, order, tmp_path):
    _, _, propose = order()
    act = tmp_path / "act.json"
    run(*propose, "--restricted", "--out", act, *by(stage, PROPOSER))
    sealed = tmp_path / "act.json.list"
    octets = sealed.read_bytes()
    sealed.write_bytes(octets[:-1] + bytes([octets[-1] ^ 1]))
    said = run("order", "cosign", act, "--yes", *by(stage, OVERSIGHT))
    assert said.code == 7
    assert "cannot open a sealed list" in said.error[0]
    said = run("order", "cosign", tmp_path / "order.toml", *by(stage, OVERSIGHT))
    assert said.code == 2


def test_a_guards_report_on_a_hidden_list_is_opened_by_its_proposer(run, stage, order, tmp_path):
    name = f"hidden{next(numbers)}.vietcombank.com.vn"
    identity, _, propose = order(f"exact {name}\n", category="phishing")
    said = run(*propose, "--delayed-until", "+5d", "--json", *by(stage, PROPOSER))
    assert said.code == 0, said.err
    (held,) = said.json["held_by"]
    assert (held["guard"], held["evidence"]) == ("PROTECTED_NAME", [])
    assert f"exact {name}" in (tmp_path / "list.txt.guards").read_text()
    shown = run("order", "show", identity, *by(stage, AUDITOR))
    assert "sealed: who has the key" in shown.out
    assert name not in shown.out
