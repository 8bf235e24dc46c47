"""Datagrams in batches: buffers taken once, filled by recvmmsg(2), emptied by sendmmsg(2).

An Inbox receives from one socket. An Outbox collects datagrams, each for its socket and, where
that is not connected, its address, and sends each from the address that was asked. Addresses are
wiped as soon as they were used. Nothing here blocks or allocates.
"""

from libc.errno cimport EAGAIN, EINTR, ENOBUFS, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from sockets cimport (
    CONTROL_OCTETS_MAX, MSG_DONTWAIT, MSG_TRUNC, iovec, mmsghdr, recvmmsg, sendmmsg, sockaddr_in6,
    socklen_t,
)
from wire cimport UDP_OCTETS_MAX

cdef enum:
    BATCH = 64
    DATAGRAM_OCTETS_MAX = 2048
    # Odd multiples of a cache line: headers of neighbours do not fall into the same cache sets.
    DATAGRAM_STRIDE = DATAGRAM_OCTETS_MAX + 64
    REPLY_STRIDE = UDP_OCTETS_MAX + 48 + 64


cdef struct Control:
    uint8_t octets[CONTROL_OCTETS_MAX]


cdef struct Inbox:
    mmsghdr messages[BATCH]
    iovec vectors[BATCH]
    sockaddr_in6 addresses[BATCH]
    Control controls[BATCH]
    uint8_t octets[BATCH * DATAGRAM_STRIDE]
    uint32_t count
    uint8_t has_addresses


cdef struct Outbox:
    mmsghdr messages[BATCH]
    iovec vectors[BATCH]
    sockaddr_in6 addresses[BATCH]
    Control controls[BATCH]
    uint16_t sockets[BATCH]
    uint8_t octets[BATCH * REPLY_STRIDE]
    uint32_t count


cdef inline void inbox_ready(Inbox *inbox, uint32_t i) noexcept nogil:
    """Say in header `i` how much room there is; the kernel writes what it used."""
    inbox.messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_in6)
    inbox.messages[i].msg_hdr.msg_controllen = CONTROL_OCTETS_MAX


cdef inline void inbox_open(Inbox *inbox, bint has_addresses) noexcept nogil:
    """Point the headers at the buffers; a connected socket needs no addresses."""
    cdef uint32_t i
    memset(inbox, 0, sizeof(Inbox))
    inbox.has_addresses = has_addresses
    for i in range(<uint32_t> BATCH):
        inbox.vectors[i].iov_base = inbox.octets + i * DATAGRAM_STRIDE
        inbox.vectors[i].iov_len = DATAGRAM_OCTETS_MAX
        inbox.messages[i].msg_hdr.msg_iov = &inbox.vectors[i]
        inbox.messages[i].msg_hdr.msg_iovlen = 1
        if has_addresses:
            inbox.messages[i].msg_hdr.msg_name = &inbox.addresses[i]
            inbox.messages[i].msg_hdr.msg_control = &inbox.controls[i]
            inbox_ready(inbox, i)


cdef inline int inbox_receive(Inbox *inbox, int fd) noexcept nogil:
    """Receive what is there, at most BATCH; return 0, or the errno when nothing was received."""
    cdef int received = recvmmsg(fd, inbox.messages, BATCH, MSG_DONTWAIT, NULL)
    if received < 0:
        inbox.count = 0
        return errno
    inbox.count = received
    return 0


cdef inline uint8_t *inbox_octets(Inbox *inbox, uint32_t i) noexcept nogil:
    return inbox.octets + i * DATAGRAM_STRIDE


cdef inline bint inbox_is_cut(Inbox *inbox, uint32_t i) noexcept nogil:
    """Tell whether datagram `i` was longer than DATAGRAM_OCTETS_MAX."""
    return inbox.messages[i].msg_hdr.msg_flags & MSG_TRUNC != 0


cdef inline void inbox_wipe(Inbox *inbox) noexcept nogil:
    """Forget who sent the batch and make the headers ready for the next one."""
    cdef uint32_t i
    if inbox.has_addresses:
        memset(inbox.addresses, 0, inbox.count * sizeof(sockaddr_in6))
        for i in range(inbox.count):
            inbox_ready(inbox, i)
    inbox.count = 0


cdef inline void outbox_open(Outbox *outbox) noexcept nogil:
    """Point the headers at the buffers."""
    cdef uint32_t i
    memset(outbox, 0, sizeof(Outbox))
    for i in range(<uint32_t> BATCH):
        outbox.vectors[i].iov_base = outbox.octets + i * REPLY_STRIDE
        outbox.messages[i].msg_hdr.msg_iov = &outbox.vectors[i]
        outbox.messages[i].msg_hdr.msg_iovlen = 1


cdef inline uint8_t *outbox_octets(Outbox *outbox) noexcept nogil:
    """Return where the next datagram may be written; the outbox must have room."""
    return outbox.octets + outbox.count * REPLY_STRIDE


cdef inline void outbox_add(Outbox *outbox, uint32_t socket, size_t length) noexcept nogil:
    """Queue the `length` octets that were written, for a connected socket."""
    cdef uint32_t i = outbox.count
    outbox.sockets[i] = <uint16_t> socket
    outbox.vectors[i].iov_len = length
    outbox.messages[i].msg_hdr.msg_name = NULL
    outbox.messages[i].msg_hdr.msg_namelen = 0
    outbox.messages[i].msg_hdr.msg_control = NULL
    outbox.messages[i].msg_hdr.msg_controllen = 0
    outbox.count = i + 1


cdef inline void outbox_add_to(
    Outbox *outbox, uint32_t socket, size_t length, const sockaddr_in6 *client,
    socklen_t client_octets, const Control *control, size_t control_octets,
) noexcept nogil:
    """Queue the `length` octets that were written, for `client`, from where `control` says."""
    cdef uint32_t i = outbox.count
    outbox_add(outbox, socket, length)
    memcpy(&outbox.addresses[i], client, sizeof(sockaddr_in6))
    outbox.messages[i].msg_hdr.msg_name = &outbox.addresses[i]
    outbox.messages[i].msg_hdr.msg_namelen = client_octets
    if control_octets:
        memcpy(&outbox.controls[i], control, sizeof(Control))
        outbox.messages[i].msg_hdr.msg_control = &outbox.controls[i]
        outbox.messages[i].msg_hdr.msg_controllen = control_octets


cdef inline uint32_t send_batch(int fd, mmsghdr *messages, uint32_t count) noexcept nogil:
    """Send messages in order until one cannot be sent; return how many were."""
    cdef uint32_t sent = 0
    cdef int done
    while sent < count:
        done = sendmmsg(fd, messages + sent, count - sent, MSG_DONTWAIT)
        if done > 0:
            sent += done
        elif errno != EINTR:
            break
    return sent


cdef inline uint32_t outbox_send(Outbox *outbox, const int *fds) noexcept nogil:
    """Send all answers, each by its own socket, and empty the outbox; return how many failed.

    One that the kernel refuses (an unreachable client, port 0) is skipped; when a socket's
    buffer is full the rest of that socket's run is given up: clients ask again.
    """
    cdef uint32_t start = 0, stop, sent, failed = 0
    while start < outbox.count:
        stop = start + 1
        while stop < outbox.count and outbox.sockets[stop] == outbox.sockets[start]:
            stop += 1
        while start < stop:
            sent = send_batch(
                fds[outbox.sockets[start]], outbox.messages + start, stop - start
            )
            start += sent
            if start < stop:
                if errno == EAGAIN or errno == ENOBUFS:
                    failed += stop - start
                    start = stop
                else:
                    failed += 1
                    start += 1
    memset(outbox.addresses, 0, outbox.count * sizeof(sockaddr_in6))
    outbox.count = 0
    return failed
