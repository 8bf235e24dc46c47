"""Tables handed to a gate: taken whole or refused, kept, and found again."""

import os
import shutil
import struct
import threading

import pytest
from dnslib import DNSRecord

from enforcer._native.probe import BODY_SHA256_AT, body_sha256
from enforcer.errors import ConflictError, IntegrityError
from tests.backends.gate_client import NXDOMAIN, query
from tests.backends.gate_tables import ORIGIN, compiled, now_ms, order
from tests.waiting import WAIT_SECONDS, eventually


class TestTables:
    def test_the_report_is_read_back_from_what_is_used(self, gate, tmp_path):
        seven, nine = order(7), order(9, b"exact x.example\n")
        path = compiled(tmp_path / "t", seven, nine)
        report = gate.load(path)
        octets = path.read_bytes()
        assert report.body_sha256 == body_sha256(octets)
        assert report.rows == (seven[0], nine[0])
        assert (report.ledger_size, report.name_count) == (100, 2)
        assert len(report.table_digest) == 64
        assert gate.status().rows == report.rows

    def test_no_query_is_lost_while_tables_are_swapped(self, gate, tmp_path):
        paths = [
            compiled(tmp_path / str(number), order(until_ms=2 * now_ms()), ledger_size=number)
            for number in range(50)
        ]
        gate.load(paths[0])
        answered, is_over = [], threading.Event()

        def ask_on():
            asking, qid = gate.asking(), 0
            while not is_over.is_set():
                window = range(qid, qid + 16)
                for each in window:
                    name = "www.blocked.example" if each % 2 else "free.example"
                    asking.send(query(name, qid=each % 65_536))
                replies = [asking.receive() for _ in window]
                ids = {struct.unpack("!H", reply[:2])[0] for reply in replies}
                assert ids == {each % 65_536 for each in window}
                answered.extend(reply[3] & 0x0F for reply in replies)
                qid += 16

        failures = []

        def watched():
            try:
                ask_on()
            except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
                failures.append(error)

        thread = threading.Thread(target=watched)
        thread.start()
        eventually(lambda: answered or failures)
        for path in paths[1:]:
            gate.load(path)
        is_over.set()
        thread.join(WAIT_SECONDS)
        assert failures == []
        assert answered.count(NXDOMAIN) == answered.count(0) == len(answered) // 2 > 0
        counters = gate.counters()
        assert counters["tables_loaded"] == 50
        assert counters["received"] == len(answered)

    def test_a_killed_gate_blocks_again_from_its_last_good_table(self, gate, tmp_path):
        loaded = gate.load(compiled(tmp_path / "t", order()))
        eventually((gate.control.parent / "state" / "last-good.table").exists)
        assert gate.end(9) == -9
        gate.start()
        assert DNSRecord.parse(gate.asking().ask(query())).header.rcode == NXDOMAIN
        assert gate.status().body_sha256 == loaded.body_sha256

    @pytest.mark.parametrize("damage", ["flip", "cut", "empty", "garbage"])
    def test_a_damaged_last_good_table_is_refused_and_everything_passes(
        self, gate, tmp_path, damage
    ):
        path = compiled(tmp_path / "t", order())
        gate.load(path)
        assert gate.end() == 0
        kept = gate.control.parent / "state" / "last-good.table"
        octets = kept.read_bytes()
        assert octets == path.read_bytes()
        kept.write_bytes(
            {
                "flip": octets[:600] + bytes([octets[600] ^ 1]) + octets[601:],
                "cut": octets[:-1],
                "empty": b"",
                "garbage": os.urandom(4_096),
            }[damage]
        )
        gate.start()
        assert DNSRecord.parse(gate.asking().ask(query())).rr != []
        assert '"last_good_table_refused"' in gate.log.read_text()
        assert gate.log.read_text().count('"no_table"') == 2
        gate.load(path)
        assert DNSRecord.parse(gate.asking().ask(query())).header.rcode == NXDOMAIN

    def test_an_older_table_is_refused_and_the_present_one_stays(self, gate, asking, tmp_path):
        present = compiled(tmp_path / "a", order(), ledger_size=100, time_floor_ms=50)
        gate.load(present)
        free = order(names=b"exact free.example\n")
        for size, floor in ((99, 60), (100, 49)):
            older = compiled(tmp_path / "b", free, ledger_size=size, time_floor_ms=floor)
            with pytest.raises(ConflictError, match=f"ledger size {size} and time floor {floor}"):
                gate.load(older)
        gate.load(present)  # the same again is no step back
        assert DNSRecord.parse(asking.ask(query())).header.rcode == NXDOMAIN
        assert DNSRecord.parse(asking.ask(query("free.example"))).rr != []
        assert gate.counters()["tables_refused"] == 2

    def test_a_table_of_another_ledger_is_refused(self, gate, asking, tmp_path):
        foreign = compiled(tmp_path / "t", order(), origin="ledger.example.org/two")
        with pytest.raises(IntegrityError, match=f"another ledger than {ORIGIN}"):
            gate.load(foreign)
        assert DNSRecord.parse(asking.ask(query())).rr != []

    def test_a_damaged_table_is_refused(self, gate, asking, tmp_path):
        path = compiled(tmp_path / "t", order())
        octets = path.read_bytes()
        for damaged in (octets[:-16], octets + bytes(16), octets[:100], octets[:-1] + b"\xff", b""):
            path.write_bytes(damaged)
            with pytest.raises(IntegrityError, match="the table is refused"):
                gate.load(path)
        assert DNSRecord.parse(asking.ask(query())).rr != []

    def test_a_table_with_a_true_checksum_over_false_offsets_is_refused(self, gate, tmp_path):
        path = compiled(tmp_path / "t", order())
        octets = bytearray(path.read_bytes())
        octets[0xE0:0xE8] = b"\xff" * 8
        octets[BODY_SHA256_AT : BODY_SHA256_AT + 32] = bytes.fromhex(body_sha256(octets))
        path.write_bytes(octets)
        with pytest.raises(IntegrityError, match="the table is refused"):
            gate.load(path)

    def test_a_table_in_memory_that_can_change_is_refused(self, gate, tmp_path):
        octets = compiled(tmp_path / "t", order()).read_bytes()
        open_memory = os.memfd_create("open", os.MFD_ALLOW_SEALING)
        os.write(open_memory, octets)
        plain_file = os.open(tmp_path / "t", os.O_RDONLY)
        for fd in (open_memory, plain_file):
            refusal = gate.say(b'{"op":"load"}', fds=[fd])["refusal"]
            assert refusal["kind"] == "IntegrityError"
            assert "not in sealed memory" in refusal["message"]
        assert "report" in gate.say(b'{"op":"load"}', data=octets)

    def test_a_disk_that_keeps_nothing_is_loud_and_not_fatal(self, gate, asking, tmp_path):
        shutil.rmtree(gate.control.parent / "state")
        gate.load(compiled(tmp_path / "t", order()))
        assert DNSRecord.parse(asking.ask(query())).header.rcode == NXDOMAIN
        eventually(lambda: gate.counters()["tables_unkept"] == 1)
        assert '"table_not_kept"' in gate.log.read_text()
