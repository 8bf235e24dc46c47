"""OrderRows as the fixed-size octets that a table holds: the fast twin of core.table_frame's check.

A row that this cannot vouch for is left to `check_rows`, which finds the words. It is run for
every order in force at every change, so it costs about a microsecond a row.
"""

from enforcer.core.table_frame import check_rows
from enforcer.errors import IntegrityError

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memset

from layout cimport TABLE_ORDER_ID_BYTES_MAX, TABLE_ORDERS_MAX, order_t

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL


cdef bint read_sha256(uint8_t *to, object text) except -1:
    """Read 64 lower-case hex digits; False if they are something else."""
    cdef Py_ssize_t size, at
    cdef const char *digits = PyUnicode_AsUTF8AndSize(text, &size)
    cdef uint8_t digit
    if size != 64:
        return False
    for at in range(64):
        digit = <uint8_t> digits[at]
        if c"0" <= digit <= c"9":
            digit -= c"0"
        elif c"a" <= digit <= c"f":
            digit -= c"a" - 10
        else:
            return False
        to[at >> 1] = to[at >> 1] << 4 | digit
    return True


cdef bint read_order_id(order_t *to, object text) except -1:
    """Read 1 to 32 visible characters; False if they are something else."""
    cdef Py_ssize_t size, at
    cdef const char *octets = PyUnicode_AsUTF8AndSize(text, &size)
    if not 1 <= size <= TABLE_ORDER_ID_BYTES_MAX:
        return False
    for at in range(size):
        if not 0x21 <= <uint8_t> octets[at] <= 0x7E:
            return False
    memcpy(to.order_id, octets, size)
    to.order_id_bytes = size
    return True


cdef bint fill_order(order_t *to, object row) except -1:
    """Write one row; core.table_digest can be computed again from it. False: in doubt."""
    cdef int64_t index = row.index
    cdef int64_t from_ms = row.from_ms
    cdef int64_t until_ms = row.until_ms
    cdef int64_t target_count = row.target_count
    if index < 0 or from_ms < 0 or until_ms < 0 or target_count < 0:
        return False
    to.index = index
    to.from_ms = from_ms
    to.until_ms = until_ms
    to.target_count = target_count
    to.version = row.version
    to.dns_measure = row.dns_measure
    to.ip_measure = row.ip_measure
    to.binding = row.binding
    if not (to.dns_measure and to.ip_measure and to.binding):
        return False
    return read_sha256(to.list_sha256, row.target_list_sha256) and read_order_id(to, row.order_id)


def pack_rows(rows):
    """Return the octets of `rows`, which ascend by entry index, once each, as a table holds them.

    Raises:
        InputError: a row that `check_rows` refuses.
    """
    cdef Py_ssize_t count = len(rows), at
    cdef bytes packed
    cdef order_t *orders
    cdef bint is_sure = count <= TABLE_ORDERS_MAX
    packed = PyBytes_FromStringAndSize(NULL, count * sizeof(order_t) if is_sure else 0)
    orders = <order_t *> PyBytes_AS_STRING(packed)
    if is_sure:
        memset(orders, 0, count * sizeof(order_t))
        try:
            for at in range(count):
                is_sure = fill_order(orders + at, rows[at])
                if not is_sure or (at and orders[at].index <= orders[at - 1].index):
                    is_sure = False
                    break
        except (OverflowError, UnicodeError):
            is_sure = False
    if not is_sure:
        check_rows(rows)
        raise IntegrityError(
            "the rows of orders changed while they were read",
            advice="Report this: rows are made once and never change.",
        )
    return packed
