"""``enforcer flows`` and restricted lists: matched with a key that opens them, and never shown."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from enforcer.backends.keys import EncryptionKey
from enforcer.core import age
from enforcer.core.order import Measure, PublicationMode
from enforcer.core.table import DnsMeasure, IpMeasure
from tests.cli.test_audit_sealed import Book

HIDDEN = b"ip 192.0.2.77\nnet 2001:db8:bad::/48\n"
CLIENT = "203.0.113.77"
HEAD = "source,target,first_ms,octets,packets,protocol,tcp_flags\n"


@pytest.fixture
def book(tmp_path):
    made = Book(tmp_path / "ledger")
    made.write_trust(tmp_path / "trust.toml")
    return made


@pytest.fixture
def order(book):
    """Have an order in force whose addresses are not public."""
    sealed = book.seal(PublicationMode.RESTRICTED_TARGETS, HIDDEN)
    measure = Measure(DnsMeasure.NONE, IpMeasure.REJECT)
    ref = sealed.in_force(book.land, measure=measure)
    book.write(sealed)
    return ref


@pytest.fixture
def said(book, run, tmp_path):
    """Check a leak to a client; nobody's address may be in what is said."""

    def said(*words):
        path = tmp_path / "flows.csv"
        path.write_text(
            f"{HEAD}192.0.2.77,{CLIENT},{book.land.now_ms + 61_000},900,9,tcp,27\n"
            f"192.0.2.78,{CLIENT},{book.land.now_ms + 61_000},900,9,tcp,27\n"
        )
        options = ("--ledger", book.path, "--trust", tmp_path / "trust.toml", "--skew", 0)
        told = run("flows", path, *options, *words)
        for trace in ("192.0.2.77", "2001:db8:bad", CLIENT):
            assert trace not in told.out + told.err
        return told

    return said


@pytest.fixture
def identity(book, tmp_path):
    octets = age.decode(age.SECRET_PREFIX, book.land.oversight.encryption_secret.lower())
    path = tmp_path / "age.key"
    EncryptionKey(X25519PrivateKey.from_private_bytes(octets)).save(path)
    return path


def test_without_a_key_a_restricted_order_is_said_as_not_looked_at_by_its_id(order, said):
    told = said("--json")
    assert (told.code, told.json["verdict"]) == (2, "INCOMPLETE")
    assert told.json["lists_missing"] == [order.order_id]
    assert order.order_id not in {each["order_id"] for each in told.json["orders"]}
    told = said()
    assert told.code == 2
    words = " ".join(told.err.split())
    assert f"not looked at: {order.order_id}" in words
    assert "--identity" in words


def test_with_a_key_that_opens_it_what_got_through_is_counted(order, said, identity):
    told = said("--identity", identity, "--json")
    assert (told.code, told.json["verdict"], told.json["lists_missing"]) == (1, "LEAK", [])
    [seen] = told.json["orders"]
    assert (seen["order_id"], seen["leaks"]) == (order.order_id, 1)
    told = said("--identity", identity)
    assert told.code == 1
    assert "LEAK" in told.out
    assert "not looked at" not in told.err
