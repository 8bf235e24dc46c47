"""Killed -9 in the middle of a first start, at seeded moments: a new node that has a long ledger to
read, and a control plane that has to fold one. Nothing proven and kept is read or folded again.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enforcer.backends.feed_format import claimed_size
from tests.e2e.chaos.long_ledger import lengthen
from tests.e2e.chaos.rounds import chosen_seed, tell
from tests.e2e.installation import Installation
from tests.e2e.programs import Program

pytestmark = pytest.mark.long
KILLS = 8
WHOLE_SECONDS_MAX = 180.0
SOON_SECONDS_MAX = 1.5
STARTED = "started from its own copy"
READS = "reads the ledger"
KEPT = "goes on from the kept fold"
FREE = "free.years.example.org"


class Long(Installation):
    """The installation; `blocked` are names that orders of its long ledger block."""

    blocked: list[str]


@pytest.fixture(scope="module")
def whole_installation(redis_executable) -> Iterator[Long]:
    with Long() as installation:
        installation.blocked = lengthen(installation)
        installation.start("control")
        installation.wait_until(installation.control_serves, "it has folded all", WHOLE_SECONDS_MAX)
        installation.wait_until(installation.is_in_step, "the node has it too", WHOLE_SECONDS_MAX)
        yield installation


def kept(ledger: Path) -> int:
    """Return how many entries a copy of the ledger has on its disk; 0: there is none."""
    path = ledger / "checkpoint"
    return claimed_size(path.read_bytes()) if path.exists() else 0


def said(program: Program, since: int, *events: str) -> list[dict[str, Any]]:
    """Return what a program has logged of these events, after the first `since` characters."""
    lines = program.text()[since:].splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    return [each for each in found if each["event"] in events]


def check_reading(node: Program, since: int, had: int) -> list[int]:
    """Check that a start with `had` entries on the disk read no entry again.

    What it folds of them is what came after its kept fold. Return how far it said that it was.
    """
    folded, at_rest, read = 0, False, []
    for each in said(node, since, KEPT, STARTED, READS):
        if each["event"] == KEPT:
            folded = each["entries"]
        elif each["event"] == STARTED:
            assert each["ledger_size"] == had, "it begins with what it kept"
            at_rest = True
        else:
            least, most = (had, sys.maxsize) if at_rest else (folded, had)
            assert least < each["done"] <= most, f"{each}: it had {had}, {folded} of them folded"
            read.append(each["done"])
    return read


def test_a_new_node_that_is_killed_while_it_reads_goes_on_from_what_it_kept(installation: Long):
    """Told first: the gate has no table of these orders yet, and no query waits for one."""
    seed = chosen_seed()
    chance = random.Random(seed)
    tell(seed, f"CHAOS_SEED={seed}")
    node, size = installation.programs["node"], installation.ledger_size()
    state = installation.files.node / "state"
    assert node.stop() == 0
    shutil.rmtree(state)
    has = 0
    partly = set()
    with installation.questions([FREE]) as questions:
        for number in range(KILLS):
            since = len(node.text())
            node.start()
            if number % 2:  # as far as the next of what it keeps, and some way on
                installation.wait_until(
                    lambda had=has: kept(state / "ledger") > had,
                    "it keeps what it has read",
                    WHOLE_SECONDS_MAX,
                )
            else:
                installation.wait_until(lambda since=since: said(node, since, STARTED), "it reads")
            time.sleep(chance.uniform(0.0, SOON_SECONDS_MAX))
            node.kill()
            read = check_reading(node, since, has)
            before, has = has, kept(state / "ledger")
            assert has >= before
            tell(seed, f"killed with {has} of {size} entries kept; it read from {before} on {read}")
            if has == size:
                break
            partly.add(has)
        since = len(node.text())
        node.start()
        installation.wait_until(installation.is_in_step, "it has read all", WHOLE_SECONDS_MAX)
        check_reading(node, since, has)
    assert partly - {0}, "it was never killed half way: the test shows nothing"
    assert not questions.unanswered
    # It may have read an order before it had fetched its list.
    installation.wait_until(
        lambda: installation.is_blocked(*installation.blocked), "all is blocked", WHOLE_SECONDS_MAX
    )
    assert not installation.ask(FREE).is_blocked


def test_a_control_plane_killed_while_it_folds_serves_at_last_and_folds_no_more(installation: Long):
    seed = chosen_seed()
    chance = random.Random(seed)
    tell(seed, f"CHAOS_SEED={seed}")
    control, ledger = installation.programs["control"], installation.files.ledger
    installation.kill("control")
    (ledger / "fold").unlink(missing_ok=True)
    size = kept(ledger)
    with installation.questions([FREE, *installation.blocked[:3]]) as questions:
        for _ in range(KILLS):
            since = len(control.text())
            control.start()
            time.sleep(chance.uniform(0.5, 2 * SOON_SECONDS_MAX))
            control.kill()
            assert kept(ledger) == size
            serves = said(control, since, "control_serves")
            tell(seed, f"killed {'while it served' if serves else 'before it served'}")
        control.start()
        installation.wait_until(
            installation.control_serves, "the control plane serves", WHOLE_SECONDS_MAX
        )
        installation.wait_until((ledger / "fold").exists, "it has kept its fold")
        ref = installation.order(b"exact after.years.example.org\n")
        since = len(control.text())
        control.kill()
        control.start()
        installation.wait_until(
            lambda: said(control, since, "control_serves"), "it serves", WHOLE_SECONDS_MAX
        )
        (taken,) = said(control, since, KEPT)
        assert size <= taken["entries"] <= kept(ledger)
        installation.wait_until(
            lambda: installation.is_blocked("after.years.example.org"), "it is blocked"
        )
        installation.stop(ref)
    assert not questions.unanswered
    assert all(each.answer.is_blocked == (each.qname != FREE) for each in questions.asked)
