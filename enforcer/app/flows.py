"""``enforcer flows``: whether orders had effect, by flows that somebody saw."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from enforcer.app.audit import open_ledger
from enforcer.app.audit_archive import ledger_copy
from enforcer.app.check import Replay
from enforcer.backends import durable
from enforcer.backends.flow_capture import MAGICS, Capture
from enforcer.backends.flow_exports import Counts, Exports, new_index, new_lines
from enforcer.backends.flow_tuples import FlowLines
from enforcer.backends.keys import verify
from enforcer.core.entry import Entry, parse
from enforcer.core.trust import Trust
from enforcer.errors import NotFoundError
from enforcer.ports import DnsMessage
from enforcer.services.flow_check import Checked, FlowCheck
from enforcer.services.flow_orders import OrderTimes, Timeline, timeline
from enforcer.services.flow_tally import Phase, Tally, plain_sums
from enforcer.services.probe_reading import Register

__all__ = ["Checking", "Found", "Listening", "Phase", "Tally", "check_flows", "plain"]

INCOMPLETE: Final = (
    "sets_without_template",
    "gaps",
    "packets_cut",
    "links_unknown",
    "cut",
    "bad_lines",
)
"""What, if it was counted, keeps a check from having seen everything; faults of exports too."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to wait for exports, and for how long."""

    host: str
    port: int
    seconds: float
    packets_max: int


@dataclass(frozen=True, slots=True)
class Checking:
    """What to check, by what, and how strictly."""

    files: Sequence[Path]
    listening: Listening | None
    grace_ms: int
    skew_ms: int
    export_ports: Collection[int]
    order_ids: Collection[str] = ()
    """Empty: all orders."""
    identity: str | None = field(default=None, repr=False)
    """The secret of an age identity, which may open sealed lists."""


@dataclass(slots=True)
class Found:
    """What was found."""

    checked: Checked
    counts: Counts
    first_bad_lines: dict[str, tuple[int, str]] = field(default_factory=dict)
    """File -> number and fault of its first wrong line."""

    @property
    def reasons(self) -> list[str]:
        """Why not everything was seen, by the names of counts; empty where it was."""
        found = [
            name
            for name, count in self.counts.items()
            if count and (name in INCOMPLETE or _is_fault(name))
        ]
        if self.checked.missing:
            found.append("lists_missing")
        if self.checked.unproven:
            found.append("unproven")
        if not self.checked.flows and not self.checked.messages:
            found.append("nothing_seen")
        return found

    @property
    def exit_code(self) -> int:
        """0: nothing got through; 1: something did; 2: nobody can tell."""
        if self.checked.leaks:
            return 1
        return 2 if self.reasons else 0


def check_flows(
    ledger: Path,
    trust: Trust,
    asked: Checking,
    progress: Progress = lambda _stage, _done, _total: None,
) -> Found:
    """Compare what was seen with a ledger: its directory, a node's, or an archive.

    Raises:
        NotFoundError: no ledger is there, or no such order, or a protected list is missing.
        IntegrityError: it is not what the trusted key signed, or cannot be understood.
        InputError, UnavailableError: an input cannot be read or understood.
    """
    with ledger_copy(ledger, progress) as copy:
        return _check(copy.directory, trust, asked, progress)


def _check(directory: Path, trust: Trust, asked: Checking, progress: Progress) -> Found:
    replayed, line = _timeline(directory, trust, asked.identity, progress)
    policy = replayed.state.policy
    register = Register(
        policy.payload.register_url if policy else "",
        policy.payload.register_domain if policy else "",
    )
    known = {times.order.payload.order_id for times in line.orders}
    for order_id in asked.order_ids:
        if order_id not in known:
            raise NotFoundError(
                f"{order_id} was never in force by this ledger",
                advice="See what was: enforcer audit replay.",
                field="order",
            )

    def is_wanted(times: OrderTimes) -> bool:
        return not asked.order_ids or times.order.payload.order_id in asked.order_ids

    check = FlowCheck(
        line,
        replayed.text,
        new_index(),
        new_lines(),
        register=register,
        grace_ms=asked.grace_ms,
        skew_ms=asked.skew_ms,
        wanted=is_wanted,
    )
    exports, found = Exports(), Found(check.checked, {})
    for each in _inputs(asked, exports, found):
        if isinstance(each, DnsMessage):
            check.message(each)
        else:
            check.flows(each)
    _add(found.counts, exports.counts())
    return found


def _timeline(
    directory: Path, trust: Trust, identity: str | None, progress: Progress
) -> tuple[Replay, Timeline]:
    is_node = not (directory / "checkpoint").exists() and (directory / "ledger").is_dir()
    ledger = open_ledger(directory / "ledger" if is_node else directory, trust)
    state = trust.genesis(verify)

    def entries() -> Iterator[Entry]:
        for done, leaf in enumerate(ledger.entries(0, ledger.size), 1):
            yield parse(leaf)
            progress("replay entries", done, ledger.size)

    line = timeline(state, entries())
    return Replay(state, ledger, identity), line


def _inputs(asked: Checking, exports: Exports, found: Found) -> Iterator[bytes | DnsMessage]:
    """Yield what all inputs have, one after the other, and take over their counts."""
    for path in asked.files:
        head = _head(path)
        if head in MAGICS:
            capture = Capture(path, exports, asked.export_ports)
            yield from capture.read()
            _add(found.counts, capture.counts)
        elif head[:2] in (b"\0\x05", b"\0\x09", b"\0\x0a"):
            yield from exports.file(path)
        else:
            lines = FlowLines(path)
            yield from lines.read()
            _add(found.counts, {"bad_lines": lines.bad_lines})
            if lines.first_bad is not None:
                found.first_bad_lines[str(path)] = lines.first_bad
    if asked.listening is not None:
        where = asked.listening
        yield from exports.listen(where.host, where.port, where.seconds, where.packets_max)


def _head(path: Path) -> bytes:
    with ExitStack() as stack:
        stack.enter_context(durable.reporting(path, "read"))
        return stack.enter_context(path.open("rb")).read(4)


def _add(counts: Counts, more: Counts) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


def _is_fault(name: str) -> bool:
    return name.startswith("export_") and name != "export_messages"


def plain(found: Found) -> dict[str, object]:
    """Return all that was found, for JSON."""
    checked = found.checked
    return {
        "verdict": {0: "GOOD", 1: "LEAK", 2: "INCOMPLETE"}[found.exit_code],
        "incomplete": found.reasons,
        "flows": checked.flows,
        "dns_messages": checked.messages,
        "sampling": checked.sampling,
        "counts": found.counts,
        "first_bad_lines": {
            path: {"line": line, "problem": problem}
            for path, (line, problem) in found.first_bad_lines.items()
        },
        "lists_missing": [each.order.payload.order_id for each in checked.missing],
        "orders": [_order(tally) for tally in checked.tallies.values() if tally.phases],
        "orders_not_seen": [
            tally.times.order.payload.order_id
            for tally in checked.tallies.values()
            if not tally.phases
        ],
    }


def _order(tally: Tally) -> dict[str, object]:
    order = tally.times.order
    return {
        "order_id": order.payload.order_id,
        "version": order.payload.version,
        "order_index": order.index,
        "in_force_ms": [list(span) for span in tally.times.spans],
        "leaks": tally.leaks,
        "unproven": tally.unproven,
        "phases": plain_sums(tally.phases),
        "in_force": plain_sums(tally.passages),
        "dns_in_force": plain_sums(tally.answers),
    }
