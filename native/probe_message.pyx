"""Python windows on how a response is read, judged and cut, for tests and tools."""

from libc.stdint cimport uint8_t

from message cimport (
    ANSWERED_WHOLE, Answered, Response, drop_additionals, read_response,
)

ANSWERED = ("UNSPECIFIED", "WHOLE", "RUNT", "QUERY", "MALFORMED")
SORTS = ("UNSPECIFIED", "DATA", "NODATA", "NXDOMAIN", "ERROR", "REFERRAL", "CUT")


def read(const uint8_t[:] wire not None, *, bint without_additionals=False):
    """Return what an upstream's message is, by name, and its fields if it is whole."""
    cdef Response response
    cdef const uint8_t *octets = &wire[0] if wire.shape[0] else NULL
    cdef Answered answered = read_response(octets, wire.shape[0], &response)
    if answered != ANSWERED_WHOLE:
        return ANSWERED[<int> answered], {}
    if without_additionals:
        drop_additionals(&response)
    return ANSWERED[<int> answered], {
        "octets": response.octets,
        "question_octets": response.question_octets,
        "flags": response.flags,
        "rcode": response.rcode,
        "qtype": response.qtype,
        "qclass": response.qclass,
        "counts": (response.answers, response.authorities, response.additionals),
        "starts": (response.answers_at, response.authorities_at, response.additionals_at),
        "ttl_at": [response.ttl_at[i] for i in range(response.ttls)],
        "ttl_seconds": response.ttl_seconds,
        "sort": SORTS[response.sort],
        "is_cacheable": bool(response.is_cacheable),
        "has_links": bool(response.has_links),
        "errors": response.errors[:response.errors_octets],
    }
