"""Python windows on addresses, access, the PROXY protocol and rates, for tests alone."""

import ipaddress

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from access cimport (
    ACCESS_PREFIXES_MAX, Access, access_add, access_allows, access_open, access_seal,
)
from address cimport (
    FAMILY_NONE, Address, address_clear, address_from_sockaddr, address_octets, address_set4,
    address_set6, address_to_sockaddr,
)
from proxy cimport (
    PROXY_OCTETS_MAX, PROXY_WRITTEN_OCTETS_MAX, Proxied, proxy_read, proxy_write,
)
from rate cimport (
    RATE_PER_SECOND_MAX, RATE_SETS, RATE_WAYS, Rate, rate_close, rate_open, rate_sweep, rate_take,
)
from sockets cimport sockaddr_in6, socklen_t

PREFIXES_MAX = ACCESS_PREFIXES_MAX
HEADER_OCTETS_MAX = PROXY_OCTETS_MAX
PER_SECOND_MAX = RATE_PER_SECOND_MAX
BUCKETS = RATE_SETS * RATE_WAYS
RATES = ("UNSPECIFIED", "SEND", "SLIP", "DROP")
PROXIED = ("UNSPECIFIED", "NONE", "PARTIAL", "BAD", "LOCAL", "PROXY")
# Octets behind what is written, which must stay as they were.
cdef enum:
    GUARD_OCTETS = 64


cdef object spelled(const Address *address):
    """Return (address, port), or None for none."""
    cdef uint32_t octets = address_octets(address)
    if octets == 0:
        return None
    packed = <bytes> (<const uint8_t *> address.octets)[:octets]
    return str(ipaddress.ip_address(packed)), address.port


cdef int read_place(object place, Address *out) except -1:
    """Make `out` what (address, port) or None says."""
    address_clear(out)
    if place is None:
        return 0
    cdef bytes packed = ipaddress.ip_address(place[0]).packed
    if len(packed) == 4:
        address_set4(out, packed, place[1])
    else:
        address_set6(out, packed, place[1])
    return 0


def through_kernel(bytes sockaddr not None):
    """Read a sockaddr, write it again; return ((address, port) or None, scope, the new octets)."""
    cdef sockaddr_in6 given
    cdef Address address
    cdef socklen_t octets
    if len(sockaddr) > <Py_ssize_t> sizeof(sockaddr_in6):
        raise ValueError("no sockaddr of these two families is as long")
    memset(&given, 0xA5, sizeof(given))
    memcpy(&given, <const uint8_t *> sockaddr, len(sockaddr))
    is_read = address_from_sockaddr(&address, &given, <socklen_t> len(sockaddr))
    if is_read != (address.family != FAMILY_NONE):
        raise AssertionError("what was not read has a family")
    octets = address_to_sockaddr(&address, &given)
    return spelled(&address), address.scope, <bytes> (<const uint8_t *> &given)[:octets]


cdef class AccessSet:
    """A set of prefixes."""

    cdef Access *access

    def __cinit__(self, networks, *, bint is_sealed=True):
        """Take networks as ipaddress has them.

        Raises:
            ValueError: there are too many.
        """
        cdef bytes packed
        self.access = <Access *> calloc(1, sizeof(Access))
        if self.access is NULL:
            raise MemoryError
        access_open(self.access)
        for network in networks:
            packed = network.network_address.packed
            if not access_add(self.access, network.version, packed, network.prefixlen):
                raise ValueError(f"{network} was not taken")
        if is_sealed:
            access_seal(self.access)

    def __dealloc__(self):
        free(self.access)

    def __len__(self):
        return self.access.count

    def allows(self, address):
        """Tell whether the address, a text or None, is in the set."""
        cdef Address asked
        read_place(None if address is None else (address, 53), &asked)
        return bool(access_allows(self.access, &asked))


def takes_prefix(int family, bytes octets not None, int bits, bint is_sealed=False):
    """Tell whether a set takes the prefix, given in 16 octets."""
    cdef Access *access = <Access *> calloc(1, sizeof(Access))
    if access is NULL or len(octets) != 16:
        raise ValueError("give 16 octets")
    try:
        access_open(access)
        if is_sealed:
            access_seal(access)
        return bool(access_add(access, family, octets, bits))
    finally:
        free(access)


def read_proxy(const uint8_t[:] octets not None):
    """Return what the octets are, the client, the local address, and the header's length."""
    cdef Address client, local
    cdef size_t header_octets = 99
    cdef uint8_t nothing = 0
    cdef const uint8_t *start = &octets[0] if octets.shape[0] else &nothing
    address_clear(&client)
    address_clear(&local)
    cdef Proxied proxied = proxy_read(start, octets.shape[0], &client, &local, &header_octets)
    return PROXIED[<int> proxied], spelled(&client), spelled(&local), header_octets


def write_proxy(client, local, bint is_stream):
    """Return the header that tells of two places, each (address, port) or None."""
    cdef Address from_address, to_address
    cdef uint8_t out[PROXY_WRITTEN_OCTETS_MAX + GUARD_OCTETS]
    read_place(client, &from_address)
    read_place(local, &to_address)
    memset(out, 0xA5, sizeof(out))
    cdef size_t length = proxy_write(out, &from_address, &to_address, is_stream)
    written = <bytes> out[:PROXY_WRITTEN_OCTETS_MAX + GUARD_OCTETS]
    if length > PROXY_WRITTEN_OCTETS_MAX or written[length:] != b"\xa5" * (len(written) - length):
        raise AssertionError("it wrote beyond what it may write")
    return written[:length]


cdef class RateLimit:
    """A table of token buckets."""

    cdef Rate rate

    def __cinit__(self, uint32_t per_second, bytes secret not None):
        """Raise ValueError for a secret that has not 16 octets or a rate that is too high."""
        if len(secret) != 16 or not rate_open(&self.rate, per_second, secret):
            raise ValueError("it cannot be limited so")

    def __dealloc__(self):
        rate_close(&self.rate)

    def check(self, address, int64_t now_ms):
        """Say what becomes of one more answer to the address, a text or None."""
        cdef Address client
        read_place(None if address is None else (address, 53), &client)
        return RATES[<int> rate_take(&self.rate, &client, now_ms)]

    def sweep(self, int64_t now_ms):
        """Wipe what is full again, everywhere."""
        rate_sweep(&self.rate, RATE_SETS, now_ms)

    def memory(self):
        """Return the table's octets, for a look at what is left in it."""
        if self.rate.buckets is NULL:
            return b""
        size = BUCKETS * sizeof(self.rate.buckets[0])
        return <bytes> (<const uint8_t *> self.rate.buckets)[:size]
