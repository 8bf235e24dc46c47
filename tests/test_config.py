"""Every program's file: what is read, and that each error names the file, the key, the remedy."""

import pytest

from enforcer import config
from enforcer.backends.keys import PrivateKey
from enforcer.core.note import VerifierKey
from enforcer.errors import InputError, NotFoundError

NODE = """\
node_id = "node-1"
state_dir = "state"
trust_file = "../trust.toml"
key_file = "/etc/enforcer/node.key"
gate_socket = "gate.sock"
[redis]
url = "redis://127.0.0.1:6379"
[control]
address = "127.0.0.1:7443"
[tls]
certificate = "tls.crt"
key = "tls.key"
ca = "ca.crt"
"""
GATE = """\
origin = "example.org/ledger"
listen = ["127.0.0.1:53", "[::1]:53"]
upstreams = ["127.0.0.1:5353"]
state_dir = "state"
control_socket = "gate.sock"
"""


@pytest.fixture
def read(tmp_path):
    def read(text, kind=config.NodeConfig):
        path = tmp_path / "program.toml"
        path.write_text(text)
        return config.read(path, kind)

    return read


def refused(read, text, kind=config.NodeConfig):
    with pytest.raises(InputError) as caught:
        read(text, kind)
    assert "program.toml" in caught.value.message
    assert caught.value.advice
    return caught.value


def test_paths_are_relative_to_the_file_and_come_out_absolute(read, tmp_path):
    made = read(NODE)
    assert made.state_dir == tmp_path / "state"
    assert made.trust_file == tmp_path.parent / "trust.toml"
    assert str(made.key_file) == "/etc/enforcer/node.key"
    assert (made.listen, made.poll_interval_ms) == (None, 1_000)


def test_an_address_has_a_host_and_a_port(read):
    made = read(GATE, config.GateConfig)
    assert [(each.host, each.port) for each in made.listen] == [("127.0.0.1", 53), ("::1", 53)]
    assert made.upstreams == ("127.0.0.1:5353",)


@pytest.mark.parametrize(
    "text", ["127.0.0.1", ":53", "::1:53", "[::1:53", "h:99999", "h:x", "[x]:1"]
)
def test_what_is_no_address_is_refused(read, text):
    error = refused(read, GATE.replace('"127.0.0.1:5353"', f'"{text}"'), config.GateConfig)
    assert error.data["key"] == "upstreams[0]"


def test_an_unknown_key_is_named_with_the_one_that_was_meant(read):
    error = refused(read, NODE.replace("state_dir", "statedir"))
    assert (error.data["key"], error.advice) == ("statedir", "Write 'state_dir' instead.")
    error = refused(read, NODE.replace("url =", "urll ="))
    assert (error.data["key"], error.advice) == ("redis.urll", "Write 'url' instead.")


def test_an_unknown_key_like_no_other_is_told_all_that_there_are(read):
    error = refused(read, NODE + "zzz = 1\n")
    assert error.data["key"] == "tls.zzz"
    assert error.advice == "Known keys: ca, certificate, crl, key."


def test_a_missing_key_is_named_with_its_section(read):
    assert refused(read, NODE.replace('ca = "ca.crt"\n', "")).data["key"] == "tls.ca"
    assert refused(read, NODE.replace('node_id = "node-1"\n', "")).data["key"] == "node_id"


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ('"node-1"', '"Node 1"', "node_id", "lower-case"),
        ('"node-1"', "7", "node_id", "`int`"),
        ('"state"', '""', "state_dir", "`str`"),
        ('"redis://127.0.0.1:6379"', '"http://x"', "redis", "redis://"),
        ('"redis://127.0.0.1:6379"', '"redis://u:secret@h"', "redis", "password_file"),
        ('"redis://127.0.0.1:6379"', '"redis://h"\nca = "ca.crt"', "redis", "rediss://"),
        ('"redis://127.0.0.1:6379"', '"rediss://h"\nkey = "k"', "redis", "together"),
        ('"redis://127.0.0.1:6379"', '"redis://h"\nfrom_replica = true', "redis", "sentinels"),
        ('"redis://127.0.0.1:6379"', '"redis://h"\nsentinels = ["h"]', "redis.sentinels[0]", "h"),
        ('"gate.sock"', '"' + "x" * 120 + '"', "$", "longer than 107"),
    ],
)
def test_a_wrong_value_is_named_with_what_may_stand(read, old, new, key, words):
    error = refused(read, NODE.replace(old, new))
    assert words in error.message
    assert error.data["key"] == (None if key == "$" else key)
    assert "secret" not in error.message


def test_a_number_out_of_bounds_is_refused(read):
    error = refused(read, "poll_interval_ms = 3\n" + NODE)
    assert error.data["key"] == "poll_interval_ms"
    assert ">= 10" in error.message


def test_a_node_has_no_firewall_unless_it_is_told(read):
    assert read(NODE).firewall.backend == "none"
    part = '[firewall]\nbackend = "nftables"\nprotect = ["192.0.2.0/24", "2001:db8::1"]\n'
    assert read(NODE + part).firewall.protect == ("192.0.2.0/24", "2001:db8::1")


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ('backend = "iptables"', "firewall.backend"),
        ('protect = ["192.0.2.1/24"]', "firewall.protect"),
        ('protect = ["example.org"]', "firewall.protect"),
        ("lease_seconds = 60", "firewall"),
        ("seconds = 60", "firewall.seconds"),
    ],
)
def test_a_firewall_that_cannot_be_is_refused_by_its_key(read, part, key):
    assert refused(read, f"{NODE}[firewall]\n{part}\n").data["key"].startswith(key)


CONTROL = '[control]\naddress = "127.0.0.1:7443"\n'
TLS = '[tls]\ncertificate = "tls.crt"\nkey = "tls.key"\nca = "ca.crt"\n'


def test_a_node_with_copies_alone_needs_neither_control_plane_nor_certificate(read):
    text = 'copies = ["/media/ledger"]\n' + NODE.replace(CONTROL, "").replace(TLS, "")
    apart = read(text.replace('[redis]\nurl = "redis://127.0.0.1:6379"\n', ""))
    assert (apart.control, apart.tls, apart.redis) == (None, None, None)


@pytest.mark.parametrize(
    ("taken", "given", "words"),
    [
        (CONTROL + TLS, "", None),  # Redis is left
        ('[redis]\nurl = "redis://127.0.0.1:6379"\n' + CONTROL + TLS, "", "no path"),
        (TLS, "", "certificate"),
        (CONTROL + TLS, 'listen = "127.0.0.1:1"\n', "certificate"),
        (CONTROL + TLS, 'canary = {follows = ["127.0.0.1:1"]}\n', "certificate"),
    ],
)
def test_a_node_that_is_cut_off_or_cannot_be_known_is_refused(read, taken, given, words):
    assert taken in NODE
    text = given + NODE.replace(taken, "")
    if words is None:
        assert read(text).control is None
    else:
        assert words in refused(read, text).message


def test_what_is_no_toml_is_told_with_its_line(read):
    assert "line 1" in refused(read, "a = = 1\n").message


def test_a_file_that_is_not_there_or_not_text_is_named(read, tmp_path):
    with pytest.raises(NotFoundError, match="absent"):
        config.read(tmp_path / "absent.toml", config.NodeConfig)
    (tmp_path / "program.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        config.read(tmp_path / "program.toml", config.NodeConfig)


def test_a_block_page_has_an_address_of_its_family(read):
    made = read(GATE + '[block_page]\nipv4 = "192.0.2.80"\n', config.GateConfig)
    assert made.block_page.ipv4 == "192.0.2.80"
    error = refused(read, GATE + '[block_page]\nipv4 = "2001:db8::1"\n', config.GateConfig)
    assert error.data["key"] == "block_page"


def test_a_password_stands_in_a_file_of_its_own(read, tmp_path):
    made = read(NODE.replace("[control]", 'password_file = "password"\n[control]'))
    with pytest.raises(NotFoundError, match="password"):
        made.redis.password()
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o644)
    with pytest.raises(InputError, match="read by others"):
        made.redis.password()
    (tmp_path / "password").chmod(0o600)
    assert made.redis.password() == "secret"
    assert read(NODE).redis.password() is None


ROOTS = [PrivateKey.generate().public_key.hex() for _ in range(3)]
VKEY = VerifierKey("example.org/ledger", PrivateKey.generate().public_key).text


def trust_text(**changes):
    values = {
        "origin": '"example.org/ledger"',
        "log_vkey": f'"{VKEY}"',
        "root_keys": str(ROOTS),
        "root_threshold": "2",
        "witnesses": "{ quorum = 0 }",
    } | changes
    return "".join(f"{name} = {value}\n" for name, value in values.items())


def test_a_trust_file_becomes_a_trust(tmp_path):
    (tmp_path / "trust.toml").write_text(trust_text())
    trust = config.read_trust(tmp_path / "trust.toml")
    assert trust.origin == "example.org/ledger"
    assert [key.hex() for key in trust.roots.public_keys] == ROOTS


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"root_threshold": "1"}, "threshold"),
        ({"root_threshold": "4"}, "threshold"),
        ({"root_keys": str([ROOTS[0], ROOTS[0]])}, "twice"),
        ({"root_keys": '["abcd", "ef01"]'}, "32 octets"),
        ({"log_vkey": '"nonsense"'}, "vkey"),
        ({"origin": '"two words"'}, "without spaces"),
        ({"witnesses": "{ quorum = 1 }"}, "above the number of witnesses"),
        ({"witnesses": '{ quorum = 0, vkeys = ["x"] }'}, "vkey"),
        ({"witnesses": "{}"}, "is missing"),
    ],
)
def test_parts_that_make_no_trust_are_refused(read, changes, words):
    assert words in refused(read, trust_text(**changes), config.TrustFile).message
