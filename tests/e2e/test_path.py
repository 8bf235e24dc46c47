"""The whole path: from people's signatures over gRPC to a resolver's answers over UDP, and back.

Real programs, real Redis, real mTLS. After each test everything is audited offline, every receipt
is verified, and every file is searched for clients and for the names that they asked.
"""

import json
import socket
import threading
from contextlib import ExitStack, suppress
from math import ceil
from pathlib import Path

import pytest
import redis

from enforcer.app.demo_land import AUTHORITY
from enforcer.backends.feed_format import CHECKPOINT_FIELD, ENTRY_FIELD, FeedKeys, stream_id
from enforcer.backends.keys import PrivateKey
from enforcer.core.attestation import NotEnforced, parse_attestation
from enforcer.core.checkpoint import Checkpoint, sign_checkpoint
from enforcer.core.entry import Entry, encode
from enforcer.core.envelope import parse_envelope
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.note import VerifierKey
from enforcer.errors import RefusedError
from enforcer.v1 import node_pb2, order_pb2
from tests.e2e.dns import address_of
from tests.e2e.installation import ORIGIN, STEP_SECONDS_MAX, Installation, now_ms
from tests.people import Person, seal

PACKETS = Path(__file__).resolve().parent.parent / "vectors" / "packets"
SECOND_MS = 1_000
AUDITS = 10


def exact(*names: str) -> bytes:
    return b"".join(f"exact {name}\n".encode() for name in sorted(names))


def test_ten_names_from_two_signatures_to_resolution_again(installation: Installation):
    exacts = [f"n{at}.ten.example.org" for at in range(8)]
    subtrees = ["s0.ten.example.org", "s1.ten.example.org"]
    names = [*exacts, *subtrees]
    targets = exact(*exacts) + b"".join(f"subtree {name}\n".encode() for name in subtrees)
    for name in names:
        assert installation.ask(name).addresses == (address_of(name),)

    ref = installation.propose(targets)
    with pytest.raises(RefusedError):
        installation.approve(ref, by=installation.land.proposer)
    installation.wait_until(installation.is_in_step, "the node has read the proposal")
    assert not any(installation.is_blocked(name) for name in names), "one signature blocked"

    installation.approve(ref)
    installation.wait_until(lambda: installation.is_blocked(*names), "ten names are blocked")
    for name in names:
        answer = installation.ask(name)
        assert answer.rcode == ("NXDOMAIN" if name in subtrees else "NOERROR")
        assert answer.addresses == ()
        assert answer.soa is not None
        assert answer.soa.owner == f"{name}."
        assert answer.soa.mname == f"{ref.order_id}.register.example.org."
        assert 0 < answer.soa.ttl <= 30
        assert answer.soa.minimum == answer.soa.ttl
        assert answer.extended_errors == (
            (16, f"{ref.order_id} https://register.example.org/{ref.order_id}"),
        )
    assert installation.ask("deep.below.s0.ten.example.org").rcode == "NXDOMAIN"
    for neighbour in ("n8.ten.example.org", "ten.example.org", "below.n0.ten.example.org"):
        assert installation.ask(neighbour).addresses == (address_of(neighbour),)

    installation.stop(ref, by=installation.land.approver)
    installation.wait_until(lambda: not installation.is_blocked(names[0]), "the stop is obeyed")
    for name in names:
        assert installation.ask(name).addresses == (address_of(name),)


def test_an_order_ends_by_itself_with_control_redis_and_node_killed(installation: Installation):
    ends_at_ms = installation.blocked_until("ends.example.org", 3.0)
    installation.kill("control", "redis", "node")
    left_seconds = ceil((ends_at_ms - now_ms()) / SECOND_MS)
    answer = installation.ask("ends.example.org")
    assert not answer.is_blocked or answer.soa.ttl <= left_seconds
    installation.wait_until(lambda: not installation.is_blocked("ends.example.org"), "it has ended")
    assert now_ms() >= ends_at_ms
    assert installation.ask("ends.example.org").addresses == (address_of("ends.example.org"),)


def test_an_extended_order_goes_on_blocking_after_its_first_end(installation: Installation):
    first_end_ms = extended(installation, exact("extended.example.org"))
    installation.wait_until(lambda: now_ms() > first_end_ms, "its first end has come")
    installation.wait_until(installation.is_in_step, "the node has read the extension")
    installation.wait_until(lambda: installation.is_blocked("extended.example.org"), "it goes on")


def extended(installation: Installation, targets: bytes) -> int:
    """Have an order extended before it ends for the first time, and return when it would have (ms).

    What is to be signed until then may take longer on a busy machine: then another lasts longer.
    """
    for seconds in (2, 4, 8, 16, 32):
        end_ms = now_ms() + seconds * SECOND_MS
        with suppress(RefusedError):  # it has ended already
            ref = installation.order(targets, expires_at_ms=end_ms, review_due_at_ms=end_ms)
            installation.extend(ref, end_ms + 600 * SECOND_MS)
            return end_ms
    raise AssertionError("no order was extended before its end")


def path_is(installation: Installation, name: str, state: str) -> bool:
    return installation.node_status()["feed"]["paths"][name]["state"] == state


def until_redis_feeds(installation: Installation) -> None:
    """Wait until Redis feeds the node, which may have turned away from it for a minute."""
    installation.wait_until(
        lambda: path_is(installation, "redis", "FEEDS"), "Redis feeds", STEP_SECONDS_MAX
    )


def test_without_redis_orders_and_stops_go_on_by_the_second_path(installation: Installation):
    first = installation.order(exact("before.example.org"))
    installation.wait_until(lambda: installation.is_blocked("before.example.org"), "it is blocked")
    until_redis_feeds(installation)
    installation.kill("redis")
    installation.order(exact("second.example.org"))
    installation.wait_until(lambda: installation.is_blocked("second.example.org"), "it is blocked")
    installation.stop(first)
    installation.wait_until(lambda: not installation.is_blocked("before.example.org"), "it passes")
    # The status is written a moment after what it tells of.
    installation.wait_until(lambda: path_is(installation, "sync", "FEEDS"), "the second path feeds")
    installation.wait_until(lambda: installation.node_status()["feed"]["state"] == "OK", "well")
    # A control plane that ends in the middle of it costs nothing but the time without one.
    installation.kill("control")
    installation.wait_until(
        lambda: installation.node_status()["feed"]["state"] == "STALE", "nobody is left"
    )
    assert installation.is_blocked("second.example.org")
    installation.start("control")
    installation.wait_until(installation.control_serves, "the control plane serves")
    installation.order(exact("third.example.org"))
    installation.wait_until(lambda: installation.is_blocked("third.example.org"), "it is blocked")
    installation.start("redis")
    until_redis_feeds(installation)


def test_a_redis_full_of_garbage_delays_no_order_and_no_stop(installation: Installation):
    ref = installation.order(exact("sound.example.org"))
    installation.wait_until(lambda: installation.is_blocked("sound.example.org"), "it is blocked")
    until_redis_feeds(installation)
    keys = FeedKeys(ORIGIN)
    with installation.feed() as thief, ExitStack() as ending:
        ending.callback(thief.config_set, "min-replicas-to-write", 0)
        with thief.pipeline() as turn:  # all at once, so that the node sees it before it is mended
            for key in thief.keys(keys.prefix + "*"):
                turn.delete(key)
                turn.set(key, b"\xff" * 70_000)
            turn.delete(keys.head, keys.log, keys.stops)
            turn.set(keys.head, b"x" * 100_000)
            turn.xadd(keys.log, {b"entry": b"\x00" * 100_000, b"checkpoint": b"", b"more": b"x"})
            turn.xadd(keys.stops, {b"envelope": b"{}"})
            turn.config_set("min-replicas-to-write", 1)  # and nobody can mend it
            turn.execute()
        installation.order(exact("after.example.org"))
        installation.wait_until(lambda: installation.is_blocked("after.example.org"), "it came")
        installation.stop(ref)
        installation.wait_until(lambda: not installation.is_blocked("sound.example.org"), "too")
        installation.wait_until(lambda: path_is(installation, "sync", "FEEDS"), "a second path")
        installation.wait_until(
            lambda: installation.node_status()["feed"]["paths"]["redis"]["reason"], "it says why"
        )
        installation.wait_until(lambda: installation.node_status()["feed"]["faults"], "counted")
    until_redis_feeds(installation)


def test_an_entry_forged_in_redis_is_refused_and_the_node_goes_on(installation: Installation):
    installation.order(exact("lawful.example.org"))
    installation.wait_until(lambda: installation.is_blocked("lawful.example.org"), "it is blocked")
    installation.kill("control")  # it would mend the feed within a second
    size = installation.ledger_size()
    forge(installation, size)

    def is_refusing() -> bool:
        return installation.node_status()["feed"]["state"] == "REFUSING"

    installation.wait_until(is_refusing, "the node refuses the forged entry")
    assert installation.node_status()["ledger"]["size"] == size
    assert installation.is_blocked("lawful.example.org")
    assert not installation.is_blocked("forged.example.org")

    installation.mend()
    forge(installation, installation.ledger_size())
    control = installation.programs["control"]
    installation.wait_until(lambda: "feed_was_forged" in control.text(), "it is seen and told")
    installation.order(exact("later.example.org"))
    installation.wait_until(lambda: installation.is_blocked("later.example.org"), "it goes on")
    assert not installation.is_blocked("forged.example.org")


def forge(installation: Installation, size: int) -> None:
    """Write an order and its checkpoint into the feed, as whoever has stolen Redis can."""
    thief, keys = PrivateKey.generate(), FeedKeys(ORIGIN)
    order = installation.land.order(exact("forged.example.org"), authority=AUTHORITY)
    leaf = encode(Entry(now_ms(), seal(order, thief)))
    tree = CompactRange()
    with redis.Redis(unix_socket_path=str(installation.directory / "redis.sock")) as publisher:
        for _, fields in publisher.xrange(keys.log):
            tree.append(leaf_hash(fields[ENTRY_FIELD]))
        tree.append(leaf_hash(leaf))
        checkpoint = Checkpoint(ORIGIN, size + 1, tree.root())
        note = sign_checkpoint(checkpoint, VerifierKey(ORIGIN, thief.public_key), thief.sign)
        publisher.xadd(keys.log, {ENTRY_FIELD: leaf, CHECKPOINT_FIELD: note}, id=stream_id(size))
        publisher.set(keys.head, note)


def test_redis_killed_and_wiped_costs_no_query_and_no_block(installation: Installation):
    installation.order(exact("kept.example.org"))
    installation.wait_until(lambda: installation.is_blocked("kept.example.org"), "it is blocked")
    free = [f"free{at}.example.org" for at in range(5)]
    with installation.questions(["kept.example.org", *free], per_second=200) as questions:
        installation.kill("redis")
        installation.order(exact("meanwhile.example.org"))  # the ledger does not need Redis
        installation.wait_until(lambda: path_is(installation, "redis", "AWAY"), "it was seen")
        installation.start("redis")  # and it has nothing any more
        until_redis_feeds(installation)
        installation.wait_until(
            lambda: installation.is_blocked("meanwhile.example.org"), "nothing was missed"
        )
        asked_before = len(questions.asked)
        installation.wait_until(lambda: len(questions.asked) > asked_before + 100, "more asked")
    assert not questions.unanswered
    for asked in questions.asked:
        expected = () if asked.qname == "kept.example.org" else (address_of(asked.qname),)
        assert asked.answer.addresses == expected
        assert asked.answer.is_blocked == (not expected)


def test_a_node_without_redis_and_control_serves_from_its_own_copy(installation: Installation):
    installation.order(exact("own-copy.example.org"))
    installation.wait_until(lambda: installation.is_blocked("own-copy.example.org"), "it blocks")
    # Else what still writes it could bring the file back.
    installation.wait_until(installation.gates_keep, "the gate's disk has it")
    installation.kill("redis", "control", "node", "gate")
    (installation.files.gate / "state" / "last-good.table").unlink()
    installation.start("gate")
    installation.wait_until(installation.gate_status, "the gate answers")
    assert not installation.is_blocked("own-copy.example.org"), "where did it have a table from?"
    installation.start("node")
    installation.wait_until(lambda: installation.is_blocked("own-copy.example.org"), "it blocks")
    assert installation.ask("free.example.org").addresses == (address_of("free.example.org"),)


def test_a_gate_alone_serves_its_last_good_table(installation: Installation):
    installation.order(exact("last-good.example.org"))
    installation.wait_until(lambda: installation.is_blocked("last-good.example.org"), "it blocks")
    installation.wait_until(installation.gates_keep, "the gate's disk has it")
    installation.kill("redis", "control", "node", "gate")
    installation.start("gate")
    installation.wait_until(installation.gate_status, "the gate answers")
    assert installation.is_blocked("last-good.example.org")
    assert installation.ask("free.example.org").addresses == (address_of("free.example.org"),)


def test_a_stop_pushed_to_the_node_acts_while_the_control_plane_is_dead(installation: Installation):
    ref = installation.order(exact("stopped.example.org"))
    other = installation.order(exact("not-stopped.example.org"))
    installation.wait_until(
        lambda: installation.is_blocked("stopped.example.org", "not-stopped.example.org"), "blocked"
    )
    installation.kill("control")
    oversight: Person = installation.land.oversight
    pushed = installation.push_stop_to_node(ref, by=oversight)
    assert pushed.outcome == node_pb2.STOP_OUTCOME_OBEYED
    installation.wait_until(lambda: not installation.is_blocked("stopped.example.org"), "obeyed")
    assert installation.is_blocked("not-stopped.example.org")
    installation.wait_until(lambda: omits(installation, ref.entry_index), "the node attests it")

    installation.start("control")
    client = installation.client(oversight.person_id)

    def is_recorded() -> bool:
        order = installation.call(client.get(entry_index=ref.entry_index))
        return order.status == order_pb2.ORDER_STATUS_STOPPED

    installation.wait_until(installation.control_serves, "the control plane serves")
    installation.wait_until(is_recorded, "the ledger has the stop")
    installation.wait_until(
        lambda: not omits(installation, ref.entry_index), "the node attests it as logged"
    )
    assert not installation.is_blocked("stopped.example.org")
    installation.stop(other)


def omits(installation: Installation, order_index: int) -> bool:
    """Tell whether the node's newest attestation says that it obeys an unlogged stop of it."""
    data = (installation.files.node / "state" / "attestation.json").read_bytes()
    attestation = parse_attestation(parse_envelope(data.strip()))
    return any(
        (each.order_index, each.reason) == (order_index, NotEnforced.STOPPED_UNLOGGED)
        for each in attestation.omissions
    )


def test_a_live_ledger_can_be_audited_while_it_grows(installation: Installation):
    is_ending = threading.Event()

    def act() -> None:
        at = 0
        while not is_ending.is_set():
            installation.order(exact(f"live{at}.example.org"))
            at += 1

    actor = threading.Thread(target=act)
    sizes = [installation.ledger_size()]

    def is_enough() -> bool:
        sizes.append(installation.audit().size)
        return len(sizes) > AUDITS and sizes[-1] > sizes[1]

    actor.start()
    try:
        installation.wait_until(is_enough, "it grows between two audits")
    finally:
        is_ending.set()
        actor.join()
    assert [*sizes, installation.ledger_size()] == sorted([*sizes, installation.ledger_size()])


def test_hostile_packets_to_the_running_gate_are_answered_or_counted(installation: Installation):
    before = installation.gate_status().counters["received"]
    packets = [path.read_bytes() for path in sorted(PACKETS.glob("*.pkt"))]
    assert packets
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for packet in packets:
            client.sendto(packet, ("127.0.0.1", installation.dns_port))
    installation.wait_until(
        lambda: installation.gate_status().counters["received"] == before + len(packets),
        "every packet was counted",
    )
    assert installation.ask("alive.example.org").addresses == (address_of("alive.example.org"),)


def test_programs_end_in_order_when_they_are_told_to(installation: Installation):
    assert installation.stop_in_order() == {"control": 0, "node": 0, "gate": 0}
    for program in installation.programs.values():
        assert "Traceback" not in program.text(), program.tail()


def test_what_a_node_attested_is_with_the_control_plane(installation: Installation):
    installation.order(exact("attested.example.org"))
    folder = installation.files.ledger / "attestations" / "node-1"

    def is_there() -> bool:
        sizes = (path.stem.partition("-")[2] for path in folder.glob("*.json"))
        return str(installation.ledger_size()) in sizes

    installation.wait_until(is_there, "the attestation arrives")
    (kept, *_) = sorted(folder.glob("*.json"))
    assert json.loads(kept.read_bytes())["payloadType"].startswith("application/vnd.enforcer.")
