"""The report as one HTML page: no scripts, nothing fetched, a table for every chart.

Everything in it that people wrote, such as an authority's name or a law's, is escaped. The page
says what was counted, how, and how to count again; long tables end where reading does, and the
files beside the page have the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from enforcer.app.markup import Child, Markup, join, style, tag
from enforcer.app.report_chart import COLUMNS_MAX, bar, columns
from enforcer.app.report_document import Sheet
from enforcer.app.report_style import CSS
from enforcer.services.report import OrderInForce
from enforcer.services.report_figures import FIGURES, SECTIONS, Figure, Measure, Source
from enforcer.services.report_tally import MILLISECONDS, STATISTIC, Place, Row

ROWS_MAX: Final = 50
"""Most rows of one table."""
ORDERS_MAX: Final = 200
"""Most orders in force that are listed."""
ENTRIES_SHOWN_MAX: Final = 20
IN_SHORT: Final = (
    "orders.approved",
    "orders.ended",
    "orders.stopped",
    "holds.placed",
    "appeals.filed",
    "entries.ineffective",
    "in_force.orders",
)
WITH_ENTRIES: Final = frozenset(("entries.ineffective", "emergencies.decided", "holds.open"))
"""Figures whose entries the page names too."""
STATISTICS: Final = ("count", "median", "p95", "max")
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def to_html(sheet: Sheet) -> bytes:
    """Return the page, in UTF-8."""
    words = sheet.words
    title = _title(sheet)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{title} · {sheet.report.origin}"),
        style(CSS),
    )
    body = tag(
        "body",
        tag("a", words.text("text.contents"), class_="skip", href="#contents"),
        _header(sheet, title),
        _in_short(sheet),
        _contents(sheet),
        tag("main", *(_section(sheet, each) for each in SECTIONS), _absent(sheet), _how(sheet)),
    )
    page = tag("html", head, body, lang=words.language.value)
    return f"<!DOCTYPE html>\n{page}\n".encode()


def _title(sheet: Sheet) -> str:
    name = sheet.report.period.name
    words = sheet.words
    return words.text("text.title_named", period=name) if name else words.text("text.title")


def _header(sheet: Sheet, title: str) -> Markup:
    report, words = sheet.report, sheet.words
    period = report.period
    policy = words.text("text.no_policy")
    if report.policy is not None:
        index, sha256 = words.number(report.policy.index), report.policy.payload_sha256
        policy = words.text("text.policy_entry", index=index, sha256=sha256)
    last = words.time(report.recorded_at_ms)
    used = words.text(
        "text.attestations_used",
        count=words.number(report.attestations),
        sha256=report.attestations_sha256,
        left_out=words.number(report.attestations_left_out),
    )
    facts = (
        ("text.ledger", f"{report.origin}: " + words.text(
            "text.entries", size=words.number(report.size), time=last)),
        ("text.root", report.root.hex()),
        ("text.policy", policy),
        ("text.attestations", used),
    )  # fmt: skip
    warning = None
    if not report.is_whole:
        warning = tag("p", words.text("text.not_whole", time=last), class_="warning", role="note")
    when = words.text(
        "text.from_to",
        first=words.time(period.from_ms),
        after=words.time(period.to_ms),
        zone=words.zone(),
    )
    return tag(
        "header",
        tag("h1", title),
        tag("p", when),
        warning,
        tag(
            "dl",
            *(join((tag("dt", words.text(key)), tag("dd", value))) for key, value in facts),
            class_="facts",
        ),
        tag("p", words.text("text.generated", time=last), class_="soft"),
    )


def _in_short(sheet: Sheet) -> Markup:
    tiles = [
        tag(
            "div",
            tag("dt", sheet.words.label(figure)),
            tag("dd", sheet.words.number(sheet.report.figures[figure.id][0].value)),
        )
        for figure in FIGURES
        if figure.id in IN_SHORT
    ]
    title = tag("h2", sheet.words.text("text.summary"))
    return tag("section", title, tag("dl", *tiles, class_="short"))


def _contents(sheet: Sheet) -> Markup:
    words = sheet.words
    names = [(f"section-{each}", words.text(f"section.{each}.title")) for each in SECTIONS]
    names.append(("not-in-ledger", words.text("text.not_in_ledger")))
    names.append(("how", words.text("text.how")))
    links = (tag("li", tag("a", text, href=f"#{name}")) for name, text in names)
    title = words.text("text.contents")
    return tag("nav", tag("h2", title), tag("ul", *links), id="contents", aria_label=title)


def _section(sheet: Sheet, section: str) -> Markup:
    words = sheet.words
    parts: list[Child] = [
        tag("h2", words.text(f"section.{section}.title")),
        tag("p", words.text(f"section.{section}.text")),
        *(_figure(sheet, figure) for figure in FIGURES if figure.section == section),
    ]
    if section == "in_force":
        parts.append(_orders(sheet))
    return tag("section", *parts, id=f"section-{section}")


def _figure(sheet: Sheet, figure: Figure) -> Markup:
    words, rows = sheet.words, sheet.report.figures[figure.id]
    source = None
    if figure.source is Source.ATTESTATIONS:
        source = tag("span", words.text("text.source_attestations"), class_="tag")
    rule = tag("p", f"{words.text('text.rule')} {words.rule(figure)}", class_="rule")
    tables: list[Markup] = []
    if rows[0].value and figure.measure is Measure.TIME:
        tables = [_times(sheet, figure, by) for by in figure.by or ((),)]
    elif rows[0].value:
        tables = [_values(sheet, figure, by) for by in figure.by]
    heading = tag("h3", f"{words.label(figure)}: {words.number(rows[0].value)} ", source)
    return tag("section", heading, rule, tag("div", *tables, class_="tables"), id=figure.id)


def _values(sheet: Sheet, figure: Figure, by: tuple[str, ...]) -> Markup:
    words = sheet.words
    rows = _of(sheet.report.figures[figure.id], by)
    chart = None
    if by == ("month",):
        rows = _every_month(sheet, rows)
        if len(rows) <= COLUMNS_MAX:
            points = [
                (words.member(*row.place[0]), row.value, words.number(row.value)) for row in rows
            ]
            caption = words.text("text.chart_months", figure=words.label(figure))
            chart = tag("div", columns(points, caption), class_="scroll")
    else:
        rows.sort(key=lambda row: (-row.value, row.place))
    most = max((row.value for row in rows), default=0)
    has_entries = figure.id in WITH_ENTRIES
    head = [
        *(tag("th", _dimension(sheet, name), scope="col") for name in by),
        tag("th", _capital(words.text(f"unit.{figure.unit}")), scope="col", class_="number"),
        tag("th", words.text("text.bar"), scope="col"),
        tag("th", words.text("text.entries_column"), scope="col") if has_entries else None,
    ]
    body = [
        tag(
            "tr",
            *_places(sheet, row.place),
            tag("td", words.number(row.value), class_="number"),
            tag("td", bar(row.value, most)),
            tag("td", _entries(sheet, row)) if has_entries else None,
        )
        for row in rows[:ROWS_MAX]
    ]
    return tag("div", chart, _table(sheet, figure, by, head, body, len(rows)))


def _times(sheet: Sheet, figure: Figure, by: tuple[str, ...]) -> Markup:
    words = sheet.words
    cells: dict[Place, dict[str, Row]] = {}
    for row in sheet.report.figures[figure.id]:
        place = tuple(each for each in row.place if each[0] != STATISTIC)
        if tuple(name for name, _ in place) in ((), by):
            cells.setdefault(place, {})[row.place[-1][1]] = row
    head: list[Child] = [tag("th", _dimension(sheet, name), scope="col") for name in by or ("",)]
    counted = _capital(words.text(f"unit.{figure.unit}"))
    names = (counted, *(words.member(STATISTIC, name) for name in STATISTICS[1:]))
    head += [tag("th", name, scope="col", class_="number") for name in names]
    body = []
    for place in sorted(cells, key=lambda each: (each != (), -cells[each]["count"].value, each)):
        numbers = (
            tag("td", _amount(sheet, cells[place].get(name)), class_="number")
            for name in STATISTICS
        )
        total = tag("th", words.text("text.total"), scope="row", colspan=max(len(by), 1))
        places = _places(sheet, place) if place else [total]
        body.append(tag("tr", *places, *numbers, class_=None if place else "total"))
    return _table(sheet, figure, by, head, body[:ROWS_MAX], len(body))


def _table(
    sheet: Sheet,
    figure: Figure,
    by: tuple[str, ...],
    head: Sequence[Child],
    body: Sequence[Child],
    count: int,
) -> Markup:
    words = sheet.words
    caption = words.label(figure)
    if by:
        caption = words.text("text.by", figure=caption, dimensions=words.dimensions(by))
    more = None
    if count > len(body):
        more = tag("p", words.text("text.more", count=words.number(count - len(body))))
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption),
            tag("thead", tag("tr", *head)),
            tag("tbody", *body),
        ),
        more,
        class_="scroll",
    )


def _orders(sheet: Sheet) -> Markup | None:
    words, orders = sheet.words, sheet.report.in_force
    if not orders:
        return None
    names = ("text.order", "dimension.authority", "dimension.category", "dimension.decision_kind",
             "text.since", "text.until", "unit.targets")  # fmt: skip
    head = [tag("th", _capital(words.text(name)), scope="col") for name in names]
    more = None
    if len(orders) > ORDERS_MAX:
        count = words.number(len(orders) - ORDERS_MAX)
        more = tag("p", words.text("text.more", count=count))
    return tag(
        "div",
        tag(
            "table",
            tag("caption", words.text("text.orders_in_force")),
            tag("thead", tag("tr", *head)),
            tag("tbody", *(_order(sheet, each) for each in orders[:ORDERS_MAX])),
        ),
        more,
        class_="scroll",
    )


def _order(sheet: Sheet, order: OrderInForce) -> Markup:
    words, row = sheet.words, order.row
    name = row.order_id
    if row.version > 1:
        name += f", {words.text('text.version', version=str(row.version))}"
    targets = words.text("text.restricted")
    if order.target_count is not None:
        targets = words.number(order.target_count)
    return tag(
        "tr",
        tag("th", name, scope="row"),
        tag("td", order.authority),
        tag("td", words.member("category", order.category)),
        tag("td", words.member("decision_kind", order.decision_kind)),
        tag("td", words.time(row.from_ms)),
        tag("td", words.time(row.until_ms)),
        tag("td", targets, class_="number"),
    )


def _absent(sheet: Sheet) -> Markup:
    words = sheet.words
    title = tag("h2", words.text("text.not_in_ledger"))
    return tag("section", title, tag("p", words.text("text.hits")), id="not-in-ledger")


def _how(sheet: Sheet) -> Markup:
    words = sheet.words
    return tag(
        "section",
        tag("h2", words.text("text.how")),
        tag("p", words.text("text.how_text")),
        tag("p", words.text("text.how_attestations")),
        tag("pre", "enforcer audit report LEDGER --trust trust.toml --check REPORT.json"),
        id="how",
    )


def _of(rows: Sequence[Row], by: tuple[str, ...]) -> list[Row]:
    return [row for row in rows if tuple(name for name, _ in row.place) == by]


def _every_month(sheet: Sheet, rows: list[Row]) -> list[Row]:
    known = {row.place: row for row in rows}
    places: list[Place] = [(("month", month),) for month in sheet.report.period.months]
    return [known.get(place, Row(place, 0, "", ())) for place in places]


def _places(sheet: Sheet, place: Place) -> list[Markup]:
    return [tag("th", sheet.words.member(*each), scope="row") for each in place]


def _dimension(sheet: Sheet, name: str) -> str:
    return _capital(sheet.words.text(f"dimension.{name}")) if name else ""


def _amount(sheet: Sheet, row: Row | None) -> str:
    if row is None:
        return "-"
    words = sheet.words
    return words.duration(row.value) if row.unit == MILLISECONDS else words.number(row.value)


def _entries(sheet: Sheet, row: Row) -> str:
    if row.entries is None or len(row.entries) > ENTRIES_SHOWN_MAX:
        count = sheet.words.number(ENTRIES_SHOWN_MAX)
        return sheet.words.text("text.entries_many", count=count)
    return ", ".join(map(str, row.entries))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
