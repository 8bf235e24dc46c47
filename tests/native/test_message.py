"""What the gate takes from an upstream's message, and what it refuses."""

from __future__ import annotations

import pytest

from enforcer._native import probe_message as message
from tests.messages import (
    AAAA,
    CNAME,
    HTTPS,
    MX,
    NS,
    PTR,
    QNAME,
    ROOT_OPT,
    SRV,
    A,
    name,
    record,
    response,
    soa,
    svcb,
)


def read(wire: bytes) -> dict[str, object]:
    kind, fields = message.read(wire)
    assert kind == "WHOLE"
    return fields


def test_an_answer_is_data_kept_for_its_least_ttl():
    fields = read(
        response(
            [
                record(QNAME, CNAME, name("a.example.net"), ttl=400),
                record(name("a.example.net"), A, bytes(4), ttl=70),
            ]
        )
    )
    assert (fields["sort"], fields["ttl_seconds"], fields["is_cacheable"]) == ("DATA", 70, True)
    assert (fields["counts"], fields["has_links"]) == ((2, 0, 0), True)


@pytest.mark.parametrize(("ttl", "kept"), [(2**31 - 1, 2**31 - 1), (2**31, 0), (2**32 - 1, 0)])
def test_a_ttl_with_its_first_bit_set_is_none(ttl, kept):
    assert read(response([record(QNAME, A, bytes(4), ttl=ttl)]))["ttl_seconds"] == kept


@pytest.mark.parametrize(("ttl", "minimum", "kept"), [(900, 60, 60), (30, 60, 30), (0, 60, 0)])
@pytest.mark.parametrize(("flags", "sort"), [(0x8180, "NODATA"), (0x8183, "NXDOMAIN")])
def test_a_denial_is_kept_as_long_as_its_soa_says(flags, sort, ttl, minimum, kept):
    fields = read(response([], [soa(ttl=ttl, minimum=minimum)], flags=flags))
    assert (fields["sort"], fields["ttl_seconds"]) == (sort, kept)
    assert fields["is_cacheable"] == (kept > 0)


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        (b"", "RUNT"),
        (bytes(11), "RUNT"),
        (response(flags=0x0180), "QUERY"),
        (response(flags=0xA180), "QUERY"),
        (response() + b"\0", "MALFORMED"),
        (response(counts=(1, 0, 0)), "MALFORMED"),
    ],
)
def test_what_is_no_whole_response_says_why(wire, kind):
    assert message.read(wire) == (kind, {})


def test_the_opt_and_what_stands_behind_it_are_left_off():
    before = response([record(QNAME, A, bytes(4))], [], [record(name("x.example"), A, bytes(4))])
    wire = response(
        [record(QNAME, A, bytes(4))],
        [],
        [record(name("x.example"), A, bytes(4)), ROOT_OPT, record(b"\0", 250, b"")],
    )
    fields = read(wire)
    assert (fields["octets"], fields["counts"]) == (len(before), (1, 0, 1))


def test_without_its_additional_section_a_response_is_shorter_and_has_fewer_ttls():
    more = [record(name("x.example"), A, bytes(4)), ROOT_OPT]
    kind, fields = message.read(
        response([record(QNAME, A, bytes(4))], [soa()], more), without_additionals=True
    )
    shorter = response([record(QNAME, A, bytes(4))], [soa()])
    assert (kind, fields["octets"], fields["counts"]) == ("WHOLE", len(shorter), (1, 1, 0))
    assert fields["ttl_at"] == read(shorter)["ttl_at"]


@pytest.mark.parametrize(
    "sections",
    [
        ([ROOT_OPT], [], []),
        ([], [ROOT_OPT], []),
        ([], [], [ROOT_OPT, ROOT_OPT]),
        ([], [], [name("x.example") + ROOT_OPT[1:]]),
        ([], [], [ROOT_OPT[:-2] + b"\0\3\0\x0f\0"]),
    ],
)
def test_an_opt_that_is_not_one_whole_one_in_its_place_is_malformed(sections):
    assert message.read(response(*sections))[0] == "MALFORMED"


HERE = 33  # where the first record of these responses starts


@pytest.mark.parametrize("target", [0, 11, HERE, HERE + 2, HERE + 40, 0x3FFF])
def test_a_pointer_that_does_not_lead_back_into_the_message_is_malformed(target):
    owner = bytes([0xC0 | target >> 8, target & 0xFF])
    assert message.read(response([record(owner, A, bytes(4))]))[0] == "MALFORMED"


def test_a_name_that_leads_back_into_itself_is_malformed():
    for owner in (
        b"\1a" + bytes([0xC0, HERE]),
        b"\1a" + bytes([0xC0, HERE + 2]),
        b"\2\0a" + bytes([0xC0, HERE + 1]),  # into its own label, where a root stands
    ):
        assert message.read(response([record(owner, A, bytes(4))]))[0] == "MALFORMED"


def test_a_name_of_255_octets_is_read_and_a_longer_expansion_is_malformed():
    long = b"".join(bytes([octets]) + b"x" * octets for octets in (63, 63, 63, 44))
    for more, kind in ((b"", "WHOLE"), (b"\1y", "MALFORMED")):
        owner = more + long + QNAME  # 237 and 17 octets, and the root
        assert message.read(response([record(owner, A, bytes(4))]))[0] == kind


def test_a_name_of_more_pointers_than_labels_can_be_is_malformed():
    for hops, kind in ((126, "WHOLE"), (127, "MALFORMED")):
        steps = [HERE + 10 + 1 + 2 * hop for hop in range(hops)]
        targets = [12, *steps[:-1]]
        nest = b"".join(bytes([0xC0 | at >> 8, at & 0xFF]) for at in targets)
        first = record(b"\0", 16, nest)
        last = bytes([0xC0 | steps[-1] >> 8, steps[-1] & 0xFF])
        fields = message.read(response([first, record(last, A, bytes(4))]))
        assert fields[0] == kind


def test_a_name_that_runs_through_a_ttl_is_read_and_never_kept():
    """A TTL is counted down where it stands: the name would become another."""
    ttl_at = HERE + 2 + 4
    for ttl, rest in ((0x01610000, b""), (0x01780161, b"")):
        first = record(QNAME, A, b"\0" * 4, ttl=ttl) + rest
        second = record(bytes([0xC0, ttl_at]), CNAME, name("a.example"))
        fields = read(response([first, second]))
        assert (fields["is_cacheable"], fields["ttl_seconds"]) == (False, 0)
    ordinary = record(QNAME, CNAME, name("a.example"))
    behind = record(bytes([0xC0, HERE + 12]), A, bytes(4))
    assert read(response([ordinary, behind]))["is_cacheable"]


def test_a_compressed_target_name_is_malformed():
    for target, kind in ((name("a.example"), "WHOLE"), (b"\1a" + QNAME, "MALFORMED")):
        assert message.read(response([svcb(QNAME, target)], qtype=HTTPS))[0] == kind


@pytest.mark.parametrize(("rrtype", "octets"), [(A, 3), (A, 5), (A, 0), (AAAA, 4), (AAAA, 17)])
def test_an_address_of_another_length_is_malformed(rrtype, octets):
    assert message.read(response([record(QNAME, rrtype, bytes(octets))]))[0] == "MALFORMED"


def test_five_hundred_and_twelve_records_are_kept_and_more_are_only_served():
    for count, is_cacheable in ((512, True), (513, False)):
        fields = read(response([record(QNAME, A, bytes(4))] * count))
        assert (fields["is_cacheable"], fields["has_links"]) == (is_cacheable, True)
        assert fields["counts"] == (count, 0, 0)


def test_a_cut_answer_keeps_its_question_alone_whatever_follows():
    fields = read(response([record(QNAME, A, bytes(4))], flags=0x8380) + b"\xff")
    assert (fields["sort"], fields["octets"], fields["has_links"]) == ("CUT", HERE, False)


@pytest.mark.parametrize(("flags", "kept"), [(0x8182, 5), (0x8185, 0), (0x8186, 0)])
def test_an_error_keeps_its_question_alone(flags, kept):
    fields = read(response([record(QNAME, A, bytes(4))], [soa()], [ROOT_OPT], flags=flags))
    assert (fields["sort"], fields["octets"]) == ("ERROR", HERE)
    assert (fields["ttl_seconds"], fields["is_cacheable"]) == (kept, kept > 0)


def test_a_denial_without_a_soa_and_a_referral_are_never_kept():
    referral = read(response([], [record(QNAME, NS, name("ns.example"))]))
    assert (referral["sort"], referral["is_cacheable"]) == ("REFERRAL", False)
    for flags, sort in ((0x8180, "NODATA"), (0x8183, "NXDOMAIN")):
        fields = read(response(flags=flags))
        assert (fields["sort"], fields["is_cacheable"]) == (sort, False)


def test_the_upstreams_reasons_are_kept_and_nothing_else_of_its_opt():
    stale = b"\0\x0f\0\5\0\3old"
    cookie, subnet = b"\0\x0a\0\2ab", b"\0\x08\0\4\0\1\0\0"
    options = cookie + stale + subnet
    opt = ROOT_OPT[:-2] + bytes([0, len(options)]) + options
    assert read(response([], [], [opt]))["errors"] == stale


def test_every_type_with_a_name_in_it_is_read_up_to_that_names_end():
    before = {CNAME: 0, NS: 0, PTR: 0, MX: 2, SRV: 6, HTTPS: 2}
    for rrtype, octets in before.items():
        for end, kind in ((b"", "WHOLE"), (b"\1", "MALFORMED")):
            rdata = bytes(octets) + name("a.example") + end
            assert message.read(response([record(QNAME, rrtype, rdata)]))[0] == kind
