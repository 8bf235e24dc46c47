"""A small country to try things in: an installation with everybody's keys in one place.

Never for real: who has the directory is everybody at once. The roots' acts are made and signed
here, and still have to be submitted, so that the ledger begins as every ledger does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from enforcer.app.acts import Common, signed, write_act
from enforcer.app.installation import (
    CONTROL_ID,
    PINNED_RULES,
    RULES,
    Installation,
    equip_person,
    install,
)
from enforcer.app.installation_files import Plan
from enforcer.app.keys import KeyRequest, make_request, registration
from enforcer.backends import durable
from enforcer.backends.keys import PrivateKey
from enforcer.core.judge_parts import PERSONS_TO_BLOCK
from enforcer.core.key import Category, KeyRegistered, Role
from enforcer.core.policy import (
    ADMINISTRATIVE_DAYS_MAX,
    DAY_MS,
    DELAYED_DAYS_MAX,
    FOLD_VERSION,
    Pins,
    PolicyAdopted,
)
from enforcer.core.target import TARGETS_MAX
from enforcer.errors import NotFoundError

AUTHORITY: Final = "cert-demo"
TERRITORY: Final = "VN"
PROPOSER: Final = "an.nguyen"
APPROVER: Final = "binh.tran"
SECOND_APPROVER: Final = "chi.le"
OVERSIGHT: Final = "court.clerk"
AUDITOR: Final = "auditor"
OFFICER: Final = "giang.do"
ROOTS: Final = 3
REGISTERED_DAYS: Final = 30
RULES_BYTES_MAX: Final = 1 << 20

_PEOPLE: Final = {
    PROPOSER: Role.PROPOSER,
    APPROVER: Role.APPROVER,
    SECOND_APPROVER: Role.APPROVER,
    OVERSIGHT: Role.OVERSIGHT,
    AUDITOR: Role.AUDITOR,
    OFFICER: Role.SAFETY_OFFICER,
}
_ORDERING: Final = (Role.PROPOSER, Role.APPROVER)


def install_demo(directory: Path, plan: Plan) -> Installation:
    """Write an installation with three roots, six persons, and the roots' signed acts.

    Raises:
        ConflictError: something is in `directory`.
        NotFoundError: the rules that come with the project are not beside it.
        UnavailableError: it cannot be written.
    """
    lists = {name: _rules(name) for name in PINNED_RULES}
    roots = [PrivateKey.generate() for _ in range(ROOTS)]
    plan = replace(
        plan,
        root_keys=tuple(key.public_key.hex() for key in roots),
        is_redis_ours=False,
        gate_user=plan.gate_user or ("nobody" if os.getuid() == 0 else None),
    )
    made = install(directory, plan)
    durable.make_directory(directory / "roots")
    for number, key in enumerate(roots, 1):
        key.save(directory / "roots" / f"root-{number}.key")
    requests = [_person(made, plan, identity, role) for identity, role in _PEOPLE.items()]
    requests.append(
        make_request(made.control / "signing.key", plan.origin, Role.CONTROL, CONTROL_ID)
    )
    requests.append(
        make_request(
            made.node / "signing.key", plan.origin, Role.NODE, plan.node_id, operator=plan.operator
        )
    )

    acts = directory / "acts"
    durable.make_directory(acts)
    for name, text in lists.items():
        durable.write_file(acts / name, text)
    now_ms = time.time_ns() // 1_000_000
    payloads = [
        _policy(plan.origin, now_ms, list(lists.values())),
        *_registrations(requests, now_ms),
    ]
    for number, payload in enumerate(payloads):
        act = signed(payload, *roots[: plan.root_threshold])
        write_act(acts / f"{number:02}-{type(payload).__name__}.json", act)
    return made


def acts_of(made: Installation) -> list[Path]:
    """Return the files of the roots' acts, in the order in which they are recorded."""
    return sorted((made.directory / "acts").glob("*.json"))


def lists_of(made: Installation) -> list[Path]:
    """Return the lists that the policy pins."""
    return sorted((made.directory / "acts").glob("*.txt"))


def _person(made: Installation, plan: Plan, identity: str, role: Role) -> KeyRequest:
    is_ordering = role in _ORDERING
    return equip_person(
        made,
        plan,
        role,
        identity,
        of=AUTHORITY if is_ordering else None,
        operator=plan.operator if role is Role.SAFETY_OFFICER else None,
        categories=tuple(each for each in Category if each) if is_ordering else (),
        territories=(TERRITORY,) if is_ordering else (),
    )


def _policy(origin: str, now_ms: int, pinned: list[bytes]) -> PolicyAdopted:
    common = Common.new(origin, now_ms)
    return PolicyAdopted(
        ledger_origin=common.ledger_origin,
        request_id=common.request_id,
        valid_until_ms=common.valid_until_ms,
        fold_version=FOLD_VERSION,
        follows_sha256=None,
        register_url="https://register.example.org/",
        register_domain="register.example.org",
        targets_max=TARGETS_MAX,
        growth_targets_max=TARGETS_MAX,
        administrative_days_max=ADMINISTRATIVE_DAYS_MAX,
        delayed_days_max=DELAYED_DAYS_MAX,
        persons_min=PERSONS_TO_BLOCK,
        lifetime_caps=(),
        pins=Pins(*(sha256(text).hexdigest() for text in pinned)),
    )


def _registrations(requests: list[KeyRequest], now_ms: int) -> Iterator[KeyRegistered]:
    for request in requests:
        yield registration(request, now_ms, now_ms + REGISTERED_DAYS * DAY_MS)


def _rules(name: str) -> bytes:
    try:
        return durable.read_file(RULES / name, size_bytes_max=RULES_BYTES_MAX)
    except NotFoundError as error:
        raise NotFoundError(
            f"the project's rules are not here: {RULES / name}",
            advice="Run from a checkout of the project.",
            path=str(RULES / name),
        ) from error
