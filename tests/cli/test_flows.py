"""``enforcer flows`` on a ledger's directory: exit codes, words, and nobody named."""

import pytest

from enforcer.core.order import Measure
from enforcer.core.table import DnsMeasure, IpMeasure
from tests.flows import PLAIN, flow_set, ipfix, template
from tests.ledgers import Archive

LIST = b"ip 192.0.2.7\nnet 2001:db8:bad::/48\n"
CLIENT = "203.0.113.77"
HEAD = "source,target,first_ms,octets,packets,protocol,tcp_flags\n"


@pytest.fixture
def world(tmp_path, run):
    """A ledger with one order for addresses, and a way to check lines of flows against it."""
    archive = Archive(tmp_path / "ledger")
    archive.write_trust(tmp_path / "trust.toml")
    measure = Measure(DnsMeasure.NONE, IpMeasure.REJECT)
    ref = archive.land.in_force_order(LIST, measure=measure)
    archive.write(lists=(LIST,))

    def check(*words):
        options = ("--ledger", archive.path, "--trust", tmp_path / "trust.toml", "--skew", 0)
        return run("flows", *words, *options)

    check.ref, check.now_ms, check.folder, check.archive = (
        ref, archive.land.now_ms, tmp_path, archive,
    )  # fmt: skip
    return check


def flows(world, *rows):
    path = world.folder / "flows.csv"
    path.write_text(HEAD + "".join(f"{row}\n" for row in rows))
    return path


def test_an_order_that_has_effect_is_good(world):
    t_ms = world.now_ms + 61_000
    path = flows(
        world,
        f"192.0.2.7,{CLIENT},{world.now_ms - 5_000},900,9,tcp,27",
        f"{CLIENT},192.0.2.7,{t_ms},60,1,tcp,2",
        f"192.0.2.8,{CLIENT},{t_ms},900,9,tcp,27",
    )
    said = world(path, "--json")
    assert (said.code, said.json["verdict"]) == (0, "GOOD")
    [order] = said.json["orders"]
    assert order["order_id"] == world.ref.order_id
    assert order["phases"]["BEFORE"] == {
        "flows": 1, "packets": 9, "octets": 900, "first_s": -5, "last_s": -5,
    }  # fmt: skip
    assert order["in_force"]["ATTEMPT"]["octets"] == 60
    said = world(path)
    assert "GOOD" in said.out
    assert "attempts without an answer" in said.out


def test_what_gets_through_is_a_leak_and_nobody_is_named(world):
    path = flows(world, f"192.0.2.7,{CLIENT},{world.now_ms + 61_000},900,9,tcp,27")
    said = world(path)
    assert said.code == 1
    assert "LEAK" in said.out
    as_json = world(path, "--json")
    assert as_json.code == 1
    for text in (said.out, said.err, as_json.out, as_json.err):
        assert CLIENT not in text
        assert "192.0.2.7" not in text


def test_the_grace_is_for_an_order_to_take_effect(world):
    path = flows(world, f"192.0.2.7,{CLIENT},{world.now_ms + 61_000},900,9,tcp,27")
    assert world(path, "--grace", 120).code == 0
    assert world(path, "--grace", 61).code == 1


def test_what_was_not_seen_is_incomplete(world):
    empty = flows(world)
    said = world(empty, "--json")
    assert (said.code, said.json["incomplete"]) == (2, ["nothing_seen"])
    wrong = flows(world, f"{CLIENT},192.0.2.9,{world.now_ms},60,1,tcp,2", f"{CLIENT},x,1,1,1,6,")
    said = world(wrong)
    assert said.code == 2
    assert "line 3" in said.err
    assert CLIENT not in said.err
    udp = flows(world, f"192.0.2.7,{CLIENT},{world.now_ms + 61_000},900,9,udp,")
    assert world(udp, "--json").json["incomplete"] == ["unproven"]


def test_data_without_its_template_is_incomplete(world):
    path = world.folder / "exports"
    path.write_bytes(ipfix(flow_set(300, bytes(30))))
    said = world(path, "--json")
    assert said.code == 2
    assert "sets_without_template" in said.json["incomplete"]
    path.write_bytes(ipfix(flow_set(2, template(300, PLAIN)), flow_set(300, bytes(4) * 7)))
    assert "sets_without_template" not in world(path, "--json").json["incomplete"]


def test_a_list_that_is_not_here_is_incomplete(world):
    path = flows(world, f"{CLIENT},192.0.2.9,{world.now_ms},60,1,tcp,2")
    [text] = [each for each in (world.archive.path / "lists").rglob("*") if each.is_file()]
    text.unlink()
    said = world(path, "--json")
    assert (said.code, said.json["lists_missing"]) == (2, [world.ref.order_id])


def test_exports_are_received_over_udp_for_a_time(world):
    said = world("--listen", "127.0.0.1:0", "--seconds", 0.1)
    assert said.code == 2
    assert "HOST:PORT" in said.err
    said = world("--listen", "nonsense")
    assert said.code == 2


def test_an_archive_serves_as_well_as_a_ledger(world, run):
    path = flows(world, f"192.0.2.7,{CLIENT},{world.now_ms + 70_000},900,9,tcp,27")
    to = world.folder / "ledger.tar"
    trust = ("--trust", world.folder / "trust.toml")
    exported = run("audit", "export", world.archive.path, to, *trust)
    assert exported.code == 0, exported.err
    assert run("flows", path, "--ledger", to, *trust).code == 1


@pytest.mark.parametrize("words", [(), ("--order", "VN-2027-999999", "x.csv")])
def test_a_check_without_an_aim_is_refused(world, words):
    flows(world)
    said = world(*words)
    assert said.code in (2, 4)
    assert "Traceback" not in said.err


def test_one_order_can_be_looked_for_alone(world):
    path = flows(world, f"{CLIENT},192.0.2.9,{world.now_ms},60,1,tcp,2")
    said = world(path, "--order", world.ref.order_id, "--json")
    assert said.code == 0
    assert said.json["orders_not_seen"] == [world.ref.order_id]
