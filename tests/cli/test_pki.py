"""``enforcer pki``: an authority from its making to a revocation, offline."""

import json
import shutil
import subprocess

import pytest

from enforcer.backends.certificate import Certificate

pytestmark = pytest.mark.usefixtures("cheap_passphrases")

ORIGIN = "example.org/ledger"


@pytest.fixture(autouse=True)
def passphrase(tmp_path, monkeypatch):
    """Nobody is at the terminal: the environment names files."""
    for variable, text in (
        ("ENFORCER_PASSPHRASE_FILE", "correct horse battery staple"),
        ("ENFORCER_NEW_PASSPHRASE_FILE", "a person's own, long enough"),
    ):
        path = tmp_path / variable
        path.write_text(text)
        path.chmod(0o600)
        monkeypatch.setenv(variable, str(path))


@pytest.fixture
def ca(run, tmp_path):
    said = run("pki", "ca", "new", tmp_path / "ca", "--origin", ORIGIN, "--json")
    assert said.code == 0, said.err
    assert said.json["holder"] == "spiffe://example.org"
    return tmp_path / "ca"


@pytest.fixture
def issue(run, ca, tmp_path):
    """Return a function that issues a certificate for a new key, and gives its file."""

    def issue(role, identity, *more, code=0):
        to = tmp_path / f"{identity}.crt"
        key = ["--key", tmp_path / f"{identity}.key", "--role", role, "--id", identity]
        said = run("pki", "issue", "--ca", ca, "--out", to, *key, *more)
        assert said.code == code, said.err
        return to if code == 0 else said

    return issue


def shown(run, ca, *more):
    return run("pki", "list", "--ca", ca, "--json", *more).json


def test_an_authority_has_a_passphrase_and_is_never_overwritten(run, ca):
    assert b"ENCRYPTED" in (ca / "ca.key").read_bytes()
    assert (ca / "ca.key").stat().st_mode & 0o777 == 0o600
    before = (ca / "ca.key").read_bytes()
    assert run("pki", "ca", "new", ca, "--origin", ORIGIN).code == 3
    assert (ca / "ca.key").read_bytes() == before


def test_without_the_passphrase_nothing_is_issued(run, ca, issue, monkeypatch):
    monkeypatch.delenv("ENFORCER_PASSPHRASE_FILE")
    said = issue("auditor", "dung.pham", code=2)
    assert "needs a passphrase, and nobody is here" in said.error[0]
    assert shown(run, ca) == []


def test_a_persons_new_key_has_its_own_passphrase_and_a_machines_none(issue, tmp_path):
    issue("proposer", "an.nguyen")
    issue("node", "node-1", "--host", "192.0.2.53")
    assert b"ENCRYPTED" in (tmp_path / "an.nguyen.key").read_bytes()
    assert b"ENCRYPTED" not in (tmp_path / "node-1.key").read_bytes()


def test_a_signing_request_of_any_tool_is_issued_for_whom_the_issuer_says(run, ca, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    words = "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=king"
    paths = ["-keyout", tmp_path / "k.pem", "-out", tmp_path / "r.pem"]
    subprocess.run([*words.split(), *paths], check=True, capture_output=True)
    where = ["--ca", ca, "--out", tmp_path / "c.pem"]
    refused = run("pki", "issue", tmp_path / "r.pem", *where)
    assert (refused.code, "nothing says for whom" in refused.error[0]) == (2, True)
    said = run(
        "pki", "issue", tmp_path / "r.pem", *where, "--role", "auditor", "--id", "d", "--json"
    )
    assert said.json["holder"] == "spiffe://example.org/auditor/d"
    assert "king" not in Certificate.parse((tmp_path / "c.pem").read_bytes()).text


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--role", "king", "--id", "an"], "role"),
        (["--role", "proposer"], "nothing says for whom"),
        (["--role", "proposer", "--id", "an", "--host", "192.0.2.1"], "nobody's server"),
        (["--role", "proposer", "--id", "an", "--days", "0"], "0 days"),
        (["--role", "proposer", "--id", "an", "--days", "398"], "398 days"),
        (["--role", "node", "--id", "n", "--host", "máy.example.org"], "no certificate can name"),
    ],
)
def test_what_cannot_be_issued_is_told_and_not_listed(run, ca, tmp_path, words, problem):
    where = ["--ca", ca, "--out", tmp_path / "c.pem", "--key", tmp_path / "k.pem"]
    said = run("pki", "issue", *where, *words)
    assert said.code == 2
    assert problem in said.error[0]
    assert not (tmp_path / "c.pem").exists()
    assert shown(run, ca) == []


def test_a_request_and_a_new_key_exclude_each_other(run, ca, tmp_path):
    where = ["--ca", ca, "--out", tmp_path / "c.pem"]
    assert "either a request or --key" in run("pki", "issue", *where).error[0]


def test_a_request_says_itself_for_whom_it_is(run, ca, tmp_path, issue):
    (tmp_path / "r.json").write_text("{}")
    where = ["--ca", ca, "--out", tmp_path / "c.pem", "--role", "node", "--id", "n"]
    assert "says itself for whom" in run("pki", "issue", tmp_path / "r.json", *where).error[0]


def test_certificates_are_renewed_in_place_for_the_same_key(run, ca, issue):
    paths = [issue("node", "node-1", "--host", "192.0.2.53"), issue("auditor", "dung.pham")]
    before = [Certificate.parse(path.read_bytes()) for path in paths]
    said = run("pki", "renew", *paths, "--ca", ca, "--days", "7", "--json")
    assert said.code == 0, said.err
    after = [Certificate.parse(path.read_bytes()) for path in paths]
    for old, new in zip(before, after, strict=True):
        assert (new.uris, new.hosts) == (old.uris, old.hosts)
        assert new.parsed.public_key() == old.parsed.public_key()
        assert new.serial != old.serial
    assert len(shown(run, ca)) == 4
    both = run("pki", "renew", *paths, "--ca", ca, "--out", paths[0])
    assert "cannot hold several" in both.error[0]


def test_a_holders_certificates_are_revoked_together_and_not_renewed(run, ca, issue):
    path = issue("proposer", "an.nguyen")
    other = issue("approver", "binh.tran")
    run("pki", "renew", path, "--ca", ca)
    said = run("pki", "revoke", "proposer/an.nguyen", "--ca", ca, "--reason", "keyCompromise")
    assert said.out.count("Revoked") == 2
    assert "Copy" in said.out
    assert [each["holder"] for each in shown(run, ca)] == [
        "spiffe://example.org/approver/binh.tran"
    ]
    listed = shown(run, ca, "--all")
    assert [each["reason"] for each in listed].count("keyCompromise") == 2
    refused = run("pki", "renew", path, "--ca", ca)
    assert (refused.code, "was revoked" in refused.error[0]) == (5, True)
    serial = Certificate.parse(other.read_bytes()).serial
    assert run("pki", "revoke", serial, "--ca", ca, "--json").json[0]["serial"] == serial
    assert run("pki", "revoke", serial, "--ca", ca).code == 3
    assert run("pki", "revoke", "abc123", "--ca", ca).code == 4
    assert run("pki", "revoke", other, "--ca", ca, "--reason", "dislike").code == 2


def test_the_list_of_revocations_is_signed_again(run, ca):
    before = (ca / "ca.crl").read_bytes()
    said = run("pki", "crl", "--ca", ca, "--days", "90")
    assert said.code == 0, said.err
    assert (ca / "ca.crl").read_bytes() != before


def test_a_key_gets_another_passphrase_and_loses_it(run, tmp_path, monkeypatch):
    path = tmp_path / "a.key"
    run("key", "new", path)
    key_id = run("key", "show", path, "--json").json["key_id"]
    assert run("key", "passphrase", path).code == 0
    assert "not the passphrase" in run("key", "show", path).error[0]
    for name in ("", "NEW_"):
        secret = tmp_path / f"ENFORCER_{'NEW_' if not name else ''}PASSPHRASE_FILE"
        monkeypatch.setenv(f"ENFORCER_{name}PASSPHRASE_FILE", str(secret))
    assert run("key", "passphrase", path, "--remove").code == 0
    assert run("key", "show", path, "--json").json["key_id"] == key_id
    assert b"ENCRYPTED" not in path.read_bytes()


def test_a_persons_plain_key_is_told_and_a_machines_encrypted_one_refused(run, tmp_path, ca):
    trust = tmp_path / "land" / "trust.toml"
    roots = ["--root", "ab" * 32, "--root", "cd" * 32]
    assert run("init", tmp_path / "land", "--origin", ORIGIN, *roots).code == 0
    assert b"ENCRYPTED" in (tmp_path / "land" / "ca" / "ca.key").read_bytes()
    run("key", "new", tmp_path / "a.key", "--no-passphrase")
    words = ["--trust", trust, "--out", tmp_path / "r.json"]
    person = ["--role", "auditor", "--id", "dung.pham"]
    said = run("key", "request", tmp_path / "a.key", *words, *person)
    assert (said.code, "has no passphrase" in said.err) == (0, True)
    run("key", "new", tmp_path / "b.key")
    machine = ["--role", "node", "--id", "node-1", "--operator", "isp", "--json"]
    said = run("key", "request", tmp_path / "b.key", *words, *machine)
    assert said.code == 2
    assert "--remove" in json.loads(said.err)["advice"]
