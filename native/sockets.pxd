"""What the gate uses of the kernel, declared as the manual pages have it.

Datagrams in batches (recvmmsg(2), sendmmsg(2)) with the address that they came to (ip(7),
ipv6(7)), streams (tcp(7)), epoll(7), eventfd(2), random octets (getrandom(2)), clocks
(clock_gettime(2)), prctl(2) and capset(2) of a process that gives up its rights. Also the acquire
and release accesses of a word that two threads share.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    CONTROL_OCTETS_MAX = 64  # one control message with an in6_pktinfo, and room

cdef extern from "<sys/socket.h>" nogil:
    cdef enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL
        MSG_TRUNC
        SHUT_WR
        SOCK_CLOEXEC
        SOCK_NONBLOCK
        SOCK_STREAM

    ctypedef unsigned int socklen_t

    cdef struct iovec:
        void *iov_base
        size_t iov_len

    cdef struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags

    cdef struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len

    cdef struct timespec:
        long tv_sec
        long tv_nsec

    cdef struct sockaddr:
        unsigned short sa_family

    int socket(int family, int kind, int protocol)
    int connect(int fd, const sockaddr *address, socklen_t octets)
    int accept4(int fd, sockaddr *address, socklen_t *octets, int flags)
    int getpeername(int fd, sockaddr *address, socklen_t *octets)
    int getsockname(int fd, sockaddr *address, socklen_t *octets)
    int shutdown(int fd, int how)
    ssize_t recv(int fd, void *octets, size_t count, int flags)
    ssize_t send(int fd, const void *octets, size_t count, int flags)
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, timespec *timeout)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)

cdef extern from "<netinet/in.h>" nogil:
    cdef enum:
        AF_INET
        AF_INET6

    ctypedef unsigned short sa_family_t

    cdef struct in_addr:
        uint32_t s_addr

    cdef struct in6_addr:
        uint8_t s6_addr[16]

    # Ports, addresses and flow labels are in network order; all else is in the machine's.
    cdef struct sockaddr_in:
        sa_family_t sin_family
        uint16_t sin_port
        in_addr sin_addr

    # The larger of the two families: an IPv4 address fits in it.
    cdef struct sockaddr_in6:
        sa_family_t sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id

cdef extern from * nogil:
    """
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #include <string.h>
    #include <sys/socket.h>

    static inline size_t answer_control(
        const struct msghdr *asked, void *control, struct sockaddr_in6 *local)
    {
        struct msghdr answer = {.msg_control = control, .msg_controllen = CMSG_SPACE(20)};
        struct cmsghdr *from, *to = CMSG_FIRSTHDR(&answer);

        memset(control, 0, CMSG_SPACE(20));
        for (from = CMSG_FIRSTHDR((struct msghdr *) asked); from;
             from = CMSG_NXTHDR((struct msghdr *) asked, from)) {
            if (from->cmsg_level == IPPROTO_IP && from->cmsg_type == IP_PKTINFO) {
                struct in_pktinfo info;
                struct sockaddr_in place = {.sin_family = AF_INET};

                memcpy(&info, CMSG_DATA(from), sizeof info);
                info.ipi_ifindex = 0;
                place.sin_addr = info.ipi_addr;
                memcpy(local, &place, sizeof place);
                to->cmsg_level = IPPROTO_IP;
                to->cmsg_type = IP_PKTINFO;
                to->cmsg_len = CMSG_LEN(sizeof info);
                memcpy(CMSG_DATA(to), &info, sizeof info);
                return CMSG_SPACE(sizeof info);
            }
            if (from->cmsg_level == IPPROTO_IPV6 && from->cmsg_type == IPV6_PKTINFO) {
                struct in6_pktinfo info;
                struct sockaddr_in6 place = {.sin6_family = AF_INET6};

                memcpy(&info, CMSG_DATA(from), sizeof info);
                if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
                    info.ipi6_ifindex = 0;
                place.sin6_addr = info.ipi6_addr;
                memcpy(local, &place, sizeof place);
                to->cmsg_level = IPPROTO_IPV6;
                to->cmsg_type = IPV6_PKTINFO;
                to->cmsg_len = CMSG_LEN(sizeof info);
                memcpy(CMSG_DATA(to), &info, sizeof info);
                return CMSG_SPACE(sizeof info);
            }
        }
        return 0;
    }

    static inline int stream_tune(int fd)
    {
        int on = 1;

        return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }

    static inline int stream_error(int fd)
    {
        int error = 0;
        socklen_t size = sizeof error;

        return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : -1;
    }
    """
    # Writes the control message that answers from where the datagram `asked` came to, and that
    # address (port 0) to `local`; returns the message's octets, or 0 when none was received.
    # At most CONTROL_OCTETS_MAX octets of `control` are written.
    size_t answer_control(const msghdr *asked, void *control, sockaddr_in6 *local)
    # TCP_NODELAY: an answer is not held back for the next one.
    int stream_tune(int fd)
    # SO_ERROR, which is cleared: how a connect(2) has ended; 0 when it succeeded.
    int stream_error(int fd)

cdef extern from "<sys/epoll.h>" nogil:
    cdef enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
        EPOLLERR
        EPOLLEXCLUSIVE
        EPOLLHUP
        EPOLLIN
        EPOLLOUT

    ctypedef union epoll_data_t:
        uint32_t u32
        uint64_t u64

    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data

    int epoll_create1(int flags)
    int epoll_ctl(int epoll_fd, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll_fd, epoll_event *events, int events_max, int timeout_ms)

cdef extern from "<sys/eventfd.h>" nogil:
    cdef enum:
        EFD_CLOEXEC
        EFD_NONBLOCK

    int eventfd(unsigned int initial, int flags)
    int eventfd_read(int fd, uint64_t *value)
    int eventfd_write(int fd, uint64_t value)

cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void *buffer, size_t octets, unsigned int flags)

cdef extern from "<sys/prctl.h>" nogil:
    cdef enum:
        PR_SET_NO_NEW_PRIVS
        PR_SET_DUMPABLE
        PR_GET_PDEATHSIG
        PR_SET_PDEATHSIG
        PR_CAP_AMBIENT
        PR_CAP_AMBIENT_CLEAR_ALL

    int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)

cdef extern from *:
    """
    #include <linux/capability.h>
    #include <sys/syscall.h>
    #include <unistd.h>

    static inline int clear_capabilities(void)
    {
        struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};

        return (int) syscall(SYS_capset, &header, none);
    }
    """
    # capset(2), for which the C library has no function: this thread's three sets become empty.
    int clear_capabilities()

cdef extern from "<time.h>" nogil:
    ctypedef int clockid_t
    clockid_t CLOCK_REALTIME
    clockid_t CLOCK_MONOTONIC
    clockid_t CLOCK_BOOTTIME  # nobody can set it, and it goes on while the machine sleeps

    int clock_gettime(clockid_t clock, timespec *now)

cdef extern from "<unistd.h>" nogil:
    int close(int fd)
    int usleep(unsigned int duration_us)

cdef extern from "<string.h>" nogil:
    void explicit_bzero(void *octets, size_t count)

cdef extern from "<sys/mman.h>" nogil:
    cdef enum:
        MADV_DONTNEED

    int madvise(void *address, size_t octets, int advice)

cdef extern from * nogil:
    """
    #define load_acquire(pointer) __atomic_load_n((pointer), __ATOMIC_ACQUIRE)
    #define store_release(pointer, value) __atomic_store_n((pointer), (value), __ATOMIC_RELEASE)
    #define load_relaxed(pointer) __atomic_load_n((pointer), __ATOMIC_RELAXED)
    #define store_relaxed(pointer, value) __atomic_store_n((pointer), (value), __ATOMIC_RELAXED)
    #define add_relaxed(pointer, value) \
        __atomic_store_n((pointer), *(pointer) + (value), __ATOMIC_RELAXED)
    """
    const void *load_acquire(const void **pointer)
    void store_release(const void **pointer, const void *value)
    uint64_t load_relaxed(const uint64_t *pointer)
    void store_relaxed(uint64_t *pointer, uint64_t value)
    # For a word with one writer: no locked instruction, yet readers see no torn value.
    void add_relaxed(uint64_t *pointer, uint64_t value)


cdef inline int64_t now_ms(clockid_t clock) noexcept nogil:
    """Return the time of `clock` in whole milliseconds."""
    cdef timespec now
    clock_gettime(clock, &now)
    return <int64_t> now.tv_sec * 1000 + now.tv_nsec // 1000000


cdef inline int64_t now_ns() noexcept nogil:
    """Return CLOCK_MONOTONIC in nanoseconds: for how long something took."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t> now.tv_sec * 1000000000 + now.tv_nsec
