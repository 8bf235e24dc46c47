"""Killed at any moment under load, a control plane has lost nothing that it answered."""

from __future__ import annotations

import asyncio
import random
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from enforcer.backends.child import tied_to_parent
from enforcer.backends.keys import verify
from enforcer.backends.tiles import TileLedger
from enforcer.core.life import OrderStatus
from enforcer.core.order import OrderRef
from enforcer.errors import UnavailableError
from enforcer.services.ledger import replay
from tests.control import (
    LOG_VKEY,
    ORIGIN,
    REASONS,
    TARGETS,
    Installation,
    founding_acts,
    trust_of,
    with_reasons,
)
from tests.people import seal
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


class Killable:
    """An installation whose control plane runs in a child process."""

    def __init__(self, directory: Path) -> None:
        self.here = Installation(directory)
        self.land = self.here.land
        self.answered: dict[int, bytes] = {}
        """Entry index -> leaf, for all that came back with a receipt."""
        self.approvals = 0
        """How many of these approve an order."""
        self.config_file = self.here.write_config()

    async def start(self) -> None:
        command = [sys.executable, "-m", "tests.api.control_process", str(self.config_file)]
        self.process = await asyncio.create_subprocess_exec(
            *tied_to_parent(command), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        said = await self.process.stdout.readline()
        assert said.startswith(b"serves "), said
        self.port = int(said.split()[1])

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    def client(self, person):
        self.here.control = self  # it asks for the port alone
        return self.here.client(person)

    def keep(self, recorded):
        assert self.answered.setdefault(recorded.index, recorded.leaf) == recorded.leaf
        return recorded

    def state(self):
        """Read the ledger from its files, as an auditor does."""
        with TileLedger.open(
            self.here.config.ledger_dir, origin=ORIGIN, vkey=LOG_VKEY, verify=verify, writer=False
        ) as files:
            files.verify_all()
            leaves = list(files.entries(0, files.size))
            return leaves, replay(files, trust_of(self.land), verify)


async def propose_and_approve(control: Killable, number: int) -> None:
    """Work as a proposer and an approver do, until the control plane is gone."""
    land = control.land
    async with control.client(land.proposer) as proposer, control.client(land.approver) as approver:
        while True:
            order = with_reasons(land, case_reference=f"case {number}")
            envelope = seal(order, land.proposer.key)
            recorded = control.keep(await proposer.propose(envelope, [REASONS]))
            viewed = await approver.get(order.order_id)
            policy = await approver.policy()
            approval = land.approval(
                OrderRef(order.order_id, recorded.index, viewed.payload_sha256),
                policy_sha256=policy.payload_sha256,
            )
            control.keep(await approver.approve(seal(approval, land.approver.key)))
            control.approvals += 1


async def lives_through(directory: Path, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    control = Killable(directory)
    await control.start()
    await found(control)
    for left in reversed(range(rounds)):
        workers = [asyncio.ensure_future(propose_and_approve(control, at)) for at in range(2)]
        await asyncio.sleep(chance.uniform(0.05, 0.4))
        if not left:  # something was approved for certain, however slow the machine is
            await until(lambda own=workers: control.approvals or any(e.done() for e in own))
        await control.kill()
        for outcome in await asyncio.gather(*workers, return_exceptions=True):
            assert isinstance(outcome, UnavailableError), outcome
        leaves, state = control.state()
        for index, leaf in control.answered.items():
            assert leaves[index] == leaf
        # Nothing half done: every entry has the effect that it says.
        assert len(state.index_of_payload) == len(leaves)
        await control.start()
    assert len(control.answered) > 7
    leaves, state = control.state()
    approved = [o for o in state.orders.values() if o.status is OrderStatus.APPROVED]
    assert approved
    await control.kill()


async def found(control: Killable) -> None:
    acts = founding_acts(control.land)
    async with control.client(control.land.proposer) as client:
        for act in acts:
            control.keep(await client.record_root_act(act))
        path = control.here.directory / "targets.txt"
        path.write_bytes(TARGETS)
        summary = await client.upload_targets(path)
        assert summary.sha256 == sha256(TARGETS).hexdigest()
    # Approvals name the policy: the land's own state has it for building them.
    control.land.state = control.state()[1]


async def test_nothing_that_was_answered_is_lost(tmp_path):
    await lives_through(tmp_path, rounds=5, seed=20_271)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
async def test_nothing_that_was_answered_is_lost_in_hundreds_of_rounds(tmp_path, seed):
    await lives_through(tmp_path, rounds=75, seed=seed)


async def test_an_act_whose_answer_was_lost_is_answered_after_the_restart(tmp_path):
    control = Killable(tmp_path)
    await control.start()
    await found(control)
    land = control.land
    envelope = seal(with_reasons(land), land.proposer.key)
    async with control.client(land.proposer) as client:
        first = await client.propose(envelope, [REASONS])
        await control.kill()
        await control.start()
    async with control.client(land.proposer) as client:
        again = await client.propose(envelope, [REASONS])
    assert (again.index, again.leaf, again.is_repeated) == (first.index, first.leaf, True)
    await control.kill()
