"""Flows against orders at their time: before, while and after, protections, leaks; nothing kept."""

import json
from hashlib import sha256
from ipaddress import IPv4Address
from pickle import dumps
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.backends.flow_exports import new_index, new_lines
from enforcer.core.entry import parse
from enforcer.core.flow import Passage
from enforcer.core.guard import Guard
from enforcer.core.name import Name
from enforcer.core.order import Measure
from enforcer.core.policy import DecisionKind, Pins
from enforcer.core.state import Roots, State
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.core.target import parse_line
from enforcer.core.verdict import Action, Rules, decide_flow
from enforcer.errors import NotFoundError
from enforcer.ports import DnsMessage, DnsReply
from enforcer.services.flow_check import FlowCheck
from enforcer.services.flow_orders import OrderTimes, Timeline, timeline
from enforcer.services.flow_tally import Phase, phase_of
from enforcer.services.probe_reading import Register
from tests.flows import octets_of, pack
from tests.people import Land, seal
from tests.tables import order_row

REJECT = Measure(DnsMeasure.NONE, IpMeasure.REJECT)
BOTH = Measure(DnsMeasure.NEGATIVE, IpMeasure.DROP)
REGISTER = Register("https://register.example.org/", "register.example.org")
LIST = b"ip 192.0.2.7\nnet 198.51.100.0/24\n"
CLIENT, BAD, NEIGHBOUR = "203.0.113.5", "192.0.2.7", "192.0.2.8"


class World:
    """A land, the lists that it names, and checks of what was seen there."""

    def __init__(self, **pinned):
        self.texts = {}
        self.land = Land.founded(pins=Pins(*map(self.keep, map(pinned.get, PINS))))
        self.land.register(self.land.control)

    def keep(self, text):
        if text is None:
            return None
        self.texts[sha256(text).hexdigest()] = text
        return sha256(text).hexdigest()

    def order(self, text=LIST, measure=REJECT, **options):
        self.keep(text)
        return self.land.in_force_order(text, measure=measure, **options)

    def text(self, sha256):
        if sha256 not in self.texts:
            raise NotFoundError("no list", advice="none")
        return self.texts[sha256]

    def line(self):
        land = self.land
        roots = Roots(tuple(key.public_key for key in land.roots), 2)
        return timeline(State(land.origin, roots, land.state.verify), map(parse, land.leaves))

    def check(self, grace_ms=0, skew_ms=0):
        return FlowCheck(
            self.line(), self.text, new_index(), new_lines(), register=REGISTER, grace_ms=grace_ms,
            skew_ms=skew_ms,
        )  # fmt: skip


PINS = ("protected_core", "protected_names", "public_suffixes", "shared_ranges")


def only(check):
    [tally] = check.checked.tallies.values()
    return tally


def counted(tally):
    return {phase.name: each.flows for phase, each in tally.phases.items()}


def test_flows_are_counted_before_while_and_after_an_order_was_in_force():
    world = World()
    ref = world.order()
    from_ms = world.land.now_ms
    world.land.now_ms += 100_000
    world.land.stop(ref)
    until_ms = world.land.now_ms
    check = world.check()
    for t_ms in (from_ms - 50_000, from_ms - 1, from_ms, until_ms - 1, until_ms, until_ms + 9_000):
        check.flows(pack(CLIENT, BAD, t_ms, tcp_flags=2) + pack(CLIENT, NEIGHBOUR, t_ms))
    tally = only(check)
    assert counted(tally) == {"BEFORE": 2, "IN_FORCE": 2, "AFTER": 2}
    assert (tally.phases[Phase.BEFORE].first_s, tally.phases[Phase.BEFORE].last_s) == (-50, -1)
    assert tally.phases[Phase.AFTER].last_s == 110
    assert tally.phases[Phase.IN_FORCE].octets == 2000
    assert check.checked.leaks == 0
    assert check.checked.flows == 12


def test_an_answer_from_a_blocked_address_is_a_leak():
    world = World()
    world.order()
    check = world.check(grace_ms=5_000)
    t_ms = world.land.now_ms
    check.flows(pack(BAD, CLIENT, t_ms + 4_999))
    assert check.checked.leaks == 0
    check.flows(pack(BAD, CLIENT, t_ms + 5_000))
    assert check.checked.leaks == 1
    assert counted(only(check)) == {"AT_EDGE": 1, "IN_FORCE": 1}


def test_a_flow_that_goes_on_over_the_beginning_proves_nothing():
    world = World()
    world.order()
    t_ms = world.land.now_ms
    check = world.check()
    check.flows(pack(BAD, CLIENT, t_ms - 60_000, t_ms + 60_000))
    assert counted(only(check)) == {"AT_EDGE": 1}


def test_clocks_that_may_err_widen_the_edges():
    world = World()
    world.order()
    t_ms = world.land.now_ms
    check = world.check(skew_ms=3_000)
    for after_ms in (-3_001, -3_000, 0, 2_999, 3_000):
        check.flows(pack(BAD, CLIENT, t_ms + after_ms))
    assert counted(only(check)) == {"BEFORE": 1, "AT_EDGE": 3, "IN_FORCE": 1}


def test_an_order_that_was_held_for_a_while_was_not_in_force_then():
    world = World()
    ref = world.order()
    first_ms = world.land.now_ms
    world.land.hold(ref, Guard.PERSON, by=world.land.approver, report=None)
    held_ms = world.land.now_ms
    world.land.now_ms += 60_000
    world.land.lift(ref, Guard.PERSON, by=world.land.oversight)
    again_ms = world.land.now_ms
    [times] = world.line().orders
    assert times.spans == [(first_ms, held_ms), (again_ms, times.order.until_ms)]
    assert phase_of(times, held_ms, held_ms, grace_ms=0, skew_ms=0) is Phase.AFTER
    assert phase_of(times, again_ms, again_ms, grace_ms=0, skew_ms=0) is Phase.IN_FORCE


def test_an_order_never_in_force_is_not_looked_for():
    world = World()
    world.keep(LIST)
    world.land.propose(LIST, measure=REJECT)
    assert world.line().orders == []


def test_an_order_is_looked_for_in_the_time_that_an_extension_gave_it():
    world = World()
    ref = world.order()
    land = world.land
    end_ms = land.now_ms + 40 * 86_400_000
    extension = seal(land.extension(ref, end_ms), land.proposer.key, land.approver.key)
    assert land.record(extension).is_effective
    [times] = world.line().orders
    assert times.spans == [(times.begins_ms, end_ms)]


def test_an_order_about_names_alone_does_not_count_packets():
    world = World()
    world.order(b"exact bad.example.org\n", Measure(DnsMeasure.NEGATIVE, IpMeasure.NONE))
    check = world.check()
    check.flows(pack(BAD, CLIENT, world.land.now_ms + 1))
    assert counted(only(check)) == {}


def test_a_list_that_is_not_here_is_said():
    world = World()
    world.order()
    world.texts.clear()
    check = world.check()
    assert [each.order.payload.target_list_sha256 for each in check.checked.missing]
    assert check.checked.tallies == {}


def test_protected_packets_are_no_leak():
    world = World(protected_names=b"net 198.51.100.64/26\n")
    world.order(b"net 198.51.100.0/24\n", decision_kind=DecisionKind.COURT_FINAL)
    check = world.check()
    t_ms = world.land.now_ms + 1
    check.flows(pack("198.51.100.65", CLIENT, t_ms) + pack("198.51.100.1", CLIENT, t_ms))
    assert counted(only(check)) == {"PROTECTED": 1, "IN_FORCE": 1}
    assert check.checked.leaks == 1


BITS = st.integers(24, 32)


@st.composite
def small_nets(draw):
    length = draw(BITS)
    base = int(IPv4Address("192.0.2.0")) | draw(st.integers(0, 255))
    value = IPv4Address(base >> (32 - length) << (32 - length))
    return f"ip {value}\n" if length == 32 else f"net {value}/{length}\n"


TEXTS = st.sets(small_nets(), max_size=4).map(lambda lines: "".join(sorted(lines)).encode())


@given(TEXTS, TEXTS, TEXTS, TEXTS, st.integers(0, 255), st.booleans())
def test_packets_count_as_blocked_where_the_oracle_blocks_them(
    first, second, core, protected, host, overrides
):
    address = IPv4Address(int(IPv4Address("192.0.2.0")) | host)
    lines = tuple(protected.decode().splitlines()) if overrides else ()
    check, rows = index_of([first, second], core, protected, lines)
    check.flows(pack(str(address), CLIENT, 1_500))
    blocked = any(Phase.IN_FORCE in each.phases for each in check.checked.tallies.values())
    rules = Rules(
        zip(rows, [first, second], strict=True), core=core, protected=protected,
        overrides={(row.index, parse_line(line.encode())) for row in rows for line in lines},
    )  # fmt: skip
    assert blocked == (decide_flow(rules, address, 1_500).action is Action.BLOCK)


def index_of(lists, core, protected, overrides):
    """Return a check of made-up orders that are in force from 1,000 to 2,000."""
    texts = {sha256(text).hexdigest(): text for text in (*lists, core, protected)}
    rows = [
        order_row(index, text, dns_measure=DnsMeasure.NONE, ip_measure=IpMeasure.DROP)
        for index, text in enumerate(lists, 1)
    ]
    orders = [
        OrderTimes(
            SimpleNamespace(
                index=row.index,
                overrides=frozenset(overrides),
                payload=SimpleNamespace(
                    target_list_sha256=sha256(text).hexdigest(), measure=REJECT, order_id="x"
                ),
            ),
            [(1_000, 2_000)],
        )
        for row, text in zip(rows, lists, strict=True)
    ]
    pins = Pins(sha256(core).hexdigest(), sha256(protected).hexdigest(), None, None)
    line = Timeline(orders, [(0, pins)])
    check = FlowCheck(
        line, texts.__getitem__, new_index(), new_lines(), register=REGISTER, grace_ms=0, skew_ms=0
    )
    return check, rows


def answer(name, t_ms, *, rcode=0, has_answer=True, soa=None, links=(), addresses=(), qtype=1):
    reply = DnsReply(rcode, False, has_answer, (), soa, ())
    return DnsMessage(t_ms, Name.from_text(name), qtype, 80, reply, links, addresses)


NAMES = b"subtree bad.example.org\n"
NEGATIVE = Measure(DnsMeasure.NEGATIVE, IpMeasure.NONE)


def test_dns_answers_are_judged_as_a_gate_would():
    world = World(protected_names=b"subtree good.bad.example.org\n")
    ref = world.order(NAMES, NEGATIVE, decision_kind=DecisionKind.COURT_FINAL)
    t_ms = world.land.now_ms + 1
    check = world.check()
    check.message(DnsMessage(t_ms, Name.from_text("www.bad.example.org"), 1, 40))
    ours = ("bad.example.org", f"{ref.order_id.lower()}.register.example.org")
    check.message(answer("www.bad.example.org", t_ms, has_answer=False, soa=ours))
    check.message(answer("good.bad.example.org", t_ms))
    check.message(answer("www.example.org", t_ms))
    assert check.checked.leaks == 0
    tally = only(check)
    assert counted(tally) == {"IN_FORCE": 2, "PROTECTED": 1}
    assert {kind: each.flows for kind, each in tally.answers.items()} == {
        "QUERY": 1, "BLOCKED_BY_ORDER": 1,
    }  # fmt: skip
    check.message(answer("www.bad.example.org", t_ms))
    check.message(answer("alias.example.net", t_ms, links=(Name.from_text("x.bad.example.org"),)))
    assert check.checked.leaks == 2


def test_dns_answers_that_give_a_blocked_address_get_through():
    world = World()
    world.order(LIST, BOTH)
    check = world.check()
    addresses = (IPv4Address("192.0.2.9"), IPv4Address(BAD))
    check.message(answer("www.example.org", world.land.now_ms + 1, addresses=addresses))
    assert check.checked.leaks == 1


def test_dns_answers_before_and_after_are_no_leak():
    world = World()
    ref = world.order(NAMES, NEGATIVE)
    from_ms = world.land.now_ms
    world.land.now_ms += 10_000
    world.land.stop(ref)
    check = world.check()
    check.message(answer("bad.example.org", from_ms - 1))
    check.message(answer("bad.example.org", world.land.now_ms))
    assert counted(only(check)) == {"BEFORE": 1, "AFTER": 1}
    assert check.checked.leaks == 0


def test_nothing_of_what_was_seen_is_kept():
    world = World()
    world.order(LIST, BOTH)
    check = world.check()
    t_ms = world.land.now_ms + 1
    check.flows(pack(CLIENT, BAD, t_ms, source_port=45_678) + pack("203.0.113.9", CLIENT, t_ms))
    check.message(answer("secret.example.net", t_ms, addresses=(IPv4Address(BAD),)))
    kept = dumps([(t.phases, t.passages, t.answers) for t in check.checked.tallies.values()])
    for trace in (octets_of(CLIENT), CLIENT.encode(), b"secret", octets_of("203.0.113.9")):
        assert trace not in kept
    assert only(check).passages[Passage.THROUGH].flows == 1


def test_memory_does_not_grow_with_the_traffic():
    world = World()
    world.order()
    check = world.check()
    t_ms = world.land.now_ms
    sizes = []
    for round_number in range(3):
        for host in range(200):
            check.flows(pack(f"203.0.113.{host}", BAD, t_ms + 1 + host + round_number))
        tally = only(check)
        sizes.append(len(dumps((tally.phases, tally.passages, tally.answers))))
    assert max(sizes) - sizes[0] <= 8
    assert json.dumps(counted(tally))


@pytest.mark.parametrize("measure", [REJECT, BOTH])
def test_sampled_flows_are_said(measure):
    world = World()
    world.order(LIST, measure)
    check = world.check()
    check.flows(pack(CLIENT, NEIGHBOUR, 1, sampling=4_000))
    assert check.checked.sampling == 1
    check.flows(pack(CLIENT, BAD, 1, sampling=1_000))
    assert check.checked.sampling == 1_000
