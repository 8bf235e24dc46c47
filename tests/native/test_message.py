"""What the gate takes from an upstream's message, and what it refuses."""

from __future__ import annotations

import pytest

from enforcer._native import probe_message as message
from tests.messages import CNAME, QNAME, ROOT_OPT, A, name, record, response, soa


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
