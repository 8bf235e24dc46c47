"""What cannot be done inside the test process: writers killed -9, full and read-only disks.

Run by test_tiles_durable.py as `ledger_scenarios.py SCENARIO DIRECTORY [ARGUMENT...]`; a scenario
that fails exits with a traceback. Writers are forked, so that a round costs milliseconds.
"""

import asyncio
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from enforcer.backends import durable
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.tiles import TileLedger
from enforcer.core.checkpoint import sign_checkpoint
from enforcer.core.merkle import CompactRange
from enforcer.core.note import VerifierKey
from enforcer.core.state import Roots
from enforcer.core.trust import Trust
from enforcer.errors import UnavailableError
from enforcer.services.ledger import Ledger
from tests.control import LandClock, founding_acts
from tests.people import Land
from tests.people import seal as seal_act

ORIGIN = "example.org/ledger"
KEY = PrivateKey.generate()
VKEY = VerifierKey(ORIGIN, KEY.public_key)
CHANGES = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"})


def opened(path, *, writer, is_copy=False):
    return TileLedger.open(
        path, origin=ORIGIN, vkey=VKEY, verify=verify, writer=writer, is_copy=is_copy
    )


def seal(checkpoint):
    return sign_checkpoint(checkpoint, VKEY, KEY.sign)


def forked(write):
    """Run `write(answer)` in a child; return its pid and where its answers can be read."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            write(lambda ledger: os.write(writing, f"{ledger.size} {ledger.root.hex()}\n".encode()))
        finally:
            os._exit(0)
    os.close(writing)
    return pid, reading


def ended(pid, reading):
    """Wait for the child; return whether it was killed, and the complete answers it gave."""
    with os.fdopen(reading) as answers:
        lines = [line.split() for line in answers.read().splitlines()]
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status), [(int(size), root) for size, root in lines]


def check_nothing_lost(path, answered, *, is_copy=False):
    """Every answered tree must be a beginning of what is there, down to each byte."""
    if is_copy and (path / "checkpoint").exists():  # as it lies there, before anybody tidies up
        with opened(path, writer=False) as ledger:
            ledger.verify_all()
            assert ledger.size >= max((size for size, _ in answered), default=0)
    with opened(path, writer=True, is_copy=is_copy) as ledger:
        roots, tree = {0: CompactRange().root().hex()}, CompactRange()
        for leaf in ledger.leaf_hashes(0, ledger.size):
            tree.append(leaf)
            roots[tree.size] = tree.root().hex()
        for size, root in answered:
            assert roots.get(size) == root, f"lost what was answered at size {size}"
        ledger.verify_all()
        assert not list(path.rglob("*checkpoint.tmp")), "an unpublished checkpoint stayed behind"
        return ledger.size


def kill_at_random(path, seed, rounds, is_copy=0):
    """Kill a busy writer at a random moment, as often as asked; all rounds in one ledger."""
    dice = random.Random(seed)
    answered, kills, unanswered = [], 0, 0
    for turn in range(rounds):

        def write(answer, turn=turn):
            own = random.Random(f"{seed} {turn}")
            with opened(path, writer=True, is_copy=bool(is_copy)) as ledger:
                while True:
                    count = own.choice([1, 1, 2, 7, 90])
                    ledger.append([own.randbytes(own.randrange(400)) for _ in range(count)], seal)
                    answer(ledger)

        pid, reading = forked(write)
        time.sleep(dice.uniform(0.0, 0.06))
        os.kill(pid, signal.SIGKILL)
        killed, answers = ended(pid, reading)
        answered = [*answered, *answers]
        kills += killed
        size = check_nothing_lost(path, answered, is_copy=bool(is_copy))
        unanswered += size > max((size for size, _ in answered), default=0)
    assert kills == rounds, f"only {kills} of {rounds} writers were killed"
    print(f"{rounds} kills, {len(answered)} answers, {unanswered} killed between disk and answer")


def killer(folder, step):
    """Return an audit hook that kills this process at the `step`-th thing it does to a folder."""
    left = [step]

    def count(event, arguments):
        if event in CHANGES and str(folder) in str(arguments[0]):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return count


def kill_at_each_step(path, is_copy=0):
    """Kill a writer at the first, second, ... thing it does to the directory, until it ends."""
    groups = (3, 1, 2, 251, 300) if is_copy else (3, 252, 2, 300)
    step, killed = 0, True
    while killed:
        step += 1
        folder = path / str(step)

        def write(answer, folder=folder, step=step):
            kill = killer(folder, step)
            sys.addaudithook(kill)
            if is_copy:  # what the tail does to its file raises no event of its own
                durable.fill, os.fdatasync = (
                    counted(kill, folder, each, half)
                    for each, half in ((durable.fill, fill_half), (os.fdatasync, None))
                )
            with opened(folder, writer=True, is_copy=bool(is_copy)) as ledger:
                for leaves in groups:
                    ledger.append([f"{ledger.size} {n}".encode() for n in range(leaves)], seal)
                    answer(ledger)

        killed, answered = ended(*forked(write))
        size = check_nothing_lost(folder, answered, is_copy=bool(is_copy))
        with opened(folder, writer=True) as ledger:
            ledger.append([b"goes on"], seal)
            assert ledger.size == size + 1
    assert size == 557, f"the last writer was not killed and must have ended, at {size}"
    print(f"{step - 1} steps")


def counted(kill, folder, act, half):
    """Return an act that counts as two things done to a folder: `half` of it, and all."""

    def acting(*arguments):
        if half is not None:
            half(kill, folder, *arguments)
        kill("open", (folder,))
        act(*arguments)
        kill("open", (folder,))

    return acting


def fill_half(kill, folder, descriptor, data):
    """Leave half a record behind when it is time to die; else nothing."""
    at = os.lseek(descriptor, 0, os.SEEK_END)
    os.write(descriptor, data[: len(data) // 2])
    kill("open", (folder,))
    os.ftruncate(descriptor, at)
    os.lseek(descriptor, at, os.SEEK_SET)


def kill_in_a_group(path):
    """Kill a control plane at each step of an append of acts that several people wait for."""
    land = Land()
    founded = path / "founded"
    acts = founding_acts(land)
    with opened(founded, writer=True) as files:
        asyncio.run(record(land, files, [[act] for act in acts], print))
    orders = [seal_act(land.order(), land.proposer.key) for _ in range(9)]
    groups = [orders[:4], orders[4:]]
    step, killed = 0, True
    while killed:
        step += 1
        folder = path / str(step)
        shutil.copytree(founded, folder)

        def write(answer, folder=folder, step=step):
            with opened(folder, writer=True) as files:
                sys.addaudithook(killer(folder, step))
                asyncio.run(record(land, files, groups, lambda: answer(files)))

        killed, answered = ended(*forked(write))
        size = check_nothing_lost(folder, answered) - len(acts)
        assert size in (0, 4, 9), f"a group was recorded in part: {size}"
        with opened(folder, writer=True) as files:  # whoever was not answered sends again
            asyncio.run(record(land, files, groups, print))
            assert files.size == len(acts) + 9
        shutil.rmtree(folder)
    print(f"{step - 1} steps")


async def record(land, files, groups, answer):
    """Record each group's acts at once; answer for each of them."""
    trust = Trust(ORIGIN, VKEY.text, Roots(tuple(key.public_key for key in land.roots), 2))
    async with await Ledger.open(files, trust, verify, seal, LandClock(land)) as ledger:
        for acts in groups:
            for done in asyncio.as_completed(list(map(ledger.record, acts))):
                await done
                answer()


def mount(directory, options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(directory)], check=True)


def full_disk(path):
    """Append until the filesystem is full, open it while full, free space, go on."""
    mount(path, "size=600k")
    ballast = path / "ballast"
    ballast.write_bytes(bytes(100_000))
    folder = path / "ledger"
    with opened(folder, writer=True) as ledger:
        refused = None
        while refused is None:
            size, note = ledger.size, ledger.checkpoint_note
            try:
                ledger.append([os.urandom(3000) for _ in range(3)], seal)
            except UnavailableError as error:
                refused = error
        assert refused.data["errno"] == "ENOSPC", refused.data
        assert str(folder) in refused.data["path"], refused.data
        assert "Free space" in refused.advice, refused.advice
        assert (ledger.size, ledger.checkpoint_note) == (size, note)
        assert size > 0
        ledger.verify_all()
        with suppress(OSError), (path / "more ballast").open("wb", buffering=0) as more:
            while more.write(bytes(512)):
                pass
    with opened(folder, writer=True) as ledger:
        assert ledger.size == size, "a full disk must not keep a ledger from being opened"
        ballast.unlink()
        (path / "more ballast").unlink()
        ledger.append([b"there is space again"], seal)
    assert check_nothing_lost(folder, []) == size + 1


def read_only_disk(path):
    """Read where nothing can be written, and be told so when writing."""
    mount(path, "size=1m")
    with opened(path / "ledger", writer=True) as ledger:
        ledger.append([b"entry"], seal)
    subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)
    reader = opened(path / "ledger", writer=False)
    assert list(reader.entries(0, 1)) == [b"entry"]
    with pytest.raises(UnavailableError) as caught:
        opened(path / "ledger", writer=True)
    assert caught.value.data["errno"] == "EROFS"
    assert "writable" in caught.value.advice


def file_limit(path):
    """Meet the limit on file sizes in the middle of an append, then go on without it."""
    with opened(path, writer=True) as ledger:
        ledger.append([bytes(100)], seal)
        note = ledger.checkpoint_note
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        with pytest.raises(UnavailableError) as caught:
            ledger.append([bytes(5000)], seal)
        assert caught.value.data["errno"] == "EFBIG"
        assert "ulimit -f" in caught.value.advice
        assert ledger.checkpoint_note == note
        assert not list(path.rglob("*.tmp"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        ledger.append([bytes(5000)], seal)
    assert check_nothing_lost(path, []) == 2


if __name__ == "__main__":
    scenario, directory, *rest = sys.argv[1:]
    globals()[scenario](Path(directory), *map(int, rest))
