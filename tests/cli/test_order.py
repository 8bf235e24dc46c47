"""Orders at the command line, against a running country; and everything that is refused."""

import itertools
import json
import os
import re
import shutil

import pytest

from enforcer.app.demo_dns import Watch, ask
from enforcer.app.demo_land import APPROVER, AUDITOR, OVERSIGHT, PROPOSER, SECOND_APPROVER
from enforcer.cli.demo_story import ORDER_TOML
from tests.waiting import WAIT_SECONDS, eventually

numbers = itertools.count(101)


@pytest.fixture
def order(stage, tmp_path):
    """Return a function that writes an order's file and its list, and the words to propose it."""

    def order(text=None, *, number=None, **changes):
        number = number or next(numbers)
        text = text or f"exact bad{number}.example.org\n"  # no name twice: guards remember stops
        toml = ORDER_TOML.format(number=number, reasons="Pages that lie.", expires_at="+30d")
        toml = toml.replace(f"00000{number}", f"{number:06}")
        for old, new in changes.items():
            value = f"{old} = {new}"
            lines = [value if line.startswith(f"{old} =") else line for line in toml.split("\n")]
            toml = "\n".join(line for line in lines if line != f"{old} = ")
        (tmp_path / "order.toml").write_text(toml)
        (tmp_path / "list.txt").write_text(text)
        words = ["--targets", tmp_path / "list.txt", "--order", tmp_path / "order.toml"]
        identity = f"VN-2026-{number:06}"
        return identity, ["order", "propose", *words, "-c", stage.person(PROPOSER), "--yes"]

    return order


def test_two_persons_block_and_one_stops(run, stage, order, tmp_path):
    identity, propose = order("bad.example.org\n", number=100)
    said = run(*propose, "--receipt", tmp_path / "p.tlog-proof")
    assert said.code == 0, said.err
    assert "It blocks nothing before a second person approves" in said.err
    assert not ask(stage.dns_port, "bad.example.org").is_blocked
    trust = str(stage.installation.trust_file)
    words = [
        "audit",
        "check-receipt",
        tmp_path / "p.tlog-proof",
        tmp_path / "p.entry",
        "--trust",
        trust,
    ]
    assert "Proved." in run(*words).out

    with Watch(stage.dns_port, "bad.example.org", until_blocked=True) as watch:
        said = run("order", "approve", identity, "-c", stage.person(APPROVER), "--yes")
        assert said.code == 0, said.err
        watch.changed_ms(WAIT_SECONDS)
    shown = run("order", "show", identity, "-c", stage.person(APPROVER), "--json").json
    assert (shown["status"], shown["signed_by"]) == ("IN_FORCE", [PROPOSER, APPROVER])

    with Watch(stage.dns_port, "bad.example.org", until_blocked=False) as watch:
        words = ["--reason", "On appeal.", "-c", stage.person(OVERSIGHT), "--yes", "--json"]
        said = run("order", "stop", identity, *words)
        assert said.code == 0, said.err
        watch.changed_ms(WAIT_SECONDS)
    listed = run(
        "order", "list", "--status", "stopped", "-c", stage.person(APPROVER), "--json"
    ).json
    assert identity in [each["order_id"] for each in listed]
    assert run("order", "approve", identity, "-c", stage.person(APPROVER), "--yes").code == 3


@pytest.mark.parametrize(
    ("words", "changes", "measures"),
    [
        ([], {}, "NONE REJECT"),
        (["--ip-measure", "drop"], {}, "NONE DROP"),
        ([], {"expires_at": '"+30d"\nmeasure = { dns = "negative" }'}, "NEGATIVE REJECT"),
        ([], {"expires_at": '"+30d"\nmeasure = { ip = "drop" }'}, "NONE DROP"),
    ],
)
def test_addresses_are_ordered_with_the_mildest_measure_unless_told(
    run, stage, order, words, changes, measures
):
    identity, propose = order(f"ip 192.0.2.{next(numbers)}\n", **changes)
    said = run(*propose, *words)
    assert said.code == 0, said.err
    shown = run("order", "show", identity, "-c", stage.person(PROPOSER))
    dns, ip = measures.split()
    assert {f"({dns});", f"({ip})"} <= set(shown.out.split())
    assert "At the nodes" in shown.out


def test_a_measure_against_addresses_is_refused_where_there_are_none(run, order):
    _, propose = order()
    said = run(*propose, "--ip-measure", "reject")
    assert said.code == 5
    assert "the list has no addresses" in said.error[0]


def test_an_extension_takes_two_persons(run, stage, order, tmp_path):
    identity, propose = order("longer.example.org\n")
    run(*propose)
    run("order", "approve", identity, "-c", stage.person(APPROVER), "--yes")
    before = run("order", "show", identity, "-c", stage.person(APPROVER), "--json").json
    act = tmp_path / "ext.json"
    words = ["order", "extend", identity, "--until", "+60d", "--out", act, "--yes"]
    assert run(*words, "-c", stage.person(PROPOSER)).code == 0
    same = run("order", "sign", act, "-c", stage.person(PROPOSER), "--yes")
    assert same.code == 3
    said = run("order", "sign", act, "-c", stage.person(SECOND_APPROVER), "--yes")
    assert said.code == 0, said.err
    after = run("order", "show", identity, "-c", stage.person(APPROVER), "--json").json
    assert after["until_ms"] - before["until_ms"] > 29 * 86_400_000
    shown = run("order", "show", identity, "-c", stage.person(APPROVER)).out
    until, *_ = re.findall(r"until +(20.* UTC)", shown)
    assert re.findall(r"review by +(20.* UTC)", shown)[:1] == [until]


def test_who_approves_reads_the_targets_and_the_reasons_first(run, stage, order, tmp_path):
    names = [f"n{number:02}.example.org" for number in range(12)]
    identity, propose = order("".join(f"{name}\n" for name in names))
    assert run(*propose).code == 0
    said = run("order", "approve", identity, "-c", stage.person(APPROVER))
    assert said.error[0] == "error: nobody is here to confirm the signature"
    for part in (f"exact {names[0]}", f"exact {names[9]}", "and 2 more", "Pages that lie."):
        assert part in said.err
    assert names[10] not in said.err
    to = tmp_path / "whole.txt"
    words = ["--targets", to, "-c", stage.person(APPROVER)]
    assert "Pages that lie." in run("order", "show", identity, *words).out
    assert to.read_text().splitlines() == [f"exact {name}" for name in names]


def away(stage, identity):
    """Return a client.toml of a person whose control plane does not answer."""
    config = stage.installation.person(identity) / "client.toml"
    path = config.with_name("away.toml")
    text, places = re.subn('(?m)^address = ".*"$', 'address = "127.0.0.1:1"', config.read_text())
    assert places == 1, text
    path.write_text(text)
    return path


def test_a_stop_reaches_a_node_without_the_control_plane(run, stage, order, tmp_path):
    identity, propose = order("alone.example.org\n")
    run(*propose)
    with Watch(stage.dns_port, "alone.example.org", until_blocked=True) as watch:
        run("order", "approve", identity, "-c", stage.person(APPROVER), "--yes")
        watch.changed_ms(WAIT_SECONDS)
    words = ["--ledger", stage.installation.ledger, "--out", tmp_path / "stop.json"]
    words += ["--node", stage.node_address, "--node", "127.0.0.1:1"]
    with Watch(stage.dns_port, "alone.example.org", until_blocked=False) as watch:
        said = run("order", "stop", identity, *words, "-c", away(stage, OVERSIGHT), "--yes")
        assert said.code == 0, said.err
        watch.changed_ms(WAIT_SECONDS)
    assert f"{stage.node_address}: obeyed" in said.err
    assert "127.0.0.1:1 did not take it" in said.err
    assert "control plane did not record it" in said.err
    assert json.loads((tmp_path / "stop.json").read_bytes())["signatures"]
    # The node brings it to the ledger.
    client = stage.person(APPROVER)
    stage.wait_until(
        "the stop's entry",
        lambda: run("order", "show", identity, "-c", client, "--json").json["status"] == "STOPPED",
        WAIT_SECONDS,
    )


def test_nobody_who_may_not_stop_can_push_a_stop(run, stage, order):
    identity, propose = order("kept.example.org\n")
    run(*propose)
    run("order", "approve", identity, "-c", stage.person(APPROVER), "--yes")
    words = ["--ledger", stage.installation.ledger, "--node", stage.node_address, "--yes"]
    said = run("order", "stop", identity, *words, "-c", away(stage, AUDITOR))
    assert said.code == 6
    assert "AUDITOR cannot call" in said.err


def test_a_loose_list_is_normalised_and_its_faults_have_line_and_column(run, order):
    text = (
        "Upper.Example.org.\n# a remark\n\nmáy.example.org\nhttp://a.example.org/x\n*.b.example\n"
    )
    _, propose = order(text)
    said = run(*propose)
    assert said.code == 2
    assert "list.txt:5:" in said.err
    assert "list.txt:6:" in said.err
    assert "2 lines of" in said.error[0]
    assert "--leave-out" in said.error[1]
    assert not said.err.startswith("\n")
    said = run(*propose, "--leave-out", "--validate-only", "--json")
    assert said.code == 0, said.err
    assert "targets      2," in said.err


def test_a_hosts_file_is_proposed_and_the_order_s_list_taken_from_the_ledger(
    run, stage, order, tmp_path
):
    identity, propose = order("127.0.0.1 localhost\n0.0.0.0 a.example.org\n0.0.0.0 B.example.org\n")
    said = run(*propose)
    assert said.code == 0, said.err
    trust = stage.installation.trust_file
    words = ["list", "export", identity, "--ledger", stage.installation.ledger, "--trust", trust]
    said = run(*words, "--format", "canonical", "-o", tmp_path / "out")
    assert said.code == 0, said.err
    assert (tmp_path / "out").read_text() == "exact a.example.org\nexact b.example.org\n"
    words[2] = "VN-2026-999999"
    assert run(*words, "--format", "canonical", "-o", tmp_path / "no").code == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("-.example.org\n" + "a" * 64 + ".example.org\n", "64"),
        ("a..example.org\n", "empty"),
        ("com\n", "top-level"),
        ("net 192.0.2.1/24\n", "192.0.2.1/24"),
        ("ip 192.0.2.300\n", "192.0.2.300"),
        ("ma\u0301y\u200d.example.org\n", "U+200D"),
        ("# nothing\n", "no target"),
    ],
)
def test_what_can_be_no_target_is_refused(run, order, text, words):
    _, propose = order(text)
    said = run(*propose)
    assert said.code == 2, said.err
    assert words in said.err


@pytest.mark.long
def test_a_list_over_the_limit_is_refused(run, order):
    _, propose = order("".join(f"n{number}.example.org\n" for number in range(2_000_001)))
    said = run(*propose)
    assert said.code == 2
    assert "2000000" in said.error[0]
    assert "Split it" in said.error[1]


def test_a_list_that_is_not_there_is_named(run, stage, order, tmp_path):
    _, propose = order()
    (tmp_path / "list.txt").unlink()
    said = run(*propose)
    assert (said.code, "list.txt" in said.error[0]) == (4, True)
    act = stage.installation.directory / "acts" / "00-PolicyAdopted.json"
    words = ["trust", "submit", act, "--list", tmp_path / "list.txt"]
    said = run(*words, "-c", stage.person(AUDITOR))
    assert (said.code, "list.txt" in said.error[0]) == (4, True)
    said = run(*words[:-1], tmp_path, "-c", stage.person(AUDITOR))
    assert (said.code, "Is a directory" in said.error[0]) == (6, True)


def test_addresses_that_many_share_are_held_until_an_assessment(run, order):
    _, propose = order("ip 192.0.2.1\nnet 198.51.100.0/24\n")
    said = run(*propose, "--json")
    assert said.code == 0, said.err
    assert [each["guard"] for each in said.json["held_by"]] == ["SHARED_RANGE"]


@pytest.mark.parametrize(
    ("changes", "key", "advice"),
    [
        ({"expires_at": ""}, "expires_at", "Add a line for 'expires_at'."),
        ({"expires_at": '"soon"'}, "expires_at", "Write +90s"),
        ({"expires_at": "3"}, "expires_at", "Correct that value."),
        ({"category": '"opinion"'}, "category", "Write one of phishing"),
        ({"order_id": '"17"'}, "order_id", "Correct the field"),
        ({"territory": '"Vietnam"'}, "territory", "Correct the field"),
        ({"reasons": ""}, "reasons", "--reasons"),
        ({"authority": '"cert-demo"\nexpiry = 3'}, "expiry", "'expires_at'"),
    ],
)
def test_an_order_file_that_is_wrong_names_the_key_and_the_remedy(run, order, changes, key, advice):
    _, propose = order(**changes)
    said = run(*propose)
    assert said.code == 2
    assert key in said.error[0]
    assert advice in said.error[1]


def test_an_order_that_ended_already_or_lasts_too_long_is_refused(run, order):
    _, propose = order(expires_at="2020-01-01T00:00:00Z")
    assert run(*propose).code == 5
    _, propose = order(expires_at='"+400d"')
    said = run(*propose)
    assert said.code == 5
    assert "180 days" in said.error[0]


def test_an_order_id_is_used_once(run, order):
    identity, propose = order()
    assert run(*propose).code == 0
    said = run(*propose)
    assert said.code == 3
    assert identity in said.error[0]


def test_the_wrong_role_is_refused_by_certificate_and_by_signature(run, stage, order):
    identity, propose = order()
    assert run(*propose).code == 0
    by_certificate = run("order", "approve", identity, "-c", stage.person(PROPOSER), "--yes")
    assert (by_certificate.code, "PROPOSER" in by_certificate.err) == (5, True)
    key = stage.installation.person(PROPOSER) / "signing.key"
    words = ["-c", stage.person(APPROVER), "--key", key, "--yes"]
    by_signature = run("order", "approve", identity, *words)
    assert by_signature.code == 5
    assert run("order", "show", identity, "-c", stage.person(APPROVER), "--json").json[
        "status"
    ] == ("PROPOSED")


def test_an_order_that_nobody_proposed_is_not_found(run, stage):
    said = run("order", "show", "VN-1999-000001", "-c", stage.person(APPROVER))
    assert said.code == 4
    said = run("order", "list", "--status", "gone", "-c", stage.person(APPROVER))
    assert said.code == 2


def test_without_a_control_plane_the_error_says_so(run, stage):
    said = run("order", "list", "-c", away(stage, APPROVER))
    assert said.code == 6


def test_a_missing_client_file_is_named(run):
    said = run("order", "list", "-c", "/nowhere/client.toml")
    assert said.code == 4
    assert "/nowhere/client.toml" in said.error[0]


def test_status_asks_each_program(run, stage):
    made = stage.installation
    words = ["--control", stage.person(APPROVER), "--node", made.node / "node.toml"]
    words += ["--gate", made.gate / "gate.sock"]

    def held():
        said = run("status", *words, "--json")
        holds = said.code == 0 and said.json["node"]["gate"]["state"] == "HOLDS_TABLE"
        return said if holds else None

    said = eventually(held)  # between two tables the node says something else
    assert said.json["control"]["state"] == "SERVING"
    assert said.json["gate"]["table_digest"]
    shown = run("status", *words).out
    assert "table_digest" in shown
    assert re.search(r"ledger\.recorded_at +20.* UTC", shown)
    away = run("status", "--gate", made.gate / "none.sock")
    assert away.code == 6
    assert run("status").code == 2


def test_a_node_that_fell_silent_is_away_whatever_it_last_said(run, stage, tmp_path):
    status = tmp_path / "state" / "status.json"
    status.parent.mkdir()
    shutil.copy(stage.installation.node / "state" / "status.json", status)
    config = (stage.installation.node / "node.toml").read_text()
    (tmp_path / "node.toml").write_text(config)
    assert "RUNNING" in run("status", "--node", tmp_path / "node.toml").out
    last = status.stat().st_mtime - 3_600
    os.utime(status, (last, last))
    said = run("status", "--node", tmp_path / "node.toml", "--json")
    assert (said.code, said.json["node"]["state"]) == (6, "AWAY")
    assert "written nothing for 36" in said.json["node"]["problem"]
    assert said.json["node"]["ledger"]["size"]


def test_check_says_what_decides_from_the_ledger_and_from_the_gate(run, stage, order):
    identity, propose = order("check.example.org\nmáy.example.org\n", number=900)
    run(*propose, "--kind", "subtree")
    with Watch(stage.dns_port, "check.example.org", until_blocked=True) as watch:
        run("order", "approve", identity, "-c", stage.person(APPROVER), "--yes")
        watch.changed_ms(WAIT_SECONDS)
    made = stage.installation
    for directory in (made.ledger, made.node / "state"):
        words = ["--ledger", directory, "--trust", made.trust_file]
        said = run("check", "WWW.Check.example.org.", *words, "--json").json
        assert (said["action"], said["order_id"], said["row"]) == ("BLOCK", identity, 2)
        assert (said["line"], said["line_number"]) == ("subtree check.example.org", 1)
        assert run("check", "máy.example.org", *words, "--json").json["action"] == "BLOCK"
        later = run("check", "check.example.org", *words, "--at", "+31d", "--json").json
        assert later["action"] == "PASS"
        core = run("check", "x.resolver.arpa", *words, "--json").json
        assert (core["cause"], core["row"]) == ("PROTECTED_CORE", 1)
    shown = run("check", "check.example.org", *words)
    for part in (identity, "Administrative court", "row 2", "https://register.example.org/"):
        assert part in shown.out
    gate = ["--gate", made.gate / "gate.sock"]
    said = run("check", "máy.example.org", *gate, "--json").json
    assert (said["action"], said["order_id"]) == ("BLOCK", identity)
    assert "BLOCK" in run("check", "www.check.example.org", *gate, "--type", "AAAA").out
    passes = run("check", "www.example.org", *gate).out
    assert "NO_MATCH" in passes
    assert "UNSPECIFIED" not in passes


@pytest.mark.parametrize(
    "words",
    [
        ["http://a.example.org/"],
        ["http://localhost/"],
        ["*.example.org"],
        ["a..example.org"],
        ["a.example.org", "--type", "NOPE"],
        ["a.example.org", "--at", "soon"],
        [""],
    ],
)
def test_check_refuses_what_is_no_question(run, stage, words):
    made = stage.installation
    said = run("check", *words, "--ledger", made.ledger, "--trust", made.trust_file)
    assert said.code == 2, said.out


def test_check_needs_one_place_to_look_into(run):
    assert run("check", "a.example.org").code == 2
    assert run("check", "a.example.org", "--ledger", "a", "--gate", "b").code == 2


def test_the_whole_ledger_verifies_and_an_altered_copy_does_not(run, stage, tmp_path):
    trust = ["--trust", stage.installation.trust_file]
    attested = stage.installation.ledger / "attestations"
    eventually(lambda: list(attested.glob("*/*.json")))
    said = run("audit", "verify", stage.installation.ledger, *trust, "--json")
    assert said.code == 0, said.out
    assert said.json["outcome"] == "GOOD"
    copy = tmp_path / "copy"
    config = stage.installation.control / "control.toml"
    assert run("ledger", "backup", copy, "-c", config).code == 0  # who serves goes on to write
    assert "nodes attested is what it says" in run("audit", "verify", copy, *trust).out
    shutil.rmtree(copy / "attestations")
    assert "no node attested anything" in run("audit", "verify", copy, *trust).out
    checkpoint = copy / "checkpoint"
    shutil.rmtree(copy / "lists")
    incomplete = run("audit", "verify", copy, *trust)
    assert incomplete.code == 2
    assert "LIST_MISSING" in incomplete.out
    text = checkpoint.read_text()
    checkpoint.write_text(text.replace("\n", "\n1", 1))
    violation = run("audit", "verify", copy, *trust)
    assert violation.code == 1
    assert "VIOLATION" in violation.out
    assert run("audit", "verify", tmp_path / "none", *trust).code == 4
