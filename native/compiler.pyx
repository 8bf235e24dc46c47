"""Compiling target lists into the tables of layout.pxd: a base, or an overlay on one.

No Python object per target. The same inputs and secret give the same bytes. Protections are
placed first, then the orders as their rows ascend: builder.pyx writes, this says what.
"""

from dataclasses import dataclass
from hashlib import sha256

from enforcer._native.builder import Builder, slots_for
from enforcer._native.rows import pack_rows
from enforcer._native.scanner import scan
from enforcer.core.table_frame import TableFrame, by_index, check_overlay, row_number
from enforcer.core.verdict import ANSWERING, CUTTING


@dataclass(frozen=True)
class PlacedList:
    """One order's list, and which of its targets count."""

    row: int
    index: int
    answers: bool
    cuts: bool
    text: object


class Lists:
    """What one compilation is given, checked: the rows that count and the lists to place.

    `orders` ascend by entry index; `allowed` are (entry index, line) of overrides.
    """

    def __init__(self, rows, orders, core, protected, overrides):
        self.core = core
        self.protected = protected
        self.rows = rows
        self.packed_rows = pack_rows(rows)
        self.allowed = frozenset((index, target.line) for index, target in overrides)
        self.placed = []
        self.name_count = self.network_count = 0
        for text in (core, protected):
            self.count(scan(text, allow_empty=True), names=True, networks=True)
        for row, text in orders:
            found = scan(text, allow_empty=True)
            answers, cuts = row.dns_measure in ANSWERING, row.ip_measure in CUTTING
            placed = PlacedList(row_number(rows, row), row.index, answers, cuts, text)
            if answers or cuts:
                self.count(found, names=answers, networks=cuts)
                self.placed.append(placed)

    def count(self, found, *, names, networks):
        """Count the targets of one list that are placed, at most."""
        self.name_count += found.name_count * names
        self.network_count += found.address_count * networks

    @property
    def protections_sha256(self):
        """The digest, in hex, by which an overlay knows the protections of its base."""
        return sha256(sha256(self.core).digest() + sha256(self.protected).digest()).hexdigest()


def write_table(fd, frame, lists):
    """Compile `lists` into the file."""
    builder = Builder(fd, frame.secret, slots_for(lists.name_count), lists.network_count)
    builder.place_all(lists)
    if slots_for(builder.placed_count) * 9 // 8 < slots_for(lists.name_count):
        # What stands in several lists was counted in each: once more, at the true size.
        slot_count = slots_for(builder.placed_count)
        builder.close()
        builder = Builder(fd, frame.secret, slot_count, lists.network_count)
        builder.place_all(lists)
    stats = builder.finish(frame, lists)
    builder.close()
    return stats


def compile_table(
    fd,
    *,
    origin,
    ledger_size,
    time_floor_ms,
    table_digest,
    secret,
    register_url,
    register_domain,
    orders,
    core=b"",
    protected=b"",
    overrides=(),
):
    """Compile a table into the file `fd`, open for reading and writing, replacing all of it.

    `orders` are (OrderRow, list text) in any order, `core` and `protected` list texts, texts
    being any buffers that nobody changes meanwhile. `overrides` are pairs of an order's entry
    index and a Target of the protected list, as core.verdict.Rules takes them. Nothing is synced.

    Raises:
        InputError: a list that check_list refuses, or a field that has no place in a table.
        IntegrityError: a list changed while it was read.
        OSError: the file cannot be written.
    """
    frame = TableFrame(
        origin, ledger_size, time_floor_ms, table_digest, secret, register_url, register_domain
    )
    orders = sorted(orders, key=lambda pair: pair[0].index)
    rows = [row for row, _ in orders]
    return write_table(fd, frame, Lists(rows, orders, core, protected, overrides))


def compile_overlay(
    fd,
    *,
    origin,
    ledger_size,
    time_floor_ms,
    table_digest,
    secret,
    register_url,
    register_domain,
    base_sha256,
    rows,
    orders=(),
    core=b"",
    protected=b"",
    overrides=(),
):
    """Compile an overlay for the base with `base_sha256` (hex), as `compile_table` does a base.

    `rows` are all OrderRows that count from now on, in any order: a base's order that is not
    among them, with the same index, list and measures, ends. `orders` are those of them
    whose targets are not in the base, with their lists. The secret, origin, `core` and
    `protected` must be the base's, or no gate lays it over that base.

    Raises:
        InputError, IntegrityError, OSError: as `compile_table`; also an order not among `rows`.
    """
    frame = TableFrame(
        origin,
        ledger_size,
        time_floor_ms,
        table_digest,
        secret,
        register_url,
        register_domain,
        base_sha256,
    )
    orders = sorted(orders, key=lambda pair: pair[0].index)
    check_overlay(base_sha256, [row for row, _ in orders])
    rows = sorted(rows, key=by_index)
    return write_table(fd, frame, Lists(rows, orders, core, protected, overrides))
