"""Who asks and from where it is answered: wildcards, prefixes, rates, and proxies before it."""

import socket

import dns.flags
import dns.message
import dns.rcode
import pytest

from enforcer._native.probe_net import read_proxy, write_proxy
from tests.conformance.client import (
    Client,
    Stream,
    answers,
    extended_errors,
    question,
    read_reply,
)
from tests.waiting import WAIT_SECONDS, eventually


def has_ipv6():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        try:
            udp.bind(("::1", 0))
        except OSError:
            return False
    return True


IPV6 = [("::", 0)] if socket.has_ipv6 and has_ipv6() else []


class TestWildcards:
    """RFC 1123 §6.1.3.3 and RFC 2181 §4: an answer comes from where the query went."""

    def test_an_answer_leaves_from_the_address_that_was_asked(self, start_world):
        world = start_world(listen=[("0.0.0.0", 0), ("127.0.0.3", 0), *IPV6])
        hosts = [("127.0.0.1", "127.0.0.2", "127.9.9.9"), ("127.0.0.3",), ("::1",)]
        for (_, port), names in zip(world.gate.places, hosts, strict=False):
            for host in names:
                client = Client((host, port))  # its socket hears that address alone
                for tcp in (False, True):
                    assert client.ask("www.blocked.example", tcp=tcp).rcode() == dns.rcode.NXDOMAIN
                    assert answers(client.ask("wild.plain.example", tcp=tcp))


class TestPrefixes:
    def test_only_those_who_may_ask_are_answered(self, start_world):
        world = start_world(allow=["127.0.0.2/32"])
        allowed = Client(world.gate.place, source="127.0.0.2")
        other = Client(world.gate.place, source="127.0.0.9")
        for tcp in (False, True):
            refused = other.ask("www.plain.example", tcp=tcp)
            assert (refused.rcode(), refused.answer) == (dns.rcode.REFUSED, [])
            assert [code for code, _ in extended_errors(refused)] == [18]  # RFC 8914 §4.19
            assert world.upstream.asked("www.plain.example") == []
        for tcp in (False, True):
            assert answers(allowed.ask("www.plain.example", tcp=tcp))


class TestRates:
    def test_over_the_rate_a_client_gets_short_answers_or_none_and_tcp_goes_on(self, start_world):
        world = start_world(responses_per_second_max=5)
        with world.client.socket() as udp:
            for number in range(60):
                query = question("www.blocked.example")
                query.id = number
                udp.send(query.to_wire())
            eventually(lambda: world.gate.counters()["received"] == 60)
            # What goes over the rate is counted last: with another's answer all of it is.
            Client(world.gate.place, source="127.9.9.9").ask("www.blocked.example")
            counters = world.gate.counters()
            due = 60 - counters["rate_dropped"]
            replies = [dns.message.from_wire(udp.recv(65_535)) for _ in range(due)]
            udp.setblocking(False)
            with pytest.raises(BlockingIOError):
                udp.recv(65_535)
        whole = [each for each in replies if not each.flags & dns.flags.TC]
        cut = [each for each in replies if each.flags & dns.flags.TC]
        assert 5 <= len(whole) <= 30
        assert cut
        assert all(each.authority == [] for each in cut)
        assert len(replies) < 60
        assert world.client.ask("www.blocked.example", tcp=True).rcode() == dns.rcode.NXDOMAIN
        assert counters["rate_slipped"] == len(cut)


class TestProxies:
    """The PROXY protocol, version 2: the client is who the proxy says."""

    CLIENT, LOCAL = ("192.0.2.77", 4_711), ("192.0.2.53", 53)

    def test_a_proxy_is_believed_and_one_that_does_not_say_for_whom_is_not_served(
        self, start_world
    ):
        world = start_world(proxy_from=["127.0.0.0/8"], allow=["192.0.2.0/24"])
        query = question("www.blocked.example")
        head = write_proxy(self.CLIENT, self.LOCAL, False)
        reply = read_reply(query, world.client.exchange(head + query.to_wire()))
        assert reply.rcode() == dns.rcode.NXDOMAIN
        other = write_proxy(("198.51.100.1", 1), self.LOCAL, False)
        refused = dns.message.from_wire(world.client.exchange(other + query.to_wire()))
        assert refused.rcode() == dns.rcode.REFUSED
        with world.counting(proxy_refused=1), world.client.socket() as udp:
            udp.send(question("www.plain.example").to_wire())
            udp.send(head + query.to_wire())
            assert udp.recv(65_535)[:2] == query.to_wire()[:2]
        with Stream(world.gate.place) as stream:  # there it comes once, before all queries
            stream.socket.sendall(write_proxy(self.CLIENT, self.LOCAL, True))
            for number in range(3):
                assert answers(stream.ask(question(f"proxied{number}.plain.example"))[0])

    def test_who_is_no_proxy_cannot_pretend_to_be_another(self, world):
        head = write_proxy(self.CLIENT, self.LOCAL, False)
        with world.client.socket() as udp:
            udp.send(head + question("www.plain.example").to_wire())
            query = question("www.blocked.example")
            udp.send(query.to_wire())
            while (reply := udp.recv(65_535))[:2] != query.to_wire()[:2]:
                assert reply[3] & 15 != dns.rcode.NOERROR

    def test_the_resolver_is_told_who_asks_where_that_is_wanted(self, start_world):
        heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        heard.bind(("127.0.0.1", 0))
        heard.settimeout(WAIT_SECONDS)
        with heard:
            world = start_world(
                proxy_to_upstream=True, upstreams=[heard.getsockname()], upstream_timeout_ms=500
            )
            with world.client.socket() as udp:
                udp.send(question("told.plain.example").to_wire())
                while True:
                    octets, _ = heard.recvfrom(65_535)
                    kind, client, local, skipped = read_proxy(octets)
                    if kind == "PROXY":
                        break
                assert client == udp.getsockname()
                assert local == world.gate.place
                assert dns.message.from_wire(octets[skipped:]).question
