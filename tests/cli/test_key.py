"""Keys, requests, certificates, and the roots' ceremony: all offline."""

import json
import re
import shutil
from hashlib import sha256

import pytest

from enforcer.app.people import Person
from enforcer.backends.keys import EncryptionKey, verify
from enforcer.cli.output import now_ms
from enforcer.config import ControlConfig, read, read_trust
from enforcer.core.entry import Entry
from enforcer.core.envelope import parse_envelope
from enforcer.core.fold import apply
from enforcer.core.key import Role

pytestmark = pytest.mark.usefixtures("cheap_passphrases")

PASSPHRASE = "correct horse battery staple"


@pytest.fixture(autouse=True)
def passphrase(tmp_path, monkeypatch):
    """Nobody is at the terminal: the environment names a file."""
    path = tmp_path / "passphrase"
    path.write_text(f"{PASSPHRASE}\n")
    path.chmod(0o600)
    monkeypatch.setenv("ENFORCER_PASSPHRASE_FILE", str(path))
    return path


@pytest.fixture
def trust(run, tmp_path):
    """An installation made by two roots who showed their public keys."""
    roots = []
    for number in (1, 2):
        said = run("key", "new", tmp_path / f"root-{number}.key", "--json")
        roots += ["--root", said.json["public_key"]]
    said = run("init", tmp_path / "land", "--origin", "example.org/ledger", *roots)
    assert said.code == 0, said.err
    assert "ca.key" in said.out
    return tmp_path / "land" / "trust.toml"


def request(run, tmp_path, trust, *more):
    run("key", "new", tmp_path / "signing.key")
    words = ["--trust", trust, "--out", tmp_path / "request.json", *more]
    return run("key", "request", tmp_path / "signing.key", *words)


PROPOSER = ["--role", "proposer", "--id", "an.nguyen", "--authority", "cert-vn"]
POWERS = ["--category", "phishing", "--territory", "VN"]


def test_who_opens_sealed_lists_gets_an_encryption_key_under_the_same_passphrase(
    run, tmp_path, trust
):
    said = request(run, tmp_path, trust, "--role", "oversight", "--id", "court.clerk")
    assert said.code == 0, said.err
    key = tmp_path / "signing.age.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in key.read_bytes()
    asked = json.loads((tmp_path / "request.json").read_text())
    opened = EncryptionKey.load(key, PASSPHRASE.encode())
    assert asked["encryption_key"] == opened.recipient
    assert opened.secret not in repr(opened)
    said = request(run, tmp_path, trust, *PROPOSER, *POWERS)
    asked = json.loads((tmp_path / "request.json").read_text())
    assert asked["encryption_key"] is None


def test_a_new_key_is_for_its_owner_alone_and_never_overwritten(run, tmp_path):
    said = run("key", "new", tmp_path / "a.key", "--json")
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    assert run("key", "show", tmp_path / "a.key", "--json").json == said.json
    again = run("key", "new", tmp_path / "a.key")
    assert again.code == 3
    assert again.error[1].startswith("advice: Choose another file")


def test_a_key_that_others_can_read_is_refused_with_the_remedy(run, tmp_path):
    run("key", "new", tmp_path / "a.key")
    (tmp_path / "a.key").chmod(0o644)
    said = run("key", "show", tmp_path / "a.key")
    assert said.code == 2
    assert "can be read by others" in said.error[0]
    assert "chmod 600" in said.error[1]


def test_what_is_no_key_is_refused(run, tmp_path):
    (tmp_path / "a.key").write_text("hello")
    (tmp_path / "a.key").chmod(0o600)
    assert run("key", "show", tmp_path / "a.key").code == 2
    assert run("key", "show", tmp_path / "none.key").code == 4


def test_an_error_in_json_has_its_data(run, tmp_path):
    said = run("key", "show", tmp_path / "none.key", "--json")
    error = json.loads(said.err)
    assert (said.code, error["error"]) == (4, "NotFoundError")
    assert error["data"]["path"].endswith("none.key")


def test_a_request_holds_no_secret_and_is_certified(run, tmp_path, trust):
    said = request(run, tmp_path, trust, *PROPOSER, *POWERS)
    assert said.code == 0, said.err
    text = (tmp_path / "request.json").read_text()
    assert "PRIVATE" not in text
    assert json.loads(text)["categories"] == ["PHISHING"]
    words = ["--ca", trust.parent / "ca", "--out", tmp_path / "tls.crt", "--json"]
    said = run("pki", "issue", tmp_path / "request.json", *words)
    assert said.json["holder"] == "spiffe://example.org/proposer/an.nguyen"
    assert (tmp_path / "tls.crt").read_text().startswith("-----BEGIN CERTIFICATE")


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--role", "king", "--id", "an"], "role"),
        (["--role", "proposer", "--id", "An Nguyen"], "identity"),
        (["--role", "proposer", "--id", "an", "--category", "opinion"], "category"),
        (["--role", "proposer", "--id", "an", "--territory", "Vietnam"], "territories[0]"),
    ],
)
def test_a_request_out_of_bounds_names_the_field(run, tmp_path, trust, words, field):
    said = request(run, tmp_path, trust, *words, "--json")
    assert said.code == 2
    assert json.loads(said.err)["data"]["field"] == field


def test_an_altered_request_is_not_certified(run, tmp_path, trust):
    request(run, tmp_path, trust, *PROPOSER, *POWERS)
    path = tmp_path / "request.json"
    path.write_text(path.read_text().replace("an.nguyen", "An Nguyen"))
    words = ["--ca", trust.parent / "ca", "--out", tmp_path / "tls.crt"]
    assert run("pki", "issue", path, *words).code == 2
    path.write_text('{"role": "PROPOSER", "role": "APPROVER"}')
    assert "twice" in run("pki", "issue", path, *words).error[0]


def test_roots_sign_one_after_another_and_the_payload_stays(run, tmp_path, trust):
    request(run, tmp_path, trust, *PROPOSER, *POWERS)
    act = tmp_path / "act.json"
    words = ["--until", "+30d", "--out", act, "--json"]
    assert run("trust", "register", tmp_path / "request.json", *words).json["signatures"] == 0
    before = json.loads(act.read_text())["payload"]
    for number in (1, 2):
        key = tmp_path / f"root-{number}.key"
        said = run("trust", "sign", act, "--key", key, "--yes", "--json")
        assert said.json["signatures"] == number
        assert "Lets an.nguyen sign as PROPOSER" in said.err
    assert json.loads(act.read_text())["payload"] == before
    assert len(parse_envelope(act.read_bytes().strip()).signatures) == 2
    again = run("trust", "sign", act, "--key", tmp_path / "root-1.key", "--yes")
    assert again.code == 3
    assert len(run("trust", "show", act, "--json").json["signed_by"]) == 2


def test_nothing_is_signed_when_nobody_can_be_asked(run, tmp_path, trust):
    request(run, tmp_path, trust, *PROPOSER, *POWERS)
    act = tmp_path / "act.json"
    run("trust", "register", tmp_path / "request.json", "--until", "+30d", "--out", act)
    said = run("trust", "sign", act, "--key", tmp_path / "root-1.key")
    assert said.code == 2
    assert said.error[1].endswith("--yes.")
    assert run("trust", "show", act, "--json").json["signed_by"] == []


def test_a_policy_pins_its_lists_by_hash_and_refuses_a_loose_one(run, tmp_path, trust):
    (tmp_path / "core.txt").write_text("subtree resolver.arpa\n")
    words = ["--register-url", "https://register.example.org/"]
    words += ["--register-domain", "register.example.org", "--trust", trust]
    words += ["--out", tmp_path / "act.json", "--protected-core", tmp_path / "core.txt"]
    unguarded = run("trust", "policy", *words)
    assert (unguarded.code, "protected-names" in unguarded.error[0]) == (2, True)
    assert "rules/protected-names.txt" in unguarded.error[1]
    words += ["--unguarded"]
    assert run("trust", "policy", *words).code == 0
    said = run("trust", "show", tmp_path / "act.json", "--json")
    assert len(said.json["payload"]["pins"]["protected_core"]) == 64
    (tmp_path / "core.txt").write_text("resolver.arpa\n")
    refused = run("trust", "policy", *words)
    assert "line 1, column 1" in refused.error[0]
    words[1] = "http://register.example.org/"
    (tmp_path / "core.txt").write_text("subtree resolver.arpa\n")
    assert "https" in run("trust", "policy", *words).error[0]


def test_a_revocation_names_a_key(run, tmp_path, trust):
    words = ["--trust", trust, "--out", tmp_path / "act.json"]
    assert run("trust", "revoke", "ab" * 32, "--compromised-since", "7", *words).code == 0
    assert "from entry 7 on" in run("trust", "show", tmp_path / "act.json").out
    assert run("trust", "revoke", "nonsense", *words).code == 2


def test_an_installation_needs_two_roots_and_an_empty_directory(run, tmp_path, trust):
    origin = ["--origin", "example.org/ledger"]
    said = run("init", tmp_path / "alone", *origin, "--root", "ab" * 32)
    assert said.code == 2
    assert "enforcer key new" in said.error[1]
    assert not (tmp_path / "alone").exists()
    full = run("init", trust.parent, *origin, "--root", "ab" * 32, "--root", "cd" * 32)
    assert full.code == 3


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("control", "nowhere", "HOST:PORT"),
        ("redis", "localhost:6379", "redis://"),
        ("node-id", "Node 1", "lower-case letters"),
        ("origin", "example org", "without spaces"),
        ("root", "nonsense", "hexadecimal"),
    ],
)
def test_a_plan_that_is_wrong_leaves_nothing_behind(run, tmp_path, field, value, words):
    roots = ["--root", "ab" * 32, "--root", "cd" * 32]
    origin = [] if field == "origin" else ["--origin", "example.org/ledger"]
    said = run("init", tmp_path / "x", *roots, *origin, f"--{field}", value)
    assert said.code == 2
    assert words in said.error[0]
    assert f"--{field}" in said.error[1]
    assert not (tmp_path / "x").exists()


def test_who_names_witnesses_is_told_where_to_say_how_they_are_reached(run, tmp_path):
    """Until they are asked nothing new blocks."""
    roots = ["--root", "ab" * 32, "--root", "cd" * 32]
    run("key", "new", tmp_path / "witness.key", "--no-passphrase")
    name = "witness.example.org/w1"
    vkey = run("key", "show", tmp_path / "witness.key", "--witness", name, "--json").json
    named = ["--witness", vkey["witness_vkey"], "--witness-quorum", "1"]
    land = tmp_path / "land"
    steps = run("init", land, "--origin", "example.org/ledger", *roots, *named).out
    config = land / "control" / "control.toml"
    assert f"In {config}, at [[witnesses]]" in " ".join(steps.split())
    text = config.read_text()
    assert read(config, ControlConfig).witnesses == ()
    filled = text.replace("# [[", "[[").replace("# name", "name").replace("# url", "url")
    config.write_text(filled.replace("HOST", "witness.example.org/w1"))
    (asked,) = read(config, ControlConfig).witnesses
    assert (asked.name, asked.url) == (name, f"https://{name}/")


def printed(steps, start, **changes):
    """Return the words of the one printed command that begins so, with other file names in it."""
    found = [each for each in re.findall(r"enforcer ([^;(\n]+)", steps) if each.startswith(start)]
    assert len(found) == 1, (start, found)
    words = found[0].split()
    return [changes.get(word.removesuffix(".json"), word) for word in words]


def test_what_init_prints_leads_to_persons_and_machines_who_can_act(run, tmp_path, monkeypatch):
    roots = []
    for number in (1, 2, 3):
        said = run("key", "new", tmp_path / f"root-{number}.key", "--json")
        roots += ["--root", said.json["public_key"]]
    land, home = tmp_path / "land", tmp_path / "home"
    steps = run("init", land, "--origin", "example.org/ledger", *roots).out
    assert sha256((land / "trust.toml").read_bytes()).hexdigest() in steps
    shutil.copytree(land / "for-persons", home)
    monkeypatch.chdir(home)

    for start in (
        "key new",
        "key request signing",
        "pki issue",
        f"key request {land}/node",
        f"key request {land}/control",
    ):
        said = run(*(word.rstrip(",") for word in printed(steps, start)))
        assert said.code == 0, (start, said.err)
    assert Person.load(home / "client.toml").tls.key  # all that it names is there
    assert run(*printed(steps, "trust policy")).code == 0
    assert run(*printed(steps, "trust register", act="person.json")).code == 0
    assert run(*printed(steps, "trust register", request="node.json", act="machine.json")).code == 0
    words = printed(steps, "trust register", request="control.json", act="control-key.json")
    assert run(*words).code == 0

    state = read_trust(land / "trust.toml").genesis(verify)
    for name in ("policy.json", "person.json", "machine.json", "control-key.json"):
        for root in (3, 1):
            sign = printed(steps, "trust sign", act=name)[:-1]
            assert run(*sign, tmp_path / f"root-{root}.key", "--yes").code == 0
        act = parse_envelope((home / name).read_bytes().strip())
        assert apply(state, Entry(now_ms(), act)).refusal is None
    assert {key.registration.role for key in state.keys.values()} == {
        Role.PROPOSER,
        Role.NODE,
        Role.CONTROL,
    }
