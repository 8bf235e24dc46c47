"""Writing one table in place, into the file that is given: the memory it takes is its own.

The heavy parts run without the GIL; Python is called for an override at a protected target.
What it is given was checked: `Lists` and `TableFrame` hold nothing that has no place in a table.
"""

import mmap
import os
from dataclasses import dataclass
from hashlib import sha256

from enforcer._native.windows import windows
from enforcer.core.target import LINE_BYTES_MAX
from enforcer.errors import InputError, IntegrityError

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from build cimport *
from chain cimport chains_free, chains_open
from guard_networks cimport prefix_t, read_prefix
from layout cimport *
from nests cimport nests_free, nests_lay, nests_open, nests_t, nests_write, runs_sort
from pieces cimport entry_of, entry_t, run_mark
from prefix_section cimport index_bits_for, prefixes_bytes

cdef enum:
    WORDS_MAX = 1 << 30  # 4 GiB of order slots: something is wrong long before


@dataclass(frozen=True)
class CompiledTable:
    """What was compiled."""

    name_count: int
    network_count: int
    slot_count: int
    posting_count: int
    total_bytes: int
    body_sha256: str


def slots_for(placed_count):
    """Return the slots that `placed_count` names get: a load of three quarters."""
    return placed_count + placed_count // 3 + 2


cdef class Region:
    """The file being written, mapped; `bytes` is all of it."""

    cdef object fd, mapping
    cdef uint8_t[::1] bytes

    def __cinit__(self, fd):
        self.fd = fd

    cdef int resize(self, uint64_t size_bytes) except -1:
        """Map `size_bytes` of the file; its blocks are reserved, or OSError says why not."""
        self.close()
        os.posix_fallocate(self.fd, 0, size_bytes)  # or a full disk is a SIGBUS, later
        self.mapping = mmap.mmap(self.fd, size_bytes)
        self.bytes = self.mapping
        return 0

    cdef int close(self) except -1:
        self.bytes = None
        if self.mapping is not None:
            self.mapping.close()
            self.mapping = None
        return 0


cdef class Builder:
    """One attempt at a table with a given number of slots."""

    cdef build_t build
    cdef nests_t nests
    cdef Region region

    def __cinit__(self, fd, bytes secret, slot_count, uint64_t network_count_max):
        """Begin with no target; `network_count_max` are the addresses and prefixes to come."""
        os.ftruncate(fd, 0)  # what was there must not show through in empty slots
        self.region = Region(fd)
        self.region.resize(TABLE_HEADER_BYTES + <uint64_t> slot_count * sizeof(slot_t))
        self.map_slots()
        memcpy(&self.build.header.secret, <const uint8_t *> secret, 16)
        self.build.header.slot_count = slot_count
        self.build.header.probes_max = 1
        self.build.room = network_count_max
        for run in range(2):
            self.build.runs[run].entries = <entry_t *> malloc(
                (network_count_max + 1) * sizeof(entry_t)
            )
            if self.build.runs[run].entries == NULL:
                raise MemoryError
        if not chains_open(&self.build.chains):
            raise MemoryError

    def __dealloc__(self):
        chains_free(&self.build.chains)
        nests_free(&self.nests)
        free(self.build.runs[0].entries)
        free(self.build.runs[1].entries)

    cdef void map_slots(self):
        self.build.header = <header_t *> &self.region.bytes[0]
        self.build.slots = <slot_t *> &self.region.bytes[TABLE_HEADER_BYTES]

    cdef int place(
        self,
        const uint8_t[::1] text,
        int role,
        uint32_t order,
        may_block,
        bint takes_names=True,
        bint takes_networks=True,
    ) except -1:
        """Place a list; `may_block(line)` tells whether the order overrides a protection."""
        cdef cursor_t cursor
        cdef int outcome
        if text.shape[0] == 0:
            return 0
        cursor.text = &text[0]
        cursor.at = 0
        cursor.answer = ANSWER_NONE
        for cursor.size_bytes in windows(text.base):
            outcome = PLACE_ASK
            while outcome == PLACE_ASK:
                with nogil:
                    outcome = build_place(
                        &self.build, &cursor, role, order, takes_names, takes_networks
                    )
                if outcome == PLACE_ASK:
                    line = bytes(text[cursor.at:cursor.at + LINE_BYTES_MAX + 1])
                    may = may_block(line[:line.index(b"\n") + 1])
                    cursor.answer = ANSWER_MAY_BLOCK if may else ANSWER_MAY_NOT_BLOCK
            check_placed(outcome)
        return 0

    cdef int flag_pass_inside(self, const uint8_t[::1] text) except -1:
        cdef cursor_t cursor
        cdef int outcome
        if text.shape[0] == 0:
            return 0
        cursor.text = &text[0]
        cursor.size_bytes = text.shape[0]
        cursor.at = 0
        with nogil:
            outcome = build_pass_inside(&self.build, &cursor)
        check_placed(outcome)
        return 0

    def place_all(self, lists):
        """Place the protections, then the orders by row, then what a pass rule implies."""
        self.place(lists.core, ROLE_CORE, 0, None)
        self.place(lists.protected, ROLE_PROTECTED, 0, None)
        for each in lists.placed:
            self.place(
                each.text,
                ROLE_ROW,
                each.row,
                lambda line, index=each.index: (index, line) in lists.allowed,
                takes_names=each.answers,
                takes_networks=each.cuts,
            )
        self.flag_pass_inside(lists.core)
        self.flag_pass_inside(lists.protected)
        self.lay_networks(lists)

    cdef int lay_networks(self, lists) except -1:
        """Sort the addresses and prefixes, and find what is around each."""
        cdef prefix_t prefix
        cdef entry_t wanted
        cdef uint32_t row
        cdef bint has_memory
        cdef bytes value
        runs_sort(self.build.runs)
        rows = {each.index: each.row for each in lists.placed}
        for index, line in lists.allowed:
            kind, _, value = line.rstrip(b"\n").partition(b" ")
            if kind not in (b"ip", b"net") or index not in rows:
                continue
            if read_prefix(value, len(value), &prefix):
                row = rows[index]
                entry_of(&wanted, &prefix, row, ROLE_ROW)
                run_mark(self.build.runs + (prefix.family == 6), &wanted)
        with nogil:
            has_memory = nests_open(
                &self.nests, self.build.runs[0].count + self.build.runs[1].count
            ) and nests_lay(&self.nests, &self.build.chains, self.build.runs)
        if not has_memory:
            raise MemoryError
        return 0

    @property
    def placed_count(self):
        """How many names are placed."""
        return self.build.header.name_count

    def finish(self, frame, lists):
        """Write all that is not slots, and the checksum; return the CompiledTable."""
        cdef header_t *header = self.build.header
        cdef bytes url = frame.register_url.encode("ascii")
        cdef bytes domain = frame.domain_wire
        cdef bytes rows = lists.packed_rows
        cdef uint64_t end = TABLE_HEADER_BYTES
        cdef uint64_t word_count
        cdef uint8_t *region
        with nogil:
            word_count = build_number_postings(&self.build, &self.nests)
        if word_count > WORDS_MAX:
            raise InputError(
                "too many orders stand at the same names",
                advice="Merge orders of the same targets.",
                words=word_count,
                words_max=WORDS_MAX,
            )
        memcpy(header.magic, b"ENFTABLE", 8)
        header.version = TABLE_VERSION
        header.header_bytes = TABLE_HEADER_BYTES
        copy_sha256(header.origin_sha256, frame.origin_sha256.hex())
        copy_sha256(header.table_digest, frame.table_digest)
        copy_sha256(header.base_sha256, frame.base_sha256)
        copy_sha256(header.protections_sha256, lists.protections_sha256)
        header.ledger_size = frame.ledger_size
        header.time_floor_ms = frame.time_floor_ms
        header.order_count = len(lists.rows)
        header.word_count = word_count
        header.register_url_bytes = len(url)
        header.register_domain_bytes = len(domain)
        set_section(&header.slots, &end, <uint64_t> header.slot_count * sizeof(slot_t))
        set_section(&header.orders, &end, len(rows))
        set_section(&header.strings, &end, len(url) + len(domain))
        set_section(
            &header.postings, &end, (<uint64_t> header.posting_count + 1) * sizeof(posting_t)
        )
        set_section(&header.words, &end, word_count * sizeof(uint32_t))
        header.network_count = self.nests.prefix_count
        header.nest_count = self.nests.count - 1
        for run in range(2):
            header.key_counts[run] = self.build.runs[run].count
            header.index_bits[run] = index_bits_for(header.key_counts[run])
        set_section(&header.networks, &end, prefixes_bytes(header))
        header.total_bytes = end

        self.region.resize(end)
        self.map_slots()
        header = self.build.header
        region = &self.region.bytes[0]
        memcpy(region + header.orders.offset, <const uint8_t *> rows, len(rows))
        memcpy(region + header.strings.offset, <const uint8_t *> url, len(url))
        memcpy(region + header.strings.offset + len(url), <const uint8_t *> domain, len(domain))
        with nogil:
            build_write_postings(
                &self.build,
                &self.nests,
                <posting_t *> (region + header.postings.offset),
                <uint32_t *> (region + header.words.offset),
            )
            nests_write(
                &self.nests, self.build.runs, header, region + header.networks.offset
            )
        digest = sha256(self.region.mapping).hexdigest()
        copy_sha256(header.body_sha256, digest)
        return CompiledTable(
            header.name_count,
            header.network_count,
            header.slot_count,
            header.posting_count,
            end,
            digest,
        )

    def close(self):
        """Unmap the file; nothing may be called afterwards."""
        self.region.close()


cdef int check_placed(int outcome) except -1:
    if outcome == PLACE_NO_MEMORY:
        raise MemoryError
    if outcome != PLACE_DONE:
        raise IntegrityError(
            "a target list changed while it was compiled",
            advice="Find what writes to the lists of the ledger, and compile again.",
        )
    return 0


cdef int copy_sha256(uint8_t *to, digest) except -1:
    cdef bytes octets = bytes.fromhex(digest)
    memcpy(to, <const uint8_t *> octets, 32)
    return 0


cdef void set_section(section_t *section, uint64_t *end, uint64_t size_bytes) noexcept:
    section.offset = (end[0] + TABLE_ALIGNMENT - 1) & ~<uint64_t> (TABLE_ALIGNMENT - 1)
    section.size_bytes = size_bytes
    end[0] = section.offset + size_bytes
