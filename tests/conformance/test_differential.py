"""Thousands of mixed queries through the gate and past it: where nothing is blocked, no difference.

The resolver is an Unbound that validates signed and unsigned zones. Ids, TTLs and the order of
records apart, what comes through the gate, fresh or from its cache, is what the resolver says.
"""

import random

import dns.flags
import dns.message
import dns.rdatatype
import pytest

from tests.backends.gate_tables import order
from tests.conformance.client import Client, extended_errors, mixed_case, question
from tests.conformance.signed import Unbound, make_hierarchy, resolver
from tests.conformance.world import gate_before

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(Unbound.EXECUTABLE is None, reason="unbound is not installed"),
]

QUERIES = 2_000
ZONES = ("signed.example", "cut.signed.example", "plain.example", "fraud.example", "example", "")
HOSTS = (
    "", "www", "mail", "ns", "alias", "toevil", "a.moved", "x.moved", "moved", "a.sub", "sub",
    "one.wild", "two.three.wild", "wild", "_svc._tcp", "_tcp", "txt", "many", "evil", "host",
    "none", "deep.below.none", "zzz", "*.wild",
)  # fmt: skip
TYPES = (
    "A", "AAAA", "MX", "TXT", "NS", "SOA", "SRV", "HTTPS", "SVCB", "DNAME", "DS", "DNSKEY",
    "PTR", "CAA", "TYPE65280",
)  # fmt: skip
FLAGS = dns.flags.QR | dns.flags.AA | dns.flags.RD | dns.flags.RA | dns.flags.AD | dns.flags.CD


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A client of the gate and one of the resolver behind it."""
    base = tmp_path_factory.mktemp("differential")
    base.chmod(0o755)
    with (
        resolver(base / "resolver", make_hierarchy(base)) as unbound,
        gate_before(base, unbound.place, orders=[order(1, b"exact blocked.test\n")]) as gate,
    ):
        yield Client(gate.place), Client(unbound.place)


def draw(chance):
    """Return a query as some client might send it, and whether over TCP."""
    name = ".".join(filter(None, (chance.choice(HOSTS), chance.choice(ZONES)))) + "."
    flags = dns.flags.RD
    flags |= chance.choice((0, 0, 0, dns.flags.CD))
    flags |= chance.choice((0, 0, dns.flags.AD))
    edns = chance.random() < 0.75
    query = question(
        mixed_case(name) if chance.random() < 0.3 else name,
        chance.choice(TYPES),
        flags=flags,
        edns=edns,
        octets=chance.choice((512, 1_232, 1_232, 4_096)),
        dnssec_ok=chance.random() < 0.4,
    )
    query.id = chance.randrange(65_536)
    return query, chance.random() < 0.2


def told(reply):
    """Return all that a client is told, without ids, TTLs and order."""
    return {
        "rcode": reply.rcode(),
        "flags": dns.flags.to_text(reply.flags & FLAGS),
        "has_errors": bool(extended_errors(reply)),  # which one depends on what was asked before
        "edns": (reply.edns, reply.ednsflags),
        **{
            section: {
                f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)} {rdata}".lower()
                for rrset in getattr(reply, section)
                for rdata in rrset
            }
            for section in ("answer", "authority", "additional")
        },
    }


def asked(client, query, tcp):
    """Return the whole answer: over TCP where the one over UDP was cut (RFC 7766 §5)."""
    reply = client.send(query, tcp=tcp)
    if reply.flags & dns.flags.TC:
        reply = client.send(query, tcp=True)
    return reply


@pytest.mark.parametrize("seed", [0])
def test_the_gate_says_what_the_resolver_says(both, seed):
    gate, unbound = both
    chance = random.Random(seed)
    for number in range(QUERIES):
        query, tcp = draw(chance)
        through = told(asked(gate, query, tcp))
        direct = told(asked(unbound, query, tcp))
        assert through == direct, f"query {number} of seed {seed}:\n{query}"


def test_what_is_cut_for_one_is_cut_for_the_other_where_it_cannot_fit(both):
    gate, unbound = both
    for zone in ("signed.example", "plain.example"):
        for octets in (512, 1_232):
            for dnssec_ok in (False, True):
                query = question(f"many.{zone}", "TXT", octets=octets, dnssec_ok=dnssec_ok)
                cut = [bool(each.send(query).flags & dns.flags.TC) for each in (gate, unbound)]
                assert cut == [True, True]
