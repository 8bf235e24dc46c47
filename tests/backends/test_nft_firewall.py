"""The kernel's table among other tools, dying owners, and kernels that lack something."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from enforcer.backends import nft_connections, nft_firewall
from enforcer.backends.nft_dump import Found, read_all
from enforcer.backends.nft_firewall import NO_OWNERS, NftFirewall
from enforcer.backends.nft_socket import NftSocket, away
from enforcer.backends.nft_wire import Verb
from enforcer.core.firewall import FirewallRow, FirewallState, Pieces
from enforcer.core.table import IpMeasure
from enforcer.errors import ConflictError, UnavailableError
from enforcer.ports import FirewallChange, FirewallContent
from tests.backends.firewall_kernel import CLIENT, KernelWorld, Network, why_not
from tests.backends.firewall_world import nets

pytestmark = pytest.mark.root

ROOT = Path(__file__).resolve().parents[2]
FIVE, SIX = FirewallRow(5, IpMeasure.REJECT), FirewallRow(6, IpMeasure.DROP)
HOUR_SECONDS = 3_600
CONTENT = FirewallContent((FIVE, SIX), nets(("192.0.2.7/32", 5), ("198.51.100.0/24", 6)))
REJECT, DROP, PASS = IpMeasure.REJECT, IpMeasure.DROP, IpMeasure.NONE
DENIED = "Operation not permitted"

OWNER = """
import asyncio
from enforcer.backends.nft_firewall import NftFirewall
from tests.backends.test_nft_firewall import CONTENT
async def main():
    firewall = NftFirewall()
    await firewall.claim(3600)
    await firewall.replace(CONTENT, 3600)
    print("held", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""

WITHOUT_RIGHTS = """
import asyncio
from enforcer.backends.nft_firewall import NftFirewall
from enforcer.errors import UnavailableError
try:
    asyncio.run(NftFirewall().claim(3600))
except UnavailableError as error:
    print(error.diagnostics())
"""


@pytest.fixture(scope="module")
def network():
    refuse = why_not()
    if refuse:
        pytest.skip(refuse)
    made = Network()
    yield made
    made.close()


@pytest.fixture
async def world(network):
    async with KernelWorld(network) as made:
        await made.firewall.claim(HOUR_SECONDS)
        await made.firewall.replace(CONTENT, HOUR_SECONDS)
        yield made


@pytest.fixture
async def ownerless(network):
    """A kernel before Linux 6.9, as far as we can tell."""
    async with KernelWorld(network, with_owner=False) as made:
        await made.firewall.claim(HOUR_SECONDS)
        await made.firewall.replace(CONTENT, HOUR_SECONDS)
        yield made


def started_owner(pid):
    """Start a process that claims the firewall of a namespace and holds CONTENT in it."""
    return subprocess.Popen(
        ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", OWNER],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )


async def test_no_other_tool_can_change_a_table_that_has_an_owner(world):
    for command in (
        "add element inet enforcer protected4 { 192.0.2.7 }",
        "delete element inet enforcer reject4_hosts_0 { 192.0.2.7 }",
        "add rule inet enforcer to4 accept",
        "flush chain inet enforcer forward",
        "flush table inet enforcer",
        "delete table inet enforcer",
    ):
        assert DENIED in world.box.tries("nft", *command.split()), command
    before = await world.firewall.generation()
    world.box.run("nft", "add", "table", "inet", "other")
    world.box.run("nft", "flush", "ruleset")
    assert await world.firewall.generation() != before
    holding = await world.firewall.read()
    assert (holding.state, holding.content) == (FirewallState.HOLDS, CONTENT)
    assert await world.sent_to("192.0.2.7") is REJECT


async def test_other_tools_busy_with_their_own_tables_are_in_nobodys_way(world):
    world.box.run("nft", "add", "table", "inet", "other")
    added = FirewallChange(CONTENT.rows, Pieces(), nets(("192.0.2.99/32", 5)), ())
    await world.firewall.apply(added, HOUR_SECONDS)
    world.box.run("nft", "delete", "table", "inet", "other")
    assert await world.sent_to("192.0.2.99") is REJECT
    assert (await world.firewall.read()).state is FirewallState.HOLDS


async def test_a_killed_owner_leaves_what_it_held_and_the_next_one_goes_on(network):
    async with KernelWorld(network) as world:
        owner = started_owner(world.box.pid)
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(ConflictError):
            await world.firewall.claim(HOUR_SECONDS)
        owner.send_signal(signal.SIGKILL)
        owner.communicate(timeout=10)
        assert await world.sent_to("192.0.2.7") is REJECT
        assert await world.sent_to("192.0.2.8") is PASS
        holding = await world.firewall.claim(HOUR_SECONDS)
        assert (holding.state, holding.content) == (FirewallState.HOLDS, CONTENT)
        assert DENIED in world.box.tries("nft", "delete", "table", "inet", "enforcer")
        more = FirewallChange(CONTENT.rows, Pieces(), nets(("192.0.2.8/32", 5)), ())
        await world.firewall.apply(more, HOUR_SECONDS)
        assert await world.sent_to("192.0.2.8") is REJECT


async def test_what_others_did_while_nobody_owned_it_is_found_and_mended(world):
    await world.firewall.close()
    world.box.run("nft", "delete element inet enforcer reject4_hosts_0 { 192.0.2.7 }")
    assert await world.sent_to("192.0.2.7") is PASS
    holding = await world.firewall.claim(HOUR_SECONDS)
    assert holding.state is FirewallState.HOLDS
    assert holding.content.pieces == nets(("198.51.100.0/24", 6))
    mend = FirewallChange(CONTENT.rows, Pieces(), nets(("192.0.2.7/32", 5)), ())
    await world.firewall.apply(mend, HOUR_SECONDS)
    assert (await world.firewall.read()).content == CONTENT
    assert await world.sent_to("192.0.2.7") is REJECT


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("insert rule inet enforcer to4 accept", "the rules of the chain to4 differ"),
        ("flush chain inet enforcer from6_3", "the rules of the chain from6_3 differ"),
        ("add chain inet enforcer extra", "chains are missing, or there are others"),
        (
            "add set inet enforcer extra { type ipv4_addr; }",
            "sets are missing, or there are others",
        ),
        ("delete element inet enforcer to4_shards { 0.3.0.0 }", "the map to a shard differs"),
        ("flush set inet enforcer lease", "the lease has run out"),
        ("add counter inet enforcer extra", "there is a counter that no order has"),
        ("add table inet enforcer { flags dormant; }", "the table is switched off"),
        ("delete table inet enforcer", "the table is gone"),
        (
            'add element inet enforcer reject4_hosts_1 { 192.0.2.7 : "reject5" }',
            "there are elements that no order has",
        ),
        (
            'add element inet enforcer drop4_hosts_0 { 192.0.2.9 : "reject5" }',
            "there are elements that no order has",
        ),
    ],
)
async def test_what_others_broke_around_the_pieces_has_a_name_and_is_replaced(
    ownerless, command, reason
):
    ownerless.box.run("nft", command)
    holding = await ownerless.firewall.read()
    assert (holding.state, holding.reason) == (FirewallState.DIFFERS, reason)
    await ownerless.firewall.replace(CONTENT, HOUR_SECONDS)
    holding = await ownerless.firewall.read()
    assert (holding.state, holding.reason, holding.content) == (FirewallState.HOLDS, "", CONTENT)
    assert await ownerless.sent_to("192.0.2.7") is REJECT


async def test_a_changed_policy_or_hook_is_no_chain_of_ours(ownerless):
    ownerless.box.run("nft", "delete", "table", "inet", "enforcer")
    await ownerless.firewall.replace(CONTENT, HOUR_SECONDS)
    ownerless.box.run("nft", "chain inet enforcer forward { policy drop; }")
    assert (await ownerless.firewall.read()).reason == "the chain forward hangs elsewhere"


async def test_without_owners_nothing_is_built_on_what_others_did_meanwhile(ownerless):
    holding = await ownerless.firewall.read()
    assert holding.lacks == (NO_OWNERS,)
    ownerless.box.run("nft", "add", "table", "inet", "other")
    added = FirewallChange(CONTENT.rows, Pieces(), nets(("192.0.2.99/32", 5)), ())
    with pytest.raises(ConflictError):
        await ownerless.firewall.apply(added, HOUR_SECONDS)
    assert await ownerless.sent_to("192.0.2.99") is PASS
    assert (await ownerless.firewall.read()).content == CONTENT
    await ownerless.firewall.apply(added, HOUR_SECONDS)
    await ownerless.firewall.apply(replace(added, added=nets(("192.0.2.98/32", 5))), HOUR_SECONDS)
    assert await ownerless.sent_to("192.0.2.99") is REJECT


async def test_a_table_of_the_same_name_that_is_not_ours_is_replaced_and_owned(network):
    async with KernelWorld(network) as world:
        world.box.run("nft", "add table inet enforcer; add set inet enforcer x { type mark; }")
        holding = await world.firewall.claim(HOUR_SECONDS)
        assert holding.state is FirewallState.DIFFERS
        await world.firewall.replace(CONTENT, HOUR_SECONDS)
        assert (await world.firewall.read()).state is FirewallState.HOLDS
        assert DENIED in world.box.tries("nft", "delete", "table", "inet", "enforcer")


async def test_a_table_of_a_kernel_without_owners_is_taken_over_by_one_that_has_them(ownerless):
    await ownerless.firewall.close()
    newer = NftFirewall(opened=lambda: ownerless.box.call(NftSocket))
    holding = await newer.claim(HOUR_SECONDS)
    assert holding.state is FirewallState.DIFFERS
    assert holding.reason == "the table is not this process's own"
    assert holding.content == CONTENT
    await newer.replace(CONTENT, HOUR_SECONDS)
    assert (await newer.read()).state is FirewallState.HOLDS
    await newer.close()


async def test_a_change_does_not_wait_for_a_read_which_then_counts_for_nothing(world, monkeypatch):
    begun, may_end = threading.Event(), threading.Event()

    def slow(kernel: NftSocket) -> Found:
        found = read_all(kernel)
        begun.set()
        may_end.wait(10)
        return found

    monkeypatch.setattr(nft_firewall, "read_all", slow)
    reading = asyncio.create_task(world.firewall.read())
    assert await asyncio.to_thread(begun.wait, 10)
    removed = nets(("192.0.2.7/32", 5))
    change = FirewallChange((FIVE, SIX), removed, Pieces(), ())
    await world.firewall.apply(change, HOUR_SECONDS)
    assert await world.sent_to("192.0.2.7") is PASS
    may_end.set()
    with pytest.raises(ConflictError):
        await reading
    assert (await world.firewall.read()).content.pieces == nets(("198.51.100.0/24", 6))


async def test_an_open_connection_stops_and_is_forgotten(world):
    world.box.run(
        "nft",
        "add table ip tracking; add chain ip tracking f "
        "{ type filter hook forward priority 0; }; "
        "add rule ip tracking f ct state established,related accept",
    )
    with (
        world.network.server.call(lambda: socket.create_server(("192.0.2.99", 80))) as listener,
        world.network.client.call(socket.socket) as client,
        world.network.client.call(socket.socket) as neighbour,
    ):
        client.settimeout(5)
        client.connect(("192.0.2.99", 80))
        server, _ = listener.accept()
        with world.network.server.call(lambda: socket.create_server(("192.0.2.98", 80))) as other:
            neighbour.settimeout(5)
            neighbour.connect(("192.0.2.98", 80))
            other_server, _ = other.accept()
        client.send(b"before")
        assert server.recv(100) == b"before"
        added = nets(("192.0.2.99/32", 5))
        await world.firewall.apply(FirewallChange(CONTENT.rows, Pieces(), added, ()), HOUR_SECONDS)
        assert await world.firewall.cut(added) == 1
        assert await world.firewall.cut(added) == 0
        listed = world.box.run("conntrack", "-L", "-p", "tcp")
        assert "192.0.2.98" in listed
        assert "192.0.2.99" not in listed
        server.setblocking(False)
        client.send(b"after")
        neighbour.send(b"after")
        other_server.settimeout(5)
        assert other_server.recv(100) == b"after"
        with pytest.raises(BlockingIOError):
            server.recv(100)
        counts = await world.firewall.counts()
        assert counts[5].packets >= 1
        for each in (client, server):  # nothing is sent again, into another test
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        other_server.close()


async def test_a_change_does_not_wait_until_connections_are_cut(world, monkeypatch):
    began, may_end = threading.Event(), threading.Event()

    def slow(kernel, pieces):
        began.set()
        assert may_end.wait(20)
        return 7

    monkeypatch.setattr(nft_connections, "cut", slow)
    cutting = asyncio.create_task(world.firewall.cut(CONTENT.pieces))
    await asyncio.to_thread(began.wait)
    await world.firewall.replace(FirewallContent((FIVE,), nets(("192.0.2.7/32", 5))), HOUR_SECONDS)
    assert await world.sent_to("192.0.2.7") is REJECT
    may_end.set()
    assert await cutting == 7


async def test_cutting_where_nothing_is_tracked_cuts_nothing(world):
    assert await world.firewall.cut(CONTENT.pieces) == 0


async def test_icmp_says_that_it_is_prohibited(world):
    await world.firewall.replace(
        FirewallContent((FIVE,), nets(("192.0.2.7/32", 5), ("2001:db8::7/128", 5))), HOUR_SECONDS
    )
    for version, address, family in (
        (4, "192.0.2.7", socket.AF_INET),
        (6, "2001:db8::7", socket.AF_INET6),
    ):
        made = world.network.client.call(lambda f=family: socket.socket(f, socket.SOCK_STREAM))
        with made as client:
            client.settimeout(5)
            client.bind((CLIENT[version], 0))
            with pytest.raises(OSError) as error:  # noqa: PT011 - the number is what is asked
                client.connect((address, 80))
            assert error.value.errno == {4: errno.EHOSTUNREACH, 6: errno.EACCES}[version]


async def test_local_packets_of_the_box_are_judged_too_and_loopback_is_not(world):
    def attempt(source, destination):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.bind((source, 0))
            made.sendto(b"local", (destination, 4001))

    world.box.run("ip", "addr", "add", "198.51.100.3/32", "dev", "lo")
    before = await world.firewall.counts()
    world.box.call(lambda: attempt("198.51.100.3", "198.51.100.3"))
    assert await world.firewall.counts() == before
    with pytest.raises(OSError) as error:  # noqa: PT011 - the number is what is asked
        world.box.call(lambda: attempt("0.0.0.0", "192.0.2.7"))
    assert error.value.errno in (errno.EPERM, errno.EHOSTUNREACH)
    assert (await world.firewall.counts())[5].packets == before[5].packets + 1
    world.box.run("ip", "addr", "del", "198.51.100.3/32", "dev", "lo")


def test_who_may_not_is_told_what_is_missing():
    done = subprocess.run(
        ["setpriv", "--bounding-set=-net_admin", sys.executable, "-c", WITHOUT_RIGHTS],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "no right to change nf_tables (EPERM)\nGive the node CAP_NET_ADMIN.\n"


@pytest.mark.parametrize("number", [errno.EPROTONOSUPPORT, errno.ENOMEM, errno.EIO, errno.EPERM])
def test_every_lack_of_the_kernels_has_advice(number):
    error = away(OSError(number, "as the kernel says"))
    assert isinstance(error, UnavailableError)
    assert errno.errorcode[number] in error.message
    assert error.advice


class LostAnswers(NftSocket):
    """A socket whose buffer was too small for what the kernel said."""

    is_losing = False

    def _answers_here(self):
        return iter(()) if self.is_losing else super()._answers_here()


async def test_a_lost_answer_is_never_taken_for_a_good_one(network):
    async with KernelWorld(network) as world:
        kernel = world.box.call(LostAnswers)
        firewall = NftFirewall(opened=lambda: kernel)
        await firewall.claim(HOUR_SECONDS)
        kernel.is_losing = True
        with pytest.raises(UnavailableError):
            await firewall.replace(CONTENT, HOUR_SECONDS)
        kernel.is_losing = False
        assert (await firewall.read()).content == CONTENT  # it had gone well: reading tells
        await firewall.close()


def many():
    """Return 24,000 pieces, the number that a set dump elsewhere lost nine tenths of."""
    hosts = (((10 << 24) + 2 * n, (10 << 24) + 2 * n) for n in range(16_000))
    wide = (((11 << 24) + 16 * n, (11 << 24) + 16 * n + 7) for n in range(8_000))
    return Pieces(
        b"".join(
            first.to_bytes(4, "big") + last.to_bytes(4, "big") + (5).to_bytes(4, "little")
            for first, last in (*hosts, *wide)
        )
    )


async def test_every_one_of_many_pieces_is_read_back(world):
    content = FirewallContent((FIVE,), many())
    await world.firewall.replace(content, HOUR_SECONDS)
    holding = await world.firewall.read()
    assert (holding.state, len(holding.content.pieces)) == (FirewallState.HOLDS, 24_000)
    assert holding.content == content


class Forgetful(NftSocket):
    """A kernel that leaves a part of a large set out, and says nothing."""

    def datagrams(self, verb, *attrs, family=None):
        for at, datagram in enumerate(super().datagrams(verb, *attrs, family=family)):
            if at != 1 or verb != Verb.GET_ELEMENTS:
                yield datagram


async def test_what_a_dump_leaves_out_is_noticed_by_the_kernels_own_count(network):
    async with KernelWorld(network) as world:
        firewall = NftFirewall(opened=lambda: world.box.call(Forgetful))
        await firewall.claim(HOUR_SECONDS)
        await firewall.replace(FirewallContent((FIVE,), many()), HOUR_SECONDS)
        holding = await firewall.read()
        await firewall.close()
    assert holding.state is FirewallState.DIFFERS
    assert holding.reason == "the kernel did not tell all elements of a set"


async def test_what_is_offered_to_the_chains_after_ours_is_what_passes(world):
    """Ours come before the filters of others, which see nothing that is blocked."""
    world.box.run(
        "nft",
        "add table ip late; add counter ip late seen; "
        "add chain ip late f { type filter hook forward priority filter; }; "
        "add rule ip late f ip daddr 192.0.2.0/24 counter name seen",
    )
    assert await world.sent_to("192.0.2.7") is REJECT
    assert "packets 0 " in world.box.run("nft", "list", "counter", "ip", "late", "seen")
    assert await world.sent_to("192.0.2.8") is PASS
    assert "packets 1 " in world.box.run("nft", "list", "counter", "ip", "late", "seen")
