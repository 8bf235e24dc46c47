"""``enforcer status``: what a control plane, a node and a gate say about themselves."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

from enforcer.app.people import Person
from enforcer.app.status_problems import node_problems
from enforcer.backends import durable
from enforcer.backends.control_marks import SERVING, SILENT_MS_MAX, marks
from enforcer.backends.gate_socket import GateClient
from enforcer.core.checkpoint import Checkpoint
from enforcer.errors import EnforcerError, IntegrityError, NotFoundError
from enforcer.ports import GateReport
from enforcer.services.attest import ATTESTATION_FILE
from enforcer.services.side_files import SALT_BYTES
from enforcer.services.suspensions import REASON_OCTETS_MAX, REASONS_FOLDER
from enforcer.v1 import audit_pb2

STATUS_BYTES_MAX: Final = 16 << 20
_HASH: Final = re.compile("[0-9a-f]{64}")
SILENT_SECONDS_MAX: Final = 30
"""A node that runs writes every few seconds."""


async def control_status(person: Person) -> dict[str, object]:
    """Ask the control plane for its newest checkpoint; the signature is checked.

    Raises:
        UnavailableError: it does not answer.
        IntegrityError: the checkpoint is not signed by the trusted key.
    """
    address = str(person.config.control.address)
    async with person.client() as client:
        try:
            checkpoint, _ = await client.checkpoint()
            witnessed = await client.witnessed() if person.trust.witnesses.quorum else None
            fleet = await client.fleet()
        except NotFoundError as error:
            problem = {
                "problem": error.message,
                "advice": "If it is new, have the roots sign a policy, and record that first. If "
                "it had entries, end this process: its disk is not there, or see `enforcer ledger "
                "restore`.",
            }
            return {"address": address, "state": "EMPTY", **problem}
    return {
        "address": address,
        "state": "SERVING",
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root_sha256": checkpoint.root.hex(),
        "witnesses": _witnesses(person.trust.witnesses.quorum, witnessed),
        "nodes": fleet_words(fleet),
    }


def fleet_words(fleet: audit_pb2.GetFleetResponse) -> str:
    """Say in one line how the nodes stand, as the control plane says."""
    if not fleet.nodes:
        return "none is registered"
    wrong = [
        f"{each.nodes} {audit_pb2.NodeState.Name(each.state).removeprefix('NODE_STATE_')}"
        for each in fleet.counts
    ]
    said = f"{fleet.live} of {fleet.nodes} heard within three minutes"
    return f"{said}; {', '.join(wrong) if wrong else 'all as they should be'}"


def _witnesses(quorum: int, witnessed: Checkpoint | None) -> str:
    """Say in words how it stands with the witnesses."""
    if not quorum:
        return "UNWITNESSED"
    seen = witnessed.size if witnessed is not None else 0
    return f"{quorum} witnesses have seen {seen} entries"


def standby_status(ledger_dir: Path) -> dict[str, object]:
    """Say which processes of this host serve a ledger or stand by for it, as they say themselves.

    Raises:
        NotFoundError: there is no ledger.
    """
    if not ledger_dir.is_dir():
        raise NotFoundError(
            f"there is no ledger in {ledger_dir}",
            advice="Ask on the control plane's host, with its control.toml.",
            path=str(ledger_dir),
        )
    found = marks(ledger_dir)
    said = [
        f"process {mark.pid}: {mark.size} entries"
        + (f", silent for {mark.silent_ms // 1_000} s" if mark.silent_ms > SILENT_MS_MAX else "")
        + (f"; {mark.problem}" if mark.problem else "")
        for mark in found
    ]
    serving = [words for mark, words in zip(found, said, strict=True) if mark.does == SERVING]
    standing = [words for mark, words in zip(found, said, strict=True) if mark.does != SERVING]
    if serving:
        return {"state": "SERVING", "serves": serving[0], "standbys": standing}
    advice = "Start it: enforcer control --standby; its log says what keeps it from serving."
    return {
        "state": "AWAY",
        "problem": "no process serves the ledger",
        "advice": advice,
        "standbys": standing,
    }


def node_status(state_dir: Path, *, is_apart: bool = False) -> dict[str, object]:
    """Read what the node in `state_dir` last wrote about itself, and whether that is fresh.

    Where it `is_apart` from the control plane, say what becomes of what it attests.

    Raises:
        NotFoundError: it never ran.
        IntegrityError: the file is not what a node writes.
    """
    path = state_dir / "status.json"
    age_seconds = 0
    try:
        shown = json.loads(durable.read_file(path, size_bytes_max=STATUS_BYTES_MAX))
        age_seconds = int(time.time() - path.stat().st_mtime)
    except NotFoundError as error:
        raise NotFoundError(
            f"no node has run in {state_dir}",
            advice="Name the state_dir of a node that was started, or start it: enforcer node",
            path=str(path),
        ) from error
    except ValueError as error:
        shown = error
    if not isinstance(shown, dict):
        raise IntegrityError(
            f"{path} is not what a node writes",
            advice="Restart the node, it writes it anew.",
            path=str(path),
        )
    _add_reasons(state_dir, shown)
    if is_apart:
        shown["attestations"] = (
            f"kept in {state_dir / ATTESTATION_FILE}, since node.toml names no control plane; "
            "carry it there: enforcer node deliver"
        )
    if age_seconds <= SILENT_SECONDS_MAX:
        return {"state": "RUNNING", "problems": node_problems(shown), **shown}
    return {
        "state": "AWAY",
        "problem": f"the node has written nothing for {age_seconds} s; what follows is from then",
        "advice": f"Start it (enforcer node); if it runs, see its log, and the disk of {path}.",
        **shown,
    }


def _add_reasons(state_dir: Path, shown: dict[str, object]) -> None:
    """Add why safety officers suspended orders, as far as the node was told; see the side files."""
    suspensions = shown.get("suspensions")
    held = suspensions.get("held") if isinstance(suspensions, dict) else None
    for each in held if isinstance(held, list) else ():
        name = each.get("reason_sha256")
        if not isinstance(name, str) or _HASH.fullmatch(name) is None:
            continue
        try:
            path = state_dir / REASONS_FOLDER / name
            document = durable.read_file(path, size_bytes_max=REASON_OCTETS_MAX)
        except EnforcerError:
            continue  # it came by the ledger alone, which has no texts
        each["why"] = document[SALT_BYTES:].decode("utf-8", "replace")


async def gate_status(socket: Path) -> dict[str, object]:
    """Ask the gate at `socket` what it holds; read back now.

    Raises:
        UnavailableError: no gate answers.
    """
    report = await GateClient(socket).status()
    return {
        "state": "SERVING" if report.table_digest else "NO_TABLE",
        "mode": report.mode.name,
        "override": _override(report),
        "upstreams_down": list(report.upstreams_down),
        "ledger_size": report.ledger_size,
        "table_digest": report.table_digest,
        "names": report.name_count,
        "orders": [row.order_id for row in report.rows],
        "counters": report.counters,
        "order_counters": {str(index): count for index, count in report.order_counters.items()},
    }


def _override(report: GateReport) -> dict[str, object] | None:
    override = report.override
    return asdict(override) | {"mode": override.mode.name} if override is not None else None
