"""The PROXY protocol: a proxy's word for who asks, and the gate's word to the resolver."""

import pytest
from dnslib import DNSRecord

from tests.backends.gate_client import proxy_head, query
from tests.waiting import eventually

REFUSED = 5
PROXY, STRANGER = "127.0.9.1", "127.0.8.1"
ALLOWED, FORBIDDEN = ("192.0.2.77", 1077), ("198.51.100.77", 1077)
ALLOWED6 = ("2001:db8::77", 1077)
LOCAL, LOCAL6 = ("203.0.113.1", 53), ("2001:db8::53", 53)
LOCAL_COMMAND = proxy_head(ALLOWED, LOCAL)[:12] + b"\x20\0\0\0"


def rcode(reply):
    return reply[3] & 0x0F


@pytest.fixture
def gate(start_gate):
    return start_gate(
        proxy_from=["127.0.9.0/24"], allow=["192.0.2.0/24", "2001:db8::/32", "127.0.8.0/24"]
    )


class TestFromAProxy:
    def test_over_udp_the_client_that_it_names_decides(self, gate, resolver):
        asking = gate.asking(source=PROXY)
        for client, local in ((ALLOWED, LOCAL), (ALLOWED6, LOCAL6)):
            assert rcode(asking.ask(proxy_head(client, local) + query("free.example"))) == 0
        assert rcode(asking.ask(proxy_head(FORBIDDEN, LOCAL) + query("free.example"))) == REFUSED
        assert rcode(asking.ask(LOCAL_COMMAND + query("free.example"))) == REFUSED
        counters = gate.counters()
        assert (counters["access_refused"], counters["proxy_refused"]) == (2, 0)
        assert len(resolver.seen) == 1  # its answer was cached

    def test_over_tcp_the_client_that_it_names_decides(self, gate):
        for head, expected in (
            (proxy_head(ALLOWED, LOCAL, is_stream=True), 0),
            (proxy_head(ALLOWED6, LOCAL6, is_stream=True), 0),
            (proxy_head(FORBIDDEN, LOCAL, is_stream=True), REFUSED),
        ):
            stream = gate.streaming(source=PROXY)
            stream.socket.sendall(head)
            for qid in range(3):  # one header for all that follows
                assert rcode(stream.ask(query("free.example", qid=qid))) == expected
        assert gate.counters()["access_refused"] == 3

    def test_a_header_over_tcp_comes_in_pieces(self, gate):
        stream = gate.streaming(source=PROXY)
        octets = proxy_head(ALLOWED, LOCAL, is_stream=True)
        for octet in octets:
            stream.socket.sendall(bytes([octet]))
        assert rcode(stream.ask(query("free.example"))) == 0

    def test_without_a_header_it_is_not_served(self, gate, resolver):
        asking = gate.asking(source=PROXY)
        asking.send(query("free.example"))
        asking.send(proxy_head(ALLOWED, LOCAL)[:20])
        stream = gate.streaming(source=PROXY)
        assert stream.ask(query("free.example")) == b""
        assert rcode(asking.ask(proxy_head(ALLOWED, LOCAL) + query("other.example"))) == 0
        assert asking.is_silent()
        assert gate.counters()["proxy_refused"] == 3
        assert len(resolver.seen) == 1

    def test_nobody_else_is_believed(self, gate, resolver):
        head = proxy_head(ALLOWED, LOCAL)
        asking = gate.asking(source=STRANGER)
        assert rcode(asking.ask(head + query("free.example"))) != 0
        assert rcode(asking.ask(query("free.example"))) == 0
        stream = gate.streaming(source=STRANGER)
        stream.socket.sendall(proxy_head(ALLOWED, LOCAL, is_stream=True))
        stream.socket.sendall(bytes(8_192))  # its first octets say a length; now that much is there
        assert stream.receive() == b""
        assert len(resolver.seen) == 1

    def test_each_client_behind_it_has_its_own_rate(self, start_gate):
        gate = start_gate(
            proxy_from=["127.0.9.0/24"], allow=["0.0.0.0/0"], responses_per_second_max=1
        )
        asking = gate.asking(source=PROXY)
        for qid in range(20):
            asking.send(proxy_head(ALLOWED, LOCAL) + query("free.example", qid=qid, flags=0x2800))
        eventually(lambda: gate.counters()["notimp"] == 20)
        counters = gate.counters()
        over = counters["rate_slipped"] + counters["rate_dropped"]
        assert over > 0
        for _ in range(20 - counters["rate_dropped"]):
            asking.receive()
        assert rcode(asking.ask(proxy_head(FORBIDDEN, LOCAL) + query("free.example"))) == 0
        after = gate.counters()
        assert after["rate_slipped"] + after["rate_dropped"] == over


class TestToTheResolver:
    @pytest.mark.parametrize("family", [4, 6])
    @pytest.mark.parametrize("is_stream", [False, True])
    def test_it_is_told_who_asks_whom_and_nothing_is_cached(
        self, start_gate, resolver, is_stream, family
    ):
        gate = start_gate(
            proxy_to_upstream=True, listen=[("127.0.0.4" if family == 4 else "::1", 0)]
        )
        made = gate.streaming if is_stream else gate.asking
        asking = made(source="127.0.0.5" if family == 4 else None)
        for qid in range(3):
            assert DNSRecord.parse(asking.ask(query("free.example", qid=qid))).rr != []
        client = asking.socket.getsockname()[:2]
        assert resolver.heads == [proxy_head(client, gate.place, is_stream=is_stream)] * 3
        assert len(resolver.seen_tcp if is_stream else resolver.seen) == 3
        counters = gate.counters()
        assert (counters["cache_hit"], counters["cache_miss"]) == (0, 0)

    def test_behind_a_wildcard_it_is_told_the_address_that_was_asked(self, start_gate, resolver):
        gate = start_gate(proxy_to_upstream=True, listen=[("0.0.0.0", 0)])
        gate.places = [("127.0.0.6", gate.place[1])]
        for is_stream in (False, True):
            asking = gate.streaming() if is_stream else gate.asking()
            asking.ask(query("free.example"))
            client = asking.socket.getsockname()[:2]
            assert resolver.heads.pop() == proxy_head(client, gate.place, is_stream=is_stream)

    @pytest.mark.parametrize("is_stream", [False, True])
    def test_a_proxys_word_is_handed_on(self, start_gate, resolver, is_stream):
        gate = start_gate(
            proxy_to_upstream=True, proxy_from=["127.0.9.0/24"], allow=["192.0.2.0/24"]
        )
        head = proxy_head(ALLOWED, LOCAL, is_stream=is_stream)
        if is_stream:
            stream = gate.streaming(source=PROXY)
            stream.socket.sendall(head)
            assert rcode(stream.ask(query("free.example"))) == 0
        else:
            asking = gate.asking(source=PROXY)
            assert rcode(asking.ask(head + query("free.example"))) == 0
        assert resolver.heads == [head]

    def test_many_pipelined_queries_each_have_a_stream_of_their_own(self, start_gate, resolver):
        gate = start_gate(proxy_to_upstream=True)
        stream = gate.streaming()
        for qid in range(90):
            stream.send(query(f"{qid}.example", qid=qid))
        assert {rcode(stream.receive()) for _ in range(90)} == {0}
        assert len(resolver.heads) == len(resolver.seen_tcp) == 90
