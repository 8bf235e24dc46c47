"""The report as JSON: every figure with the entries or the rule that give it, and as CSV.

Compact where machines read and people seldom do: one row a line, keys in one order, integers alone.
The same report in the same language has the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Final

from enforcer.app.report_words import Words
from enforcer.core.envelope import key_id
from enforcer.core.fields import Json
from enforcer.core.trust import Trust
from enforcer.services.report import OrderInForce, Report
from enforcer.services.report_figures import FIGURES, NOT_IN_THE_LEDGER, Figure
from enforcer.services.report_tally import Row

FORMAT: Final = "enforcer-report v1"
DIMENSIONS_MAX: Final = 3
"""Two of a breakdown, and the statistic of a time."""
CSV_COLUMNS: Final = (
    "figure",
    *(f"{what}_{at}" for at in range(1, DIMENSIONS_MAX + 1) for what in ("dimension", "member")),
    "value",
    "unit",
    "source",
    "label",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A report, what it was computed under, and the words to write it in."""

    report: Report
    trust: Trust
    checkpoint: str
    """The signed note of exactly this size and root."""
    words: Words


def document(sheet: Sheet) -> dict[str, Json]:
    """Return the report as plain JSON values."""
    report, trust, period = sheet.report, sheet.trust, sheet.report.period
    roots = trust.roots
    return {
        "format": FORMAT,
        "language": sheet.words.language.value,
        "generated_at_ms": report.recorded_at_ms,
        "period": {
            "name": period.name,
            "from_ms": period.from_ms,
            "to_ms": period.to_ms,
            "utc_offset_minutes": period.utc_offset_minutes,
            "known_until_ms": report.known_until_ms,
        },
        "trust": {
            "origin": trust.origin,
            "log_vkey": trust.log_vkey,
            "root_key_ids": [key_id(each) for each in roots.public_keys],
            "root_threshold": roots.threshold,
        },
        "ledger": {
            "origin": report.origin,
            "size": report.size,
            "root_sha256": report.root.hex(),
            "checkpoint": sheet.checkpoint,
            "recorded_at_ms": report.recorded_at_ms,
            "policy_index": report.policy.index if report.policy else None,
            "policy_sha256": report.policy.payload_sha256 if report.policy else None,
        },
        "attestations": {
            "used": report.attestations,
            "sha256": report.attestations_sha256,
            "left_out": report.attestations_left_out,
        },
        "not_in_the_ledger": list(NOT_IN_THE_LEDGER),
        "figures": [_figure(sheet, figure) for figure in FIGURES],
        "orders_in_force": [_order(order) for order in report.in_force],
    }


def to_json(sheet: Sheet) -> bytes:
    """Return the report as JSON, a row a line."""
    plain = document(sheet)
    lines = []
    for key, value in plain.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            items = ",\n".join(_item(item) for item in value)
            lines.append(f"{_compact(key)}: [\n{items}\n]")
        else:
            lines.append(f"{_compact(key)}: {_compact(value)}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("utf-8")


def to_csv(sheet: Sheet) -> bytes:
    """Return all rows as one table (RFC 4180), with the label in the report's language.

    A cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    for figure in FIGURES:
        for row in sheet.report.figures[figure.id]:
            places = [each for place in row.place for each in place]
            places += [""] * (2 * DIMENSIONS_MAX - len(places))
            members = [sheet.words.member(*place) for place in row.place]
            label = " · ".join([sheet.words.label(figure), *members])
            cells = [figure.id, *places, row.value, row.unit, figure.source.value, label]
            writer.writerow([_cell(each) for each in cells])
    return text.getvalue().encode("utf-8")


def _figure(sheet: Sheet, figure: Figure) -> dict[str, Json]:
    return {
        "id": figure.id,
        "label": sheet.words.label(figure),
        "rule": sheet.words.rule(figure),
        "measure": figure.measure.value,
        "source": figure.source.value,
        "additive": figure.is_additive,
        "rows": [_row(row) for row in sheet.report.figures[figure.id]],
    }


def _row(row: Row) -> dict[str, Json]:
    plain: dict[str, Json] = {"at": dict(row.place), "value": row.value, "unit": row.unit}
    if row.entries is not None:
        plain["entries"] = list(row.entries)
    return plain


def _order(order: OrderInForce) -> dict[str, Json]:
    row = order.row
    return {
        "entry": row.index,
        "order_id": row.order_id,
        "version": row.version,
        "authority": order.authority,
        "category": order.category,
        "decision_kind": order.decision_kind,
        "from_ms": row.from_ms,
        "until_ms": row.until_ms,
        "targets": order.target_count,
    }


def _item(item: Json) -> str:
    if isinstance(item, dict) and isinstance(rows := item.get("rows"), list):
        head = _compact({key: value for key, value in item.items() if key != "rows"})
        body = ",\n  ".join(map(_compact, rows))
        return f'{head[:-1]}, "rows": [\n  {body}]}}'
    return _compact(item)


def _compact(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cell(value: str | int) -> str | int:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
