"""The digest of what a firewall holds: what it tells apart, and what it does not tell."""

from hashlib import sha256
from ipaddress import ip_network

from enforcer.core.firewall import NO_PIECES, FirewallRow, pack_pieces, pieces_digest
from enforcer.core.table import IpMeasure

REJECT, DROP = (FirewallRow(5, measure) for measure in (IpMeasure.REJECT, IpMeasure.DROP))
ONE, OTHER = (pack_pieces([(ip_network(f"192.0.2.{last}"), 5)]) for last in (7, 8))


def test_the_digest_tells_pieces_rows_and_measures_apart():
    digests = [
        pieces_digest(ONE, [REJECT]),
        pieces_digest(ONE, [DROP]),
        pieces_digest(ONE, [REJECT, FirewallRow(6, IpMeasure.DROP)]),
        pieces_digest(OTHER, [REJECT]),
        pieces_digest(NO_PIECES, []),
    ]
    assert len(set(digests)) == 5


def test_the_digest_is_of_these_octets():
    packed = bytes([192, 0, 2, 7] * 2 + [5, 0, 0, 0])
    octets = b"enforcer-pieces v1\nrow 5 REJECT\nipv4 1\n" + packed + b"ipv6 0\n"
    assert pieces_digest(ONE, [REJECT]) == sha256(octets).hexdigest()


def test_of_a_hidden_list_nobody_can_try_which_addresses_it_has():
    salt = bytes(range(128, 160))
    octets = f"enforcer-pieces v1\nrow 5 REJECT {salt.hex()}\nipv4 1\n".encode()
    packed = bytes([192, 0, 2, 7] * 2 + [5, 0, 0, 0])
    digest = pieces_digest(ONE, [REJECT], {5: salt})
    assert digest == sha256(octets + packed + b"ipv6 0\n").hexdigest()
    assert digest != pieces_digest(ONE, [REJECT])
