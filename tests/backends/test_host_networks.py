"""What a host must reach or be reached at, read from a network namespace made for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from enforcer.backends.host_networks import HostNetworks

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"),
    reason="needs root, unshare and ip",
)

LOOKING = """
import asyncio, json, sys
from enforcer.backends.host_networks import HostNetworks

async def told():
    return ["203.0.113.53", "127.0.0.1"]

made = HostNetworks(
    protect=["198.51.100.0/28", "198.51.100.4"],
    hosts=["198.51.100.200", "2001:db8:9::1", "127.0.0.1", "nowhere.invalid"],
    told=told,
)
print(json.dumps(list(map(str, asyncio.run(made.networks())))))
"""
NAMESPACE = """
set -e
ip link set lo up
ip link add inside type veth peer name outside
ip addr add 192.0.2.2/24 dev inside
ip -6 addr add 2001:db8:2::2/64 dev inside nodad
ip link set inside up
ip link set outside up
ip route add default via 192.0.2.1
ip route add 198.51.100.200/32 via 192.0.2.9
ip -6 route add default via 2001:db8:2::1
exec "$@"
"""


@needs_root
def test_a_host_protects_what_it_is_what_it_needs_and_the_way_there():
    words = ["unshare", "-n", "sh", "-c", NAMESPACE, "sh", sys.executable, "-c", LOOKING]
    hasty = {**os.environ, "RES_OPTIONS": "timeout:1 attempts:1"}  # no name server is reached
    said = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True, env=hasty)
    found = set(json.loads(said.stdout.splitlines()[-1]))
    assert found >= {
        "198.51.100.0/28",
        "198.51.100.200/32",
        "203.0.113.53/32",
        "192.0.2.2/32",
        "192.0.2.1/32",
        "192.0.2.9/32",
        "2001:db8:2::2/128",
        "2001:db8:2::1/128",
        "2001:db8:9::1/128",
    }
    assert not [each for each in found if each.startswith(("127.", "fe80", "::1", "198.51.100.4/"))]
    assert "cannot protect a host" in said.stdout + said.stderr


async def test_what_others_tell_is_protected_by_name_or_address():
    told = [{"203.0.113.53"}, {"203.0.113.54", "localhost"}]

    async def telling():
        return told.pop(0)

    host = HostNetworks(protect=[], hosts=[], told=telling)
    assert "203.0.113.53/32" in map(str, await host.networks())
    second = set(map(str, await host.networks()))
    assert "203.0.113.54/32" in second
    assert "203.0.113.53/32" not in second
