# cython: language_level=3
"""The table, format v3: the bytes that the compiler writes and the gate reads in place.

One little-endian region of `total_bytes`: header, slots, orders, strings, postings, words,
networks, each at a multiple of 16. Zero says nothing anywhere: an empty slot, no posting.
Names are not stored but found by a keyed hash: h(root) is the table's secret, h(label.parent)
is SipHash-2-4-128 of the lower-case label under the key h(parent). 96 bits are compared, the
other 32 choose the slot: see ARCHITECTURE.md. Prefixes are stored, as prefix.pxd says.
A base has a zero `base_sha256`. An overlay names its base there; its rows replace the base's.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from siphash cimport hash128_t

cdef enum:
    TABLE_VERSION = 3
    TABLE_HEADER_BYTES = 512
    TABLE_ALIGNMENT = 16
    TABLE_LABELS_MAX = 127  # RFC 1035: what 255 octets hold
    TABLE_INDEX_BITS_MAX = 20
    TABLE_ORDER_ID_BYTES_MAX = 32
    TABLE_REGISTER_URL_BYTES_MAX = 200
    TABLE_REGISTER_DOMAIN_BYTES_MAX = 222  # 255 less an order id as the label before it
    TABLE_ORDERS_MAX = 1 << 24
    NO_ORDER = 0xFFFFFFFF
    NO_ZONE = 0xFF

# The values of enforcer.core.verdict, target and table; a test holds them equal.
cdef enum:
    ACTION_PASS = 1
    ACTION_BLOCK = 2
    CAUSE_PROTECTED_CORE = 1
    CAUSE_PROTECTED_LIST = 2
    CAUSE_ORDER = 3
    CAUSE_NO_MATCH = 4
    KIND_UNSPECIFIED = 0
    KIND_EXACT = 1
    KIND_SUBTREE = 2
    KIND_IP = 3
    KIND_NET = 4
    DENIAL_NOT_BLOCKED = 1
    DENIAL_NODATA = 2
    DENIAL_NXDOMAIN = 3
    DNS_NONE = 1
    DNS_NEGATIVE = 2
    DNS_BLOCK_PAGE = 3
    IP_NONE = 1
    IP_REJECT = 2
    IP_DROP = 3
    BINDING_BINDING = 1
    BINDING_ADVISORY = 2

cdef enum:
    QTYPE_NS = 2
    QTYPE_SOA = 6
    QTYPE_DS = 43
    QTYPE_DNSKEY = 48

# What may stand at one name or prefix, which counts as SUBTREE; 0 says nothing and permits nothing.
cdef enum:
    POSTING_CORE_EXACT = 1
    POSTING_CORE_SUBTREE = 2
    POSTING_PROTECTED_EXACT = 4
    POSTING_PROTECTED_SUBTREE = 8
    POSTING_PASS_INSIDE = 16  # a pass rule at the name or below it: NXDOMAIN would deny it
    POSTING_FLAGS = 31


ctypedef struct section_t:
    uint64_t offset
    uint64_t size_bytes


ctypedef struct header_t:
    uint8_t magic[8]
    uint32_t version
    uint32_t header_bytes
    uint64_t total_bytes
    uint8_t body_sha256[32]  # of the whole region with these 32 octets zero
    uint8_t origin_sha256[32]
    uint64_t ledger_size
    int64_t time_floor_ms
    uint8_t table_digest[32]
    hash128_t secret  # random for each node, and never leaves it
    uint8_t base_sha256[32]  # body_sha256 of the base that an overlay lies on; zero in a base
    uint8_t protections_sha256[32]  # of the digests of the core and the protected list
    uint64_t name_count
    uint64_t network_count  # prefixes, addresses included
    uint64_t depths[2]  # bit d: a name of d labels is stored
    uint64_t subtree_depths[2]  # bit d: one of them covers what is below it
    uint32_t slot_count
    uint32_t probes_max  # slots that a lookup reads at most
    uint32_t labels_max  # of the deepest name stored
    uint32_t order_count
    uint32_t posting_count  # without the reserved posting 0
    uint32_t word_count
    uint32_t register_url_bytes
    uint32_t register_domain_bytes
    section_t slots
    section_t orders
    section_t strings  # the register's URL, then its domain in wire form
    section_t postings
    section_t words  # order slots, as the postings name them
    section_t networks  # keys6, keys4, index6, index4, nests
    uint32_t key_counts[2]  # IPv4, IPv6: first addresses of prefixes, each once
    uint32_t index_bits[2]
    uint32_t nest_count  # without the reserved nest 0
    uint8_t reserved[100]


ctypedef struct slot_t:
    uint64_t fingerprint_low
    uint32_t fingerprint_high
    uint32_t posting  # 0: the slot is empty


ctypedef struct posting_t:
    uint32_t flags
    uint32_t exact_at  # words[exact_at : exact_at + exact_count] decide here, in this order
    uint32_t exact_count
    uint32_t subtree_at
    uint32_t subtree_count


# What is around an address: one prefix, then the one around that, up to nest 0, which is none.
# Addresses share nests, so there are few.
ctypedef struct nest_t:
    uint32_t posting
    uint32_t around  # a lesser nest of a shorter prefix
    uint8_t length  # bits
    uint8_t has_core  # this prefix or one around it is of the protected core
    uint16_t unused


ctypedef struct key4_t:
    uint32_t first  # ascending, in the machine's order
    uint32_t nest  # of the longest prefix that begins there


ctypedef struct key6_t:
    uint64_t high
    uint64_t low
    uint32_t nest
    uint32_t unused


ctypedef struct order_t:
    int64_t from_ms
    int64_t until_ms
    uint64_t index
    uint64_t target_count
    uint32_t version
    uint8_t dns_measure
    uint8_t ip_measure
    uint8_t binding
    uint8_t order_id_bytes
    uint8_t list_sha256[32]
    uint8_t order_id[TABLE_ORDER_ID_BYTES_MAX]
