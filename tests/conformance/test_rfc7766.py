"""RFC 7766: DNS over TCP is no second choice."""

import socket
import struct
import threading
from contextlib import suppress

import dns.flags
import dns.rcode
import pytest

from tests.conformance.client import (
    Stream,
    answers,
    framed,
    question,
    read_reply,
)
from tests.conformance.upstream import reply
from tests.waiting import WAIT_SECONDS


@pytest.fixture
def stream(world):
    with Stream(world.gate.place) as stream:
        yield stream


class TestConnections:
    """§6.2."""

    def test_one_connection_carries_many_queries(self, stream):
        for number in range(20):
            query = question(f"reuse{number}.plain.example")
            assert answers(stream.ask(query)[0])

    def test_queries_may_follow_each_other_without_waiting(self, stream):
        queries = [
            question(f"{'www.blocked' if number % 3 else f'pipe{number}.plain'}.example")
            for number in range(60)
        ]
        replies = stream.ask(*queries)
        assert [each.rcode() for each in replies] == [
            dns.rcode.NXDOMAIN if number % 3 else dns.rcode.NOERROR for number in range(60)
        ]

    def test_who_has_closed_his_side_still_gets_his_answers(self, stream):
        queries = [question("half.plain.example"), question("www.blocked.example")]
        queries[0].id, queries[1].id = range(2)
        stream.send(*(query.to_wire() for query in queries))
        stream.socket.shutdown(socket.SHUT_WR)
        ids = {stream.receive()[:2] for _ in queries}
        assert ids == {query.to_wire()[:2] for query in queries}
        with pytest.raises(EOFError):
            stream.receive()

    def test_who_sends_very_many_and_closes_his_side_still_gets_all_answers(self, stream):
        queries = [question(f"burst{number}.plain.example") for number in range(400)]
        for number, query in enumerate(queries):
            query.id = number
        stream.send(*(query.to_wire() for query in queries))
        stream.socket.shutdown(socket.SHUT_WR)
        assert {stream.receive()[:2] for _ in queries} == {each.to_wire()[:2] for each in queries}
        with pytest.raises(EOFError):
            stream.receive()

    def test_who_reads_late_still_gets_all_answers(self, client, stream, upstream):
        texts = " ".join(f'"{"x" * 250}"' for _ in range(12))
        upstream.says("late.plain.example", "TXT", f"late.plain.example. 600 TXT {texts}")
        assert client.ask("late.plain.example", "TXT", tcp=True).answer
        count = 6_000  # some 18 megaoctets: more than the kernel holds for one connection
        wire = bytearray(question("late.plain.example", "TXT").to_wire())

        def ask():
            for number in range(count):
                wire[:2] = struct.pack("!H", number)
                stream.send(bytes(wire))

        asking = threading.Thread(target=ask)
        asking.start()
        asking.join(0.5)  # until it is not read any more
        ids = {stream.receive()[:2] for _ in range(count)}
        asking.join()
        assert len(ids) == count

    def test_a_client_that_leaves_before_its_answer_harms_nobody(self, world, client):
        for _ in range(20):
            with Stream(world.gate.place) as leaving:
                leaving.send(question("leave.plain.example").to_wire())
                leaving.socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        assert answers(client.ask("leave2.plain.example", tcp=True))

    def test_an_idle_connection_is_closed_after_its_time(self, start_world):
        world = start_world(tcp_idle_ms=1_000)
        with Stream(world.gate.place) as stream:
            assert answers(stream.ask(question("idle.plain.example"))[0])
            with Stream(world.gate.place) as slow:  # half a message is no sign of life
                slow.socket.sendall(b"\0\x20half")
                for idle in (stream, slow):
                    with pytest.raises(EOFError):
                        idle.receive()
        assert answers(world.client.ask("idle.plain.example", tcp=True))

    def test_connections_are_bounded_and_the_rest_goes_on(self, start_world):
        world = start_world(tcp_connections_max=4, workers=1)
        held = [Stream(world.gate.place) for _ in range(4)]
        for number, stream in enumerate(held):
            assert answers(stream.ask(question(f"held{number}.plain.example"))[0])
        further = [Stream(world.gate.place) for _ in range(4)]
        for number in range(3):
            assert answers(world.client.ask(f"udp{number}.plain.example"))
        for stream in held + further:
            stream.__exit__()
        assert answers(world.client.ask("after.plain.example", tcp=True))


class TestOrder:
    """§7: an answer goes out when it is there."""

    def test_a_slow_answer_holds_up_none_that_is_ready(self, stream, upstream):
        may_go_on = threading.Event()

        def slow(query, is_tcp):
            may_go_on.wait(WAIT_SECONDS)
            yield reply(query, "slow.plain.example. 60 A 192.0.2.1")

        upstream.script("slow.plain.example", slow)
        first, second, third = (
            question(f"{name}.example") for name in ("slow.plain", "quick.plain", "www.blocked")
        )
        first.id, second.id, third.id = range(3)
        stream.send(*(query.to_wire() for query in (first, second, third)))
        early = {stream.receive()[:2] for _ in range(2)}
        assert early == {second.to_wire()[:2], third.to_wire()[:2]}
        may_go_on.set()
        assert answers(read_reply(first, stream.receive()))


class TestFraming:
    """§8."""

    def test_a_message_may_come_in_single_octets(self, stream):
        query = question("octets.plain.example")
        for octet in framed(query.to_wire()):
            stream.socket.sendall(bytes([octet]))
        assert answers(read_reply(query, stream.receive()))

    def test_two_messages_may_come_in_pieces_that_end_anywhere(self, stream):
        queries = [question(f"piece{number}.plain.example") for number in range(2)]
        queries[0].id, queries[1].id = range(2)
        octets = b"".join(framed(query.to_wire()) for query in queries)
        for cut in (1, 2, 3, 30, len(octets) // 2, len(octets) // 2 + 1, len(octets) - 1):
            stream.socket.sendall(octets[:cut])
            stream.socket.sendall(octets[cut:])
            ids = {stream.receive()[:2] for _ in queries}
            assert ids == {query.to_wire()[:2] for query in queries}

    @pytest.mark.parametrize("wire", [b"", b"\0", b"x" * 11])
    def test_what_is_shorter_than_a_header_ends_only_its_own_connection(self, client, world, wire):
        with Stream(world.gate.place) as stream:
            stream.send(wire)
            stream.socket.shutdown(socket.SHUT_WR)
            with pytest.raises((EOFError, ConnectionResetError)):
                stream.receive()
        assert answers(client.ask("short.plain.example", tcp=True))

    def test_a_query_of_the_greatest_length_is_answered_or_its_connection_closed(self, world):
        wire = bytearray(question("www.plain.example", edns=False).to_wire())
        wire[10:12] = b"\0\1"
        rdata = 65_535 - len(wire) - 11
        wire += b"\0" + struct.pack("!HHIH", 41, 1_232, 0, rdata)
        wire += struct.pack("!HH", 65_001, rdata - 4) + bytes(rdata - 4)
        assert len(wire) == 65_535
        with Stream(world.gate.place) as stream, suppress(EOFError, ConnectionError):
            stream.send(bytes(wire))
            assert stream.receive()[:2] == wire[:2]
        assert answers(world.client.ask("www.plain.example", tcp=True))


class TestLength:
    """§5: what does not fit a datagram comes over TCP whole."""

    @pytest.mark.parametrize("count", [100, 1_000, 3_900])
    def test_an_answer_that_is_cut_over_udp_is_whole_over_tcp(self, client, upstream, count):
        name = f"long{count}.plain.example"
        lines = [f"{name}. 60 A 192.0.{n // 250}.{n % 250}" for n in range(count)]
        upstream.says(name, "A", *lines)
        assert client.ask(name).flags & dns.flags.TC
        whole = client.ask(name, tcp=True)
        assert not whole.flags & dns.flags.TC
        assert len(answers(whole)) == count
        assert any(seen.is_tcp for seen in upstream.asked(name))

    def test_a_blocked_address_in_a_long_answer_is_found(self, client, upstream):
        lines = [f"buried.plain.example. 60 A 192.0.{n // 250}.{n % 250}" for n in range(2_000)]
        lines[1_500] = "buried.plain.example. 60 A 198.51.100.66"
        upstream.says("buried.plain.example", "A", *lines)
        assert client.ask("buried.plain.example").answer == []
        whole = client.ask("buried.plain.example", tcp=True)
        assert (whole.answer, whole.flags & dns.flags.TC) == ([], 0)

    def test_blocks_are_the_same_over_both(self, client):
        for name in ("www.blocked.example", "host.exact.example", "www.page.example"):
            udp, tcp = (client.ask(name, tcp=tcp) for tcp in (False, True))
            udp.id = tcp.id = 0
            assert udp.to_text() == tcp.to_text()
