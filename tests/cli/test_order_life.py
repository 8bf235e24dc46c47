"""The whole life of an order at the command line: held, lifted, confirmed, told, appealed."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from enforcer.app.acts import read_act, write_act
from enforcer.app.demo_land import (
    APPROVER,
    AUDITOR,
    OFFICER,
    OVERSIGHT,
    PROPOSER,
    SECOND_APPROVER,
    acts_of,
)
from enforcer.backends.keys import PrivateKey
from enforcer.cli.order_show import lift_words
from enforcer.core.guard import OUTCOMES, Outcome
from enforcer.core.key import LogKeyRotated, RootsChanged
from tests.cli.test_order import order  # noqa: F401 - a fixture
from tests.people import seal
from tests.waiting import WAIT_SECONDS

numbers = itertools.count(501)


@pytest.fixture
def proposed(run, order):  # noqa: F811 - the fixture
    """Return a function that proposes an order and gives its id."""

    def proposed(**changes):
        number = next(numbers)
        identity, words = order(f"life{number}.example.org\n", number=number, **changes)
        said = run(*words)
        assert said.code == 0, said.err
        return identity

    return proposed


@pytest.fixture
def acts(run, stage):
    """Return a function that runs `enforcer order` as somebody, which must succeed."""

    def acts(person, command, identity, *words):
        said = run("order", command, identity, *words, "-c", stage.person(person), "--yes")
        assert said.code == 0, said.err
        return said

    return acts


@pytest.fixture
def paper(tmp_path):
    """Return a function that writes a document."""

    def paper(text):
        path = tmp_path / f"paper-{next(numbers)}.txt"
        path.write_text(text)
        return path

    return paper


def shown(run, stage, identity):
    return run("order", "show", identity, "-c", stage.person(APPROVER), "--json").json


def test_a_proposal_is_turned_down_and_the_reason_is_told(run, stage, proposed, acts):
    identity = proposed()
    said = acts(APPROVER, "reject", identity, "--reason", "Not proportionate.", "--validate-only")
    assert "Nothing was recorded" in said.out
    assert "Rejected." in acts(APPROVER, "reject", identity, "--reason", "Not proportionate.").out
    told = shown(run, stage, identity)
    assert told["status"] == "REJECTED"
    assert [event["kind"] for event in told["history"]] == ["OrderProposed", "OrderRejected"]
    assert told["history"][-1]["why"] == "Not proportionate."
    assert told["history"][-1]["signed_by"] == [APPROVER]
    late = run("order", "approve", identity, "-c", stage.person(APPROVER), "--yes")
    assert late.code == 3


def test_a_hold_by_hand_shows_what_lifts_it_and_another_person_lifts_it(run, stage, proposed, acts):
    identity = proposed()
    acts(OVERSIGHT, "hold", identity, "--reason", "The court asks for time.")
    text = run("order", "show", identity, "-c", stage.person(APPROVER)).out
    for part in ("It is on hold", "PERSON", "lifted by", "The court asks for time.", OVERSIGHT):
        assert part in text
    refused = run("order", "approve", identity, "-c", stage.person(APPROVER), "--yes")
    assert (refused.code, "HELD by PERSON" in refused.error[0]) == (3, True)
    lift = ["--guard", "person", "--reason", "It has had it."]
    refused = run("order", "lift", identity, *lift, "-c", stage.person(SECOND_APPROVER), "--yes")
    assert (refused.code, "oversight holds" in refused.error[0]) == (5, True)
    acts(OVERSIGHT, "lift", identity, *lift)
    acts(APPROVER, "approve", identity)
    told = shown(run, stage, identity)
    assert (told["status"], told["holds"], told["would_lift"]) == ("IN_FORCE", [], {})
    acts(OVERSIGHT, "stop", identity)


def test_a_guard_that_does_not_hold_the_order_cannot_be_lifted(run, stage, proposed, acts):
    identity = proposed()
    acts(OVERSIGHT, "hold", identity)
    words = ["--guard", "growth", "-c", stage.person(SECOND_APPROVER), "--yes"]
    said = run("order", "lift", identity, *words)
    assert (said.code, said.error[1]) == (3, "advice: Lift: PERSON")
    said = run("order", "lift", identity, "--guard", "nothing", *words[2:])
    assert (said.code, "private_suffix" in said.error[1]) == (2, True)


def test_an_assessment_is_drafted_completed_and_told(run, stage, proposed, acts, tmp_path):
    identity, person = proposed(), stage.person(PROPOSER)
    folder = tmp_path / "assessment"
    drafted = run("order", "assess", identity, "--draft", "--in", folder, "-c", person)
    assert (drafted.code, "Drafted." in drafted.out) == (0, True), drafted.err
    facts, necessity = folder / "facts.json", folder / "necessity.json"
    assert json.loads(facts.read_text())["order"]["order_id"] == identity
    empty = run("order", "assess", identity, "--in", folder, "-c", person, "--yes")
    assert (empty.code, "considered" in empty.error[0]) == (2, True)
    said = {"considered": ["The host."], "why_no_dns_order": "No name.", "attested_by": "An, clerk"}
    necessity.write_text(json.dumps(said))
    altered = facts.read_text()
    facts.write_text(altered.replace('"ipv4_addresses": "', '"ipv4_addresses": "1'))
    refused = run("order", "assess", identity, "--in", folder, "-c", person, "--yes")
    assert (refused.code, "facts" in refused.error[0], "--draft" in refused.error[1]) == (
        5, True, True,
    )  # fmt: skip
    run("order", "assess", identity, "--draft", "--in", folder, "-c", person)
    assert json.loads(necessity.read_text()) == said
    done = acts(PROPOSER, "assess", identity, "--in", folder, "--json")
    assert json.loads(done.out)["entry_index"]
    (event,) = [e for e in shown(run, stage, identity)["history"] if "Assessment" in e["kind"]]
    assert event["signed_by"] == [PROPOSER]
    for words in ("attested by: An, clerk", "why no DNS order: No name.", "other orders: none"):
        assert words in event["why"]


def test_an_emergency_is_confirmed_by_two_persons_through_a_file(
    run, stage, proposed, acts, paper, tmp_path
):
    identity = proposed(decision_kind='"emergency"', expires_at='"+48h"')
    acts(APPROVER, "approve", identity)
    act = tmp_path / "confirmation.json"
    words = ["--kind", "administrative", "--decision", paper("Decided."), "--until", "+20d"]
    words += ["--evidence", paper("One."), "--evidence", paper("Two."), "--out", act]
    acts(APPROVER, "confirm", identity, *words)
    alone = run("order", "sign", act, "-c", stage.person(APPROVER), "--yes")
    assert "has signed this act already" in alone.error[0]
    said = run("order", "sign", act, "-c", stage.person(PROPOSER), "--yes", "--validate-only")
    assert "Nothing was recorded" in said.out
    said = run("order", "sign", act, "-c", stage.person(PROPOSER), "--yes")
    assert "Confirmed." in said.out, said.err
    told = shown(run, stage, identity)
    assert (told["decision_kind"], told["status"]) == ("ADMINISTRATIVE", "IN_FORCE")
    assert set(told["history"][-1]["signed_by"]) == {APPROVER, PROPOSER}
    acts(OVERSIGHT, "stop", identity)


def test_a_confirmation_without_its_documents_is_refused(
    run, stage, proposed, acts, paper, tmp_path
):
    identity = proposed(decision_kind='"emergency"', expires_at='"+48h"')
    acts(APPROVER, "approve", identity)
    act = tmp_path / "confirmation.json"
    words = ["--kind", "administrative", "--decision", paper("Decided."), "--until", "+20d"]
    acts(APPROVER, "confirm", identity, *words, "--evidence", paper("One."), "--out", act)
    alone = tmp_path / "alone.json"
    alone.write_bytes(act.read_bytes())
    said = run("order", "sign", alone, "-c", stage.person(PROPOSER), "--yes")
    assert (said.code, "did not come with the act" in said.error[0]) == (4, True)
    acts(OVERSIGHT, "stop", identity)


def test_an_order_is_reviewed_told_of_and_ended_by_an_appeal(run, stage, proposed, acts, paper):
    identity = proposed()
    acts(APPROVER, "approve", identity)
    acts(APPROVER, "review", identity, "--next", "+20d", "--reason", "Still the same pages.")
    acts(PROPOSER, "notify", identity, "--recipient", "holder", "--notice", paper("We tell you."))
    filed = acts(OVERSIGHT, "appeal", identity, "--statement", paper("It is my shop."), "--json")
    index = json.loads(filed.out)["entry_index"]
    words = ["--appeal", index, "--outcome", "granted", "--decision", paper("He is right.")]
    acts(OVERSIGHT, "decide-appeal", identity, *words)
    told = shown(run, stage, identity)
    assert told["status"] == "STOPPED"
    assert [event["kind"] for event in told["history"]] == [
        "OrderProposed",
        "OrderApproved",
        "ReviewDone",
        "NotificationSent",
        "AppealFiled",
        "AppealDecided",
    ]
    assert [e["why"] for e in told["history"][-2:]] == ["It is my shop.", "He is right."]


def test_a_safety_officer_suspends_an_order_where_everybody_sees_it(run, stage, proposed, acts):
    identity = proposed()
    acts(APPROVER, "approve", identity)
    acts(OFFICER, "suspend", identity, "--reason", "It breaks our own mail.")
    assert shown(run, stage, identity)["suspended_by"] == ["isp"]
    assert "suspended by" in run("order", "show", identity, "-c", stage.person(APPROVER)).out
    acts(OFFICER, "resume", identity)
    assert shown(run, stage, identity)["suspended_by"] == []
    refused = run("order", "suspend", identity, "-c", stage.person(APPROVER), "--yes")
    assert (refused.code, "APPROVER" in refused.error[0]) == (5, True)
    acts(OVERSIGHT, "stop", identity)


@pytest.fixture
def cut_off(stage):
    """Return the officer's client.toml where no control plane answers, and one node does."""
    config = Path(stage.person(OFFICER))
    text = re.sub('address = ".*"', 'address = "127.0.0.1:1"', config.read_text())
    path = config.with_name("cut-off.toml")
    nodes = json.dumps([str(stage.node_address), "127.0.0.1:2"])
    text, count = re.subn("^nodes = .*", f"nodes = {nodes}", text, flags=re.MULTILINE)
    assert count == 1, "an installation names its node"
    path.write_text(text)
    return path


def test_a_safety_officer_suspends_on_the_own_nodes_without_the_control_plane(
    run, stage, proposed, acts, cut_off, tmp_path
):
    identity = proposed()

    def by_all():
        return shown(run, stage, identity)["suspended_by"]

    acts(APPROVER, "approve", identity)
    read = shown(run, stage, identity)["history"][-1]["entry_index"] + 1
    stage.wait_until("the node reads it", lambda: stage.holds(read), WAIT_SECONDS)
    why = "It breaks our own mail."
    by = ("-c", cut_off, "--yes", "--json")
    said = run("order", "suspend", identity, "--reason", why, "--drop", tmp_path / "drop", *by)
    assert said.code == 6  # one of its nodes is away, and so is the ledger
    here, away = said.json["nodes"].values()
    assert (here, said.json["entry_index"]) == ("heeded", None)
    assert "cannot be reached" in away
    assert len(list((tmp_path / "drop").iterdir())) == 2
    node = stage.installation.node / "node.toml"

    def told():
        return run("status", "--node", node).out

    stage.wait_until("it is shown", lambda: f"suspended: {identity}" in told(), WAIT_SECONDS)
    assert why in told()

    # The node brings it to the ledger, with its reason.
    stage.wait_until("it is recorded", lambda: by_all() == ["isp"], WAIT_SECONDS)
    assert shown(run, stage, identity)["history"][-1]["why"] == why

    alone = run("order", "stop", identity, "--reason", why, "-c", cut_off, "--yes")
    assert alone.code == 6
    assert "--ledger COPY" in alone.error[1]

    said = run("order", "resume", identity, *by)
    assert next(iter(said.json["nodes"].values())) == "heeded"
    stage.wait_until("it is resumed", lambda: by_all() == [], WAIT_SECONDS)
    again = run("order", "resume", identity, *by)
    assert (again.code, f"nobody has suspended {identity}" in again.error[-1]) == (3, True)
    acts(OVERSIGHT, "stop", identity)


# Guards.


def test_a_protected_name_is_held_shown_and_given_up(run, stage, order, acts, tmp_path):  # noqa: F811
    identity, words = order("guarded.example.org\nwww.amazon.com\n", number=next(numbers))
    judged = run(*words, "--validate-only", "--json")
    assert (judged.code, judged.json["valid"]) == (0, True)
    (held,) = judged.json["held_by"]
    assert (held["guard"], held["evidence"]) == ("PROTECTED_NAME", ["subtree amazon.com"])
    said = run(*words)
    assert said.code == 0, said.err
    assert "line 2 PROTECTED_NAME exact www.amazon.com | subtree amazon.com" in said.err
    assert "It is on hold for PROTECTED_NAME: lifted by approver" in said.err
    told = shown(run, stage, identity)
    assert (told["status"], told["holds"]) == ("HELD", ["PROTECTED_NAME"])
    assert told["history"][1]["signed_by"] == ["control-1"]
    assert "www.amazon.com | subtree amazon.com" in told["history"][1]["why"]
    # This is no court's decision, so nobody can lift it; what is left goes its own way.
    lift = ["--guard", "protected_name", "--override", "subtree amazon.com"]
    refused = run("order", "lift", identity, *lift, "-c", stage.person(SECOND_APPROVER), "--yes")
    assert (refused.code, "court's decision alone" in refused.error[0]) == (5, True)
    acts(APPROVER, "reject", identity)
    clean = tmp_path / "clean.txt"
    split = ["order", "split", tmp_path / "list.txt.canonical", tmp_path / "list.txt.guards"]
    assert run(*split, "--out", clean).code == 0
    assert clean.read_text() == "exact guarded.example.org\n"


def test_what_a_guard_refuses_is_told_line_by_line(run, order, tmp_path):  # noqa: F811
    _, words = order("bad.example.org\nx.certs.apple.com\n", number=next(numbers))
    said = run(*words, "--json")
    assert said.code == 5
    error = json.loads(said.err.strip().splitlines()[-1])
    assert error["data"]["guards"] == "PROTECTED_CORE"
    report = (tmp_path / "list.txt.guards").read_text()
    assert "2 PROTECTED_CORE exact x.certs.apple.com | subtree certs.apple.com" in report


def test_every_guard_that_holds_has_words_for_what_lifts_it():
    for guard, outcome in OUTCOMES.items():
        is_lifted = "lifted by" in lift_words(guard)
        assert is_lifted == (outcome is Outcome.HOLD), guard


# The roots.


def root_act(run, stage, tmp_path, *words):
    trust = stage.installation.trust_file
    path = tmp_path / "act.json"
    said = run("trust", *words, "--trust", trust, "--out", path)
    return said, path


def test_other_roots_and_another_log_key_are_acts_like_all_others(run, stage, tmp_path):
    keys = []
    for name in ("new-1", "new-2"):
        made = run("key", "new", tmp_path / f"{name}.key", "--no-passphrase", "--json").json
        keys.append(made["public_key"])
    roots = [word for key in keys for word in ("--root", key)]
    said, path = root_act(run, stage, tmp_path, "change-roots", *roots)
    assert said.code == 0, said.err
    for signer in ("root-1.key", "root-2.key"):
        key = stage.installation.directory / "roots" / signer
        assert run("trust", "sign", path, "--key", key, "--yes").code == 0
    shown = run("trust", "show", path, "--json").json
    assert shown["type"] == RootsChanged.TYPE
    # The new roots have not signed: the present ones alone cannot hand over to whom they like.
    refused = run("trust", "submit", path, "-c", stage.person(OVERSIGHT))
    assert (refused.code, "0 root keys signed, and 2 must" in refused.error[0]) == (5, True)

    said, path = root_act(run, stage, tmp_path, "rotate-log-key", "--public-key", keys[0])
    assert said.code == 0, said.err
    assert run("trust", "show", path, "--json").json["type"] == LogKeyRotated.TYPE
    said, _ = root_act(run, stage, tmp_path, "rotate-log-key", "--public-key", "00ff")
    assert (said.code, "no public key" in said.error[0]) == (2, True)


def test_where_three_persons_must_sign_two_approvers_approve_one_after_the_other(
    run, stage, proposed, acts, tmp_path
):
    def adopt(policy, follows, persons_min):
        payload = replace(
            policy,
            request_id=f"three-persons-{next(numbers):06}",
            follows_sha256=follows,
            persons_min=persons_min,
        )
        keys = [PrivateKey.load(roots / f"root-{number}.key") for number in (1, 2)]
        envelope = seal(payload, *keys)
        path = tmp_path / "policy.json"
        write_act(path, envelope)
        said = run("trust", "submit", path, "-c", stage.person(AUDITOR))
        assert said.code == 0, said.err
        return envelope.payload_sha256

    roots = stage.installation.directory / "roots"
    first, policy = read_act(acts_of(stage.installation)[0])
    strict = adopt(policy, first.payload_sha256, 3)
    try:
        identity = proposed()
        acts(APPROVER, "approve", identity)
        assert shown(run, stage, identity)["status"] == "PROPOSED"
        again = run("order", "approve", identity, "-c", stage.person(APPROVER), "--yes")
        assert (again.code, "approved this order already" in again.error[0]) == (5, True)
        acts(SECOND_APPROVER, "approve", identity)
        told = shown(run, stage, identity)
        assert told["status"] == "IN_FORCE"
        assert told["signed_by"] == [PROPOSER, APPROVER, SECOND_APPROVER]
        acts(OVERSIGHT, "stop", identity)
    finally:
        adopt(policy, strict, 2)
