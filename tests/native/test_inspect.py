"""What becomes of a response that leads to something blocked, and of one that leads nowhere."""

from __future__ import annotations

import pytest

from enforcer._native.probe_message import World
from tests.messages import (
    CNAME,
    QNAME,
    A,
    name,
    query,
    record,
    response,
)
from tests.tables import compile_bytes, order_row, target_list

T_MS = 1500
TEXT = target_list("subtree bad.example", "exact only.example", "subtree zone.bad-dname.example")
TABLE = compile_bytes(
    [(order_row(3, TEXT), TEXT)], protected=target_list("subtree good.bad.example")
)
WORLD = World(TABLE)
PLAIN = bytes([192, 0, 2, 1])


def inspect(answered: bytes, asked: bytes | None = None) -> tuple[str, dict[str, object]]:
    return WORLD.inspect(asked or query(), answered, T_MS)


def cname(owner: str | bytes, target: str) -> bytes:
    return record(owner if isinstance(owner, bytes) else name(owner), CNAME, name(target))


def chain(*names: str) -> list[bytes]:
    """Return the CNAME records that lead from the qname along `names`."""
    owners = [QNAME, *map(name, names)]
    return [
        record(owner, CNAME, name(target)) for owner, target in zip(owners, names, strict=False)
    ]


def test_an_answer_that_leads_nowhere_blocked_passes():
    assert inspect(response([record(QNAME, A, PLAIN)])) == ("PASS", {})
    assert inspect(response([*chain("ok.example"), record(name("ok.example"), A, PLAIN)]))[0] == (
        "PASS"
    )


@pytest.mark.parametrize("before", [(), ("a.example",), ("a.example", "b.example")])
@pytest.mark.parametrize("behind", [(), ("c.example",), ("other.bad.example",)])
def test_the_first_blocked_link_of_a_chain_is_denied(before, behind):
    found, fields = inspect(response(chain(*before, "x.bad.example", *behind)))
    assert found == "BLOCK"
    assert (fields["order"], fields["links"]) == (3, len(before) + 1)
    assert (fields["name"], fields["zone"]) == (name("x.bad.example"), name("bad.example"))
    assert not fields["is_address"]


def test_the_order_of_the_records_does_not_matter():
    records = chain("a.example", "b.example", "x.bad.example")
    expected = inspect(response(records))
    for shuffled in (records[::-1], [*records[1:], records[0]]):
        assert inspect(response(shuffled))[1]["links"] == expected[1]["links"]


def test_a_protected_link_passes_and_vouches_for_nothing_behind_it():
    assert inspect(response(chain("www.good.bad.example")))[0] == "PASS"
    assert inspect(response(chain("www.good.bad.example", "bad.example")))[0] == "BLOCK"


def test_a_chain_of_sixteen_links_passes_and_a_longer_one_is_broken():
    links = [f"n{number}.example" for number in range(17)]
    assert inspect(response(chain(*links[:16])))[0] == "PASS"
    assert inspect(response(chain(*links)))[0] == "BROKEN"


@pytest.mark.parametrize("loop", [("www.example.org",), ("a.example", "www.example.org")])
def test_a_loop_is_broken(loop):
    assert inspect(response(chain(*loop)))[0] == "BROKEN"
