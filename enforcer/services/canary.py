"""What a canary tells the nodes that follow it: which orders its gate passed, and which it blames.

Always true: it says PASSED only of what its gate has in force, by a reading after the golden names
were asked for, and says nothing while the gate blocks nothing at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from enforcer.core.key import Role
from enforcer.core.state import State
from enforcer.ports import GateMode, TrialVerdict
from enforcer.services.enforce import Enforcer
from enforcer.services.no_gate import NoGate


def operator_of(state: State, node_id: str) -> str | None:
    """Return whose network a node belongs to, as the roots registered it; None: not known."""
    nodes = (
        key.registration
        for key in state.keys.values()
        if key.revoked_index is None and key.registration.role is Role.NODE
    )
    return next((each.operator for each in nodes if each.machine_id == node_id), None)


def verdicts(enforcer: Enforcer | NoGate, indices: Sequence[int]) -> dict[int, TrialVerdict]:
    """Return what the gate has said of these orders; of others there is nothing to tell yet."""
    if isinstance(enforcer, NoGate):
        return {}
    blamed = enforcer.blamed
    report = enforcer.report
    is_enforcing = report is not None and report.mode is GateMode.ENFORCE and enforcer.holds
    passed = {row.index for row in report.rows} if report is not None and is_enforcing else set()
    return {
        index: TrialVerdict.BLAMED if index in blamed else TrialVerdict.PASSED
        for index in indices
        if index in blamed or index in passed
    }
