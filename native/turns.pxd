"""How the kernel shares a processor between a loop and what else runs on it.

Asking for short turns costs no share of the processor and needs no right. A loop that wakes then
goes before a process that is in the middle of a longer turn, such as the supervisor in an update.
Linux 6.12 and newer; older kernels, and those that refuse the call, keep their own turns.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memset

cdef extern from "<unistd.h>" nogil:
    long syscall(long number, ...)

cdef extern from "<sys/syscall.h>" nogil:
    enum:
        SYS_sched_getattr
        SYS_sched_setattr

cdef extern from "<sched.h>" nogil:
    enum:
        SCHED_OTHER

cdef enum:
    TURN_NS = 100_000  # the shortest that the kernel takes

ctypedef struct sched_attr_t:
    # As in sched_setattr(2), its first version; the C library has neither call nor type.
    uint32_t size
    uint32_t sched_policy
    uint64_t sched_flags
    int32_t sched_nice
    uint32_t sched_priority
    uint64_t sched_runtime
    uint64_t sched_deadline
    uint64_t sched_period


cdef inline void take_short_turns() noexcept nogil:
    """Ask for turns of TURN_NS for the calling thread; another policy than the usual stays."""
    cdef sched_attr_t wanted
    memset(&wanted, 0, sizeof(wanted))
    if syscall(SYS_sched_getattr, 0, &wanted, <uint32_t> sizeof(wanted), 0) != 0:
        return
    if wanted.sched_policy == SCHED_OTHER:
        wanted.sched_runtime = TURN_NS
        syscall(SYS_sched_setattr, 0, &wanted, 0)
