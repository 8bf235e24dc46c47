"""The systemd units: understood by systemd, and a gate lives with what its unit leaves it."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from dnslib import DNSRecord

from enforcer.app.units import GATE_CALLS, units, write_units
from enforcer.errors import InputError
from tests.backends.conftest import folder, resolver, start_gate  # noqa: F401 - fixtures
from tests.backends.gate_client import query
from tests.backends.gate_tables import compiled, laid_over, order
from tests.backends.gate_world import reaching_python
from tests.test_config import NODE
from tests.waiting import eventually

NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")

# Lets the calls in argv[1] pass and kills for any other: seccomp(2), linux/filter.h.
CONFINED = """
import ctypes, os, struct, sys
numbers = sorted(map(int, sys.argv[1].split(",")))
LOAD, EQUAL, RETURN, ARCH, ALLOW, KILL = 0x20, 0x15, 0x06, 0xC000003E, 0x7FFF0000, 0x80000000
program = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, ARCH), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
for number in numbers:
    program += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
program.append((RETURN, 0, 0, KILL))
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in program))
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
made = Filter(len(program), ctypes.addressof(code))
command = sys.argv[2:]
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.byref(made), 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
os.execv(command[0], command)
"""


@pytest.fixture
def made():
    return units(Path("/etc/enforcer"), Path("/opt/enforcer/bin/enforcer"))


def test_there_is_a_unit_for_each_program(made):
    for name in ("gate", "node", "control"):
        text = made[f"enforcer-{name}.service"]
        assert (
            f"/opt/enforcer/bin/enforcer {name} --config /etc/enforcer/{name}/{name}.toml" in text
        )
        assert "Type=notify" in text
        assert f"User=enforcer-{name}" in text
        assert "NoNewPrivileges=yes" in text


def test_a_node_that_keeps_a_firewall_may_and_no_other(tmp_path):
    place = tmp_path / "installation"
    (place / "node").mkdir(parents=True)
    for part, wanted in (("", ""), ('[firewall]\nbackend = "nftables"\n', "CAP_NET_ADMIN")):
        (place / "node" / "node.toml").write_text(NODE + part)
        write_units(tmp_path / "units", place, Path("/opt/enforcer"))
        text = (tmp_path / "units" / "enforcer-node.service").read_text()
        assert f"CapabilityBoundingSet={wanted}\n" in text
        assert ("AmbientCapabilities=CAP_NET_ADMIN\n" in text) == bool(wanted)
        assert ("AF_NETLINK" in text) == bool(wanted)


def test_only_the_gate_has_a_capability_and_it_is_for_port_53(made):
    for name, text in made.items():
        is_gate = name == "enforcer-gate.service"
        assert ("AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in text) == is_gate
        bounding = re.findall("^CapabilityBoundingSet=(.*)$", text, re.MULTILINE)
        assert bounding == ["CAP_NET_BIND_SERVICE" if is_gate else ""]


@pytest.mark.parametrize("path", ["enforcer", "/etc/my enforcer", "/etc/%h", "/etc/a\nUser=root"])
def test_a_path_that_a_unit_would_read_otherwise_is_refused(path):
    with pytest.raises(InputError, match="cannot stand in a unit"):
        units(Path(path), Path("/opt/enforcer"))
    with pytest.raises(InputError):
        units(Path("/etc/enforcer"), Path(path))


@pytest.mark.peers
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_every_line(tmp_path):
    paths = write_units(tmp_path / "units", tmp_path, Path(shutil.which("true")))
    done = subprocess.run(
        ["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_system_call_has_a_name_that_the_kernel_knows():
    if not NUMBERS.exists():
        pytest.skip("no kernel headers for this machine")
    assert set(GATE_CALLS.split()) <= set(call_numbers())


@pytest.mark.skipif(not NUMBERS.exists(), reason="no kernel headers for this machine")
@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="a sanitiser calls more of the kernel"
)
def test_a_gate_lives_with_the_system_calls_of_its_unit(start_gate, tmp_path):  # noqa: F811
    """Start, UDP and TCP, tables, bypass, a dead worker, an upgrade, the end."""
    gate = start_gate(prefix=confined(GATE_CALLS.split()), workers=2, floor_interval_ms=50)
    base = compiled(tmp_path / "b", order())
    gate.load(base)
    gate.overlay(laid_over(tmp_path / "o", base, order()[0]))
    for number in range(8):
        with closing(gate.asking()) as asking:
            assert DNSRecord.parse(asking.ask(query())).header.rcode == 3
            assert DNSRecord.parse(asking.ask(query(f"{number}.example"))).rr != []
    with closing(gate.streaming()) as stream:
        assert DNSRecord.parse(stream.ask(query())).header.rcode == 3
    gate.set_mode("bypass", seconds=1)
    eventually(lambda: gate.status().override is None)
    victim = gate.workers()[0]
    os.kill(victim, 9)
    eventually(lambda: victim not in gate.workers() and len(gate.workers()) == 2)
    gate.upgrade()
    assert gate.status().counters["workers_serving"] == 2
    assert gate.end() == 0


def test_a_call_that_is_not_in_the_list_would_have_ended_it():
    if not NUMBERS.exists():
        pytest.skip("no kernel headers for this machine")
    command = [*confined(GATE_CALLS.split()), shutil.which("python3")]
    done = subprocess.run([*command, "-c", "import os; os.sync()"], check=False)
    assert done.returncode == -31  # SIGSYS


def call_numbers():
    found = re.findall(r"^#define __NR_(\w+) (\d+)$", NUMBERS.read_text(), re.MULTILINE)
    return {name: int(number) for name, number in found}


def confined(calls):
    """Return what to put before a command that may make these system calls only."""
    numbers = call_numbers()
    listed = ",".join(str(numbers[each]) for each in calls)
    # Root becomes somebody else in the gate; in its unit it is that from the start.
    becoming = ["setuid", "setresuid", "setresgid", "setgroups", "chown", "lchown", "fchownat"]
    if os.getuid() == 0:
        listed += "".join(f",{numbers[each]}" for each in becoming)
    return [*reaching_python(), sys.executable, "-c", CONFINED, listed]
