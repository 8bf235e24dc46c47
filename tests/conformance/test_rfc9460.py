"""RFC 9460: SVCB and HTTPS records name hosts and addresses, and so are judged."""

from hashlib import sha256

import dns.rcode
import dns.rdatatype
import pytest

from tests.conformance.client import answers
from tests.conformance.upstream import records
from tests.conformance.world import BAD_ADDRESS, BAD_ADDRESS6

ECH = (  # a list with one configuration
    "AEj+DQBEAQAgACAdd+scUi0IYFsXnUIU7ko2Nd9+F8M26pAG"
    "ZVpz/KrWPgAEAAEAAWQVZWNoLXNpdGVzLmV4YW1wbGUubmV0AAA="
)
TYPES = pytest.mark.parametrize("rdtype", ["HTTPS", "SVCB"])


@TYPES
@pytest.mark.parametrize(
    "rdata",
    [
        '1 . alpn="h2,h3" ipv4hint="192.0.2.1" ipv6hint="2001:db8::1"',
        f'16 foo.svc.example. port="8443" ech="{ECH}"',
        '2 . mandatory="alpn" alpn="h2" key65000="blob"',
        "0 pool.svc.example.",
    ],
)
def test_what_is_not_blocked_passes_octet_for_octet(client, upstream, rdtype, rdata):
    name = f"{sha256(rdata.encode()).hexdigest()[:8]}{rdtype.lower()}.svc.example"
    upstream.says(name, rdtype, f"{name}. 60 {rdtype} {rdata}")
    for _ in range(2):
        assert client.ask(name, rdtype).answer == records(f"{name}. 60 {rdtype} {rdata}")
    assert len(upstream.asked(name)) == 1


@TYPES
def test_a_blocked_name_has_no_service(client, upstream, rdtype):
    for name, rcode in (
        ("www.blocked.example", dns.rcode.NXDOMAIN),
        ("host.exact.example", dns.rcode.NOERROR),
        ("www.page.example", dns.rcode.NOERROR),  # a page is an address, not a service
    ):
        reply = client.ask(name, rdtype)
        assert (reply.rcode(), reply.answer) == (rcode, [])
        assert upstream.asked(name, rdtype) == []


@TYPES
@pytest.mark.parametrize("priority", [0, 1])
def test_a_service_at_a_blocked_name_is_not_named(client, upstream, rdtype, priority):
    name = f"target{priority}{rdtype.lower()}.svc.example"
    upstream.says(name, rdtype, f"{name}. 60 {rdtype} {priority} www.blocked.example.")
    for _ in range(2):
        assert client.ask(name, rdtype).answer == []


@TYPES
@pytest.mark.parametrize(
    "hint",
    [
        f'ipv4hint="{BAD_ADDRESS}"',
        f'ipv4hint="192.0.2.1,{BAD_ADDRESS}"',
        f'ipv6hint="{BAD_ADDRESS6}"',
        'ipv6hint="64:ff9b::c633:6442"',
        f'alpn="h2" port="1" ipv4hint="192.0.2.1" ipv6hint="2001:db8::1,{BAD_ADDRESS6}"',
    ],
)
def test_a_blocked_address_is_no_hint(client, upstream, rdtype, hint):
    name = f"{sha256(hint.encode()).hexdigest()[:8]}{rdtype.lower()}.svc.example"
    upstream.says(name, rdtype, f"{name}. 60 {rdtype} 1 . {hint}")
    for _ in range(2):
        reply = client.ask(name, rdtype)
        assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])


@TYPES
def test_one_bad_record_among_good_ones_blocks_the_answer(client, upstream, rdtype):
    name = f"among{rdtype.lower()}.svc.example"
    upstream.says(
        name,
        rdtype,
        f"{name}. 60 {rdtype} 1 good.svc.example.",
        f"{name}. 60 {rdtype} 2 www.blocked.example.",
    )
    assert client.ask(name, rdtype).answer == []


@TYPES
def test_behind_an_alias_too(client, upstream, rdtype):
    name = f"alias{rdtype.lower()}.svc.example"
    upstream.says(
        name,
        rdtype,
        f"{name}. 60 CNAME end.svc.example.",
        f"end.svc.example. 60 {rdtype} 1 www.blocked.example.",
    )
    reply = client.ask(name, rdtype)
    assert answers(reply) == [f"{name}. CNAME end.svc.example."]


@TYPES
def test_addresses_that_come_along_do_not_leak(client, upstream, rdtype):
    name = f"along{rdtype.lower()}.svc.example"
    upstream.says(
        name,
        rdtype,
        f"{name}. 60 {rdtype} 1 host.svc.example.",
        additional=[f"host.svc.example. 60 A {BAD_ADDRESS}"],
    )
    for _ in range(2):
        assert BAD_ADDRESS not in client.ask(name, rdtype).to_text()
