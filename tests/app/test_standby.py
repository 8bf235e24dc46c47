"""A standby: warm beside who serves, in its place once that is gone, and never before."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import pytest

from enforcer.app.status import standby_status
from enforcer.backends.child import tied_to_parent
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.tiles import TileLedger
from enforcer.core.envelope import Envelope
from enforcer.core.order import OrderRef
from enforcer.core.state import State
from enforcer.errors import UnavailableError
from enforcer.services.ledger import Recorded, replay
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
from tests.people import Land, seal
from tests.ports import held_port
from tests.waiting import WAIT_SECONDS


class ControlPlane:
    """`enforcer control --standby` as a process, and what it logs, line by line."""

    def __init__(self, config_file: Path) -> None:
        command = [sys.executable, "-m", "enforcer", "control", "--standby", "-c", config_file]
        self._command = tied_to_parent(list(map(str, command)))
        self.said: list[dict[str, object] | bytes] = []

    async def start(self) -> Self:
        self.child = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        return self

    @property
    def pid(self) -> int:
        return self.child.pid

    async def hear(self, *events: str, seconds_max: float = WAIT_SECONDS) -> dict[str, object]:
        """Return the next log line of one of the events."""
        async with asyncio.timeout(seconds_max):
            while line := await self.child.stderr.readline():
                if not line.startswith(b"{"):
                    self.said.append(line)
                    continue
                said = json.loads(line)
                self.said.append(said)
                if said["event"] in events:
                    return said
        raise AssertionError(f"it ended without saying {events}: {self.said}")

    async def kill(self) -> None:
        if self.child.returncode is None:
            self.child.kill()
        await self.child.wait()


class Host:
    """A host with one ledger, and control planes that are started on it."""

    def __init__(self, directory: Path, land: Land | None = None) -> None:
        self.here = Installation(directory, land or Land())
        self.land = self.here.land
        self.port = held_port(self)
        self.config_file = self.here.write_config()
        text = self.config_file.read_text()
        self.config_file.write_text(text.replace("127.0.0.1:0", f"127.0.0.1:{self.port}"))
        self.here.control = self  # it asks for the port alone
        self.started: list[ControlPlane] = []
        self.answered: dict[int, bytes] = {}

    async def run(self, config_file: Path | None = None) -> ControlPlane:
        self.started.append(await ControlPlane(config_file or self.config_file).start())
        return self.started[-1]

    async def serving(self, seconds_max: float = WAIT_SECONDS) -> ControlPlane:
        process = await self.run()
        await process.hear("control_serves", seconds_max=seconds_max)
        return process

    async def warm(self, seconds_max: float = WAIT_SECONDS) -> ControlPlane:
        process = await self.run()
        await process.hear("standby_warm", seconds_max=seconds_max)
        return process

    def keep(self, recorded: Recorded | None) -> Recorded:
        assert recorded is not None
        assert self.answered.setdefault(recorded.index, recorded.leaf) == recorded.leaf
        return recorded

    async def found(self) -> None:
        async with self.here.client(self.land.proposer) as client:
            for act in founding_acts(self.land):
                self.keep(await client.record_root_act(act))
        await self.bring(TARGETS)
        self.land.state = self.read()[1]

    async def bring(self, targets: bytes) -> None:
        """Upload a list."""
        path = self.here.directory / "targets.txt"
        path.write_bytes(targets)
        async with self.here.client(self.land.proposer) as client:
            await client.upload_targets(path)

    def read(self) -> tuple[list[bytes], State]:
        """Read the ledger from its files, as an auditor does."""
        with TileLedger.open(
            self.here.config.ledger_dir, origin=ORIGIN, vkey=LOG_VKEY, verify=verify, writer=False
        ) as files:
            files.verify_all()
            return list(files.entries(0, files.size)), replay(files, trust_of(self.land), verify)

    def check(self) -> None:
        """Everything that was answered stands in the ledger, once, and has its effect."""
        leaves, state = self.read()
        for index, leaf in self.answered.items():
            assert leaves[index] == leaf
        assert len(set(leaves)) == len(state.index_of_payload) == len(leaves)

    def proposal(self, case: str) -> Envelope:
        return seal(with_reasons(self.land, case_reference=case), self.land.proposer.key)

    async def insist(self, call: Callable[[], Awaitable[Recorded | None]]) -> Recorded:
        """Repeat a call while nobody answers."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                try:
                    return self.keep(await call())
                except UnavailableError:
                    await asyncio.sleep(0.01)

    async def propose(self, case: str) -> Recorded:
        """Have an order proposed, whoever serves by then."""
        envelope = self.proposal(case)
        async with self.here.client(self.land.proposer) as client:
            return await self.insist(lambda: client.propose(envelope, [REASONS]))


@pytest.fixture
async def host(tmp_path):
    made = Host(tmp_path)
    yield made
    for process in made.started:
        if process.child.returncode is None:
            process.child.send_signal(signal.SIGCONT)
        await process.kill()


def status(host: Host) -> dict[str, object]:
    return standby_status(host.here.config.ledger_dir)


async def work(host: Host, worker: int, chance: random.Random) -> None:
    """Propose and approve, each act again until it is answered."""
    land = host.land
    async with (
        host.here.client(land.proposer) as proposer,
        host.here.client(land.approver) as approver,
    ):
        for number in range(10_000):
            order = with_reasons(land, case_reference=f"case {worker} {number}")
            act = seal(order, land.proposer.key)
            recorded = await host.insist(lambda act=act: proposer.propose(act, [REASONS]))
            ref = OrderRef(order.order_id, recorded.index, act.payload_sha256)
            approval = seal(land.approval(ref), land.approver.key)
            await host.insist(lambda act=approval: approver.approve(act))
            await asyncio.sleep(chance.uniform(0, 0.02))


async def goes_on(host, workers):
    """Wait until some more acts are answered."""
    before = len(host.answered)
    async with asyncio.timeout(WAIT_SECONDS):
        while len(host.answered) < before + 6:
            await asyncio.sleep(0.01)
            assert not any(each.done() for each in workers)


async def ended(workers):
    for each in workers:
        each.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def taken_over_again_and_again(host, rounds, seed):
    """Kill who serves under load, `rounds` times, with a warm standby beside it."""
    chance = random.Random(seed)
    serves = await host.serving()
    await host.found()
    workers = [asyncio.ensure_future(work(host, at, chance)) for at in range(2)]
    for _ in range(rounds):
        standby = await host.warm()
        await asyncio.sleep(chance.uniform(0.05, 0.4))
        await serves.kill()
        await standby.hear("control_serves")
        serves = standby
        await goes_on(host, workers)
    await ended(workers)
    await serves.kill()
    host.check()
    assert len(host.answered) > 7 + 6 * rounds


async def test_killed_or_told_to_end_nothing_answered_is_lost_and_one_of_two_takes_over(host):
    chance = random.Random(20_281)
    primary = await host.serving()
    await host.found()
    standbys = [await host.warm(), await host.warm()]
    assert _pids(status(host)["standbys"]) == {each.pid for each in standbys}
    workers = [asyncio.ensure_future(work(host, at, chance)) for at in range(2)]
    await asyncio.sleep(chance.uniform(0.05, 0.4))
    await primary.kill()
    heard = [asyncio.ensure_future(each.hear("control_serves")) for each in standbys]
    done, waiting = await asyncio.wait(heard, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(waiting)) == (1, 1)
    winner = standbys[heard.index(done.pop())]
    await goes_on(host, workers)
    assert _pids([status(host)["serves"]]) == {winner.pid}
    # The other one went on following, and is next: by a planned handover, under load too.
    winner.child.terminate()
    await waiting.pop()
    assert await winner.child.wait() == 0
    await goes_on(host, workers)
    await ended(workers)
    host.check()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
async def test_nothing_is_lost_over_many_takeovers(host, seed):
    await taken_over_again_and_again(host, rounds=40, seed=seed)


def _pids(words):
    return {int(each.split()[1].rstrip(":")) for each in words}


async def test_a_stopped_primary_keeps_the_ledger_and_the_standby_says_so(host):
    primary = await host.serving()
    await host.found()
    standby = await host.warm()
    os.kill(primary.pid, signal.SIGSTOP)
    said = await standby.hear("serving_process_silent", "standby_takes_over")
    assert said["event"] == "serving_process_silent"
    assert f"kill -9 {primary.pid}" in said["advice"]
    shown = status(host)
    assert "silent for" in shown["serves"]
    assert any("is stopped, or hangs" in each for each in shown["standbys"])
    # Told to end meanwhile, it does, and leaves no mark.
    standby.child.send_signal(signal.SIGHUP)  # certificates are read at the takeover
    standby.child.terminate()
    await standby.hear("standby_ends")
    assert await standby.child.wait() == 0
    assert status(host)["standbys"] == []


async def test_a_standby_with_other_settings_is_refused_in_plain_words(host, tmp_path):
    async with host.here:  # who serves is this very process
        PrivateKey.generate().save(tmp_path / "other.key")
        text = host.config_file.read_text().replace('"signing.key"', '"other.key"')
        other = host.config_file.with_name("other.toml")
        other.write_text(text)
        standby = await host.run(other)
        async with asyncio.timeout(WAIT_SECONDS):
            words = (await standby.child.stderr.read()).decode()
            assert await standby.child.wait() == 2
        assert "differ in: signing key, listen" in words
        assert "Start both with one control.toml" in words
