"""A node's signed word about what it has read and what it enforces, and its way to those who ask.

Only the newest counts: one that could not be delivered is replaced, never queued. It is also
kept beside the node's status, where an operator or an auditor can pick it up.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace
from typing import Final

import structlog

from enforcer.core import fields
from enforcer.core.attestation import (
    OMISSIONS_MAX,
    Attestation,
    EffectTime,
    GateState,
    Omission,
    parse_attestation,
)
from enforcer.core.envelope import format_envelope, key_id, parse_envelope, sign
from enforcer.core.firewall import FirewallState
from enforcer.core.policy import DAY_MS
from enforcer.errors import EnforcerError
from enforcer.ports import ControlLink, KeptFiles, Signer
from enforcer.services.plan import Plan

ATTESTATION_FILE: Final = "attestation.json"
INTERVAL_MS: Final = 60_000
RETRY_SECONDS_MAX: Final = 30.0
FLEET_ATTESTS_A_SECOND: Final = 100
"""So many nodes attest a change each second: all wake by it at once, and have one control plane."""

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FirewallWord:
    """What an attestation says about the node's firewall."""

    state: FirewallState = FirewallState.NONE
    repairs: int = 0
    """How often others had altered it."""
    pieces_digest: str | None = None
    """Of what was read back; None unless it HOLDS."""
    curtailed: tuple[int, ...] = ()
    """Entry indices of orders of which the operator's own protections let addresses pass."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What an attestation says besides its time; a new one is made when it changes."""

    news_size: int
    """What attestations are recorded by is no news: else each word would bring another."""
    digest: str
    gate: GateState
    firewall: FirewallWord
    omissions: tuple[Omission, ...]


class Attester:
    """Makes and delivers the attestations of one node; use it from one event loop."""

    def __init__(
        self, node_id: str, signer: Signer, control: ControlLink | None, files: KeptFiles
    ) -> None:
        """Take the parts; without `control` attestations stay here until somebody carries them."""
        self._node_id = node_id
        self._signer = signer
        self._control = control
        self._files = files
        self._claim: Claim | None = None
        self._effects: frozenset[EffectTime] = frozenset()
        self._silent_since_ms: int | None = None
        """When it said something last, or was asked first."""
        self._newest: bytes | None = None
        self.key_id: Final = key_id(signer.public_key)
        self._wake = asyncio.Event()

    def remembered(self, origin: str) -> tuple[EffectTime, ...]:
        """Return the times of effect that an earlier process attested last; it reads the disk."""
        try:
            kept = self._files.read(ATTESTATION_FILE)
            attestation = parse_attestation(parse_envelope(kept)) if kept is not None else None
        except EnforcerError as error:
            _log.warning("cannot read the attestation that was kept", problem=error.message)
            return ()
        if attestation is None or attestation.ledger_origin != origin:
            return ()
        return attestation.effects if attestation.node_id == self._node_id else ()

    def is_due(
        self,
        plan: Plan,
        gate: GateState,
        firewall: FirewallWord,
        effects: tuple[EffectTime, ...] = (),
        *,
        is_settled: bool,
    ) -> bool:
        """Tell whether there is something new to say, or a minute is over.

        Unless it is settled what gate and firewall hold, only new omissions are worth a word: so a
        node that starts does not say that its gate differs while it brings the first table.
        """
        if self._silent_since_ms is None:
            self._silent_since_ms = plan.t_ms
        # A clock that was far ahead may have been set right: then it is the past that is ahead.
        is_old = not 0 <= plan.t_ms - self._silent_since_ms < INTERVAL_MS
        said = self._claim.omissions if self._claim is not None else ()
        is_news = bool(set(plan.omissions) - set(said))
        is_other = _claim(plan, gate, firewall) != self._claim or not self._effects >= set(effects)
        return is_old or is_news or (is_settled and is_other)

    def presses(
        self,
        plan: Plan,
        gate: GateState,
        firewall: FirewallWord,
        effects: tuple[EffectTime, ...] = (),
    ) -> bool:
        """Tell whether a word would say more than that this node has read on."""
        if self._claim is None:
            return True
        claim = replace(self._claim, news_size=plan.news_size)
        return _claim(plan, gate, firewall) != claim or not self._effects >= set(effects)

    def attest(
        self,
        plan: Plan,
        gate: GateState,
        firewall: FirewallWord,
        ineffective: tuple[int, ...],
        effects: tuple[EffectTime, ...] = (),
    ) -> None:
        """Sign what holds now, keep it, and have it delivered."""
        attestation = Attestation(
            ledger_origin=plan.origin,
            request_id=secrets.token_hex(16),
            valid_until_ms=plan.t_ms + DAY_MS,
            node_id=self._node_id,
            t_ms=plan.t_ms,
            ledger_size=plan.ledger_size,
            root_sha256=plan.root.hex(),
            table_digest=plan.digest,
            local_digest=plan.local.digest,
            gate=gate,
            firewall=firewall.state,
            pieces_digest=firewall.pieces_digest,
            repairs=firewall.repairs,
            curtailed=firewall.curtailed[:OMISSIONS_MAX],
            omission_count=plan.omission_count,
            omissions=plan.omissions,
            resumed=plan.resumed[:OMISSIONS_MAX],
            ineffective=ineffective,
            effects=effects,
            carried=self._control is None,
        )
        identity = key_id(self._signer.public_key)
        envelope = sign(Attestation.TYPE, fields.dump(attestation), [(identity, self._signer.sign)])
        self._newest = format_envelope(envelope)
        self._claim = _claim(plan, gate, firewall)
        self._effects = frozenset(effects)
        self._silent_since_ms = plan.t_ms
        self._wake.set()
        try:
            self._files.show(ATTESTATION_FILE, self._newest)
        except EnforcerError as error:
            _log.error("cannot keep the attestation", problem=error.message)

    async def deliver(self) -> None:
        """Deliver the newest attestation, and again each newer one; return if that is nobody's."""
        if self._control is None:
            return
        pause_seconds = 1.0
        while True:
            await self._wake.wait()
            self._wake.clear()
            newest = self._newest
            if newest is None:
                continue
            try:
                await self._control.attest(newest)
                pause_seconds = 1.0
            except EnforcerError as error:
                _log.warning("delivered no attestation", problem=error.message)
                self._wake.set()
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, RETRY_SECONDS_MAX)


def _claim(plan: Plan, gate: GateState, firewall: FirewallWord) -> Claim:
    return Claim(plan.news_size, plan.digest, gate, firewall, plan.omissions)


def wait_seconds(nodes: int, at_most_seconds: float) -> float:
    """Return how long one of so many nodes waits until it attests a change; another time each."""
    return secrets.randbelow(1_000) / 1_000 * min(nodes / FLEET_ATTESTS_A_SECOND, at_most_seconds)
