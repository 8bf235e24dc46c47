"""The catalogues of the report: whole in every language, with the same places to fill in."""

from string import Formatter
from typing import get_args

import pytest

from enforcer import errors
from enforcer.app.report_words import Language, Words, catalogue
from enforcer.core.attestation import GateState, NotEnforced
from enforcer.core.entry import KINDS
from enforcer.core.guard import Guard
from enforcer.core.key import Category, Role
from enforcer.core.life import OrderStatus
from enforcer.core.order import PublicationMode
from enforcer.core.policy import DecisionKind
from enforcer.core.remedy import AppealOutcome, Recipient
from enforcer.core.standing import Standing
from enforcer.core.table import Binding
from enforcer.services import report_chronicle
from enforcer.services.report_figures import FIGURES, SECTIONS
from enforcer.services.report_tally import MILLISECONDS, STATISTIC

ENDS = (Standing.EXPIRED, Standing.LAPSED)
OUTCOMES = (
    *(each.name for each in (*ENDS, *AppealOutcome)),
    *(each.name for each in (OrderStatus.STOPPED, OrderStatus.SUPERSEDED, OrderStatus.REJECTED)),
    report_chronicle.LIFTED,
    report_chronicle.CONFIRMED,
    report_chronicle.APPEAL_GRANTED,
)
CLOSED = {
    "category": Category,
    "decision_kind": DecisionKind,
    "binding": Binding,
    "publication": PublicationMode,
    "role": Role,
    "guard": Guard,
    "recipient": Recipient,
    "gate": GateState,
    "reason": NotEnforced,
}
LOCALE = ("language.", "month.", "month_short.")  # each language's own


def required():
    """Yield every key that a report can ask for."""
    for figure in FIGURES:
        yield from (f"figure.{figure.id}.label", f"figure.{figure.id}.rule", f"unit.{figure.unit}")
        yield from (f"dimension.{name}" for by in figure.by for name in by)
    yield from (f"section.{each}.{part}" for each in SECTIONS for part in ("title", "text"))
    yield from (f"dimension.{STATISTIC}", f"unit.{MILLISECONDS}")
    for dimension, members in CLOSED.items():
        yield from (f"member.{dimension}.{each.name}" for each in members if each)
    yield from (f"member.outcome.{name}" for name in OUTCOMES if name != "UNSPECIFIED")
    yield from (f"member.stage.{each}" for each in ("PROPOSED", "HELD", "APPROVED"))
    yield from (f"member.entry_kind.{kind.__name__}" for kind in KINDS.values())
    yield from (f"member.error.{kind.__name__}" for kind in errors.EnforcerError.__subclasses__())
    yield from (f"member.{STATISTIC}.{name}" for name in ("count", "median", "p95", "max"))


def places(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", Language)
def test_every_word_that_a_report_needs_is_there(language):
    assert set(required()) - set(catalogue(language)) == set()


@pytest.mark.parametrize("language", Language)
def test_nothing_is_left_empty_or_untidy(language):
    for key, text in catalogue(language).items():
        assert text.strip() == text, key
        assert text, key
        assert "  " not in text, key


def test_all_languages_have_the_same_keys_and_places():
    english = catalogue(Language.EN)
    for language in Language:
        other = catalogue(language)
        assert other.keys() == english.keys()
        for key, text in english.items():
            if not key.startswith(LOCALE):
                assert places(other[key]) == places(text), (language, key)


def test_vietnamese_is_not_english_left_standing():
    english, vietnamese = catalogue(Language.EN), catalogue(Language.VI)
    same = {key for key in english if english[key] == vietnamese[key]}
    assert same <= {"language.zone"}
    plain = {key for key, text in vietnamese.items() if text.isascii()}
    assert not [key for key in plain if key.startswith(("figure.", "section.", "member."))]


@pytest.mark.parametrize(
    ("language", "number", "length", "day", "moment", "month"),
    [
        (Language.EN, "1,234,567", "7.7 s", "1 July 2026", "1 July 2026, 00:30", "Jul 2026"),
        (Language.VI, "1.234.567", "7,7 giây", "1/7/2026", "00:30 ngày 1/7/2026", "7/2026"),
    ],
)
def test_numbers_and_times_are_written_as_the_language_does(
    language, number, length, day, moment, month
):
    words = Words(language, 420)
    t_ms = 1_782_840_600_000  # 2026-06-30T17:30:00Z
    assert words.number(1_234_567) == number
    assert words.duration(7_700) == length
    assert words.date(t_ms) == day
    assert words.time(t_ms) == moment
    assert words.member("month", "2026-07") == month
    assert words.zone() == "UTC+07:00"


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1 s"),
        (1_050, "1.05 s"),
        (59_999, "59.999 s"),
        (60_000, "1 min"),
        (3_661_000, "1 h 1 min"),
        (86_400_000 + 59_000, "1 d"),
        (86_400_000 * 1_000 + 3_600_000, "1,000 d 1 h"),
    ],
)
def test_a_length_of_time_has_its_two_largest_units(ms, said):
    assert Words(Language.EN).duration(ms) == said


def test_what_people_named_stands_as_they_wrote_it():
    words = Words(Language.VI)
    assert words.member("authority", "cert-vn") == "cert-vn"
    assert words.member("instrument", "Law {on} %s") == "Law {on} %s"


def test_every_dimension_of_a_closed_list_is_looked_at_here():
    assert get_args(Category) == ()  # an enum, as all of CLOSED
    translated = {key.split(".")[1] for key in catalogue(Language.EN) if key.startswith("member.")}
    assert translated == {*CLOSED, "outcome", "stage", "entry_kind", "error", STATISTIC}
