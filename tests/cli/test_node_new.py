"""Another node for an installation, by the commands that are printed: keys, files, certificate."""

import re
import shutil
import tomllib

import pytest

from enforcer.app.keys import read_request
from enforcer.app.people import Person
from enforcer.backends.certificate import Certificate
from enforcer.config import GateConfig, NodeConfig, read
from enforcer.core.key import Role

ROOTS = ["--root", "ab" * 32, "--root", "cd" * 32]
CANARY = "192.0.2.1:7444"
FOLLOWER = "192.0.2.2:7444"


@pytest.fixture
def land(run, tmp_path):
    """An installation whose node is a canary."""
    words = ["--origin", "example.org/ledger", "--redis", "rediss://192.0.2.20:6379"]
    words += ["--redis-host", "192.0.2.21", "--redis-host", "sentinel.example.org"]
    more = ["--no-passphrase", "--node-listen", CANARY, "--canary", "--operator", "isp-a"]
    said = run("init", tmp_path / "land", *words, *more, *ROOTS)
    assert said.code == 0, said.err
    assert f"--operator isp-a --follow {CANARY}" in said.out
    return tmp_path / "land"


def found(run, land, *more, called="node-2"):
    there = land.parent / called
    words = ["--like", land, "--node-id", called, "--operator", "isp-a"]
    return there, run("node", "new", there, *words, *map(str, more))


def test_the_first_node_is_a_canary_and_officers_reach_it(land):
    node = read(land / "node" / "node.toml", NodeConfig)
    assert (node.canary.role, node.listen) == ("canary", CANARY)
    kit = tomllib.loads((land / "for-persons" / "client.toml").read_text())
    assert kit["nodes"] == [CANARY]


def test_replicas_and_sentinels_have_a_certificate_too(land):
    certificate = Certificate.parse((land / "redis" / "tls.crt").read_bytes())
    assert set(certificate.hosts) == {"192.0.2.20", "192.0.2.21", "sentinel.example.org"}


def test_a_second_node_follows_the_canary_by_the_commands_that_are_printed(run, land):
    there, said = found(run, land, "--node-listen", FOLLOWER, "--follow", CANARY)
    assert said.code == 0, said.err
    node = read(there / "node" / "node.toml", NodeConfig)
    first = read(land / "node" / "node.toml", NodeConfig)
    assert (node.canary.follows, node.listen) == ((CANARY,), FOLLOWER)
    assert (node.control, node.redis.url) == (first.control, first.redis.url)
    assert node.redis.password() == first.redis.password()
    assert node.redis.password_file.parent == there / "node"
    assert node.redis.password_file.stat().st_mode & 0o077 == 0
    assert node.redis.ca == there / "ca" / "ca.crt"
    assert f'"{FOLLOWER}" into nodes in client.toml' in said.out
    asked = read_request(there / "node" / "request.json")
    assert (asked.role, asked.identity, asked.operator) == (Role.NODE, "node-2", "isp-a")
    (issue,) = re.findall(r"enforcer (pki issue .*)", said.out)
    assert run(*issue.split()).code == 0
    certificate = Certificate.parse((there / "node" / "tls.crt").read_bytes())
    assert "192.0.2.2" in certificate.hosts
    for file in (node.tls.certificate, node.tls.key, node.tls.ca, node.tls.crl, node.trust_file):
        assert file.is_file(), file
    read(there / "gate" / "gate.toml", GateConfig)
    assert not list(there.rglob("ca.key"))
    assert (there / "node" / "signing.key").read_bytes() != (
        land / "node" / "signing.key"
    ).read_bytes()


def test_a_site_that_no_network_reaches_has_its_copy_alone(run, land):
    there, said = found(run, land, "--copy", "/media/ledger", called="site-7")
    assert said.code == 0, said.err
    node = read(there / "node" / "node.toml", NodeConfig)
    assert (node.redis, node.control, node.tls) == (None, None, None)
    assert list(map(str, node.copies)) == ["/media/ledger"]
    assert "enforcer node deliver" in said.out
    assert "pki issue" not in said.out
    assert not (there / "node" / "redis.password").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--canary",), "--node-listen"),
        (("--canary", "--node-listen", FOLLOWER, "--follow", CANARY), "--follow"),
        (("--follow", "nowhere"), "--follow"),
        (("--copy", "/media/ledger", "--follow", CANARY), "--copy"),
        (("--node-id", "Node 2"), "--node-id"),
    ],
)
def test_a_node_that_cannot_be_leaves_nothing_behind(run, land, words, said):
    there, refused = found(run, land, *words)
    assert refused.code == 2
    assert said in refused.error[1]
    assert not there.exists()


def test_a_node_is_never_written_over_another_nor_after_none(run, land, tmp_path):
    there, _ = found(run, land)
    assert found(run, land)[1].code == 3
    shutil.rmtree(there)
    assert found(run, tmp_path / "nothing")[1].code == 4
    assert not there.exists()


def test_what_is_no_attestation_is_not_brought(run, land, tmp_path):
    kit = land / "for-persons"
    assert Person.load(kit / "client.toml")
    (tmp_path / "attestation.json").write_text("{}")
    said = run("node", "deliver", tmp_path, "-c", kit / "client.toml")
    assert said.code == 2
