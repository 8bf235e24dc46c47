"""The report as files: recomputable, the same bytes each time, and harmless whatever it quotes."""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from enforcer.app.markup import Markup, style, tag
from enforcer.app.report import Format, check_report, report_directory, write_report
from enforcer.app.report_chart import bar, columns
from enforcer.app.report_check import differences
from enforcer.app.report_document import CSV_COLUMNS, Sheet, to_csv, to_json
from enforcer.app.report_html import ORDERS_MAX, ROWS_MAX, to_html
from enforcer.app.report_words import Language, Words
from enforcer.core.order import LegalBasis
from enforcer.errors import ConflictError, InputError, NotFoundError
from enforcer.services.findings import Severity
from enforcer.services.report_figures import FIGURES
from enforcer.services.report_period import Period
from tests.people import T0_MS
from tests.report_story import DAY_MS, Story, half_a_year

VOID = {"meta"}
PERIOD = Period(None, T0_MS - DAY_MS, T0_MS + 60 * DAY_MS, 420)
HOSTILE = '<script>alert("1")</script> & \'=HYPERLINK("//example.org")'


class Page(HTMLParser):
    """Reads a page strictly: every element is closed by its own end tag, in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.tables = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name, attributes):
        assert len(dict(attributes)) == len(attributes)
        self.tags.append(name)
        self.attributes += [(name, *each) for each in attributes]
        if name not in VOID:
            self.open.append(name)
        if name == "tr":
            self.tables.append([])
        if name in ("td", "th"):
            self.tables[-1].append(dict(attributes).get("colspan", "1"))

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    half_a_year().write(folder / "ledger")
    return folder / "ledger"


@pytest.fixture(scope="module")
def sheets(copy):
    trust = half_a_year().trust
    return {each: report_directory(copy, trust, PERIOD, each) for each in Language}


@pytest.fixture(params=Language)
def sheet(request, sheets):
    return sheets[request.param]


def sheet_of(story, language=Language.EN):
    return Sheet(story.report(), story.trust, "note", Words(language))


# The page.


def test_the_page_is_well_formed_and_fetches_and_runs_nothing(sheet):
    page = Page(to_html(sheet).decode())
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(page.tags)
    for name, key, value in page.attributes:
        assert not key.startswith("on")
        assert key not in ("src", "style", "srcset", "action"), name
        if key == "href":
            assert value.startswith("#")
    text = to_html(sheet).decode()
    assert "url(" not in text
    assert "@import" not in text
    assert "http://" not in text


def test_the_page_tells_its_language_and_every_link_leads_somewhere(sheet):
    page = Page(to_html(sheet).decode())
    assert ("html", "lang", sheet.words.language.value) in page.attributes
    ids = [value for _, key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    links = {value[1:] for _, key, value in page.attributes if key == "href"}
    assert links <= set(ids)
    assert {figure.id for figure in FIGURES} <= set(ids)


def test_every_table_has_a_caption_and_headers_and_even_rows(sheet):
    text = to_html(sheet).decode()
    for table in re.findall(r"<table>.*?</table>", text, re.DOTALL):
        assert table.startswith("<table><caption>")
        page = Page(table)
        widths = {sum(map(int, row)) for row in page.tables}
        assert len(widths) == 1, table[:200]
        assert table.count("<thead><tr><th") == 1
        assert all(row for row in page.tables)
        assert table.count('scope="row"') >= table.count("<tr") - 1


def test_each_chart_is_hidden_from_readers_or_says_where_its_numbers_are(sheet):
    text = to_html(sheet).decode()
    charts = re.findall(r"<svg [^>]*>", text)
    assert charts
    for chart in charts:
        assert 'aria-hidden="true"' in chart or ('role="img"' in chart and "aria-label" in chart)
    assert "@media print" in text


def test_what_people_wrote_is_text_and_never_markup():
    story = Story()
    story.land.in_force_order(legal_basis=(LegalBasis(HOSTILE, "Art. 1", None),))
    text = to_html(sheet_of(story)).decode()
    page = Page(text)
    assert "script" not in page.tags
    assert HOSTILE in page.text


def test_markup_escapes_text_and_attributes_and_nothing_twice():
    inner = tag("b", "a < b & c", None, 7)
    assert inner == "<b>a &lt; b &amp; c7</b>"
    assert tag("p", inner, title='"x"') == f'<p title="&quot;x&quot;">{inner}</p>'
    assert tag("a", Markup("<b></b>"), aria_label="x", class_="y", viewBox="0") == (
        '<a aria-label="x" class="y" viewBox="0"><b></b></a>'
    )
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'
    with pytest.raises(ValueError, match="end tag"):
        style("</style>")


def test_a_bar_is_as_long_as_its_share_and_never_vanishes():
    def length(value, most):
        return int(re.search(r'rect [^>]*?width="(\d+)"', bar(value, most))[1])

    assert [length(*each) for each in ((0, 5), (5, 5), (1, 2), (1, 10_000), (0, 0))] == [
        0,
        200,
        100,
        1,
        0,
    ]
    chart = columns([("Jan", 0, "0"), ("Feb", 4, "4"), ("Mar", 2, "2")], "Orders")
    assert re.findall(r'rect [^>]*height="(\d+)"', chart) == ["0", "120", "60"]


def test_long_tables_end_and_say_how_much_more_there_is():
    story = Story()
    ref = story.land.in_force_order()
    order = story.land.order_record(ref)
    report = story.report()
    (total, *_), more = report.figures["orders.approved"], ROWS_MAX + 7
    rows = tuple(
        replace(total, place=(("authority", f"authority-{at}"),), value=1) for at in range(more)
    )
    (line,) = report.in_force
    assert line.row == order.row
    report = replace(
        report,
        figures={**report.figures, "orders.approved": (total, *rows)},
        in_force=(line,) * (ORDERS_MAX + 3),
    )
    text = to_html(Sheet(report, story.trust, "note", Words(Language.EN))).decode()
    assert "7 more are in" in text
    assert "3 more are in" in text
    assert text.count("authority-") == ROWS_MAX


def test_an_order_with_a_restricted_list_shows_that_it_exists_and_no_more():
    story = Story()
    story.land.in_force_order(b"exact a.example.org\nexact b.example.org\n")
    report = story.report()
    (line,) = report.in_force
    report = replace(report, in_force=(replace(line, target_count=None),))
    sheet = Sheet(report, story.trust, "note", Words(Language.EN))
    assert ">restricted<" in to_html(sheet).decode()
    (order,) = json.loads(to_json(sheet))["orders_in_force"]
    assert order["targets"] is None
    assert not [key for key in order if "sha256" in key or "list" in key]


# CSV and JSON.


def test_csv_has_one_row_for_each_value_with_stable_ids(sheet):
    rows = list(csv.reader(io.StringIO(to_csv(sheet).decode(), newline="")))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert all(len(row) == len(CSV_COLUMNS) for row in rows)
    values = [row for figure in FIGURES for row in sheet.report.figures[figure.id]]
    assert len(rows) - 1 == len(values)
    assert len({tuple(row[:7]) for row in rows}) == len(rows)
    for cells, row in zip(rows[1:], values, strict=True):
        assert int(cells[7]) == row.value
    assert ["orders.approved", "category", "SCAM"] in [row[:3] for row in rows]


def test_no_cell_of_the_csv_is_a_formula():
    story = Story()
    law = LegalBasis('=HYPERLINK("//example.org")', "Art. 1", None)
    story.land.in_force_order(legal_basis=(law,))
    for row in csv.reader(io.StringIO(to_csv(sheet_of(story)).decode(), newline="")):
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@"))]
        if row[1] == "instrument":
            assert row[2] == "'" + law.instrument


def test_json_says_what_each_figure_rests_on(sheet):
    said = json.loads(to_json(sheet))
    assert said["ledger"]["size"] == sheet.report.size
    assert said["ledger"]["root_sha256"] == sheet.report.root.hex()
    assert said["ledger"]["policy_sha256"] == sheet.report.policy.payload_sha256
    assert said["ledger"]["checkpoint"].startswith(said["trust"]["origin"] + "\n")
    assert said["generated_at_ms"] == half_a_year().land.effects[-1].recorded_at_ms
    assert said["not_in_the_ledger"] == ["hits"]
    for figure in said["figures"]:
        assert figure["rule"]
        assert figure["label"]
        for row in figure["rows"]:
            assert "entries" in row or row["unit"] == "ms"
    assert "e" not in str(said["figures"][0]["rows"][0]["value"])


def test_the_entries_that_json_names_are_what_it_says(sheets):
    effects = half_a_year().land.effects
    for figure in json.loads(to_json(sheets[Language.EN]))["figures"]:
        if figure["id"] == "entries.recorded":
            for row in figure["rows"]:
                if kind := row["at"].get("entry_kind"):
                    assert {effects[index].kind for index in row["entries"]} == {kind}
                    assert len(row["entries"]) == row["value"]


def test_the_same_ledger_period_and_language_give_the_same_bytes(copy, sheets):
    for language in Language:
        again = report_directory(copy, half_a_year().trust, PERIOD, language)
        for write in (to_html, to_csv, to_json):
            assert write(again) == write(sheets[language])


def test_figures_do_not_depend_on_the_language(sheets):
    english, vietnamese = sheets.values()
    assert english.report == vietnamese.report
    assert to_html(english) != to_html(vietnamese)


# Files, and their check.


def test_files_are_written_once_and_no_other_report_is_lost(sheets, tmp_path):
    paths = write_report(sheets[Language.EN], tmp_path / "new" / "folder", list(Format))
    names = [path.name for path in paths]
    assert names == [f"report-2027-01-14T150000_2027-03-16T150000.en.{each}" for each in Format]
    assert write_report(sheets[Language.EN], tmp_path / "new" / "folder", list(Format)) == paths
    paths[0].write_text("mine")
    with pytest.raises(ConflictError):
        write_report(sheets[Language.EN], tmp_path / "new" / "folder", list(Format))
    assert paths[0].read_text() == "mine"


@pytest.fixture
def written(sheets, tmp_path):
    (path,) = write_report(sheets[Language.VI], tmp_path, [Format.JSON])
    return path


def checked(copy, path, **changes):
    return check_report(copy, half_a_year().trust, path, **changes)


def altered(path, change):
    said = json.loads(path.read_text())
    change(said)
    path.write_text(json.dumps(said))


def figure_of(said, name):
    (found,) = (each for each in said["figures"] if each["id"] == name)
    return found


def test_a_true_report_is_found_true(copy, written):
    assert checked(copy, written) == []


def test_a_report_stays_true_when_the_ledger_grows(written, tmp_path):
    story = Story(land=half_a_year().land, attested=list(half_a_year().attested))
    land = replace(story.land, leaves=list(story.land.leaves))
    for name in ("proposer", "approver", "roots"):
        setattr(land, name, getattr(story.land, name))
    land.state = story.land.state.copy()
    longer = Story(land=land, attested=story.attested)
    land.in_force_order()
    longer.write(tmp_path / "longer")
    assert checked(tmp_path / "longer", written) == []


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda said: figure_of(said, "orders.approved")["rows"][0].update(value=9), "].value"),
        (lambda said: figure_of(said, "orders.approved")["rows"].pop(), "month="),
        (lambda said: figure_of(said, "orders.stopped")["rows"][0].update(entries=[3]), "entries"),
        (lambda said: figure_of(said, "orders.ended").update(rule="As we like."), "rule"),
        (lambda said: said["figures"].pop(), "attestations.omitting"),
        (lambda said: said["figures"].append({"id": "hits", "rows": []}), "figures[hits]"),
        (lambda said: said["figures"].append(said["figures"][0]), "again 2"),
        (lambda said: said["orders_in_force"].clear(), "orders_in_force"),
        (lambda said: said["trust"].update(root_threshold=1), "trust.root_threshold"),
        (lambda said: said["period"].update(known_until_ms=1), "period.known_until_ms"),
        (lambda said: said["ledger"].update(policy_sha256="00" * 32), "ledger.policy_sha256"),
        (lambda said: said["ledger"].update(root_sha256="00" * 32), "ledger.root_sha256"),
        (lambda said: said["ledger"].update(checkpoint="x"), "ledger.checkpoint"),
        (lambda said: said.update(generated_at_ms=True), "generated_at_ms"),
        (lambda said: said.update(figures=7), "figures"),
        (lambda said: said.update(comment="Approved."), "comment"),
    ],
)
def test_whatever_a_report_says_besides_the_ledger_is_found(copy, written, change, place):
    altered(written, change)
    found = checked(copy, written)
    assert any(place in each.place for each in found), found
    assert {each.severity for each in found} == {Severity.VIOLATION}


def test_a_ledger_that_is_shorter_cannot_tell(written, tmp_path):
    story = half_a_year()
    short = Story(land=replace(story.land, leaves=story.land.leaves[:40]), attested=[])
    short.roots = story.roots
    short.write(tmp_path / "short")
    (found,) = checked(tmp_path / "short", written)
    assert (found.place, found.severity) == ("ledger.size", Severity.INCOMPLETE)


def test_other_attestations_leave_only_their_figures_open(copy, written, tmp_path):
    story = half_a_year()
    fewer = Story(land=story.land, attested=story.attested[:-3])
    fewer.roots = story.roots
    fewer.write(tmp_path / "fewer")
    found = checked(tmp_path / "fewer", written)
    assert {each.severity for each in found} == {Severity.INCOMPLETE}
    assert any("time.release" in each.place for each in found)
    altered(written, lambda said: figure_of(said, "orders.approved")["rows"][0].update(value=9))
    worst = [each for each in checked(tmp_path / "fewer", written) if each.severity > 2]
    assert [each.place for each in worst] == ["figures[orders.approved].rows[].value"]


def test_a_lie_about_attested_figures_is_no_less_a_lie_with_the_same_attestations(copy, written):
    altered(written, lambda said: figure_of(said, "time.effect")["rows"][1].update(value=1))
    (found,) = checked(copy, written)
    assert found.severity is Severity.VIOLATION


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"\xff", b'{"format": "enforcer-report v2"}', b"[" * 100_000],
)
def test_what_is_no_report_is_not_checked(copy, tmp_path, data):
    (tmp_path / "report.json").write_bytes(data)
    with pytest.raises(InputError):
        checked(copy, tmp_path / "report.json")


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("language", lambda said: said.update(language="fr")),
        ("size", lambda said: said["ledger"].update(size=0)),
        ("period.to_ms", lambda said: said["period"].update(to_ms="soon")),
        ("period.to_ms", lambda said: said["period"].update(to_ms=2**52)),
        ("period.to_ms", lambda said: said["period"].update(to_ms=said["period"]["from_ms"])),
        ("period.name", lambda said: said["period"].update(name="2027-H1")),
        ("period.utc_offset_minutes", lambda said: said["period"].update(utc_offset_minutes=9999)),
        ("period", lambda said: said.update(period=None)),
    ],
)
def test_a_report_that_says_not_what_it_is_of_is_not_checked(copy, written, key, change):
    altered(written, change)
    with pytest.raises(InputError) as caught:
        checked(copy, written)
    assert str(caught.value.data.get("field", "")).startswith(key.split(".", maxsplit=1)[0])


def test_a_report_that_is_not_there_is_not_found(copy, tmp_path):
    with pytest.raises(NotFoundError):
        checked(copy, tmp_path / "none.json")


def test_differences_are_found_in_any_shape():
    assert list(differences({"a": [1, 2]}, {"a": [1, 2]})) == []
    assert [each.place for each in differences({"a": []}, {"a": [{"id": "x"}]})] == ["a[x].id", "a"]
    assert [each.place for each in differences(7, {})] == [""]
