"""A slice of what is past a field's limits, over the wire: the same error, and nothing recorded."""

import random
from contextlib import AsyncExitStack

import pytest

from enforcer.api.access import ACT_ROLES
from enforcer.core import fields
from enforcer.core.entry import KINDS
from enforcer.core.envelope import sign
from enforcer.core.key import KeyRegistered, KeyRevoked, LogKeyRotated, Role, RootsChanged
from enforcer.core.order import (
    OrderApproved,
    OrderExtended,
    OrderProposed,
    OrderRejected,
    OrderStopped,
)
from enforcer.core.policy import PolicyAdopted
from enforcer.errors import InputError
from tests.limits import cases

SEED = 4
CASES_PER_KIND = 6
METHODS = {
    OrderProposed: "propose",
    OrderApproved: "approve",
    OrderExtended: "extend",
    OrderRejected: "reject",
    OrderStopped: "stop",
    **dict.fromkeys(
        (PolicyAdopted, RootsChanged, KeyRegistered, KeyRevoked, LogKeyRotated), "record_root_act"
    ),
}
"""The method that takes each kind; all others come in by `record_act`."""
BROUGHT_BY = {
    OrderProposed: Role.PROPOSER,
    OrderApproved: Role.APPROVER,
    OrderExtended: Role.APPROVER,
}
"""Whose certificate a kind needs where `ACT_ROLES` does not say, and oversight's is not enough."""


async def test_a_field_past_its_limit_is_named_over_the_wire_and_nothing_is_recorded(served):
    chance = random.Random(SEED)
    land, ledger = served.land, served.control.ledger
    note = ledger.files.checkpoint_note
    people = (land.proposer, land.approver, land.oversight, land.officer)
    keys = {person.role: person.key for person in people}
    async with AsyncExitStack() as stack:
        clients = {
            person.role: await stack.enter_async_context(served.client(person)) for person in people
        }
        for kind in KINDS.values():
            role = BROUGHT_BY.get(kind) or min(ACT_ROLES.get(kind.TYPE, {Role.OVERSIGHT}))
            key = keys[role]
            method = getattr(clients[role], METHODS.get(kind, "record_act"))
            files = ([],) if kind is OrderProposed else ()
            wrong = [case for case in cases(kind) if case.field is not None]
            for case in chance.sample(wrong, CASES_PER_KIND):
                envelope = sign(kind.TYPE, fields.dump(case.plain), [(key.key_id, key.sign)])
                with pytest.raises(InputError) as caught:
                    await method(envelope, *files)
                assert caught.value.data["field"] == case.field, case.what
                assert caught.value.advice
    assert ledger.files.checkpoint_note == note
    assert not list((served.config.ledger_dir / "side").iterdir())
