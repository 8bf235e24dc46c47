"""A desk with guards: what its policy pins, and the acts that tests of guards are about."""

import asyncio
from contextlib import asynccontextmanager

from enforcer.core.hold import HoldLifted
from enforcer.core.policy import Pins
from enforcer.core.state import in_force
from tests.control import REASONS, Desk, with_reasons
from tests.people import seal

CORE = b"exact root.example.net\nsubtree time.example.net\n"
NAMES = b"exact shop.example.com\nsubtree bank.example.com\n"
BAD = b"exact bad.example.org\n"
BANK = b"exact login.bank.example.com\n"
CORE_NAME = b"exact clock.time.example.net\nsubtree bad.example.org\n"


def pins_of(desk, core=CORE, names=NAMES):
    return Pins(desk.lists.put(core), desk.lists.put(names), None, None)


async def adopt(desk, **changes):
    await desk.ledger.record(seal(desk.land.policy(**changes), *desk.land.roots[:2]))


@asynccontextmanager
async def guarded(tmp_path):
    """Yield a desk whose policy pins protections, and whose own key is registered."""
    async with Desk(tmp_path / "ledger") as desk:
        await desk.found()
        land = desk.land
        await desk.ledger.record(seal(land.control.registration(land.now_ms), *land.roots[:2]))
        await adopt(desk, pins=pins_of(desk))
        yield desk


async def offer(desk, targets, validate_only=False, **changes):
    await desk.bring(targets)
    envelope = seal(with_reasons(desk.land, targets, **changes), desk.land.proposer.key)
    return await desk.orders.propose(envelope, [REASONS], validate_only=validate_only)


async def act(desk, kind, ref, by, files=(), **fields):
    envelope = seal(desk.land.act(kind, ref, **fields), by.key)
    return await desk.orders.record_act(envelope, files, validate_only=False)


async def lift(desk, ref, *guards, by=None, overrides=(), assessment=None):
    return await act(
        desk,
        HoldLifted,
        ref,
        by or desk.land.second_approver,
        guards=guards,
        overrides=overrides,
        assessment_index=assessment,
        reason_sha256=None,
    )


def record(desk, ref):
    return desk.ledger.state.orders[ref.entry_index]


def blocked(desk):
    return [row.index for row in in_force(desk.ledger.state, desk.land.now_ms)]


# Addresses, by all that is pinned about them.


async def one_of_two(acts):
    """Do both at once; return the answer of one, and the error of the other."""
    answers = await asyncio.gather(*acts, return_exceptions=True)
    return sorted(answers, key=lambda each: isinstance(each, Exception))


class StoppingWork:
    """Guards' work during which somebody stops another order, the first time."""

    def __init__(self, work, stop):
        self._work = work
        self._stop = stop

    async def scan_guards(self, job):
        stop, self._stop = self._stop, None
        scan = await self._work.scan_guards(job)
        if stop is not None:
            await stop()
        return scan


def many(count, label=b"n"):
    return b"".join(b"exact %s%03d.example.org\n" % (label, number) for number in range(count))
