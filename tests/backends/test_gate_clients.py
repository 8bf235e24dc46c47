"""Who is answered, from which address, and how often: the gate's manners with its clients."""

import itertools

import pytest
from dnslib import DNSRecord

from tests.backends.gate_client import query
from tests.backends.gate_tables import compiled, order
from tests.waiting import eventually

NXDOMAIN, REFUSED = 3, 5
PROHIBITED = b"\0\x12"


def options(reply):
    return [option.data for record in reply.ar for option in record.rdata if option.code == 15]


def is_cut(reply):
    return bool(reply[2] & 0x02)


class TestPlaces:
    @pytest.mark.parametrize(
        ("wildcard", "addresses"),
        [("0.0.0.0", ["127.0.0.1", "127.0.0.2", "127.0.3.4"]), ("::", ["::1"])],
    )
    def test_an_answer_leaves_from_the_address_that_was_asked(
        self, start_gate, tmp_path, wildcard, addresses
    ):
        gate = start_gate(listen=[(wildcard, 0)])
        gate.load(compiled(tmp_path / "t", order()))
        port = gate.place[1]
        gate.places = [(address, port) for address in addresses]
        for number in range(len(addresses)):
            # A connected socket takes nothing from any other address.
            for asking in (gate.asking(number), gate.streaming(number)):
                assert asking.ask(query())[3] & 0x0F == NXDOMAIN
                assert asking.ask(query(f"{number}.example"))[3] & 0x0F == 0  # relayed
                assert asking.ask(query(f"{number}.example"))[3] & 0x0F == 0  # cached

    def test_several_addresses_of_both_families_are_served_side_by_side(self, start_gate):
        gate = start_gate(listen=[("127.0.0.2", 0), ("::1", 0), ("127.0.0.3", 0)])
        for number in range(3):
            for asking in (gate.asking(number), gate.streaming(number)):
                assert DNSRecord.parse(asking.ask(query("free.example"))).rr != []


class TestAccess:
    @pytest.mark.parametrize("is_stream", [False, True])
    def test_who_is_not_allowed_is_told_so_and_nobody_is_asked_for_him(
        self, start_gate, resolver, is_stream
    ):
        gate = start_gate(allow=["127.1.0.0/16", "127.2.0.1/32"])
        made = gate.streaming if is_stream else gate.asking
        for source in ("127.1.255.255", "127.2.0.1"):
            assert made(source=source).ask(query("free.example"))[3] & 0x0F == 0
        asked = len(resolver.seen) + len(resolver.seen_tcp)
        for source in ("127.3.0.1", "127.2.0.2"):
            reply = DNSRecord.parse(made(source=source).ask(query("free.example")))
            assert (reply.header.rcode, reply.header.ra, reply.rr) == (REFUSED, 1, [])
            assert options(reply) == [PROHIBITED]
        assert len(resolver.seen) + len(resolver.seen_tcp) == asked
        assert gate.counters()["access_refused"] == 2

    def test_families_are_allowed_apart(self, start_gate):
        gate = start_gate(listen=[("127.0.0.1", 0), ("::1", 0)], allow=["::1/128"])
        assert gate.asking(0, source="127.3.0.1").ask(query("free.example"))[3] & 0x0F == REFUSED
        assert gate.asking(1).ask(query("free.example"))[3] & 0x0F == 0


class TestRate:
    LIMIT = 5

    @pytest.fixture
    def gate(self, start_gate, tmp_path):
        self.others = itertools.count()  # prefixes of clients that have not asked yet
        gate = start_gate(responses_per_second_max=self.LIMIT)
        gate.load(compiled(tmp_path / "t", order()))
        return gate

    def counted(self, gate, queries):
        """Return the counters once the gate has counted all it does with so many since its start.

        What goes over the rate is counted last. Once somebody is answered who asked later, of
        another prefix, nothing of those before is left to count.
        """
        eventually(lambda: gate.counters()["received"] >= queries)
        gate.asking(source=f"127.2.{next(self.others) % 256}.1").ask(query())
        return gate.counters()

    def flood(self, gate, source):
        """Ask 41 times at once and return what came until the gate had answered all."""
        asking = gate.asking(source=source)
        before = gate.counters()
        for qid in range(41):
            asking.send(query(qid=qid))
        after = self.counted(gate, before["received"] + 41)
        slipped, dropped = (after[name] - before[name] for name in ("rate_slipped", "rate_dropped"))
        replies = [asking.receive() for _ in range(41 - dropped)]
        assert asking.is_silent()
        assert sum(map(is_cut, replies)) == slipped
        return replies, slipped, dropped

    def test_what_is_too_much_slips_or_is_dropped_in_turn(self, gate):
        replies, slipped, dropped = self.flood(gate, "127.1.1.1")
        assert self.LIMIT <= 41 - slipped - dropped < 41
        assert slipped - dropped in (0, 1)
        for wire in filter(is_cut, replies):
            reply = DNSRecord.parse(wire)
            assert (reply.rr, reply.auth, str(reply.q.qname)) == ([], [], "www.blocked.example.")

    def test_the_whole_prefix_is_limited_and_no_other_and_no_stream(self, gate):
        self.flood(gate, "127.1.1.1")
        over = gate.counters()
        neighbour = gate.asking(source="127.1.1.2")
        for qid in range(40):
            neighbour.send(query(qid=qid))
        before = self.counted(gate, over["received"] + 40)
        assert before["rate_dropped"] > over["rate_dropped"]
        assert not is_cut(gate.asking(source="127.1.2.1").ask(query()))
        stream = gate.streaming(source="127.1.1.1")
        for qid in range(40):
            stream.send(query(qid=qid))
        assert not any(is_cut(stream.receive()) for _ in range(40))
        after = gate.counters()
        for name in ("rate_slipped", "rate_dropped"):
            assert after[name] == before[name]

    def test_who_stops_asking_so_much_is_answered_again(self, gate):
        def is_answered():
            before = gate.counters()
            asking.send(query())
            after = self.counted(gate, before["received"] + 1)
            return all(after[name] == before[name] for name in ("rate_slipped", "rate_dropped"))

        self.flood(gate, "127.1.1.1")
        asking = gate.asking(source="127.1.1.1")
        eventually(is_answered)
        while is_cut(reply := asking.receive()):
            pass
        assert reply[3] & 0x0F == NXDOMAIN
