"""A ledger of 600 entries in files for tests, and the log that signs it."""

from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.tiles import TileLedger
from enforcer.core import merkle
from enforcer.core.checkpoint import sign_checkpoint
from enforcer.core.merkle import CompactRange
from enforcer.core.note import VerifierKey

ORIGIN = "example.org/ledger"
KEY = PrivateKey.generate()
VKEY = VerifierKey(ORIGIN, KEY.public_key)
LEAVES = [f"entry {index}".encode() for index in range(600)]


def opened(path, *, writer=True, origin=ORIGIN, vkey=VKEY):
    return TileLedger.open(path, origin=origin, vkey=vkey, verify=verify, writer=writer)


def seal(checkpoint):
    return sign_checkpoint(checkpoint, VKEY, KEY.sign)


def root_of(leaves):
    return CompactRange.over(map(merkle.leaf_hash, leaves)).root()


def not_called(_checkpoint):
    raise AssertionError("nothing must be signed")
