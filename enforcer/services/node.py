"""A node: it follows, enforces, obeys stops and attests, each in a loop of its own.

Started from its own copy of the ledger, it needs neither Redis nor the control plane to go on
enforcing and to let orders end. Here its parts are joined; what they do stands with each. Whatever
fails is tried again; no loop ends by itself. What blocks runs in threads, work on whole lists in
other processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from enforcer.core.envelope import parse_envelope
from enforcer.core.state import State
from enforcer.errors import RefusedError
from enforcer.ports import ControlLink, KeptFiles, TrialVerdict
from enforcer.services.attest import Attester
from enforcer.services.canaries import Canaries
from enforcer.services.canary import operator_of
from enforcer.services.drops import Drops
from enforcer.services.enforce import Enforcer
from enforcer.services.firewalling import Firewalling
from enforcer.services.follow import Follower
from enforcer.services.gate_rounds import GateRounds
from enforcer.services.list_rounds import ListRounds
from enforcer.services.lists import ListKeeper
from enforcer.services.no_gate import NoGate
from enforcer.services.node_orders import OrderHere, order_here
from enforcer.services.node_shown import NodeShown
from enforcer.services.node_time import NodeTime
from enforcer.services.node_view import NodeView
from enforcer.services.pace import DEFAULT_PACE, Pace
from enforcer.services.paths import FeedPaths
from enforcer.services.planning import Planner
from enforcer.services.reading import Reading
from enforcer.services.replica import Replica
from enforcer.services.scans import Scans
from enforcer.services.split_views import SplitViews
from enforcer.services.stop_paths import StopPaths
from enforcer.services.stops import StopKeeper, StopOutcome
from enforcer.services.suspension_paths import SuspensionPaths
from enforcer.services.suspensions import TYPES as SUSPENSION_TYPES
from enforcer.services.suspensions import SuspensionKeeper, SuspensionOutcome
from enforcer.services.telling import Teller
from enforcer.services.witness_watch import Cosigner, WitnessWatch

_log = structlog.get_logger(__name__)


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
        self._firewall = firewall
        self._replica = replica
        self._time = time
        self._stops = stops
        self._suspensions = suspensions
        self._lists = lists
        self._enforcer = enforcer
        self._attester = attester
        self._cosigner = cosigner
        self._is_warned = False
        self._planner = Planner(
            key_id=attester.key_id,
            replica=replica,
            time=time,
            stops=stops,
            suspensions=suspensions,
            lists=lists,
            scans=scans,
            enforcer=enforcer,
            canaries=self._canaries,
            firewall=firewall,
        )
        self._rounds = GateRounds(
            planner=self._planner,
            enforcer=enforcer,
            firewall=firewall,
            time=time,
            pace=pace,
        )
        self._list_rounds = ListRounds(
            replica=replica,
            lists=lists,
            scans=scans,
            time=time,
            blocks_names=enforcer.has_gate,
            on_change=self._rounds.stir,
            pace=pace,
        )
        stir = self._rounds.stir
        self._paths = StopPaths(
            stops=stops,
            replica=replica,
            time=time,
            paths=paths,
            control=control,
            on_obeyed=stir,
            pace=pace,
        )
        self._suspension_paths = SuspensionPaths(
            keeper=suspensions,
            replica=replica,
            time=time,
            control=control,
            operator=self._operator,
            on_change=stir,
            pace=pace,
        )
        self._drops = Drops(files, self._take_drop, lambda: replica.size, pace)
        self._follower = Follower(
            replica=replica,
            time=time,
            paths=paths,
            stops=self._paths,
            on_progress=self._progressed,
            on_health=stir,
            split_views=split_views,
            pace=pace,
        )
        self._shown = NodeShown(
            node_id=node_id,
            planner=self._planner,
            rounds=self._rounds,
            list_rounds=self._list_rounds,
            follower=self._follower,
            paths=paths,
            split_views=split_views,
        )
        self._teller = Teller(
            attester=attester,
            rounds=self._rounds,
            replica=replica,
            time=time,
            firewall=firewall,
            files=files,
            status=self._shown.status,
            pace=pace,
        )
        self._rounds.on_told = paths.on_change = self._teller.hear
        self._canaries.on_change = stir
        if firewall is not None:
            firewall.plan = self._planner.firewall_plan
            firewall.on_change = self._firewall_changed
            firewall.on_claimed = self._rounds.look
        self._watch = WitnessWatch(
            replica=replica,
            paths=paths,
            split_views=split_views,
            on_progress=stir,
            pace=pace,
        )

    @property
    def state(self) -> State:
        """What holds by the ledger as far as it was read; only to be read."""
        return self._replica.state

    def view(self) -> NodeView:
        """Return what this node knows about itself and its gate, as of now."""
        return self._shown.view()

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
        self._rounds.effects.remember(await asyncio.to_thread(self._attester.remembered, origin))
        held = self._enforcer.held.protections
        wanted = self._list_rounds.wanted()
        if self._firewall is not None:
            await self._firewall.start()
        await self._lists.look([*wanted, *(held.lists if held is not None else ())])
        _log.info("started from its own copy", ledger_size=self._replica.size)
        self._warn_of_trust()

    async def run(self) -> None:
        """Do everything a node does, until cancelled; `start` comes first."""
        async with asyncio.TaskGroup() as tasks:
            for loop in (
                self._rounds.run,
                self._teller.run,
                self._enforcer.run,
                self._list_rounds.fetch,
                self._list_rounds.scan,
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
        round_after = self._rounds.next  # while it is being kept on disk, the gate may be told
        outcome = await self._paths.offer(envelope)
        if outcome is StopOutcome.OBEYED:
            await self._rounds.await_round(round_after)
        return outcome

    async def offer_suspension(
        self, envelope: bytes, documents: Sequence[bytes] = ()
    ) -> SuspensionOutcome:
        """Take what a safety officer of this network signed; as `offer_stop` when it is HEEDED.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: why it is not heeded.
            UnavailableError: too many acts wait for the ledger.
        """
        round_after = self._rounds.next
        outcome = await self._suspension_paths.offer(envelope, documents)
        if outcome is SuspensionOutcome.HEEDED:
            await self._rounds.await_round(round_after)
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
        return await self._rounds.await_verdicts(order_indices, wait_seconds)

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
        self._list_rounds.entries_came()  # first: what it finds at once is in the next plan
        self._rounds.stir()
        self._watch.entries_came()
        if self._cosigner is not None:
            self._cosigner.saw(self._replica.note)

    def _firewall_changed(self) -> None:
        self._rounds.look()  # at once: whoever tells of it waits for its turn
        self._teller.hear()

    def _operator(self) -> str | None:
        return self._planner.operator
