# cython: language_level=3
"""Reads what routers export of flows: NetFlow v5, v9 (RFC 3954) and IPFIX (RFC 7011).

Templates are kept for each exporter and observation domain, the least lately sent going first
when there are too many. A set whose template is not known is counted and dropped, never kept. Of a
record only the fields of flow.pxd are read. A message is read only within its own octets; what is
wrong with one is counted by its reason, and the records before it stand.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from flow cimport (
    FLAG_TCP, FLAG_TIMED, KIND_SKIP, Kind, draft_t, finish, flow_t, get_number, kind_of, moment_t,
    put, put_address, since_boot,
)
from wire cimport get16

cdef enum:
    FIELDS_MAX = 512
    VARIABLE = 0xFFFF        # RFC 7011 §7
    FLOWS_MAX = 65536 // 4   # a record with an address has four octets and more
    MESSAGE_OCTETS_MAX = 65535
    HEADER_V5 = 24
    RECORD_V5 = 48
    HEADER_V9 = 20
    HEADER_IPFIX = 16
    SET_HEADER = 4

TEMPLATES_MAX = 8192
EXPORTERS_MAX = 4096
REASONS = (
    "not_an_export", "cut_header", "cut_records", "bad_set", "bad_template", "bad_record",
)


cdef struct field_t:
    uint16_t octets
    uint8_t kind


cdef class Template:
    """The fields of one kind of record."""

    cdef field_t *fields
    cdef uint32_t count
    cdef uint32_t octets_min     # of a record; a field of variable length has one at least
    cdef bint is_variable
    cdef bint is_options
    cdef bytes wire              # as it came, to see whether it changes

    def __dealloc__(self):
        PyMem_Free(self.fields)


cdef class Decoder:
    """What is known of all exporters, and what was counted so far.

    `templates_max` bounds the templates of all exporters together.
    """

    cdef dict templates
    cdef dict samplings
    cdef dict expected
    cdef flow_t *flows
    cdef uint32_t flow_count
    cdef uint32_t templates_max
    cdef readonly dict malformed
    cdef readonly uint64_t messages
    cdef readonly uint64_t flow_records
    cdef readonly uint64_t option_records
    cdef readonly uint64_t other_records
    cdef readonly uint64_t templates_seen
    cdef readonly uint64_t templates_changed
    cdef readonly uint64_t sets_without_template
    cdef readonly uint64_t gaps

    def __cinit__(self, uint32_t templates_max=TEMPLATES_MAX):
        if templates_max == 0:
            raise ValueError("a decoder keeps at least one template")
        self.flows = <flow_t *> PyMem_Malloc(FLOWS_MAX * sizeof(flow_t))
        if self.flows == NULL:
            raise MemoryError
        self.templates_max = templates_max
        self.templates, self.samplings, self.expected = {}, {}, {}
        self.malformed = dict.fromkeys(REASONS, 0)

    def __dealloc__(self):
        PyMem_Free(self.flows)

    @property
    def template_count(self):
        """How many templates are kept."""
        return len(self.templates)

    def decode(self, const uint8_t[::1] data not None, bytes exporter not None):
        """Read the message at the beginning of `data` from whoever `exporter` is.

        Returns its flows, packed, and how many octets it had: all of `data` where it does not
        say, or is wrong.
        """
        cdef size_t size = data.shape[0], used
        cdef uint16_t version
        self.flow_count = 0
        if size > MESSAGE_OCTETS_MAX:
            size = MESSAGE_OCTETS_MAX
        if size < 4:
            return self._bad("cut_header", data.shape[0])
        version = get16(&data[0])
        if version == 5:
            used = self._v5(&data[0], size, exporter)
        elif version == 9:
            used = self._v9(&data[0], size, exporter)
        elif version == 10:
            used = self._ipfix(&data[0], size, exporter)
        else:
            return self._bad("not_an_export", data.shape[0])
        self.flow_records += self.flow_count
        return (
            PyBytes_FromStringAndSize(<char *> self.flows, self.flow_count * sizeof(flow_t)),
            used if used else data.shape[0],
        )

    cdef tuple _bad(self, str reason, size_t octets):
        self.malformed[reason] += 1
        return b"", octets

    cdef void _follow(self, tuple source, uint32_t sequence, uint32_t step, bint is_known):
        """Count a gap where numbers are missing, and remember which comes next."""
        self.messages += 1
        expected = self.expected.pop(source, None)
        if expected is not None and 0 < <uint32_t> (sequence - <uint32_t> expected) < 0x80000000:
            self.gaps += 1
        if not is_known:
            return
        if len(self.expected) >= EXPORTERS_MAX:
            del self.expected[next(iter(self.expected))]
        self.expected[source] = <uint32_t> (sequence + step)

    cdef size_t _v5(self, const uint8_t *wire, size_t size, bytes exporter) except? 0:
        cdef uint32_t count = get16(wire + 2), _number
        cdef size_t at = HEADER_V5
        cdef moment_t moment
        cdef const uint8_t *record
        cdef flow_t *flow
        cdef draft_t draft
        if size < HEADER_V5:
            self._bad("cut_header", size)
            return 0
        moment.uptime_ms = <uint32_t> get_number(wire + 4, 4)
        moment.has_uptime = True
        moment.sent_ms = get_number(wire + 8, 4) * 1000 + get_number(wire + 12, 4) // 1000000
        moment.sampling = get16(wire + 22) & 0x3FFF
        self._follow((exporter, 5, wire[20], wire[21]), get_number(wire + 16, 4), count, True)
        for _number in range(count):
            if size - at < RECORD_V5:
                self._bad("cut_records", size)
                return 0
            record = wire + at
            flow = self.flows + self.flow_count
            memset(flow, 0, sizeof(flow_t))
            memset(&draft, 0, sizeof(draft))
            put_address(flow.source, record, 4)
            put_address(flow.target, record + 4, 4)
            flow.packets = get_number(record + 16, 4)
            flow.octets = get_number(record + 20, 4)
            flow.first_ms = since_boot(&moment, &draft, <uint32_t> get_number(record + 24, 4))
            flow.last_ms = since_boot(&moment, &draft, <uint32_t> get_number(record + 28, 4))
            flow.source_port = get16(record + 32)
            flow.target_port = get16(record + 34)
            flow.tcp_flags = record[37]
            flow.protocol = record[38]
            flow.marks = FLAG_TCP | FLAG_TIMED
            finish(flow, &draft, &moment)
            self.flow_count += 1
            at += RECORD_V5
        return at

    cdef size_t _v9(self, const uint8_t *wire, size_t size, bytes exporter) except? 0:
        cdef moment_t moment
        cdef size_t at = HEADER_V9
        cdef uint16_t number
        if size < HEADER_V9:
            self._bad("cut_header", size)
            return 0
        moment.uptime_ms = <uint32_t> get_number(wire + 4, 4)
        moment.has_uptime = True
        moment.sent_ms = get_number(wire + 8, 4) * 1000
        source = (exporter, 9, <uint32_t> get_number(wire + 16, 4))
        moment.sampling = self.samplings.get(source, 0)
        self._follow(source, get_number(wire + 12, 4), 1, True)
        while size - at >= SET_HEADER:
            number = get16(wire + at)
            if number in (5, 9, 10):  # no set has these numbers: it is the next message's version
                return at
            if not self._set(source, wire + at, size - at, &moment):
                return 0
            if get16(wire + at + 2) == 0:
                return size
            at += get16(wire + at + 2)
        return size

    cdef size_t _ipfix(self, const uint8_t *wire, size_t size, bytes exporter) except? 0:
        cdef moment_t moment
        cdef size_t at = HEADER_IPFIX, octets = get16(wire + 2)
        cdef uint64_t before = self.flow_records + self.option_records + self.other_records
        cdef uint64_t unknown = self.sets_without_template
        cdef bint is_good = True
        if size < HEADER_IPFIX or octets < HEADER_IPFIX:
            self._bad("cut_header", size)
            return 0
        is_cut = octets > size
        if not is_cut:
            size = octets
        moment.has_uptime = False
        moment.uptime_ms = 0
        moment.sent_ms = get_number(wire + 4, 4) * 1000
        source = (exporter, 10, <uint32_t> get_number(wire + 12, 4))
        moment.sampling = self.samplings.get(source, 0)
        while is_good and size - at >= SET_HEADER:
            is_good = self._set(source, wire + at, size - at, &moment)
            if get16(wire + at + 2) == 0:
                break
            at += get16(wire + at + 2)
        if is_cut and is_good:
            self._bad("cut_records", size)
        before = self.flow_records + self.option_records + self.other_records - before
        is_known = is_good and not is_cut and unknown == self.sets_without_template
        # Sequence numbers count data records, of whatever template (RFC 7011 §3.1).
        self._follow(
            source, get_number(wire + 8, 4), <uint32_t> (before + self.flow_count), is_known
        )
        return 0 if is_cut else octets

    cdef bint _set(
        self, tuple source, const uint8_t *wire, size_t room, const moment_t *moment
    ) except -1:
        """Read one set; tell whether what comes behind it can be read."""
        cdef uint16_t number = get16(wire), octets = get16(wire + 2)
        cdef bint is_v9 = source[1] == 9, has_room
        cdef size_t at
        if number == 0 and octets == 0:  # zeros to fill a packet
            for at in range(room):
                if wire[at]:
                    self._bad("bad_set", room)
                    return False
            return True
        if octets < SET_HEADER:
            self._bad("bad_set", room)
            return False
        has_room = octets <= room
        if not has_room:
            self._bad("cut_records", room)
            octets = <uint16_t> room
        if number >= 256:
            self._data(source, number, wire + SET_HEADER, octets - SET_HEADER, moment)
        elif number == (0 if is_v9 else 2):
            self._templates(source, wire + SET_HEADER, octets - SET_HEADER, False)
        elif number == (1 if is_v9 else 3):
            self._templates(source, wire + SET_HEADER, octets - SET_HEADER, True)
        else:
            self._bad("bad_set", room)
        return has_room

    cdef int _templates(
        self, tuple source, const uint8_t *wire, size_t size, bint is_options
    ) except -1:
        """Learn the templates of one set; a bad one ends it."""
        cdef size_t at = 0, begin
        cdef bint is_v9 = source[1] == 9
        cdef uint32_t number, count, left
        while size - at >= SET_HEADER:
            begin = at
            number = get16(wire + at)
            count = get16(wire + at + 2)
            at += 4
            if number < 256:
                if number or count:
                    self._bad("bad_template", size)
                return 0
            if not is_v9 and count == 0:  # withdrawn (RFC 7011 §8.1)
                self.templates.pop((source, number), None)
                continue
            if is_options:
                if size - at < 2:
                    self._bad("bad_template", size)
                    return 0
                left = get16(wire + at)
                at += 2
                if is_v9:  # two lengths in octets (RFC 3954 §6.1)
                    count = (count + left) // 4
            template = self._template(wire, size, &at, count, is_options, is_v9)
            if template is None:
                self.templates.pop((source, number), None)
                self._bad("bad_template", size)
                return 0
            (<Template> template).wire = wire[begin:at]
            self._keep((source, number), template)
        return 0

    cdef object _template(
        self, const uint8_t *wire, size_t size, size_t *at, uint32_t count, bint is_options,
        bint is_v9,
    ):
        """Read `count` fields; return None if they are not there, or are too many."""
        cdef Template template = Template()
        cdef uint32_t i, enterprise
        cdef uint16_t number
        cdef uint64_t octets_min = 0
        if not 0 < count <= FIELDS_MAX:
            return None
        template.fields = <field_t *> PyMem_Malloc(count * sizeof(field_t))
        if template.fields == NULL:
            raise MemoryError
        template.is_options = is_options
        for i in range(count):
            if size - at[0] < 4:
                return None
            number = get16(wire + at[0])
            template.fields[i].octets = get16(wire + at[0] + 2)
            at[0] += 4
            enterprise = 0
            if number & 0x8000 and not is_v9:
                if size - at[0] < 4:
                    return None
                enterprise = <uint32_t> get_number(wire + at[0], 4)
                number &= 0x7FFF
                at[0] += 4
            template.fields[i].kind = kind_of(number, enterprise)
            if template.fields[i].octets == VARIABLE:
                template.is_variable = True
                octets_min += 1
            else:
                octets_min += template.fields[i].octets
        if not 0 < octets_min <= MESSAGE_OCTETS_MAX:
            return None
        template.count = count
        template.octets_min = <uint32_t> octets_min
        return template

    cdef int _keep(self, tuple key, Template template) except -1:
        """Keep a template as the latest one."""
        cdef Template before = self.templates.pop(key, None)
        self.templates_seen += 1
        if before is not None and before.wire != template.wire:
            self.templates_changed += 1
        if len(self.templates) >= self.templates_max:
            del self.templates[next(iter(self.templates))]
        self.templates[key] = template
        return 0

    cdef int _data(
        self, tuple source, uint16_t number, const uint8_t *wire, size_t size,
        const moment_t *moment,
    ) except -1:
        cdef Template template = self.templates.get((source, number))
        cdef uint32_t records = 0, flows = 0
        cdef uint32_t sampling = 0
        cdef bint is_good
        if template is None:
            self.sets_without_template += 1
            return 0
        with nogil:
            is_good = read_records(
                template.fields, template.count, template.octets_min, template.is_options,
                wire, size, moment, self.flows + self.flow_count, FLOWS_MAX - self.flow_count,
                &records, &flows, &sampling,
            )
        self.flow_count += flows
        if template.is_options:
            self.option_records += records
            if sampling:
                self.samplings.pop(source, None)
                if len(self.samplings) >= EXPORTERS_MAX:
                    del self.samplings[next(iter(self.samplings))]
                self.samplings[source] = sampling
        else:
            self.other_records += records - flows
        if not is_good:
            self._bad("bad_record", size)
        return 0


cdef bint read_records(
    const field_t *fields, uint32_t count, uint32_t octets_min, bint is_options,
    const uint8_t *wire, size_t size, const moment_t *moment, flow_t *flows, uint32_t flows_max,
    uint32_t *records, uint32_t *flow_count, uint32_t *sampling,
) noexcept nogil:
    """Read the records of one set, whose rest may be padding; tell whether all of them end in it.

    Of options only a sampling rate is taken.
    """
    cdef size_t at = 0
    cdef uint32_t i, octets
    cdef flow_t spare
    cdef flow_t *flow
    cdef draft_t draft
    while size - at >= octets_min:
        flow = &spare if is_options or flow_count[0] >= flows_max else flows + flow_count[0]
        memset(flow, 0, sizeof(flow_t))
        memset(&draft, 0, sizeof(draft))
        for i in range(count):
            octets = fields[i].octets
            if octets == VARIABLE:
                if at >= size:
                    return False
                octets = wire[at]
                at += 1
                if octets == 255:
                    if size - at < 2:
                        return False
                    octets = get16(wire + at)
                    at += 2
            if size - at < octets:
                return False
            if fields[i].kind != KIND_SKIP:
                put(flow, &draft, <Kind> fields[i].kind, wire + at, octets, moment)
            at += octets
        records[0] += 1
        if is_options:
            finish(flow, &draft, moment)
            if flow.sampling > 1:
                sampling[0] = flow.sampling
        elif draft.has_address and flow != &spare:
            finish(flow, &draft, moment)
            flow_count[0] += 1
    return True
