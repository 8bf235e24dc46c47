"""Every field of the answer to a query whose response leads to something blocked."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from dnslib import DNSRecord

from enforcer._native import probe_message
from enforcer._native.probe_message import World
from tests.messages import (
    AAAA,
    CNAME,
    DNAME,
    DO_OPT,
    HTTPS,
    QNAME,
    ROOT,
    ROOT_OPT,
    RRSIG,
    SOA,
    A,
    chain,
    name,
    query,
    record,
    response,
    svcb,
)
from tests.tables import compile_bytes, order_row, target_list

T_MS = 1500
TEXT = target_list("subtree bad.example", "exact only.example", "ip 198.51.100.9")
ORDERS = [(order_row(3, TEXT), TEXT)]
WORLD = World(compile_bytes(ORDERS))
BAD4 = bytes([198, 51, 100, 9])
LONG_DOMAIN = ".".join(["r" * 60] * 3 + ["s" * 29, "example"])
CUT, EDNS_EDE = 0x0200, 15


def blocked(answered: bytes, asked: bytes | None = None, *, world: World = WORLD, **arguments):
    found, fields = world.inspect(asked or query(), answered, T_MS, **arguments)
    assert found == "BLOCK"
    return fields["answer"]


def records(part) -> list[tuple[str, int, int]]:
    return [(str(one.rname), one.rtype, one.ttl) for one in part]


def flags(wire: bytes) -> int:
    return struct.unpack_from("!H", wire, 2)[0]


def rrsig(owner: bytes, covered: int, *, signer: bytes | None = None) -> bytes:
    fixed = struct.pack("!HBBIIIH", covered, 13, 3, 300, 2**31, 2**30, 7)
    return record(owner, RRSIG, fixed + (signer or name("example.org")) + bytes(64))


def test_the_links_stand_before_what_the_blocked_name_itself_is_answered():
    wire = blocked(response(chain("a.example", "www.bad.example", "behind.example")))
    answer = DNSRecord.parse(wire)
    assert records(answer.rr) == [
        ("www.example.org.", CNAME, 30),
        ("a.example.", CNAME, 30),
    ]
    assert [str(one.rdata) for one in answer.rr] == ["a.example.", "www.bad.example."]
    assert records(answer.auth) == [("bad.example.", SOA, 30)]
    assert str(answer.auth[0].rdata).startswith("XX-2026-000003.register.example.org.")
    assert flags(wire) == 0x8183  # NXDOMAIN is said of the chain's end
    assert b"behind" not in wire


def test_an_exact_target_at_the_end_of_the_chain_is_nodata():
    wire = blocked(response(chain("only.example")))
    assert (flags(wire), records(DNSRecord.parse(wire).auth)) == (
        0x8180,
        [("only.example.", SOA, 30)],
    )


def test_a_blocked_address_is_nodata_at_the_name_that_has_it():
    answered = response([*chain("cdn.example"), record(name("cdn.example"), A, BAD4)])
    answer = DNSRecord.parse(blocked(answered))
    assert (answer.header.rcode, records(answer.rr)) == (0, [("www.example.org.", CNAME, 30)])
    assert records(answer.auth) == [("cdn.example.", SOA, 30)]


def test_a_blocked_hint_is_nodata_at_the_qname():
    answered = response([svcb(QNAME, ROOT, (4, BAD4))], qtype=HTTPS)
    answer = DNSRecord.parse(blocked(answered, query(qtype=HTTPS)))
    assert (answer.rr, records(answer.auth)) == ([], [("www.example.org.", SOA, 30)])


def test_the_links_keep_a_ttl_that_is_shorter_than_the_blocks():
    answered = response([record(QNAME, CNAME, name("bad.example"), ttl=5)])
    assert records(DNSRecord.parse(blocked(answered)).rr) == [("www.example.org.", CNAME, 5)]


def test_the_question_is_the_clients_in_its_own_case():
    asked = query("wWw.eXample.ORG")
    wire = blocked(response(chain("bad.example")), asked)
    assert wire[12:33] == asked[12:33]


def test_the_id_and_rd_and_cd_are_the_clients_and_ad_is_clear():
    asked = b"\xbe\xef\x01\x30" + query()[4:]
    wire = blocked(response(chain("bad.example"), flags=0x81A0), asked)
    assert wire[:2] == b"\xbe\xef"
    assert flags(wire) == 0x8193


def test_the_error_says_why_only_where_the_query_had_edns():
    with_edns = DNSRecord.parse(blocked(response(chain("bad.example"))))
    assert [(option.code, option.data[:16]) for option in with_edns.ar[0].rdata] == [
        (EDNS_EDE, b"\0\x10XX-2026-000003")
    ]
    without = blocked(response(chain("bad.example")), query(opt=None))
    assert DNSRecord.parse(without).ar == []


def test_a_page_is_the_address_of_the_blocked_link():
    page = ip_address("192.0.2.80").packed
    wire = blocked(response(chain("www.bad.example")), page=page)
    answer = DNSRecord.parse(wire)
    assert records(answer.rr) == [("www.example.org.", CNAME, 30), ("www.bad.example.", A, 30)]
    assert (str(answer.rr[1].rdata), answer.auth, flags(wire)) == ("192.0.2.80", [], 0x8180)
    page = ip_address("2001:db8::80").packed
    answered = response(chain("www.bad.example"), qtype=AAAA)
    assert str(DNSRecord.parse(blocked(answered, query(qtype=AAAA), page=page)).rr[1].rdata) == (
        "2001:db8::80"
    )


def test_a_dname_stands_before_the_alias_made_from_it_whether_or_not_that_was_sent():
    dname = record(name("example.org"), DNAME, name("bad.example"))
    for sent in ([dname], [dname, *chain("www.bad.example")]):
        answer = DNSRecord.parse(blocked(response(sent)))
        assert records(answer.rr) == [("example.org.", DNAME, 30), ("www.example.org.", CNAME, 30)]
        assert records(answer.auth) == [("bad.example.", SOA, 30)]


def test_signatures_of_the_links_stand_where_the_client_asked_for_them():
    sent = [
        record(name("example.org"), DNAME, name("a.example")),
        rrsig(name("example.org"), DNAME),
        record(QNAME, CNAME, name("www.a.example")),
        record(name("www.a.example"), CNAME, name("bad.example")),
        rrsig(name("www.a.example"), CNAME),
        rrsig(name("www.a.example"), A),
        rrsig(name("else.example"), CNAME),
        rrsig(name("www.a.example"), CNAME, signer=QNAME),  # compressed, as it must not be
    ]
    signed = DNSRecord.parse(blocked(response(sent), query(opt=DO_OPT)))
    assert records(signed.rr) == [
        ("example.org.", DNAME, 30),
        ("example.org.", RRSIG, 30),
        ("www.example.org.", CNAME, 30),
        ("www.a.example.", CNAME, 30),
        ("www.a.example.", RRSIG, 30),
    ]
    plain = DNSRecord.parse(blocked(response(sent)))
    assert [one.rtype for one in plain.rr] == [DNAME, CNAME, CNAME]


def long_name(number: int, zone: str = "ok.example") -> str:
    return f"n{number}." + ".".join(["x" * 60] * 3) + "." + zone


def test_what_does_not_fit_over_udp_is_cut_and_fits_over_tcp():
    links = [long_name(number) for number in range(6)]
    answered = response(chain(*links, "bad.example"))
    cut = blocked(answered, room=1232)
    assert (flags(cut), DNSRecord.parse(cut).rr, DNSRecord.parse(cut).auth) == (0x8380, [], [])
    assert DNSRecord.parse(cut).ar[0].rdata[0].code == EDNS_EDE
    whole = DNSRecord.parse(blocked(answered, room=65535))
    assert (len(whole.rr), records(whole.auth)) == (7, [("bad.example.", SOA, 30)])


@pytest.mark.parametrize("opt", [None, ROOT_OPT, DO_OPT])
def test_no_room_is_too_small_and_none_is_overrun(opt):
    for register_domain in ("example.org", LONG_DOMAIN):
        world = World(compile_bytes(ORDERS, register_domain=register_domain))
        sent = [*chain(long_name(1), long_name(2), "www.bad.example"), rrsig(QNAME, CNAME)]
        for page, sort in ((b"", "NXDOMAIN"), (bytes(4), "DATA")):
            kinds = set()
            for room in range(512, 1400):
                wire = blocked(response(sent), query(opt=opt), world=world, room=room, page=page)
                kind, fields = probe_message.read(wire)
                assert (kind, len(wire) <= room) == ("WHOLE", True)
                kinds.add(fields["sort"])
            assert kinds in ({"CUT", sort}, {sort})


def test_the_registers_domain_stays_where_it_fits_and_the_text_where_it_fits_beside():
    world = World(compile_bytes(ORDERS, register_domain=LONG_DOMAIN))
    answered = response(chain(long_name(1, "bad.example")))

    def seen(room: int) -> tuple[bool, bool, bool]:
        wire = blocked(answered, world=world, room=room)
        return b"https://" in wire, name(LONG_DOMAIN) in wire, not flags(wire) & CUT

    steps = [seen(room) for room in range(512, 800)]
    assert sorted(set(steps), key=steps.index) == [
        (True, False, True),
        (False, True, True),
        (True, True, True),
    ]


def test_links_beyond_the_reach_of_pointers_are_cut():
    signatures = [rrsig(QNAME, CNAME) for _ in range(200)]
    wire = blocked(response([*chain("bad.example"), *signatures]), query(opt=DO_OPT), room=65535)
    assert flags(wire) & CUT
