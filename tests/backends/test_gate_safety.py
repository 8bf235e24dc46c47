"""What keeps an operator safe: shadow, bypass, and names that no table may block."""

import json
import os
import threading
from contextlib import closing

import pytest
from dnslib import CNAME, QTYPE, RR, A, DNSRecord

from enforcer.backends.gate_golden import order_in
from enforcer.errors import RefusedError
from enforcer.ports import GateMode
from tests.backends.gate_client import Asking, query
from tests.backends.gate_tables import HOUR_MS, REGISTER_URL, compiled, now_ms, order
from tests.backends.gate_world import reaching_python
from tests.waiting import WAIT_SECONDS, eventually

NXDOMAIN = 3


def is_blocked(gate, name="www.blocked.example"):
    with closing(Asking(gate.place)) as asking:
        return DNSRecord.parse(asking.ask(query(name))).header.rcode == NXDOMAIN


def state(gate, name):
    return gate.control.parent / "state" / name


def journal(gate):
    lines = state(gate, "journal.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


class TestShadow:
    def test_by_configuration_it_counts_and_passes_everything(self, start_gate, tmp_path):
        gate = start_gate(mode="shadow")
        gate.load(compiled(tmp_path / "t", order()))
        assert not is_blocked(gate)
        report = gate.status()
        assert report.mode is GateMode.SHADOW
        assert report.order_outcomes[7] == {"shadowed": 1}

    def test_it_can_be_asked_for_while_it_runs_and_taken_back(self, gate, tmp_path):
        gate.load(compiled(tmp_path / "t", order()))
        gate.set_mode("shadow")
        assert not is_blocked(gate)
        gate.set_mode("enforce")
        assert is_blocked(gate)


class TestBypass:
    @pytest.fixture
    def bypassed(self, start_gate, tmp_path):
        gate = start_gate(workers=2, prefix=reaching_python())
        gate.load(compiled(tmp_path / "t", order()))
        assert is_blocked(gate)
        assert "report" in gate.set_mode("bypass", seconds=3_600)
        return gate

    def test_it_holds_at_once_for_every_worker_and_is_shown(self, bypassed):
        assert not any(is_blocked(bypassed) for _ in range(20))
        override = bypassed.status().override
        assert (override.mode, override.by, override.reason) == (
            GateMode.BYPASS,
            "an.nguyen",
            "it broke",
        )
        assert override.until_ms - override.since_ms == HOUR_MS

    def test_it_survives_a_restart_an_upgrade_and_a_dead_worker(self, bypassed):
        bypassed.end(9)
        bypassed.start()
        assert not is_blocked(bypassed)
        bypassed.upgrade()
        assert not any(is_blocked(bypassed) for _ in range(10))
        before = bypassed.workers()
        for pid in before:
            os.kill(pid, 9)
        eventually(lambda: len(set(bypassed.workers()) - set(before)) == 2)
        assert not any(is_blocked(bypassed) for _ in range(10))

    def test_new_tables_are_taken_and_not_enforced(self, bypassed, tmp_path):
        bypassed.load(compiled(tmp_path / "u", order(8), ledger_size=101))
        assert not is_blocked(bypassed)
        bypassed.set_mode("enforce", reason="mended")
        assert is_blocked(bypassed)
        assert bypassed.status().override is None

    def test_who_did_what_and_why_is_in_the_journal(self, bypassed):
        bypassed.set_mode("enforce", by="binh.tran", reason="mended")
        words = [(each["event"], each["by"], each["reason"]) for each in journal(bypassed)]
        assert words == [("bypass", "an.nguyen", "it broke"), ("resume", "binh.tran", "mended")]
        assert all(abs(each["at_ms"] - now_ms()) < HOUR_MS for each in journal(bypassed))

    def test_it_ends_by_itself(self, bypassed):
        bypassed.set_mode("bypass", seconds=1)
        eventually(lambda: is_blocked(bypassed))
        eventually(lambda: bypassed.status().override is None)
        eventually(lambda: journal(bypassed)[-1]["event"] == "bypass_ended")

    def test_it_ends_though_the_gate_was_away(self, bypassed):
        report = bypassed.set_mode("bypass", seconds=1)["report"]
        until_ms = report["override"]["until_ms"]
        bypassed.end()
        eventually(lambda: now_ms() > until_ms)
        bypassed.start()
        assert is_blocked(bypassed)

    @pytest.mark.parametrize(
        "change",
        [{"seconds": 86_401}, {"seconds": 0}, {"by": ""}, {"reason": ""}, {"mode": "off"}],
    )
    def test_a_word_without_end_or_reason_is_refused(self, gate, change):
        mode = change.pop("mode", "bypass")
        assert gate.set_mode(mode, **change)["refusal"]["kind"] == "InputError"
        assert gate.status().mode is GateMode.ENFORCE

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{}",
            '{"mode":1,"reason":"r","by":"b","since_ms":1,"until_ms":2}',
            '{"mode":3,"reason":"r","by":"b","since_ms":0,"until_ms":9999999999999}',
        ],
    )
    def test_a_damaged_word_on_the_disk_does_not_count(self, bypassed, text):
        bypassed.end()
        state(bypassed, "override.json").write_text(text)
        bypassed.start()
        assert is_blocked(bypassed)
        assert '"override_refused"' in bypassed.log.read_text()

    def test_a_disk_that_keeps_nothing_is_said_and_it_holds_all_the_same(self, gate, tmp_path):
        gate.load(compiled(tmp_path / "t", order()))
        eventually(state(gate, "last-good.table").exists)
        folder = state(gate, "")
        folder.rename(folder.with_name("gone"))
        gate.set_mode("bypass")
        assert not is_blocked(gate)
        assert '"override_not_kept"' in gate.log.read_text()
        folder.with_name("gone").rename(folder)


class TestGolden:
    @pytest.fixture
    def gate(self, start_gate, tmp_path):
        gate = start_gate(golden_names=["www.golden.example", "safe.example"])
        gate.load(compiled(tmp_path / "t", order()))
        return gate

    @pytest.fixture
    def patient(self, start_gate, tmp_path):
        """A gate that answers a load only when it has heard all that its own queries say."""
        gate = start_gate(
            golden_names=["www.golden.example", "safe.example"], golden_wait_seconds=WAIT_SECONDS
        )
        gate.load(compiled(tmp_path / "t", order()))
        return gate

    def refused(self, gate, name="www.golden.example"):
        assert gate.status().ledger_size == 100
        assert gate.status().counters["tables_refused_golden"] == 1
        assert not is_blocked(gate, name)
        assert is_blocked(gate)

    def test_a_table_that_blocks_one_is_refused_with_the_order(self, gate, tmp_path):
        bad = order(9, b"subtree golden.example\n")
        with pytest.raises(RefusedError, match=r"XX-2026-000009 blocks www\.golden") as caught:
            gate.load(compiled(tmp_path / "u", order(), bad, ledger_size=101))
        assert caught.value.data["order_index"] == 9
        self.refused(gate)

    def test_one_that_will_block_it_tomorrow_is_refused_too(self, gate, tmp_path):
        begins_ms = now_ms() + HOUR_MS
        bad = order(9, b"exact safe.example\n", from_ms=begins_ms, until_ms=begins_ms + HOUR_MS)
        with pytest.raises(RefusedError, match="safe"):
            gate.load(compiled(tmp_path / "u", order(), bad, ledger_size=101))
        self.refused(gate)

    def test_one_that_blocks_what_the_name_leads_to_is_given_back(
        self, patient, resolver, tmp_path
    ):
        resolver.respond = leading_to("cdn.example")
        bad = compiled(tmp_path / "u", order(), order(9, b"exact cdn.example\n"), ledger_size=101)
        with pytest.raises(RefusedError, match="XX-2026-000009 blocks") as caught:
            patient.load(bad)
        assert caught.value.data["order_index"] == 9
        self.refused(patient)
        eventually(lambda: patient.counters()["in_flight"] == 0)
        seen = len(resolver.seen)
        with pytest.raises(RefusedError):  # remembered: no query is judged by it again
            patient.load(bad)
        assert len(resolver.seen) == seen

    def test_an_answer_that_comes_late_counts_all_the_same(self, gate, resolver, tmp_path):
        may_answer = threading.Event()

        def late(wire):
            may_answer.wait(WAIT_SECONDS)
            return leading_to("cdn.example")(wire)

        resolver.respond = late
        bad = order(9, b"exact cdn.example\n")
        gate.load(compiled(tmp_path / "u", order(), bad, ledger_size=101))
        assert gate.status().ledger_size == 101
        may_answer.set()
        eventually(lambda: gate.status().ledger_size == 100)
        self.refused(gate)
        assert '"table_given_back"' in gate.log.read_text()

    def test_a_dead_resolver_is_no_reason(self, gate, resolver, tmp_path):
        resolver.respond = lambda _: []
        report = gate.load(compiled(tmp_path / "u", order(), ledger_size=101))
        assert report.ledger_size == 101

    def test_a_resolver_that_blocks_by_itself_is_no_reason(self, gate, resolver, tmp_path):
        resolver.respond = lambda wire: [wire[:2] + b"\x81\x83" + wire[4:]]
        assert gate.load(compiled(tmp_path / "u", order(), ledger_size=101)).ledger_size == 101

    def test_the_gate_may_ask_itself_whoever_else_may(self, start_gate, resolver, tmp_path):
        gate = start_gate(
            golden_names=["www.golden.example"],
            golden_wait_seconds=WAIT_SECONDS,
            allow=["192.0.2.0/24"],
        )
        gate.load(compiled(tmp_path / "t", order()))
        resolver.respond = leading_to("cdn.example")
        bad = order(9, b"exact cdn.example\n")
        with pytest.raises(RefusedError):
            gate.load(compiled(tmp_path / "u", order(), bad, ledger_size=101))


def test_a_gate_behind_a_proxy_on_its_own_host_is_asked_as_by_that(start_gate, resolver, tmp_path):
    """Who comes from there without a PROXY header is refused; the gate's own queries have one."""
    gate = start_gate(
        golden_names=["www.golden.example"],
        golden_wait_seconds=WAIT_SECONDS,
        proxy_from=["127.0.0.0/8"],
        listen=[("0.0.0.0", 0)],
    )
    gate.load(compiled(tmp_path / "t", order()))
    resolver.respond = leading_to("cdn.example")
    bad = order(9, b"exact cdn.example\n")
    with pytest.raises(RefusedError, match="XX-2026-000009 blocks"):
        gate.load(compiled(tmp_path / "u", order(), bad, ledger_size=101))
    assert gate.status().counters["proxy_refused"] == 0


def test_only_an_answer_that_names_an_order_of_this_register_is_ours():
    def answer(option):
        wire = query()[:-2] + (len(option) + 4).to_bytes(2, "big")
        return DNSRecord.parse(wire + b"\0\x0f" + len(option).to_bytes(2, "big") + option)

    ours = b"\0\x10XX-2026-000007 " + REGISTER_URL.encode() + b"XX-2026-000007"
    assert order_in(answer(ours), REGISTER_URL) == "XX-2026-000007"
    for other in (b"\0\x10", b"\0\x0fblocked by the resolver", b"\0\x03" + ours[2:], ours + b"8"):
        assert order_in(answer(other), REGISTER_URL) is None


def leading_to(target):
    """Return a resolver's way to answer every name with an alias for `target`."""

    def respond(wire):
        asked = DNSRecord.parse(wire)
        reply = asked.reply(ra=1, aa=0)
        reply.add_answer(RR(asked.q.qname, QTYPE.CNAME, ttl=60, rdata=CNAME(target)))
        reply.add_answer(RR(target, QTYPE.A, ttl=60, rdata=A("192.0.2.1")))
        return [reply.pack()]

    return respond
