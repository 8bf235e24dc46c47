"""The comparison with other servers: that what it stands on is right."""

import shutil
import socket
from contextlib import closing

import pytest
from dnslib import QTYPE, DNSRecord

from bench.peers.aims import Aim
from bench.peers.asking import address_of, ask
from bench.peers.cdb import hash_of, write_cdb
from bench.peers.dnsperf import read
from bench.peers.floor import Upstream
from tests.ports import free_ports
from tests.waiting import WAIT_SECONDS

SAID = """\
DNS Performance Testing Tool
> NOERROR www.example.org A 0.000798
> NXDOMAIN blocked.example A 0.001202
> T blocked.example A
Statistics:

  Queries sent:         3
  Queries completed:    2 (66.67%)
  Queries lost:         1 (33.33%)

  Response codes:       NOERROR 1 (50.00%), NXDOMAIN 1 (50.00%)
  Run time (s):         1.500000
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_the_upstream_gives_each_name_an_address_of_its_own(tmp_path):
    (port,) = free_ports(1)
    upstream = Upstream(tmp_path, port)
    try:
        upstream.wait_until_ready()
        for name in ("www.example.org", "example.org", "Passed-000001.example"):
            [record] = ask(name, port, WAIT_SECONDS).rr
            assert (record.rtype, str(record.rdata)) == (QTYPE.A, address_of(name))
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
            client.settimeout(WAIT_SECONDS)
            client.sendto(DNSRecord.question("example.org", "AAAA").pack(), ("127.0.0.1", port))
            answer = DNSRecord.parse(client.recv(512))
        assert (answer.rr, [each.rtype for each in answer.auth]) == ([], [QTYPE.SOA])
    finally:
        upstream.stop()


def test_what_dnsperf_says_is_read_whole():
    run = read(SAID)
    assert (run.completed, run.lost, run.seconds) == (2, 1, 1.5)
    assert run.rcodes == {"NOERROR": 1, "NXDOMAIN": 1}
    assert run.latencies_ms == [0.798, 1.202]
    assert run.percentile_ms(50) == 1.0


def test_a_cdb_has_its_keys_where_the_format_wants_them(tmp_path):
    path = tmp_path / "names.cdb"
    write_cdb(path, [b"\x03abc\x00", b"\x00"])
    data = path.read_bytes()
    for key in (b"\x03abc\x00", b"\x00"):
        hashed = hash_of(key)
        head = 8 * (hashed % 256)
        at, count = (int.from_bytes(data[head + i : head + i + 4], "little") for i in (0, 4))
        slots = [data[at + 8 * i : at + 8 * i + 8] for i in range(count)]
        [record] = [
            int.from_bytes(slot[4:], "little")
            for slot in slots
            if slot[:4] == hashed.to_bytes(4, "little")
        ]
        assert data[record + 8 :].startswith(key + b"1")


def test_an_aim_that_nothing_was_measured_for_is_not_met():
    assert Aim("x", None, 1.0).line().startswith("UNKNOWN")
    assert Aim("x", 1.0, 1.0).line().startswith("MET")
    assert Aim("x", 1.0, 1.0, is_strict=True).line().startswith("MISSED")
