"""A query over UDP that was asked more than once: whose answer counts, and until when."""

import pytest

from tests.backends.gate_client import query
from tests.native.loops import World, honest
from tests.waiting import eventually

NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


def rcode(reply):
    return reply[3] & 0x0F


def with_rcode(reply, number):
    return reply[:3] + bytes([reply[3] & 0xF0 | number]) + reply[4:]


def probes_heard(world):
    """Return how many answers to probes the gate has heard, in time or late."""
    return world.count("upstream_probed") + world.count("upstream_unknown_id")


@pytest.fixture
def tries(opened):
    """Return a query's four tries: neither upstream answered in time, and there will be no fifth.

    Both upstreams have just answered a probe, so that neither is given up soon.
    """
    world = World(opened, upstreams=2, sockets=8, try_ms=60).start()
    client, (first, second) = world.client(), world.upstreams
    for each in (first, second):
        probed = world.count("upstream_probed")
        while world.count("upstream_probed") == probed:  # until one is answered in time
            heard = probes_heard(world)
            each.answer_probe()
            eventually(lambda heard=heard: probes_heard(world) > heard)
    client.send(query("free.example", qid=0x0BAD))
    made = [each.query() for each in (first, second, first, second)]
    eventually(lambda: probes_heard(world) == first.probes_answered + second.probes_answered)
    world.unknown = world.count("upstream_unknown_id")
    return world, client, made


@pytest.fixture
def asked(tries):
    """A query that the first upstream did not answer in time; the second was asked last."""
    world, client, (early, late, *_) = tries
    return world, client, early, late


def test_what_the_first_says_late_is_an_answer(asked):
    world, client, (wire, place), (other_wire, other_place) = asked
    first, second = world.upstreams
    first.udp.sendto(honest(wire), place)
    reply = client.recv(2_048)
    assert (reply[:2], rcode(reply)) == (b"\x0b\xad", NOERROR)
    assert wire[:2] != other_wire[:2]
    second.udp.sendto(honest(other_wire), other_place)
    eventually(lambda: world.count("upstream_unknown_id") == world.unknown + 1)
    assert world.count("upstream_answered") == world.count("relayed") == 1
    assert world.count("upstream_failed_over") == world.count("upstream_retried") == 3


def test_what_is_not_exactly_its_answer_is_none_late_either(asked):
    """Each try has its upstream, port and id, and they count together or not at all."""
    world, client, (wire, place), (other_wire, other_place) = asked
    first, second = world.upstreams
    wrong_id = bytes([wire[0] ^ 1, *wire[1:]])
    first.udp.sendto(honest(wrong_id), place)
    first.udp.sendto(honest(other_wire), place)  # the second one's id, from the first
    second.udp.sendto(honest(wire), other_place)  # and the other way round
    eventually(lambda: world.count("upstream_unknown_id") == world.unknown + 3)
    other_case = wire.replace(b"free", b"Free")
    first.udp.sendto(honest(other_case), place)
    eventually(lambda: world.count("upstream_wrong_question") == 1)
    second.udp.sendto(honest(wire), place)  # an address that this socket is not connected to
    client.send(query("canary.example", qid=1))
    canary = b""
    while b"canary" not in canary:
        canary, canary_place = first.query()
    first.udp.sendto(honest(canary), canary_place)
    assert client.recv(2_048)[:2] == b"\0\1"
    assert world.count("relayed") == 1
    first.udp.sendto(honest(wire), place)
    assert client.recv(2_048)[:2] == b"\x0b\xad"


@pytest.mark.parametrize("number", [1, SERVFAIL, 5])
def test_a_late_error_leaves_the_word_to_who_was_asked_then(asked, number):
    world, client, (wire, place), (other_wire, other_place) = asked
    first, second = world.upstreams
    first.udp.sendto(with_rcode(honest(wire), number), place)
    eventually(lambda: world.count("upstream_answered") == 1)
    assert world.count("relayed") == 0
    second.udp.sendto(honest(other_wire), other_place)
    assert rcode(client.recv(2_048)) == NOERROR
    assert world.count("upstream_plain") == 0


def test_a_late_denial_is_an_answer(asked):
    world, client, (wire, place), _ = asked
    denied = wire[:2] + b"\x81\x83\0\1" + bytes(6) + wire[12:30]
    world.upstreams[0].udp.sendto(denied, place)
    assert rcode(client.recv(2_048)) == NXDOMAIN


def test_one_that_is_asked_again_is_asked_by_the_same_port_and_id(tries):
    world, client, made = tries
    assert made[2:] == made[:2]
    wire, place = made[0]
    world.upstreams[0].udp.sendto(honest(wire), place)
    assert rcode(client.recv(2_048)) == NOERROR
