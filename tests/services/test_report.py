"""The figures of a report: a story told in acts, and what must be counted of it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.core.attestation import Attestation, GateState, NotEnforced, Omission
from enforcer.core.envelope import format_envelope, parse_envelope, sign
from enforcer.core.key import Role
from enforcer.core.order import PublicationMode
from enforcer.core.remedy import AppealOutcome
from enforcer.errors import InputError, IntegrityError, NotFoundError
from enforcer.services import report_period
from enforcer.services.report import make_report
from enforcer.services.report_facts import Fact, What
from enforcer.services.report_figures import FIGURES
from enforcer.services.report_period import Period
from enforcer.services.report_tally import ENTRIES_MAX, Tally, nearest_rank
from tests.people import T0_MS, Person, hidden, seal
from tests.report_story import DAY_MS, HOUR_MS, Entries, Story, half_a_year, value, verify


@pytest.fixture(scope="module")
def report():
    return half_a_year().report()


def test_orders_are_counted_by_who_what_and_on_which_law(report):
    assert value(report, "orders.proposed") == 12
    assert value(report, "orders.approved") == 8
    assert value(report, "orders.approved", "cert-vn") == 8
    assert value(report, "orders.approved", "PHISHING") == 4
    assert value(report, "orders.approved", "cert-vn", "MALWARE") == 1
    assert value(report, "orders.approved", "EMERGENCY") == 2
    assert value(report, "orders.extended", "MALWARE") == 1
    assert value(report, "targets.approved") == 9
    assert value(report, "targets.approved", "SCAM") == 2


def test_an_order_under_two_laws_counts_under_each_and_once_in_all(report):
    laws = ("Law on Cyber Information Security", "Law on Telecommunications")
    assert [value(report, "orders.approved", law) for law in laws] == [8, 1]
    assert value(report, "orders.approved") == 8


def test_orders_end_once_by_an_act_or_by_time_alone(report):
    by_outcome = {"EXPIRED": 4, "LAPSED": 1, "STOPPED": 1, "APPEAL_GRANTED": 1, "REJECTED": 1}
    assert value(report, "orders.ended") == sum(by_outcome.values())
    for outcome, count in by_outcome.items():
        assert value(report, "orders.ended", outcome) == count, outcome
    assert value(report, "orders.ended", "PROPOSED", "EXPIRED") == 1
    assert value(report, "orders.stopped", "OVERSIGHT") == 1


def test_every_hold_is_counted_with_its_guard_and_what_became_of_it(report):
    assert value(report, "holds.placed") == 6
    assert value(report, "holds.ended", "SHARED_RANGE", "LIFTED") == 1
    assert value(report, "holds.ended", "PERSON", "REJECTED") == 1
    assert value(report, "holds.open") == 2
    assert value(report, "holds.open", "COMPROMISED_KEY") == 1  # nobody acted on that order
    assert value(report, "holds.open", "PROTECTED_NAME") == 1
    assert value(report, "holds.time", "PRIVATE_SUFFIX", statistic="max") == DAY_MS + 1_000


def test_emergencies_end_confirmed_or_by_time(report):
    assert value(report, "emergencies.approved") == 2
    assert value(report, "emergencies.decided", "CONFIRMED") == 1
    assert value(report, "emergencies.decided", "EXPIRED") == 1


def test_remedies_are_counted_with_their_times(report):
    assert value(report, "appeals.filed") == 3
    assert value(report, "appeals.decided", "GRANTED") == 1
    assert value(report, "appeals.decided", "DISMISSED") == 1
    assert value(report, "appeals.open") == 1
    assert value(report, "time.appeal", statistic="max") == 2 * DAY_MS + 1_000
    assert value(report, "notices.sent", "REGISTRAR") == 1
    assert value(report, "reviews.done", "APPROVER") == 1
    assert value(report, "suspensions.made", "isp-1") == 1
    assert value(report, "suspensions.ended", "isp-1") == 1
    assert value(report, "assessments.recorded") == 1


def test_the_time_to_decide_is_from_the_proposal_to_the_second_signature(report):
    assert value(report, "time.decide", statistic="count") == 8
    assert value(report, "time.decide", "ADMINISTRATIVE", statistic="max") == DAY_MS + 3_000


def test_what_broke_a_rule_is_counted_and_named_by_its_entry(report):
    assert value(report, "entries.ineffective", "OrderApproved", "RefusedError") == 1
    (total, *_) = report.figures["entries.ineffective"]
    assert [half_a_year().land.effects[index].is_effective for index in total.entries] == [False]


def test_only_what_is_in_force_at_the_end_is_listed(report):
    assert value(report, "in_force.orders") == len(report.in_force) == 1
    assert report.in_force[0].category == "MALWARE"
    assert value(report, "orders.waiting") == 1
    assert value(report, "nodes.registered") == 2


def test_the_time_to_effect_is_until_a_node_attests_the_order(report):
    # At isp-1 phishing alone; scam was suspended there, and after that it attested no more.
    assert value(report, "time.effect", "isp-1", statistic="count") == 1
    assert value(report, "time.effect", "isp-1", statistic="max") == 500
    assert value(report, "time.effect", "isp-2", statistic="count") == 4
    assert value(report, "time.release", "isp-1", statistic="max") == 700
    assert value(report, "time.release", "isp-2", statistic="median") == 300
    assert value(report, "nodes.attesting") == 2
    assert value(report, "attestations.omitting", "SUSPENDED") == 1


def test_a_node_that_came_later_says_nothing_of_when_an_order_took_effect():
    story = Story()
    story.land.in_force_order()
    story.attest()
    assert value(story.report(), "time.effect", statistic="count") == 0


def test_an_order_takes_effect_at_a_node_only_when_its_gate_holds_the_table():
    story = Story()
    story.attest()
    ref = story.land.in_force_order()
    story.attest(gate=GateState.DIFFERS)
    missing = Omission(ref.entry_index, NotEnforced.LIST_MISSING, None, story.land.now_ms)
    story.attest(omissions=[missing])
    story.attest(after_ms=4_000)
    report = story.report()
    assert value(report, "time.effect", statistic="count") == 1
    assert value(report, "time.effect", statistic="max") == 8_000


def test_an_order_that_an_operator_leaves_out_is_never_late_there():
    story = Story()
    story.attest()
    ref = story.land.in_force_order()
    off = Omission(ref.entry_index, NotEnforced.BYPASSED, None, story.land.now_ms)
    story.attest(omissions=[off])
    story.attest()
    assert value(story.report(), "time.effect", statistic="count") == 0


def test_an_order_for_later_takes_effect_from_its_own_time_on():
    story = Story()
    story.attest()
    story.land.in_force_order(not_before_ms=story.land.now_ms + HOUR_MS)
    story.attest()
    story.pause(HOUR_MS)
    story.attest(after_ms=0)
    report = story.report()
    assert value(report, "time.effect", statistic="count") == 1
    assert value(report, "time.effect", statistic="max") == 4_000


def test_a_stop_obeyed_before_it_was_recorded_was_released_in_no_time():
    story = Story()
    story.attest()
    ref = story.land.in_force_order()
    story.attest()
    envelope_of_stop = "ab" * 32
    obeyed = Omission(
        ref.entry_index, NotEnforced.STOPPED_UNLOGGED, envelope_of_stop, story.land.now_ms
    )
    story.attest(omissions=[obeyed])
    story.land.stop(ref)
    story.attest(after_ms=0)
    assert value(story.report(), "time.release", statistic="max") == 0


def test_what_is_not_signed_by_the_node_it_names_is_left_out():
    story = Story()
    story.attest()
    story.attest(Person("node-1", Role.NODE))  # another key
    story.attest(root_sha256="00" * 32)
    story.attest(ledger_origin="other.example.org/ledger")
    story.attested.append(("node-1", 1, 3, b"{}"))
    report = story.report()
    assert report.attestations == 1
    assert report.attestations_left_out == 4


def test_a_signature_that_is_not_valid_counts_for_nothing():
    story = Story()
    story.attest()
    node, t_ms, size, said = story.attested[0]
    octets = sign(Attestation.TYPE, b"{}", [(story.land.node.key.key_id, story.land.node.key.sign)])
    forged = replace(parse_envelope(said), signatures=octets.signatures)
    story.attested[0] = (node, t_ms, size, format_envelope(forged))
    assert (story.report().attestations, story.report().attestations_left_out) == (0, 1)


def test_a_key_that_was_revoked_attests_nothing_more():
    story = Story()
    land = story.land
    story.attest()
    land.record(seal(land.revocation(land.node), *land.roots[:2]))
    story.attest()
    assert (story.report().attestations, story.report().attestations_left_out) == (1, 1)
    assert value(story.report(), "nodes.registered") == 0


def test_what_a_node_says_after_the_period_is_not_of_it():
    story = Story()
    story.attest()
    to_ms = story.land.now_ms + 1
    before = story.report(to_ms=to_ms)
    story.attest()
    after = story.report(to_ms=to_ms)
    assert after == before
    assert after.attestations == 1


def test_an_order_that_ends_when_the_period_does_ends_in_the_next():
    story = Story()
    ref = story.land.in_force_order()
    until_ms = story.land.order_record(ref).until_ms
    story.pause(until_ms)
    story.land.register(Person("later", Role.AUDITOR))
    ended = [
        value(story.report(*period), "orders.ended")
        for period in ((T0_MS, until_ms), (until_ms, until_ms + 1))
    ]
    assert ended == [0, 1]
    assert value(story.report(T0_MS, until_ms), "in_force.orders") == 0


def test_each_of_several_appeals_has_its_own_time():
    story = Story()
    land = story.land
    land.register(land.control)
    ref = land.in_force_order()
    first = land.appeal(ref)
    story.pause(DAY_MS)
    second = land.appeal(ref)
    assert land.decide(ref, second.index, AppealOutcome.DISMISSED).is_effective
    assert value(story.report(), "time.appeal", statistic="max") == 1_000
    assert value(story.report(), "appeals.open") == 1
    assert land.decide(ref, first.index, AppealOutcome.GRANTED).is_effective
    assert value(story.report(), "time.appeal", statistic="max") == DAY_MS + 3_000
    assert value(story.report(), "appeals.open") == 0


def test_what_comes_after_the_period_changes_nothing_in_it(report):
    story = half_a_year()
    to_ms = T0_MS + 20 * DAY_MS
    until = next(
        at for at, effect in enumerate(story.land.effects) if effect.recorded_at_ms >= to_ms
    )
    whole = story.report(to_ms=to_ms)
    early = story.report(to_ms=to_ms, size=until + 1)
    assert whole.figures == early.figures
    assert whole.in_force == early.in_force
    assert whole.attestations_sha256 == early.attestations_sha256
    assert whole.is_whole


def test_a_copy_that_ends_before_the_period_says_so():
    story = Story()
    report = story.report(to_ms=story.land.now_ms + DAY_MS)
    assert not report.is_whole
    assert report.known_until_ms == story.land.now_ms


def test_time_that_the_copy_does_not_reach_ends_nothing():
    story = Story()
    story.land.in_force_order()
    later = story.land.now_ms + 365 * DAY_MS
    assert value(story.report(to_ms=later), "orders.ended") == 0
    assert value(story.report(to_ms=later), "in_force.orders") == 1


TIMES = st.integers(T0_MS - DAY_MS, T0_MS + 75 * DAY_MS)
EDGES = st.sampled_from(
    [
        *(effect.recorded_at_ms for effect in half_a_year().land.effects),
        *(order.until_ms for order in half_a_year().land.state.orders.values()),
    ]
)


@settings(max_examples=25, deadline=None)
@given(st.lists(TIMES | EDGES, min_size=3, max_size=3, unique=True).map(sorted))
def test_the_counts_of_two_adjoining_periods_add_up_to_those_of_both(cuts):
    first, middle, last = cuts
    story = half_a_year()
    both, *halves = (
        story.report(*period) for period in ((first, last), (first, middle), (middle, last))
    )
    for figure in FIGURES:
        if not figure.is_additive:
            continue
        added = {}
        for half in halves:
            for row in half.figures[figure.id]:
                added[row.place] = added.get(row.place, 0) + row.value
        assert added == {row.place: row.value for row in both.figures[figure.id]}, figure.id


def test_of_a_restricted_list_only_its_existence_is_counted():
    story = Story()
    ref = story.land.in_force_order(b"exact a.example.org\nexact b.example.org\n")
    order = story.land.order_record(ref)
    secret = replace(
        order,
        payload=replace(order.payload, publication=hidden(PublicationMode.RESTRICTED_TARGETS)),
    )
    tally = Tally(Period(None, 0, 10, 0))
    tally.add(Fact(What.APPROVED, 5, ref.entry_index, order))
    tally.add(Fact(What.APPROVED, 5, ref.entry_index, secret))
    rows = {figure.id: tally.rows(figure) for figure in FIGURES}
    assert rows["orders.approved"][0].value == 2
    assert rows["targets.approved"][0].value == 2
    assert rows["targets.approved"][0].entries == (ref.entry_index,)


def test_a_row_names_so_many_entries_and_no_more():
    story = Story()
    order = story.land.order_record(story.land.in_force_order())
    tally = Tally(Period(None, 0, 10, 0))
    for index in range(ENTRIES_MAX):
        tally.add(Fact(What.APPROVED, 5, index, order))
    (figure,) = (each for each in FIGURES if each.id == "orders.approved")
    assert tally.rows(figure)[0].entries == tuple(range(ENTRIES_MAX))
    tally.add(Fact(What.APPROVED, 5, ENTRIES_MAX, order))
    assert tally.rows(figure)[0].entries is None
    assert tally.rows(figure)[0].value == ENTRIES_MAX + 1


def test_a_percentile_is_one_of_the_values():
    assert [nearest_rank(50, count) for count in (1, 2, 3, 4)] == [0, 0, 1, 1]
    assert [nearest_rank(95, count) for count in (1, 19, 20, 21)] == [0, 18, 18, 19]


def test_entries_that_are_not_under_the_root_make_no_report():
    story = Story()
    leaves = story.land.leaves

    class Altered(Entries):
        def entries(self, start, end):
            return iter([*leaves[:-2], leaves[-1], leaves[-1]])

    with pytest.raises(IntegrityError, match="tiles have"):
        make_report(
            Altered(leaves), len(leaves), story.trust, [], verify, Period(None, 0, T0_MS * 2, 0)
        )


def test_an_empty_ledger_makes_no_report():
    with pytest.raises(NotFoundError):
        Story().report(size=0)


@pytest.mark.parametrize(
    ("text", "first", "after"),
    [
        ("2026-H1", "2026-01-01", "2026-07-01"),
        ("2026-H2", "2026-07-01", "2027-01-01"),
        ("2026", "2026-01-01", "2027-01-01"),
    ],
)
def test_a_named_period_is_a_half_year_or_a_year_where_it_is_said(text, first, after):
    for minutes in (0, 420, -570):
        period = report_period.named(text, minutes)
        assert period == replace(report_period.between(first, after, minutes), name=text)
    assert report_period.named(text).from_ms - report_period.named(text, 420).from_ms == 7 * HOUR_MS


def test_the_first_month_of_a_half_year_begins_where_the_reader_lives():
    period = report_period.named("2027-H1", 420)
    story = Story()
    tally = Tally(period)
    order = story.land.order_record(story.land.in_force_order())
    tally.add(Fact(What.APPROVED, period.from_ms, 1, order))
    tally.add(Fact(What.APPROVED, period.from_ms - 1, 1, order))
    (figure,) = (each for each in FIGURES if each.id == "orders.approved")
    places = [row.place for row in tally.rows(figure) if row.place and row.place[0][0] == "month"]
    assert places == [(("month", "2027-01"),)]


@pytest.mark.parametrize(
    "text", ["2026-H3", "26", "2026-h1", "", "9999", "1969", "٢٠٢٦", "2026-H1 "]
)
def test_what_is_no_period_is_refused(text):
    with pytest.raises(InputError) as caught:
        report_period.named(text)
    assert caught.value.data["field"] == "period"


@pytest.mark.parametrize(
    ("first", "after", "field"),
    [
        ("2026-07-01", "2026-07-01", "to"),
        ("2026-07-02", "2026-07-01", "to"),
        ("yesterday", "2026-07-01", "from"),
        ("2026-07-01", "0001-01-01T00:00+14:00", "to"),
        ("2026-07-01", "9999-12-31", "to"),
    ],
)
def test_what_is_no_range_is_refused(first, after, field):
    with pytest.raises(InputError) as caught:
        report_period.between(first, after)
    assert caught.value.data["field"] == field


@pytest.mark.parametrize("text", ["7", "+7:00", "+07:60", "+15:00", "07:00", "+14:01"])
def test_what_is_no_offset_is_refused(text):
    assert report_period.offset("+07:00") == 420
    assert report_period.offset("-09:30") == -570
    with pytest.raises(InputError):
        report_period.offset(text)
