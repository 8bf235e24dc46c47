"""Small changes laid over a gate's base: what they add, end, survive, and what is refused."""

import os
from contextlib import closing
from dataclasses import replace

import pytest
from dnslib import DNSRecord

from enforcer.errors import ConflictError, IntegrityError
from tests.backends.gate_client import Asking, query
from tests.backends.gate_tables import compiled, laid_over, now_ms, order
from tests.waiting import eventually

NXDOMAIN = 3
BLOCKED, NEW = order(7), order(9, b"subtree new.example\n")


def is_blocked(gate, name):
    with closing(Asking(gate.place)) as asking:
        return DNSRecord.parse(asking.ask(query(name))).header.rcode == NXDOMAIN


@pytest.fixture
def base(tmp_path):
    return compiled(tmp_path / "base", BLOCKED)


@pytest.fixture
def loaded(gate, base):
    gate.load(base)
    return gate


def kept(gate):
    return gate.control.parent / "state" / "last-good.overlay"


def test_an_overlay_adds_an_order_and_says_so(loaded, base, tmp_path):
    report = loaded.overlay(laid_over(tmp_path / "o", base, BLOCKED[0], new=[NEW]))
    assert is_blocked(loaded, "new.example")
    assert is_blocked(loaded, "www.blocked.example")
    assert report.rows == (BLOCKED[0], NEW[0])
    assert report.ledger_size == 101
    assert report.overlay_sha256 != "" != report.body_sha256
    assert (
        loaded.say(b'{"op":"check","qname":"new.example","qtype":1}')["check"]["order_index"] == 9
    )
    counters = loaded.status().counters
    assert (counters["tables_loaded"], counters["overlays_loaded"]) == (1, 1)


def test_an_overlay_ends_an_order_of_the_base(loaded, base, tmp_path):
    loaded.overlay(laid_over(tmp_path / "o", base))
    assert not is_blocked(loaded, "www.blocked.example")
    ends_ms = now_ms() + 500
    shorter = replace(BLOCKED[0], until_ms=ends_ms)
    loaded.overlay(laid_over(tmp_path / "o", base, shorter, ledger_size=102))
    eventually(lambda: now_ms() > ends_ms)
    assert not is_blocked(loaded, "www.blocked.example")


def test_base_and_overlay_can_come_together(gate, base, tmp_path):
    report = gate.load(base, laid_over(tmp_path / "o", base, new=[NEW]))
    assert report.rows == (NEW[0],)
    assert is_blocked(gate, "new.example")
    assert not is_blocked(gate, "www.blocked.example")


def test_a_new_base_drops_the_overlay(loaded, base, tmp_path):
    loaded.overlay(laid_over(tmp_path / "o", base))
    report = loaded.load(compiled(tmp_path / "b", BLOCKED, ledger_size=102))
    assert report.overlay_sha256 == ""
    assert is_blocked(loaded, "www.blocked.example")
    eventually(lambda: not kept(loaded).exists())


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"base_sha256": "ab" * 32}, IntegrityError),
        ({"origin": "ledger.example.org/two"}, IntegrityError),
        ({"ledger_size": 99}, ConflictError),
        ({"ledger_size": 100, "time_floor_ms": 1}, ConflictError),
    ],
)
def test_what_does_not_belong_over_the_base_is_refused_and_counted(
    loaded, base, tmp_path, change, error
):
    with pytest.raises(error, match="refused"):
        loaded.overlay(laid_over(tmp_path / "o", base, new=[NEW], **change))
    refused(loaded)


def test_an_overlay_older_than_the_one_in_use_is_refused(loaded, base, tmp_path):
    loaded.overlay(laid_over(tmp_path / "a", base, BLOCKED[0], ledger_size=105))
    with pytest.raises(ConflictError, match="older"):
        loaded.overlay(laid_over(tmp_path / "b", base, new=[NEW], ledger_size=104))
    refused(loaded)


@pytest.mark.parametrize("octets", [b"", b"garbage" * 999, bytes(4_096)])
def test_garbage_is_refused_and_counted(loaded, tmp_path, octets):
    path = tmp_path / "o"
    path.write_bytes(octets)
    with pytest.raises(IntegrityError, match="refused"):
        loaded.overlay(path)
    refused(loaded)


def test_an_overlay_that_can_change_or_is_missing_is_refused(loaded, base, tmp_path):
    octets = laid_over(tmp_path / "o", base, new=[NEW]).read_bytes()
    memory = os.memfd_create("open", os.MFD_ALLOW_SEALING)
    os.write(memory, octets)
    assert "not in sealed" in loaded.say(b'{"op":"overlay"}', fds=[memory])["refusal"]["message"]
    assert loaded.say(b'{"op":"overlay"}')["refusal"]["kind"] == "InputError"
    assert loaded.status().counters["tables_refused"] == 2


def test_without_a_base_there_is_nothing_to_lie_over(gate, base, tmp_path):
    with pytest.raises(IntegrityError, match="no base"):
        gate.overlay(laid_over(tmp_path / "o", base, new=[NEW]))


def test_a_killed_gate_has_its_overlay_again(loaded, base, tmp_path):
    before = loaded.overlay(laid_over(tmp_path / "o", base, new=[NEW]))
    eventually(lambda: kept(loaded).exists())
    loaded.end(9)
    loaded.start()
    report = loaded.status()
    assert (report.body_sha256, report.overlay_sha256) == (
        before.body_sha256,
        before.overlay_sha256,
    )
    assert is_blocked(loaded, "new.example")
    assert not is_blocked(loaded, "www.blocked.example")


@pytest.mark.parametrize("damage", ["garbage", "absent", "of another base"])
def test_a_damaged_overlay_on_the_disk_leaves_the_base(loaded, base, tmp_path, damage):
    loaded.overlay(laid_over(tmp_path / "o", base, new=[NEW]))
    loaded.end()
    assert kept(loaded).exists()
    if damage == "garbage":
        kept(loaded).write_bytes(b"garbage" * 999)
    elif damage == "absent":
        kept(loaded).unlink()
    else:
        kept(loaded).write_bytes(
            laid_over(tmp_path / "p", base, base_sha256="ab" * 32).read_bytes()
        )
    loaded.start()
    assert is_blocked(loaded, "www.blocked.example")
    assert not is_blocked(loaded, "new.example")
    assert ('"last_good_overlay_refused"' in loaded.log.read_text()) == (damage != "absent")


def refused(gate):
    """See that nothing has changed but the count."""
    assert gate.status().counters["tables_refused"] == 1
    assert is_blocked(gate, "www.blocked.example")
    assert not is_blocked(gate, "new.example")
