"""What careful clients make of the gate's answers: dig, kdig, drill, and Unbounds behind it.

The Unbounds validate from a trust anchor of our own, minimise names, and one answers from NSEC
records that it has seen (RFC 8198). Blocks are unsigned: in signed zones such a client says
SERVFAIL, which is a block as well; everything beside and below them goes on to validate.
"""

import os
import re
import shutil
import subprocess

import dns.flags
import dns.rcode
import dns.rdatatype
import pytest

from tests.backends.gate_tables import compiled, now_ms, order
from tests.conformance.client import Client, answers
from tests.conformance.signed import CORE, TARGETS, Unbound, behind, make_hierarchy, resolver
from tests.conformance.world import gate_before
from tests.waiting import WAIT_SECONDS, eventually

TYPES = ("A", "AAAA", "HTTPS", "SVCB", "ANY", "DS", "DNSKEY", "NS", "SOA", "PTR", "TXT")
TYPES_OF_ZONES = ("DS", "DNSKEY", "NS", "SOA")
TOOLS = {
    "dig": ["+tries=1", "+time=10", "-p", "{port}", "@127.0.0.1"],
    "kdig": ["+retry=0", "+time=10", "+edns", "-p", "{port}", "@127.0.0.1"],
    "drill": ["-p", "{port}", "@127.0.0.1"],
}
COMPLAINTS = re.compile(r"warn|malform|extra|mismatch|(?<!no)error|bad |unexpected", re.IGNORECASE)

needs_unbound = pytest.mark.skipif(
    Unbound.EXECUTABLE is None, reason="unbound is not installed (package unbound)"
)


def run(tool, port, *words):
    """Return what a tool printed, once it has ended well and has complained of nothing."""
    options = [option.format(port=port) for option in TOOLS[tool]]
    ran = subprocess.run(
        [tool, *options, *words],
        env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # An extended error has its own place in what they print; it is ours to say "Blocked".
    text = re.sub(r"(?mi)^; ?;? ?EDE.*$", "", ran.stdout)
    complaint = COMPLAINTS.search(text + ran.stderr)
    assert complaint is None, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.peers
@pytest.mark.parametrize("tool", TOOLS)
class TestTools:
    @pytest.fixture(autouse=True)
    def installed(self, tool):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")

    @pytest.mark.parametrize("transport", ["udp", "tcp"])
    def test_they_take_blocks_and_answers_without_a_complaint(self, world, tool, transport):
        over = {"drill": {"udp": "-u", "tcp": "-t"}}.get(tool, {"udp": "+notcp", "tcp": "+tcp"})
        for name, rdtype, status in (
            ("www.plain.example", "A", "NOERROR"),
            ("www.blocked.example", "A", "NXDOMAIN"),
            ("www.blocked.example", "HTTPS", "NXDOMAIN"),
            ("host.exact.example", "AAAA", "NOERROR"),
            ("www.advised.example", "TXT", "NXDOMAIN"),
            ("www.page.example", "A", "NOERROR"),
        ):
            spelt = "TYPE65" if tool == "drill" and rdtype == "HTTPS" else rdtype
            said = run(tool, world.gate.place[1], name, spelt, over[transport])
            assert re.search(rf"(status|rcode): {status}", said), said
            if name not in {"www.plain.example", "www.page.example"}:
                assert "register.example.org" in said

    def test_signatures_and_sizes_are_asked_for_in_every_way(self, world, tool):
        ways = {
            "dig": (["+dnssec"], ["+noedns"], ["+bufsize=512"], ["+nocookie", "+cdflag"]),
            "kdig": (["+dnssec"], ["+noedns"], ["+bufsize=4096"], ["+cdflag", "+adflag"]),
            "drill": (["-D"], ["-b", "512"], ["-o", "cd"], ["-4"]),
        }[tool]
        for words in ways:
            for name, status in (
                ("www.blocked.example", "NXDOMAIN"),
                ("way.plain.example", "NOERROR"),
            ):
                said = run(tool, world.gate.place[1], name, "A", *words)
                assert re.search(rf"(status|rcode): {status}", said), said


class Chain:
    """Names and their zones with an Unbound before them, the gate, and an Unbound behind it."""

    def __init__(self, gate, validating, plain, hierarchy, base):
        self.gate = gate
        self.validating = validating
        self.plain = plain
        self.hierarchy = hierarchy
        self.base = base


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    base = tmp_path_factory.mktemp("chain")
    base.chmod(0o755)
    hierarchy = make_hierarchy(base)
    table = {"orders": [order(1, TARGETS)], "core": CORE}
    with (
        resolver(base / "resolver", hierarchy) as before,
        gate_before(base, before.place, **table) as gate,
        behind(base / "validating", hierarchy, gate.place) as validating,
    ):
        yield Chain(gate, validating, Client(before.place), hierarchy, base)


@pytest.fixture(params=["", "    aggressive-nsec: yes\n"], ids=["careful", "aggressive"])
def strict(chain, request, tmp_path):
    """A fresh Unbound behind the gate that validates and minimises names."""
    with behind(tmp_path / "strict", chain.hierarchy, chain.gate.place, request.param) as unbound:
        yield Client(unbound.place)


def is_authentic(reply):
    return bool(reply.flags & dns.flags.AD)


@pytest.mark.peers
@needs_unbound
class TestUnboundBehindTheGate:
    @pytest.mark.parametrize("rdtype", TYPES)
    def test_in_zones_without_signatures_it_takes_every_block_for_what_it_is(self, chain, rdtype):
        strict = Client(chain.validating.place)
        for name, zone in (
            ("evil.plain.example", "evil.plain.example."),
            ("a.b.evil.plain.example", "evil.plain.example."),
            ("fraud.example", "fraud.example."),  # an unsigned zone under a signed one
            ("www.fraud.example", "fraud.example."),
        ):
            reply = strict.ask(name, rdtype, dnssec_ok=True)
            if rdtype == "DS" and f"{name}." == zone:  # the parent's word, and the parent passes
                assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
                continue
            assert (reply.rcode(), reply.answer) == (dns.rcode.NXDOMAIN, [])
            assert str(reply.authority[0].name) == zone
            assert 0 < reply.authority[0].ttl <= 30
        for name, zone in (
            ("host.plain.example", "host.plain.example."),
            ("open.plain.example", "open.plain.example."),
        ):
            reply = strict.ask(name, rdtype, dnssec_ok=True)
            assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
            if rdtype not in TYPES_OF_ZONES:
                assert str(reply.authority[0].name) == zone

    def test_in_signed_zones_a_block_is_a_failure_and_no_data(self, strict):
        for name in ("host.signed.example", "www.evil.signed.example", "open.signed.example"):
            for rdtype in ("A", "AAAA", "HTTPS", "ANY"):
                reply = strict.ask(name, rdtype, dnssec_ok=True)
                assert (reply.rcode(), reply.answer) == (dns.rcode.SERVFAIL, [])

    def test_what_is_beside_and_below_a_block_goes_on_to_validate(self, strict):
        for rdtype in TYPES:  # the blocks come first, so that they could do harm
            for name in ("host.signed.example", "evil.signed.example", "open.signed.example"):
                strict.ask(name, rdtype, dnssec_ok=True)
        for name, rdtype in (
            ("www.host.signed.example", "A"),
            ("time.open.signed.example", "A"),
            ("www.signed.example", "AAAA"),
            ("www.signed.example", "HTTPS"),
            ("alias.signed.example", "A"),
            ("a.moved.signed.example", "A"),
            ("any.wild.signed.example", "TXT"),
            ("signed.example", "MX"),
            ("signed.example", "DNSKEY"),
            ("www.cut.signed.example", "A"),
            ("cut.signed.example", "DS"),
        ):
            reply = strict.ask(name, rdtype, dnssec_ok=True)
            assert reply.answer, name
            assert is_authentic(reply), name
        for name, rcode in (
            ("none.signed.example", dns.rcode.NXDOMAIN),
            ("txt.signed.example", dns.rcode.NOERROR),
        ):
            reply = strict.ask(name, "A", dnssec_ok=True)
            assert (reply.rcode(), is_authentic(reply)) == (rcode, True)

    def test_what_it_has_seen_of_a_zone_makes_no_blocked_name_resolve(self, strict):
        for number in range(10):  # NSEC records from which it may answer by itself
            strict.ask(f"nothing{number}.signed.example", dnssec_ok=True)
            strict.ask(f"nothing{number}.plain.example", dnssec_ok=True)
        for zone in ("signed", "plain"):
            for name in ("evil", "www.evil", "host", "open", "toevil"):
                reply = strict.ask(f"{name}.{zone}.example", dnssec_ok=True)
                assert not [line for line in answers(reply) if " A " in line]

    def test_a_chain_to_a_blocked_name_is_taken_up_to_it(self, strict):
        reply = strict.ask("toevil.plain.example")
        assert reply.rcode() == dns.rcode.NXDOMAIN
        assert answers(reply) == ["toevil.plain.example. CNAME www.evil.plain.example."]

    def test_names_asked_label_by_label_come_to_the_same(self, chain):
        """RFC 9156: what is asked on the way must not deny what is below."""
        client = Client(chain.gate.place)
        for name in ("time.open.plain.example", "www.host.plain.example", "www.plain.example"):
            labels = name.split(".")
            for depth in range(1, len(labels) + 1):
                for rdtype in ("A", "NS"):
                    ancestor = ".".join(labels[-depth:])
                    assert client.ask(ancestor, rdtype).rcode() == dns.rcode.NOERROR, ancestor
            assert client.ask(name).answer

    def test_after_an_orders_end_the_name_resolves_again(self, chain, tmp_path):
        names = ("evil.plain.example", "www.fraud.example", "host.plain.example")
        with behind(tmp_path / "fresh", chain.hierarchy, chain.gate.place) as unbound:
            client = Client(unbound.place)
            ends_ms = now_ms() + 2_500
            load(chain, order(2, TARGETS, until_ms=ends_ms))
            replies = [client.ask(name) for name in names]
            if now_ms() < ends_ms - 500:  # else this machine has slept
                assert all(each.authority[0].ttl <= 3 for each in replies)
            eventually(lambda: all(client.ask(name).answer for name in names))
        load(chain, order(1, TARGETS))

    @pytest.mark.long
    def test_after_a_stop_the_name_resolves_again_within_30_seconds(self, chain, strict):
        plain = ("evil.plain.example", "www.fraud.example", "host.plain.example")
        names = (*plain, "evil.signed.example", "host.signed.example")
        for name in names:
            assert strict.ask(name).answer == []
        load(chain)
        eventually(lambda: all(strict.ask(name).answer for name in names), within_seconds=30)
        load(chain, order(1, TARGETS))


def load(chain, *orders):
    """Hand the gate a newer table with these orders."""
    chain.size = getattr(chain, "size", 100) + 1
    chain.gate.load(compiled(chain.base / "newer", *orders, core=CORE, ledger_size=chain.size))
