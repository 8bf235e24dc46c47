"""What becomes of a response that leads to something blocked, and of one that leads nowhere."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_address

import pytest

from enforcer._native.probe_message import World
from tests.messages import (
    AAAA,
    ANY,
    CNAME,
    DNAME,
    DS,
    HTTPS,
    MX,
    NS,
    QNAME,
    ROOT,
    SRV,
    TXT,
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
NODATA, NXDOMAIN = 2, 3
TEXT = target_list(
    "subtree bad.example", "exact only.example", "ip 198.51.100.9", "net 2001:db8:bad::/48"
)
TABLE = compile_bytes(
    [(order_row(3, TEXT), TEXT)], protected=target_list("subtree good.bad.example")
)
WORLD = World(TABLE, [IPv6Network("64:ff9b::/96")])
PLAIN = bytes([192, 0, 2, 1])
BAD4 = bytes([198, 51, 100, 9])
BAD6 = ip_address("2001:db8:bad::7").packed


def inspect(answered: bytes, *, qtype: int = A, qclass: int = 1, world: World = WORLD):
    return world.inspect(query(qtype=qtype, qclass=qclass), answered, T_MS)


def test_an_answer_that_leads_nowhere_blocked_passes():
    assert inspect(response([record(QNAME, A, PLAIN)])) == ("PASS", {})
    passing = response([*chain("ok.example"), record(name("ok.example"), A, PLAIN)])
    assert inspect(passing) == ("PASS", {})


@pytest.mark.parametrize("before", [(), ("a.example",), ("a.example", "b.example")])
@pytest.mark.parametrize("behind", [(), ("c.example",), ("other.bad.example",)])
def test_the_first_blocked_link_of_a_chain_is_denied(before, behind):
    found, fields = inspect(response(chain(*before, "x.bad.example", *behind)))
    assert found == "BLOCK"
    assert (fields["order"], fields["links"]) == (3, len(before) + 1)
    assert (fields["name"], fields["zone"]) == (name("x.bad.example"), name("bad.example"))
    assert not fields["is_address"]


@pytest.mark.parametrize(("target", "denial"), [("only.example", NODATA), ("x.only.example", 0)])
def test_an_exact_target_denies_the_link_alone(target, denial):
    found, fields = inspect(response(chain(target)))
    assert (found, fields.get("denial", 0)) == ("BLOCK" if denial else "PASS", denial)


def test_a_link_is_judged_for_the_type_that_was_asked():
    assert inspect(response(chain("only.example"), qtype=DS), qtype=DS)[0] == "PASS"


def test_the_order_of_the_records_does_not_matter():
    records = chain("a.example", "b.example", "x.bad.example")
    for shuffled in (records, records[::-1], [*records[1:], records[0]]):
        found, fields = inspect(response(shuffled))
        assert (found, fields["links"]) == ("BLOCK", 3)


def test_a_protected_link_passes_and_vouches_for_nothing_behind_it():
    assert inspect(response(chain("www.good.bad.example")))[0] == "PASS"
    assert inspect(response(chain("www.good.bad.example", "bad.example")))[0] == "BLOCK"


def test_a_chain_of_sixteen_links_passes_and_a_longer_one_is_broken():
    links = [f"n{number}.example" for number in range(17)]
    assert inspect(response(chain(*links[:16])))[0] == "PASS"
    assert inspect(response(chain(*links)))[0] == "BROKEN"


def test_more_aliases_than_anybody_follows_are_broken():
    beside = [record(name(f"n{i}.example"), CNAME, name("ok.example")) for i in range(65)]
    assert inspect(response(beside[:64]))[0] == "PASS"
    assert inspect(response(beside))[0] == "BROKEN"


@pytest.mark.parametrize("loop", [("www.example.org",), ("a.example", "www.example.org")])
def test_a_loop_is_broken(loop):
    assert inspect(response(chain(*loop)))[0] == "BROKEN"


def test_two_aliases_of_one_name_that_disagree_are_broken():
    two = [record(QNAME, CNAME, name("a.example")), record(QNAME, CNAME, name("b.example"))]
    assert inspect(response(two))[0] == "BROKEN"
    assert inspect(response([two[0], two[0]]))[0] == "PASS"


def test_data_beside_an_alias_hides_neither():
    beside = [record(QNAME, A, PLAIN), *chain("x.bad.example")]
    assert inspect(response(beside))[0] == "BLOCK"
    found, fields = inspect(response([record(QNAME, A, BAD4), *chain("ok.example")]))
    assert (found, fields["is_address"]) == ("BLOCK", True)


def test_a_dname_leads_on_without_the_alias_made_from_it():
    found, fields = inspect(response([record(name("org"), DNAME, name("bad.example"))]))
    assert (found, fields["links"]) == ("BLOCK", 1)
    assert fields["name"] == name("www.example.bad.example")


def test_an_alias_that_is_not_what_the_dname_makes_is_broken():
    dname = record(name("example.org"), DNAME, name("ok.example"))
    assert inspect(response([dname, *chain("www.ok.example")]))[0] == "PASS"
    assert inspect(response([dname, *chain("other.ok.example")]))[0] == "BROKEN"


def test_a_dname_does_not_lead_from_its_own_name_or_from_beside_it():
    for owner in ("www.example.org", "ww.example.org", "w.example.org", "a.www.example.org"):
        assert inspect(response([record(name(owner), DNAME, name("bad.example"))]))[0] == "PASS"


def test_the_name_of_a_dname_itself_is_not_what_it_leads_to():
    assert inspect(response([record(name("org"), DNAME, name("only.example"))]))[0] == "PASS"


def test_an_expansion_over_255_octets_is_broken_and_one_of_255_is_judged():
    # What example.org stands for leaves 4 octets for the label www.
    fits = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 45, "bad.example"])
    assert len(name(fits)) == 251
    found, fields = inspect(response([record(name("example.org"), DNAME, name(fits))]))
    assert (found, len(fields["name"])) == ("BLOCK", 255)
    over = fits.replace("d" * 45, "d" * 46)
    assert inspect(response([record(name("example.org"), DNAME, name(over))]))[0] == "BROKEN"


@pytest.mark.parametrize(
    ("rrtype", "rdata"),
    [
        (A, BAD4),
        (AAAA, BAD6),
        (AAAA, ip_address("::ffff:198.51.100.9").packed),
        (AAAA, ip_address("64:ff9b::c633:6409").packed),
    ],
)
@pytest.mark.parametrize("links", [(), ("a.example", "b.example")])
def test_a_blocked_address_leaves_the_end_of_the_chain_without_data(rrtype, rdata, links):
    end = (links or ("www.example.org",))[-1]
    records = [*chain(*links), record(name(end), rrtype, rdata)]
    found, fields = inspect(response(records, qtype=rrtype), qtype=rrtype)
    assert (found, fields["is_address"], fields["denial"]) == ("BLOCK", True, NODATA)
    assert (fields["links"], fields["name"], fields["zone"]) == (len(links), name(end), name(end))


@pytest.mark.parametrize(
    ("prefix", "address"),  # the examples of RFC 6052 §2.4, for 192.0.2.33
    [
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
    ],
)
def test_an_ipv4_address_behind_a_prefix_of_dns64_is_judged(prefix, address):
    text = target_list("ip 192.0.2.33")
    table = compile_bytes([(order_row(3, text), text)])
    others = [IPv6Network("64:ff9b::/96"), IPv6Network(prefix)]
    packed = bytearray(ip_address(address).packed)
    for octet_8 in {packed[8], 0xFF} if others[1].prefixlen < 96 else {packed[8]}:
        packed[8] = octet_8
        answered = response([record(QNAME, AAAA, bytes(packed))], qtype=AAAA)
        assert inspect(answered, qtype=AAAA, world=World(table, others))[0] == "BLOCK"
        assert inspect(answered, qtype=AAAA, world=World(table, others[:1]))[0] == "PASS"


@pytest.mark.parametrize("priority", [0, 1])
def test_a_blocked_target_name_leaves_the_owner_without_data(priority):
    records = [svcb(QNAME, name("svc.bad.example"), priority=priority)]
    found, fields = inspect(response(records, qtype=HTTPS), qtype=HTTPS)
    assert (found, fields["is_address"], fields["denial"]) == ("BLOCK", False, NODATA)
    assert (fields["links"], fields["zone"]) == (0, name("www.example.org"))


def test_a_target_name_of_the_root_is_no_other_name():
    for priority in (0, 1):
        records = [svcb(QNAME, ROOT, (1, b"\2h2"), priority=priority)]
        assert inspect(response(records, qtype=HTTPS), qtype=HTTPS)[0] == "PASS"


@pytest.mark.parametrize(
    "params",
    [
        [(4, BAD4)],
        [(4, PLAIN + BAD4)],
        [(6, BAD6)],
        [(6, bytes(16) + BAD6)],
        [(6, ip_address("64:ff9b::c633:6409").packed)],
        [(6, BAD6), (4, PLAIN), (1, b"\2h2")],  # unsorted
        [(4, PLAIN), (4, BAD4)],  # twice
        [(4, BAD4 + b"\1")],  # not whole
    ],
)
@pytest.mark.parametrize("priority", [0, 1])
def test_a_blocked_hint_is_found_wherever_it_stands(params, priority):
    records = [svcb(QNAME, ROOT, *params, priority=priority)]
    found, fields = inspect(response(records, qtype=HTTPS), qtype=HTTPS)
    assert (found, fields["is_address"]) == ("BLOCK", True)


def test_other_params_are_not_addresses():
    records = [svcb(QNAME, ROOT, (5, BAD4), (7, BAD6), (65280, BAD4))]
    assert inspect(response(records, qtype=HTTPS), qtype=HTTPS)[0] == "PASS"


def test_records_beside_the_chain_are_judged_as_if_they_stood_at_its_end():
    for beside in (
        record(name("x.bad.example"), A, PLAIN),
        record(name("else.example"), A, BAD4),
        record(name("else.example"), CNAME, name("x.bad.example")),
        svcb(name("else.example"), name("x.bad.example")),
    ):
        found, fields = inspect(response([*chain("ok.example"), beside]))
        assert (found, fields["links"], fields["zone"]) == ("BLOCK", 1, name("ok.example"))


def test_an_answer_to_any_is_judged_record_by_record():
    for one in (record(QNAME, A, BAD4), svcb(QNAME, name("bad.example")), *chain("bad.example")):
        records = [record(QNAME, TXT, b"\1x"), one]
        assert inspect(response(records, qtype=ANY), qtype=ANY)[0] == "BLOCK"


@pytest.mark.parametrize(
    ("rrtype", "rdata"),
    [
        (MX, b"\0\1" + name("bad.example")),
        (SRV, bytes(6) + name("bad.example")),
        (NS, name("bad.example")),
    ],
)
def test_names_that_a_client_must_ask_for_itself_are_not_judged(rrtype, rdata):
    assert inspect(response([record(QNAME, rrtype, rdata)], qtype=rrtype), qtype=rrtype)[0] == (
        "PASS"
    )


@pytest.mark.parametrize(
    "additional",
    [
        record(name("mail.example"), A, BAD4),
        record(name("mail.example"), AAAA, BAD6),
        record(name("x.bad.example"), A, PLAIN),
        record(name("mail.example"), CNAME, name("bad.example")),
        svcb(name("mail.example"), ROOT, (4, BAD4)),
        svcb(name("mail.example"), name("bad.example")),
    ],
)
def test_what_is_blocked_in_the_additional_section_alone_leaves_that_section_off(additional):
    mx = record(QNAME, MX, b"\0\1" + name("mail.example"))
    answered = response([mx], [], [record(name("ok.example"), A, PLAIN), additional], qtype=MX)
    assert inspect(answered, qtype=MX) == ("TRIM", {})


def test_other_classes_pass():
    assert inspect(response(chain("bad.example"), qclass=3), qclass=3)[0] == "PASS"
    assert inspect(response(chain("bad.example"), qclass=255), qclass=255)[0] == "BLOCK"


def test_a_denial_behind_a_blocked_link_is_the_blocks():
    for flags in (0x8180, 0x8183):
        assert inspect(response(chain("x.bad.example"), flags=flags))[0] == "BLOCK"


def test_an_error_has_no_records_to_judge():
    assert inspect(response(chain("x.bad.example"), flags=0x8182))[0] == "PASS"
