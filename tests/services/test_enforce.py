"""How often the gate is asked what, while nothing changes."""

from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.memory import ManualClock, MemoryGate
from enforcer.services.enforce import VERIFY_SECONDS, Enforcer


def enforcer_of(gate, folder, seconds):
    return Enforcer(
        gate=gate,
        work=None,
        contents=None,
        lists=None,
        files=KeptFiles(folder),
        secret=bytes(16),
        seconds=seconds,
    )


async def test_the_table_is_verified_once_a_minute_however_often_the_gate_is_asked(tmp_path):
    gate, now_seconds = MemoryGate(ManualClock(0)), 1_000.0
    enforcer = enforcer_of(gate, tmp_path, lambda: now_seconds)
    verified = []
    for _ in range(4):
        for _ in range(3):
            await enforcer.ask()
        verified.append(gate.verifications)
        now_seconds += VERIFY_SECONDS / 2
    assert verified == [1, 1, 2, 2]


async def test_a_gate_that_did_not_answer_is_verified_when_it_does(tmp_path):
    gate = MemoryGate(ManualClock(0))
    enforcer = enforcer_of(gate, tmp_path, lambda: 1_000.0)
    gate.is_away = True
    await enforcer.ask()
    gate.is_away = False
    await enforcer.ask()
    assert gate.verifications == 1
