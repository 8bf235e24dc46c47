"""``enforcer ledger backup | restore`` on files, and on a disk that is full."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ledgers import TARGETS, Archive
from tests.people import Land

ROOT = Path(__file__).resolve().parents[2]
CONTROL = """\
ledger_dir = "ledger"
trust_file = "trust.toml"
log_key_file = "log.key"
signing_key_file = "signing.key"
encryption_key_file = "signing.age.key"
[tls]
certificate = "server.pem"
key = "server.key"
client_ca = "ca.pem"
[redis]
url = "redis://127.0.0.1:1"
"""


@pytest.fixture
def config(tmp_path):
    """A control plane's files, its keys excepted, and a ledger of one order."""
    land = Land.founded()
    land.approve(land.propose(TARGETS))
    archive = Archive(tmp_path / "ledger", land)
    archive.write_trust(tmp_path / "trust.toml")
    archive.write()
    path = tmp_path / "control.toml"
    path.write_text(CONTROL)
    return path


def test_a_ledger_that_was_lost_comes_back_from_its_backup(run, config, tmp_path):
    backup = tmp_path / "backup"
    said = run("ledger", "backup", backup, "-c", config)
    assert said.code == 0, said.err
    assert "BACKED UP" in said.out
    assert "has 9 entries" in said.out
    again = run("ledger", "backup", backup, "-c", config, "--full", "--json").json
    assert (again["former_size"], again["size"], again["copied"]["entries"]) == (9, 9, 0)
    there = run("ledger", "restore", backup, "-c", config)
    assert there.code == 3
    assert "Move it away and keep it" in there.error[1]
    shutil.rmtree(tmp_path / "ledger")
    unproven = run("ledger", "restore", backup, "-c", config)
    assert unproven.code == 5
    assert "names no witness" in unproven.error[0]
    assert not (tmp_path / "ledger").exists()
    done = run("ledger", "restore", backup, "-c", config, "--unproven", "A demo without witnesses.")
    assert done.code == 0, done.err
    assert "RESTORED" in done.out
    assert "keys, which are in no copy" in done.out
    assert "attestations" in done.out
    assert run("audit", "verify", tmp_path / "ledger", "--trust", tmp_path / "trust.toml").code == 0


def test_what_is_missing_is_told_with_what_follows(run, config, tmp_path):
    backup = tmp_path / "backup"
    assert run("ledger", "backup", backup, "-c", config).code == 0
    shutil.rmtree(tmp_path / "ledger")
    shutil.rmtree(backup / "lists")
    said = run("ledger", "restore", backup, "-c", config, "--unproven", "A demo.", "--json").json
    missing = " ".join(said["missing"])
    assert "1 target lists" in missing
    assert "Copy them from any node" in missing
    assert said["is_proven"] is False
    assert said["outcome"] == "INCOMPLETE"


def test_a_damaged_list_in_the_ledger_is_exit_code_1_of_a_backup(run, config, tmp_path):
    (path,) = (tmp_path / "ledger" / "lists").iterdir()
    path.write_bytes(b"rotten")
    said = run("ledger", "backup", tmp_path / "backup", "-c", config)
    assert said.code == 1
    assert f"lists/{path.name}" in said.out


@pytest.mark.root
def test_on_a_full_disk_nothing_is_restored_and_the_former_backup_stays(run, config, tmp_path):
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("mounting a small filesystem needs root and mount namespaces")
    assert run("ledger", "backup", tmp_path / "backup", "-c", config).code == 0
    small = tmp_path / "small"
    small.mkdir()
    enforcer = f"{shlex.quote(sys.executable)} -m enforcer ledger"
    script = f"""
        mount -t tmpfs -o size=24k none {small} || exit 70
        {enforcer} restore {tmp_path}/backup -c {config} --to {small} --unproven "A demo."
        echo "code $?"
        ls -A {small} | wc -l
    """
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["code", "6", "0"], done
    assert "Free space" in done.stderr


def test_where_nobody_serves_the_ledger_status_says_so(run, config):
    said = run("status", "--standby", config)
    assert said.code == 6
    assert "no process serves the ledger" in said.out
    assert "enforcer control --standby" in said.out
