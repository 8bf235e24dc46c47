"""Whatever a gate is started with, it goes on with nothing."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")

# A process as a service manager starts it: of a plain user, with capabilities that it keeps.
GIVEN = """
import ctypes, os, struct, sys
from enforcer.backends.gate_rights import Identity, drop_rights
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_KEEPCAPS, PR_CAP_AMBIENT, RAISE, VERSION_3 = 8, 47, 2, 0x20080522
NET_BIND_SERVICE, NET_ADMIN = 10, 12
def caps():
    lines = open("/proc/self/status").read().splitlines()
    print(*(line.split()[1] for line in lines if line.split(":")[0] in {sets}))
uid, is_root = int(sys.argv[1]), sys.argv[2] == "root"
if not is_root:
    assert libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
given = 1 << NET_BIND_SERVICE | 1 << NET_ADMIN | (is_root and 1 << 6 | 1 << 7)  # SETGID, SETUID
header, data = struct.pack("=Ii", VERSION_3, 0), struct.pack("=6I", given, given, given, 0, 0, 0)
assert libc.syscall({capset}, header, data) == 0, ctypes.get_errno()
for capability in (NET_BIND_SERVICE, NET_ADMIN):
    assert libc.prctl(PR_CAP_AMBIENT, RAISE, capability, 0, 0) == 0
caps()
drop_rights(Identity(uid, uid) if is_root else None, owning=())
caps()
"""
CAPSET = {"x86_64": 126, "aarch64": 91}


@pytest.mark.skipif(
    os.getuid() != 0 or os.uname().machine not in CAPSET,
    reason="only root has capabilities to give to the process that must lose them",
)
@pytest.mark.parametrize("start", ["user", "root"])
def test_no_capability_of_any_kind_is_left(start):
    code = GIVEN.format(sets=SETS, capset=CAPSET[os.uname().machine])
    uid = str(pwd.getpwnam("nobody").pw_uid)
    shown = subprocess.run(
        [sys.executable, "-c", code, uid, start],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    before, after = shown.stdout.splitlines()
    assert all(int(mask, 16) for mask in before.split())
    assert [int(mask, 16) for mask in after.split()] == [0] * len(SETS)
