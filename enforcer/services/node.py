"""A node: it follows, enforces, obeys stops and attests, each in a loop of its own.

Started from its own copy of the ledger, it needs neither Redis nor the control plane to go on
enforcing and to let orders end. Whatever fails is tried again; no loop ends by itself. What
blocks runs in threads, work on whole lists in other processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from enforcer.core import list_delta
from enforcer.core.attestation import GateState
from enforcer.core.envelope import parse_envelope
from enforcer.core.sealed import by_list
from enforcer.core.state import State
from enforcer.core.table import NO_LOCAL_LAYER
from enforcer.errors import EnforcerError, RefusedError
from enforcer.ports import ControlLink, KeptFiles, TrialVerdict
from enforcer.services.attest import Attester, FirewallWord, wait_seconds
from enforcer.services.canaries import Canaries
from enforcer.services.canary import operator_of, verdicts
from enforcer.services.drops import Drops
from enforcer.services.effect_times import EffectTimes, enforced_alone, enforced_by
from enforcer.services.enforce import Enforcer
from enforcer.services.firewalling import Firewalling
from enforcer.services.follow import Follower
from enforcer.services.lists import ListKeeper
from enforcer.services.no_gate import NoGate
from enforcer.services.node_orders import OrderHere, order_here
from enforcer.services.node_status import status_text, suspensions_shown
from enforcer.services.node_time import NodeTime
from enforcer.services.node_view import Applying, FirewallView, NodeView, omissions_of, order_ids_of
from enforcer.services.pace import DEFAULT_PACE, Pace
from enforcer.services.paths import FeedPaths
from enforcer.services.plan import Plan, make_plan, wanted_lists
from enforcer.services.reading import Reading
from enforcer.services.replica import Replica
from enforcer.services.scans import Scans
from enforcer.services.split_views import SplitViews
from enforcer.services.stop_paths import StopPaths
from enforcer.services.stops import StopKeeper, StopOutcome
from enforcer.services.suspension_paths import SuspensionPaths
from enforcer.services.suspensions import TYPES as SUSPENSION_TYPES
from enforcer.services.suspensions import SuspensionKeeper, SuspensionOutcome
from enforcer.services.witness_watch import Cosigner, WitnessWatch

STATUS_FILE: Final = "status.json"
GATE_SECONDS_MAX: Final = 5.0
"""How long whoever brings a stop is kept waiting for the gate."""

_log: Final = structlog.get_logger(__name__)


class Node:
    """One node; use it from one event loop."""

    def __init__(
        self,
        *,
        node_id: str,
        replica: Replica,
        time: NodeTime,
        stops: StopKeeper,
        suspensions: SuspensionKeeper,
        lists: ListKeeper,
        enforcer: Enforcer | NoGate,
        attester: Attester,
        paths: FeedPaths,
        control: ControlLink,
        files: KeptFiles,
        split_views: SplitViews,
        scans: Scans,
        cosigner: Cosigner | None = None,
        firewall: Firewalling | None = None,
        canaries: Canaries | None = None,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        """Take the parts; `cosigner` where the trust file names this node as a witness."""
        self._canaries = canaries or Canaries()
        self._canaries.on_change = self._stir
        self._firewall = firewall
        if firewall is not None:
            firewall.plan = self._firewall_plan
        self._node_id = node_id
        self._replica = replica
        self._time = time
        self._stops = stops
        self._suspensions = suspensions
        self._lists = lists
        self._enforcer = enforcer
        self._attester = attester
        self._scans = scans
        self._to_scan = asyncio.Event()
        self._feeds = paths
        self._files = files
        self._pace = pace
        self._applying = Applying()
        self._effects = EffectTimes()
        self._shown: Plan | None = None  # the last that the gate was compared with
        self._planned_size = self._planned_at_ms = 0  # its ledger size, and since when
        self._changed = asyncio.Event()
        self._lists_wanted = asyncio.Event()
        self._round = 0  # of `_enforce`; a plan made in a later one knows what came before it
        self._done = 0
        self._round_done = asyncio.Condition()
        self._is_warned = False
        self._news = asyncio.Event()
        paths.on_change = self._news.set
        self._to_tell: tuple[Plan | None, GateState, bool] = (None, GateState.UNREACHABLE, False)
        """The last plan, what the gate has of it, and whether that is to last."""
        enforcer.wake_with(self._changed.set)
        if firewall is not None:
            firewall.on_change = self._news.set
        self._paths = StopPaths(
            stops=stops,
            replica=replica,
            time=time,
            paths=paths,
            control=control,
            on_obeyed=self._stir,
            pace=pace,
        )
        self._suspension_paths = SuspensionPaths(
            keeper=suspensions,
            replica=replica,
            time=time,
            control=control,
            operator=self._operator,
            on_change=self._stir,
            pace=pace,
        )
        self._drops = Drops(files, self._take_drop, lambda: replica.size, pace)
        self._follower = Follower(
            replica=replica,
            time=time,
            paths=paths,
            stops=self._paths,
            on_progress=self._progressed,
            on_health=self._stir,
            split_views=split_views,
            pace=pace,
        )
        self._split_views = split_views
        self._cosigner = cosigner
        self._watch = WitnessWatch(
            replica=replica,
            paths=paths,
            split_views=split_views,
            on_progress=self._stir,
            pace=pace,
        )

    @property
    def state(self) -> State:
        """What holds by the ledger as far as it was read; only to be read."""
        return self._replica.state

    def view(self) -> NodeView:
        """Return what this node knows about itself and its gate, as of now."""
        plan, report = self._shown, self._enforcer.report
        firewall = self._firewall_view()
        return NodeView(
            t_ms=self._time.now_ms(),
            ledger_size=self._replica.size,
            recorded_at_ms=self._replica.state.recorded_at_ms,
            ledger_size_known=max(self._follower.reading.total, self._replica.size),
            feed=self._follower.health,
            paths=self._feeds.views,
            feed_faults=sum(self._feeds.faults.values()),
            planned_size=plan.ledger_size if plan is not None else 0,
            orders_in_force=len(plan.in_force) if plan is not None else 0,
            omissions=omissions_of(plan),
            omission_count=plan.omission_count if plan is not None else 0,
            unlogged_stops=len(self._stops.unlogged),
            unlogged_suspensions=len(self._suspensions.kept),
            witness_quorum=self._replica.witnessed.quorum,
            witnessed_size=self._replica.witnessed.size,
            unwitnessed=plan.unwitnessed if plan is not None else 0,
            split_views=len(self._split_views.views),
            missing_lists=len(self._lists.missing(self._wanted_now())),
            limits_unread=len(self._scans.limits.unread),
            canaries=self._canaries.view,
            gate=self._enforcer.state(plan),
            report=report,
            order_ids=order_ids_of(self._replica.state, report, firewall),
            applied=self._applying.applied,
            firewall=firewall,
        )

    async def start(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Prove and fold the own copy, and find what is at hand.

        Raises:
            IntegrityError: the own copy is damaged.
            UnavailableError: the disk cannot be read.
        """
        reading = Reading()

        def seen(done: int, total: int) -> None:
            reading.saw(done, total)
            if progress is not None:
                progress(done, total)

        await asyncio.to_thread(self._replica.restore, seen)
        self._replica.keep(is_at_rest=True)
        self._time.raise_to(self._replica.state.recorded_at_ms)
        state, moment = self._replica.state, self._time.moment()
        await asyncio.to_thread(self._stops.restore, state)
        await asyncio.to_thread(self._suspensions.restore, state, self._operator(), moment)
        origin = self._replica.state.origin
        self._effects.remember(await asyncio.to_thread(self._attester.remembered, origin))
        held = self._enforcer.held.protections
        wanted = self._wanted()
        if self._firewall is not None:
            await self._firewall.start()
        await self._lists.look([*wanted, *(held.lists if held is not None else ())])
        _log.info("started from its own copy", ledger_size=self._replica.size)
        self._warn_of_trust()

    async def run(self) -> None:
        """Do everything a node does, until cancelled; `start` comes first."""
        async with asyncio.TaskGroup() as tasks:
            for loop in (
                self._enforce,
                self._tell,
                self._enforcer.run,
                self._fetch_lists,
                self._scan_lists,
                self._follower.run,
                *((self._watch.run,) if self._replica.witnessed.quorum else ()),
                *((self._cosigner.run,) if self._cosigner is not None else ()),
                *((self._firewall.run,) if self._firewall is not None else ()),
                self._paths.follow_feed,
                self._paths.relay,
                self._suspension_paths.run,
                self._drops.watch,
                self._canaries.run,
                self._attester.deliver,
                *((self._replica.keeper.run,) if self._replica.keeper is not None else ()),
            ):
                tasks.create_task(loop())

    async def offer_stop(self, envelope: bytes) -> StopOutcome:
        """Take a signed stop from whoever brings it.

        When it is OBEYED, it is on disk, and the gate has been told, if it can be within
        `GATE_SECONDS_MAX`.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: why it is not obeyed.
            UnavailableError: its order is not known here, and too many such stops wait.
        """
        round_after = self._round + 1  # while it is being kept on disk, the gate may be told
        outcome = await self._paths.offer(envelope)
        if outcome is StopOutcome.OBEYED:
            await self._gate_told(round_after)
        return outcome

    async def offer_suspension(
        self, envelope: bytes, documents: Sequence[bytes] = ()
    ) -> SuspensionOutcome:
        """Take what a safety officer of this network signed; as `offer_stop` when it is HEEDED.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: why it is not heeded.
            UnavailableError: too many acts wait for the ledger.
        """
        round_after = self._round + 1
        outcome = await self._suspension_paths.offer(envelope, documents)
        if outcome is SuspensionOutcome.HEEDED:
            await self._gate_told(round_after)
        return outcome

    async def read_order(self, order_id: str, entry_index: int | None) -> OrderHere:
        """Return an order as this node has it.

        Raises:
            NotFoundError: it has read of no such order.
            UnavailableError, IntegrityError: its copy of the ledger cannot be read.
        """
        return await asyncio.to_thread(
            order_here,
            self._replica,
            order_id,
            entry_index,
            t_ms=self._time.now_ms(),
            operator=self._operator(),
            said=self._suspensions.said,
        )

    async def await_trial(
        self, asker_id: str, order_indices: Sequence[int], wait_seconds: float
    ) -> Mapping[int, TrialVerdict]:
        """Return what the gate has said of some of these orders, as soon as it has.

        Nothing, when it has said nothing within `wait_seconds`.

        Raises:
            RefusedError: this node is no canary, or the asker no node of its network.
        """
        if not self._canaries.is_canary:
            raise RefusedError(
                "this node is no canary",
                advice='Set role = "canary" in its [canary], or follow another.',
                field="order_indices",
            )
        if self._operator() is None or operator_of(self.state, asker_id) != self._operator():
            raise RefusedError(
                f"{asker_id} is no node of this network",
                advice="Follow canaries of the own network.",
                field="certificate",
            )
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds), self._round_done:
                await self._round_done.wait_for(lambda: verdicts(self._enforcer, order_indices))
        return verdicts(self._enforcer, order_indices)

    async def _gate_told(self, round_after: int) -> None:
        """Wait until a round has told the gate what it is to hold, `GATE_SECONDS_MAX` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GATE_SECONDS_MAX), self._round_done:
                await self._round_done.wait_for(lambda: self._done >= round_after)

    async def _take_drop(self, data: bytes, documents: Sequence[bytes]) -> None:
        """Take an act that was put into the folder."""
        if parse_envelope(data).payload_type in SUSPENSION_TYPES:
            await self._suspension_paths.offer(data, documents)
        else:
            await self._paths.offer(data)

    def _warn_of_trust(self) -> None:
        """Say it when the ledger's first entry, which founds all others, is refused here."""
        if 0 in self._replica.ineffective and not self._is_warned:
            self._is_warned = True
            _log.error(
                "entry 0 is refused, so that nothing in this ledger has an effect here",
                advice="Compare root_keys and root_threshold in the trust file with the ledger's.",
            )

    def _progressed(self) -> None:
        self._warn_of_trust()
        self._suspension_paths.review()
        self._stir()
        self._lists_wanted.set()
        self._to_scan.set()
        self._watch.entries_came()
        if self._cosigner is not None:
            self._cosigner.saw(self._replica.note)

    def _stir(self) -> None:
        """Have gate and firewall looked at: something has changed."""
        self._changed.set()
        if self._firewall is not None:
            self._firewall.wake()

    async def _enforce(self) -> None:
        """Keep the gate in step; nothing else is waited for."""
        while True:
            self._changed.clear()
            self._round += 1
            if self._enforcer.report is None:
                await self._enforcer.ask()
                self._look()  # what it held before anything was done to it
            moment = self._time.moment()
            plan = self._plan(moment.t_ms)
            if plan is None:
                await self._enforcer.ask()
            else:
                self._applying.begin()
                planned = plan
                plan = await self._enforcer.bring(plan, moment)
                self._heed_gate(planned, plan)
                self._applying.end(self._enforcer.report)
                self._look()
            state = self._enforcer.state(plan)
            if plan is not None and plan.ledger_size != self._planned_size:
                self._planned_size, self._planned_at_ms = plan.ledger_size, self._time.now_ms()
            self._shown = plan
            told = self._enforcer.attested(plan) if plan is not None else None
            self._to_tell = told, state, self._enforcer.is_settled
            self._news.set()
            async with self._round_done:
                self._done = self._round
                self._round_done.notify_all()
            try:
                async with asyncio.timeout(self._pause_seconds(plan, state)):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _look(self) -> None:
        """Note which orders are enforced now, and which are no more."""
        report = self._enforcer.report
        t_ms, firewall = self._time.now_ms(), self._firewall
        at_firewall = firewall.enforced if firewall is not None else frozenset()
        if report is not None:
            self._effects.look(t_ms, *enforced_by(report, t_ms, at_firewall))
        elif not self._enforcer.has_gate and self._shown is not None:
            self._effects.look(t_ms, *enforced_alone(self._shown.rows, t_ms, at_firewall))

    async def _await_turn(self) -> bool:
        """Wait for news, and for this node's turn to attest; tell whether all of it is shown.

        All nodes wake by one change, and have one control plane; the status waits for no turn.
        """
        await self._news.wait()
        seconds, soon = asyncio.get_running_loop().time, self._pace.show_after_seconds
        nodes = len(self._replica.state.keys)  # but for a few persons
        turn_at = seconds() + wait_seconds(nodes, self._pace.tell_within_seconds_max)
        is_shown = False
        await asyncio.sleep(min(turn_at - seconds(), soon))
        while (left := turn_at - seconds()) > 0:
            if self._news.is_set():
                self._news.clear()
                plan, state, _ = self._to_tell
                await self._show(plan, state)
                is_shown = True
                await asyncio.sleep(min(left, soon))
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._news.wait()
        is_shown = is_shown and not self._news.is_set()
        self._news.clear()
        return is_shown

    async def _tell(self) -> None:
        """Attest what the gate has of the newest plan, and show the status: soon, not first."""
        while True:
            is_shown = await self._await_turn()
            plan, state, is_settled = self._to_tell
            firewall = FirewallWord()
            if plan is not None and self._firewall is not None:
                firewall = self._firewall.word(plan)
                is_settled = is_settled and self._firewall.is_settled(plan)
                self._look()
            now_ms = self._time.now_ms()
            effects = self._effects.newest(now_ms, plan.t_ms) if plan is not None else ()
            if plan is not None and self._attester.is_due(
                plan, state, firewall, effects, is_settled=is_settled
            ):
                # Before the word is out: a clock stepped back must not take it back.
                await asyncio.to_thread(self._time.keep)
                # The replica may be ahead of what is attested.
                known = tuple(at for at in self._replica.ineffective if at < plan.ledger_size)
                self._attester.attest(plan, state, firewall, known, effects)
            if not is_shown:
                await self._show(plan, state)

    def _heed_gate(self, planned: Plan, brought: Plan) -> None:
        """Let the firewall enforce nothing of what is attested as not enforced."""
        if self._firewall is not None:
            absent = {row.index for row in planned.rows} - {row.index for row in brought.rows}
            is_off = self._enforcer.attested(brought) is not brought
            is_here = self._enforcer.report is not None
            self._firewall.heed_gate(frozenset(absent), is_off=is_off, is_here=is_here)

    def _firewall_plan(self) -> Plan | None:
        """Return what the firewall goes by; also where it only says what it would do."""
        return self._plan(self._time.now_ms(), blocks_addresses=True)

    def _plan(self, t_ms: int, *, blocks_addresses: bool | None = None) -> Plan | None:
        """Return what should hold; addresses are blocked where there is a firewall, or as told."""
        firewall, held = self._firewall, self._enforcer.held
        if firewall is not None:
            held = replace(held, at_firewall=firewall.held_rows)
        if blocks_addresses is None:
            blocks_addresses = firewall is not None and firewall.is_real
        plan = make_plan(
            self._replica.state,
            self._replica.root,
            t_ms,
            stopped=self._stops.obeyed,
            has_list=self._lists.has,
            has_order_list=self._lists.has_for,
            held=held,
            witnessed_until_ms=self._replica.witnessed.until_ms,
            objects=partial(self._scans.objects, self._replica.state),
            operator=self._operator(),
            said=self._suspensions.said,
            blocks_addresses=blocks_addresses,
            blocks_names=self._enforcer.has_gate,
            local=firewall.local if firewall is not None else NO_LOCAL_LAYER,
        )
        if plan is None or (firewall is not None and blocks_addresses is not firewall.is_real):
            return plan  # the latter is what a dry run would do: nothing that could wait
        return self._canaries.part(plan, {row.index for row in held.rows} | held.at_firewall)

    def _operator(self) -> str | None:
        """Return whose network this node belongs to, as the roots registered it."""
        record = self._replica.state.keys.get(self._attester.key_id)
        return None if record is None else record.registration.operator

    def _pause_seconds(self, plan: Plan | None, state: GateState) -> float:
        """Return how long nothing needs to be looked at, if nothing changes."""
        if plan is None or state not in (GateState.HOLDS_TABLE, GateState.NONE):
            return self._pace.gate_retry_seconds
        next_ms = plan.next_change_ms
        if next_ms is None:
            return self._pace.gate_poll_seconds
        left_seconds = max(next_ms - self._time.now_ms(), 1) / 1_000
        return min(left_seconds, self._pace.gate_poll_seconds)

    def _firewall_view(self) -> FirewallView:
        if self._firewall is None:
            return FirewallView()
        return self._firewall.view(self._to_tell[0])

    async def _show(self, plan: Plan | None, state: GateState) -> None:
        wanted = self._wanted_now()
        text = status_text(
            node_id=self._node_id,
            t_ms=self._time.now_ms(),
            replica=self._replica,
            reads=self._follower.reading.words,
            feed=self._follower.health,
            paths=self._feeds.views,
            faults=self._feeds.faults,
            plan=plan,
            planned_at_ms=self._planned_at_ms,
            canaries=self._canaries.view,
            gate=state,
            enforcer=self._enforcer,
            firewall=self._firewall_view(),
            stops=self._stops,
            suspensions=suspensions_shown(
                self._replica.state, self._operator(), self._suspensions, self._time.now_ms()
            ),
            missing=self._lists.missing(wanted),
            missing_sealed=self._lists.missing_sealed(wanted),
            limits_unread=sorted(self._scans.limits.unread),
            split_views=self._split_views.views,
        )
        try:
            await asyncio.to_thread(self._files.show, STATUS_FILE, text)
        except EnforcerError as error:
            _log.error("cannot show the status", problem=error.message, advice=error.advice)

    async def _scan_lists(self) -> None:
        """Have guards look at the list of every order that blocks or may soon."""
        while True:
            self._to_scan.clear()
            pause_seconds = None
            try:
                while await self._scans.look(self._replica.state, self._time.now_ms()):
                    self._stir()
                if any(map(self._lists.may_come, self._scans.limits.wanted)):
                    self._lists_wanted.set()
            except EnforcerError:
                pause_seconds = self._pace.list_retry_seconds
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._to_scan.wait()

    def _wanted(self) -> list[str]:
        """Return the lists to have at hand, when the keeper has heard which of them are sealed."""
        state = self._replica.state
        wanted = [*self._wanted_now(), *self._scans.limits.wanted]
        self._lists.expect(by_list(state), wanted, list_delta.bases(state, set(wanted)))
        return wanted

    def _wanted_now(self) -> list[str]:
        """Return the lists of what it enforces or soon may."""
        now_ms, has_gate = self._time.now_ms(), self._enforcer.has_gate
        return wanted_lists(self._replica.state, now_ms, blocks_names=has_gate)

    async def _fetch_lists(self) -> None:
        """Have every list at hand that is or will be needed; stubborn ones ever more rarely."""
        pause_seconds = self._pace.list_retry_seconds
        while True:
            self._lists_wanted.clear()
            wanted = self._wanted()
            missing = self._lists.missing(wanted)
            for sha256 in missing:
                is_here = await self._lists.bring(sha256)
                self._to_scan.set()  # limits wait for past lists until they were asked for
                if is_here:
                    self._stir()
                    pause_seconds = self._pace.list_retry_seconds
            try:
                async with asyncio.timeout(pause_seconds):
                    await self._lists_wanted.wait()
                pause_seconds = self._pace.list_retry_seconds
            except TimeoutError:
                if missing:
                    pause_seconds = min(pause_seconds * 2, self._pace.list_retry_seconds_max)
