"""Asking a resolver: what comes back is read, or it is said why not; hostile octets included."""

import random

import pytest
from dnslib import DNSRecord

from enforcer.backends.dns_client import Resolver as Client
from enforcer.core.name import Name
from enforcer.ports import DnsReply, Silence, Transport
from enforcer.services.probe_reading import Observation, Register, observe
from tests.backends.gate_tables import REGISTER_URL, compiled, order
from tests.ports import HeldPort
from tests.waiting import WAIT_SECONDS

NAME = Name.from_text("www.blocked.example")
NEVER_MS = int(WAIT_SECONDS * 1_000)
"""What answers at all does not take so long."""
BOTH = pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])


@pytest.fixture
def client(resolver):
    return Client(*resolver.place, NEVER_MS)


@BOTH
def test_the_blocks_of_a_real_gate_are_read_as_what_they_are(start_gate, tmp_path, transport):
    gate = start_gate()
    text = b"exact one.example\nsubtree blocked.example\n"
    gate.load(compiled(tmp_path / "t", order(names=text)))
    client = Client(*gate.place, NEVER_MS)
    register = Register(REGISTER_URL, "register.example.org")

    def seen(name):
        return observe(client.ask(Name.from_text(name), transport), "XX-2026-000007", register)

    assert seen("www.blocked.example") is Observation.BLOCKED_BY_ORDER
    assert seen("one.example") is Observation.BLOCKED_BY_ORDER
    assert seen("two.example") is Observation.RESOLVES


@BOTH
def test_an_answer_is_read_whole(resolver, client, transport):
    reply = client.ask(NAME, transport)
    assert isinstance(reply, DnsReply)
    assert (reply.rcode, reply.has_answer, len(reply.addresses)) == (0, True, 1)
    (query,) = resolver.seen or resolver.seen_tcp
    asked = DNSRecord.parse(query)
    assert (asked.header.rd, asked.header.ad, asked.ar[0].edns_do) == (1, 0, 0)


@BOTH
def test_an_answer_to_another_question_does_not_count(resolver, transport):
    # Over UDP the right one might come yet, and a second query is sent.
    client = Client(*resolver.place, 400 if transport is Transport.UDP else NEVER_MS)
    resolver.respond = lambda query: resolver.honest(query.replace(b"\7blocked", b"\7allowed"))
    assert client.ask(NAME, transport) is Silence.MALFORMED


def test_an_answer_with_another_id_is_waited_past(resolver, client):
    def twice(query):
        yield bytes([query[0] ^ 1]) + next(resolver.honest(query))[1:]
        yield from resolver.honest(query)

    resolver.respond = twice
    assert isinstance(client.ask(NAME, Transport.UDP), DnsReply)


@BOTH
def test_silence_is_a_timeout(resolver, transport):
    resolver.respond = lambda query: []
    client = Client("127.0.0.1", resolver.place[1], 50)
    answer = client.ask(NAME, transport)
    # Over TCP the resolver sends an empty frame: no message, and no timeout either.
    assert answer in (Silence.TIMEOUT, Silence.MALFORMED)


@BOTH
def test_nobody_there_is_unreachable(transport):
    with HeldPort() as nobody:
        client = Client(*nobody.place, NEVER_MS)
        assert client.ask(NAME, transport) is Silence.UNREACHABLE


@BOTH
def test_hostile_answers_are_malformed_and_never_more(resolver, transport):
    dice = random.Random(7)

    def hostile(query):
        whole = bytearray(next(resolver.honest(query)))
        for _ in range(dice.randrange(1, 6)):
            whole[dice.randrange(2, len(whole))] = dice.randrange(256)
        if dice.random() < 0.3:
            whole = whole[: dice.randrange(2, len(whole))] + dice.randbytes(dice.randrange(40))
        yield bytes(whole)

    resolver.respond = hostile
    client = Client("127.0.0.1", resolver.place[1], 5)
    for _ in range(60):
        answer = client.ask(NAME, transport)
        assert isinstance(answer, DnsReply | Silence)
