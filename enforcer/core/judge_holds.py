"""The rules for holds: who may put an order on hold, and who lifts which guard, by what.

One table says what each guard's lift takes. Nobody lifts alone what that person also proposed,
approved or cosigned, so that a third person stands behind what is most dangerous.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from enforcer.core.guard import OUTCOMES, Guard, Outcome
from enforcer.core.hold import AssessmentRecorded, HoldLifted, OrderHeld
from enforcer.core.judge_parts import (
    check_may_order,
    check_meets,
    check_policy,
    check_role,
    check_sum,
    named_order,
)
from enforcer.core.key import ORDERING_ROLES, Role
from enforcer.core.policy import COURT_KINDS
from enforcer.core.signing import field_error
from enforcer.core.state import KeyRecord, OrderRecord, PolicyRecord, State
from enforcer.core.target import parse_line
from enforcer.errors import ConflictError, InputError, RefusedError

HOLDING_ROLES: Final = frozenset((Role.APPROVER, Role.OVERSIGHT))


@dataclass(frozen=True, slots=True)
class LiftRule:
    """What lifting one guard takes."""

    roles: frozenset[Role]
    needs_court: bool = False
    """Only for an order by a court, which names what it overrides."""
    needs_assessment: bool = False


_BY_EITHER: Final = frozenset((Role.APPROVER, Role.OVERSIGHT))
_BY_OVERSIGHT: Final = frozenset((Role.OVERSIGHT,))
_BY_APPROVER: Final = frozenset((Role.APPROVER,))

LIFT_RULES: Final = {
    Guard.PRIVATE_SUFFIX: LiftRule(_BY_EITHER),
    Guard.PROTECTED_NAME: LiftRule(_BY_APPROVER, needs_court=True),
    Guard.PROTECTED_NETWORK: LiftRule(_BY_APPROVER, needs_court=True),
    Guard.SHARED_RANGE: LiftRule(_BY_EITHER, needs_assessment=True),
    Guard.GROWTH: LiftRule(_BY_EITHER),
    Guard.STOPPED_BEFORE: LiftRule(_BY_OVERSIGHT),
    Guard.HIDDEN_BEFORE: LiftRule(_BY_OVERSIGHT),
    Guard.COMPROMISED_KEY: LiftRule(_BY_OVERSIGHT),
    Guard.PERSON: LiftRule(_BY_EITHER),
}


def judge_hold(state: State, payload: OrderHeld, signer: KeyRecord) -> None:
    """Check a hold: by the control plane for guards, by an approver or oversight for itself.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order = named_order(state, payload.order)
    check_policy(state, payload.policy_sha256)
    _check_guards(payload.guards)
    check_meets(OrderHeld, "held", order)
    if signer.registration.role is Role.CONTROL:
        own = {Guard.PERSON, Guard.COMPROMISED_KEY} & set(payload.guards)
        refusing = [guard for guard in payload.guards if OUTCOMES[guard] is Outcome.REFUSE]
        # What a guard refuses is held too, where it was in force before the guard knew better.
        if own or (refusing and order.approved_index is None):
            raise field_error(
                "guards",
                "the control plane holds no order for " + ", ".join(g.name for g in payload.guards),
                "Refuse the proposal, or leave the hold to persons.",
            )
        if payload.report_sha256 is None:
            raise field_error("report_sha256", "a guard's report is missing", "Name its side file.")
    else:
        check_role(order.payload, signer, HOLDING_ROLES, "hold this order")
        if payload.guards != (Guard.PERSON,):
            raise field_error("guards", "a person speaks for no guard", "Give PERSON alone.")
    is_new = signer.registration.role is Role.OVERSIGHT and not order.is_held_by_oversight
    if set(payload.guards) <= order.holds and not is_new:
        raise ConflictError(
            "the order is on hold for that already",
            advice="Nothing needs to be done: it does not block.",
            field="guards",
        )


def judge_assessment(state: State, payload: AssessmentRecorded, signer: KeyRecord) -> None:
    """Check that a person of the order's authority attests the assessment.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order = named_order(state, payload.order)
    check_policy(state, payload.policy_sha256)
    check_meets(AssessmentRecorded, "assessed", order)
    if signer.registration.role not in ORDERING_ROLES:
        raise RefusedError(
            f"a {signer.registration.role.name} cannot attest an assessment",
            advice="Have a proposer or approver of the order's authority sign.",
            field="signatures",
        )
    check_may_order(order.payload, signer, signer.registration.role)


def judge_lift(state: State, payload: HoldLifted, signer: KeyRecord, recorded_at_ms: int) -> None:
    """Check that each named guard may be lifted by this person, for this order, by this.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order = named_order(state, payload.order)
    policy = check_policy(state, payload.policy_sha256)
    _check_guards(payload.guards)
    check_meets(HoldLifted, "released", order)
    person = signer.registration.person_id
    for guard in payload.guards:
        if guard not in order.holds:
            raise ConflictError(
                f"{guard.name} does not hold the order",
                advice="Lift: " + ", ".join(each.name for each in sorted(order.holds)),
                field="guards",
            )
        _check_lift(order, guard, payload, signer)
        signed = {each.person_id for each in order.all_signers}
        if guard is not Guard.PERSON and person in signed:
            raise RefusedError(
                f"{person} signed this order and cannot lift {guard.name} as well",
                advice="Have a third person lift the hold.",
                field="signatures",
            )
    if (
        order.is_held_by_oversight
        and Guard.PERSON in payload.guards
        and signer.registration.role is not Role.OVERSIGHT
    ):
        raise RefusedError(
            "oversight holds this order",
            advice="Have oversight lift the hold.",
            field="signatures",
        )
    _check_overrides(payload)
    if order.approved_index is not None and order.holds <= set(payload.guards):
        check_sum(state, order.payload, recorded_at_ms)
    if Guard.COMPROMISED_KEY in payload.guards:
        _check_persons_left(state, order, policy, signer)


def _check_lift(order: OrderRecord, guard: Guard, payload: HoldLifted, signer: KeyRecord) -> None:
    rule = LIFT_RULES.get(guard)
    if rule is None:
        raise RefusedError(
            f"nobody lifts {guard.name}",
            advice="Reject or stop the order; propose one without these targets.",
            field="guards",
        )
    check_role(order.payload, signer, rule.roles, f"lift {guard.name}")
    if signer.registration.role is Role.APPROVER:
        check_may_order(order.payload, signer, Role.APPROVER)
    if rule.needs_court and order.decision_kind not in COURT_KINDS:
        raise RefusedError(
            f"{guard.name} gives way to a court's decision alone, and this is "
            f"{order.decision_kind.name}",
            advice="Propose it without these targets (order split), or by a court's decision.",
            field="guards",
        )
    if rule.needs_court and not payload.overrides:
        raise field_error(
            "overrides",
            "no entry of the protected list is named",
            "Name each that the court's decision overrides, as 'subtree example.org'.",
        )
    if rule.needs_assessment and (
        payload.assessment_index is None or payload.assessment_index not in order.assessments
    ):
        raise field_error(
            "assessment_index",
            "it names no assessment of this order",
            "Have the collateral assessment recorded first, and name its entry.",
        )


def _check_guards(guards: tuple[Guard, ...]) -> None:
    if list(guards) != sorted(set(guards)):
        raise field_error("guards", "they are not ascending, each once", "Sort them.")


def _check_overrides(payload: HoldLifted) -> None:
    protected = {Guard.PROTECTED_NAME, Guard.PROTECTED_NETWORK} & set(payload.guards)
    if payload.overrides and not protected:
        raise field_error("overrides", "no protection is being lifted", "Leave it empty.")
    for at, line in enumerate(payload.overrides):
        try:
            parse_line(line.encode())
        except InputError as error:
            raise field_error(f"overrides[{at}]", error.message, "Copy the entry.") from error


def _check_persons_left(
    state: State, order: OrderRecord, policy: PolicyRecord, signer: KeyRecord
) -> None:
    """Check that enough persons stand behind the block, those with revoked keys not counted."""
    if order.approved_index is None:
        return  # the approval looks at the keys
    standing = {
        each.person_id for each in order.signers if state.keys[each.key_id].revoked_index is None
    }
    standing.add(signer.registration.person_id or "")
    if len(standing - {""}) < policy.payload.persons_min:
        raise RefusedError(
            "too few persons with valid keys stand behind this order",
            advice="Stop it, and have a new order proposed and approved.",
            field="order",
        )
