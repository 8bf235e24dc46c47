"""Probing a resolver from outside: what its answers show, and what they do not."""

import json
from contextlib import closing

import pytest
from dnslib import EDNS0, QTYPE, RR, SOA, A, DNSRecord, EDNSOption

from enforcer.app import audit_probe
from enforcer.backends import dns_client
from enforcer.core.key import Role
from enforcer.core.policy import DAY_MS
from enforcer.core.remedy import OrderSuspended
from tests.backends.gate_resolver import Resolver
from tests.backends.gate_tables import now_ms
from tests.ledgers import Archive
from tests.people import Land, Person, request_id, seal

NAMES = [f"n{number:02}.example.org" for number in range(20)]
TARGETS = "".join(f"exact {name}\n" for name in NAMES).encode()
OTHER = b"ip 192.0.2.7\nsubtree other.example.net\n"
REGISTER = "https://register.example.org/"
CONTROL = "www.example.com"


class Isp(Resolver):
    """A resolver that blocks what it is told to, in the way that it is told to."""

    def __init__(self):
        self.rules = {}
        self.over_tcp_only = {}
        super().__init__()
        self.respond = self.answer

    def answer(self, query):
        asked = DNSRecord.parse(query)
        name = str(asked.q.qname).rstrip(".").lower()
        rule = next((self.rules[zone] for zone in zones(name) if zone in self.rules), resolves)
        if name.endswith(".invalid") and name not in self.rules:
            rule = absent
        reply = asked.reply(ra=1, aa=0)
        if rule(reply, name) is None:
            yield reply.pack()


def zones(name):
    labels = name.split(".")
    return [".".join(labels[at:]) for at in range(len(labels))]


def resolves(reply, name):
    reply.add_answer(RR(name, QTYPE.A, ttl=60, rdata=A("203.0.113.9")))


def absent(reply, name):
    reply.header.rcode = 3
    times = (1, 3600, 600, 86400, 60)
    reply.add_auth(
        RR("example.org", QTYPE.SOA, rdata=SOA("ns.example.org", "h.example.org", times))
    )


def without_data(reply, name):
    absent(reply, name)
    reply.header.rcode = 0


def failing(reply, name):
    reply.header.rcode = 2


def silent(reply, name):
    return "nothing"


def leading_to(address):
    def rule(reply, name):
        reply.add_answer(RR(name, QTYPE.A, ttl=60, rdata=A(address)))

    return rule


def extended(code, text):
    """A block as somebody else's resolver answers it."""

    def rule(reply, name):
        reply.header.rcode = 3
        data = code.to_bytes(2, "big") + text.encode()
        reply.add_ar(EDNS0(udp_len=1232, opts=[EDNSOption(15, data)]))

    return rule


def blocked(order_id, *, ede=True, soa=True, rcode=3):
    """A block as our gate answers it; resolvers between may leave the extended error out."""

    def rule(reply, name):
        reply.header.rcode = rcode
        if soa:
            mname = f"{order_id}.register.example.org"
            record = SOA(mname, "hostmaster.register.example.org", (5, 3600, 600, 86400, 28))
            reply.add_auth(RR(name, QTYPE.SOA, ttl=28, rdata=record))
        if ede:
            data = b"\0\x10" + f"{order_id} {REGISTER}{order_id}".encode()
            reply.add_ar(EDNS0(udp_len=1232, opts=[EDNSOption(15, data)]))

    return rule


@pytest.fixture
def isp():
    with closing(Isp()) as isp:
        yield isp


@pytest.fixture
def archive(tmp_path):
    archive = Archive(tmp_path / "ledger", Land.founded(now_ms=now_ms() - DAY_MS))
    archive.write_trust(tmp_path / "trust.toml")
    return archive


@pytest.fixture
def probe(run, archive, isp, tmp_path):
    """Run the probe at the ISP's resolver, and return its code and what it said, as JSON."""

    def probe(*words, as_json=True, control=CONTROL):
        archive.write(lists=[TARGETS, OTHER])
        given = ["--resolver", f"127.0.0.1:{isp.place[1]}", "--control", control]
        given += ["--per-second", "100", "--timeout-ms", "3000", "--seed", "x"]
        given += ["--trust", tmp_path / "trust.toml", *words]
        said = run("audit", "probe", archive.path, *given, *(["--json"] if as_json else []))
        if not as_json:
            return said
        return said.code, said.json if said.out else said.err

    return probe


class Impatient(dns_client.Resolver):
    """Waits a moment alone for the answers about blocked names; all others have their time."""

    def __init__(self, host, port, timeout_ms):
        super().__init__(host, port, timeout_ms)
        self._of_names = dns_client.Resolver(host, port, timeout_ms=50)

    def ask(self, name, transport):
        asker = self._of_names if name.text in NAMES else super()
        return asker.ask(name, transport)


def shown(found):
    """Return the result of the one order, and what was observed."""
    (order,) = found["orders"]
    return order["result"], {each["observation"] for each in order["evidence"]}


def test_an_order_that_the_resolver_enforces_is_in_force(archive, isp, probe):
    ref = archive.land.in_force_order(TARGETS)
    isp.rules |= dict.fromkeys(NAMES, blocked(ref.order_id))
    code, found = probe()
    assert (code, found["outcome"]) == (0, "GOOD")
    assert shown(found) == ("IN_FORCE", {"BLOCKED_BY_ORDER"})
    evidence = found["orders"][0]["evidence"]
    assert {each["transport"] for each in evidence} == {"UDP", "TCP"}
    assert len({each["name"] for each in evidence}) == 5
    assert f"EDE 16 '{ref.order_id} {REGISTER}{ref.order_id}'" in evidence[0]["answer"]
    said = probe(as_json=False)
    assert said.out.splitlines()[0].startswith("GOOD: the resolver does what the ledger says, at ")
    assert "seed" in said.out


@pytest.mark.parametrize("changes", [{"ede": False}, {"soa": False}, {"rcode": 0}])
def test_a_block_is_known_by_its_extended_error_or_by_its_soa(archive, isp, probe, changes):
    ref = archive.land.in_force_order(TARGETS)
    isp.rules |= dict.fromkeys(NAMES, blocked(ref.order_id, **changes))
    assert shown(probe()[1]) == ("IN_FORCE", {"BLOCKED_BY_ORDER"})


def test_an_order_in_force_that_the_resolver_ignores_is_a_violation(archive, probe):
    archive.land.in_force_order(TARGETS)
    code, found = probe()
    assert (code, found["outcome"]) == (1, "VIOLATION")
    assert shown(found) == ("LIFTED", {"RESOLVES"})
    said = probe(as_json=False)
    assert "VIOLATION" in said.out.splitlines()[0]
    assert "not as it should be" in said.out


def test_a_stopped_order_that_is_still_blocked_is_a_violation(archive, isp, probe):
    ref = archive.land.in_force_order(TARGETS)
    archive.land.stop(ref)
    code, found = probe("--order", ref.order_id)
    assert (code, shown(found)) == (0, ("LIFTED", {"RESOLVES"}))
    isp.rules |= dict.fromkeys(NAMES, blocked(ref.order_id))
    code, found = probe("--order", ref.order_id)
    assert (code, shown(found)) == (1, ("IN_FORCE", {"BLOCKED_BY_ORDER"}))
    assert found["orders"][0]["standing"] == "STOPPED"


def test_an_order_enforced_for_some_names_only_is_mixed(archive, isp, probe):
    ref = archive.land.in_force_order(TARGETS)
    isp.rules |= dict.fromkeys(NAMES[::2], blocked(ref.order_id))
    code, found = probe("--names", "20")
    assert (code, shown(found)) == (1, ("MIXED", {"BLOCKED_BY_ORDER", "RESOLVES"}))


@pytest.mark.parametrize(
    ("rule", "observation"),
    [
        (absent, "ABSENT"),
        (without_data, "ABSENT"),
        (failing, "FAILED"),
        (silent, "NO_ANSWER"),
        (extended(17, "Filtered by somebody"), "BLOCKED_BY_THIRD"),
        (extended(4, ""), "BLOCKED_BY_THIRD"),
        (extended(16, "VN-2027-000001 https://elsewhere.example.net/"), "BLOCKED_BY_THIRD"),
        (leading_to("0.0.0.0"), "BLOCKED_BY_THIRD"),
        (leading_to("198.51.100.80"), "BLOCKED_BY_THIRD"),
        (blocked("VN-2020-000001"), "BLOCKED_BY_OTHER"),
    ],
)
def test_what_says_nothing_of_the_order_leaves_it_unknown(
    archive, isp, probe, rule, observation, monkeypatch
):
    if rule is silent:
        monkeypatch.setattr(audit_probe, "Resolver", Impatient)
    archive.land.in_force_order(TARGETS)
    isp.rules |= dict.fromkeys(NAMES, rule)
    code, found = probe("--names", "1", "--block-page", "198.51.100.80")
    assert (code, found["outcome"]) == (2, "INCOMPLETE")
    assert shown(found) == ("UNKNOWN", {observation})


def test_a_resolver_that_fails_a_control_is_not_judged(archive, isp, probe):
    ref = archive.land.in_force_order(TARGETS)
    isp.rules |= {CONTROL: blocked(ref.order_id)}
    code, found = probe()
    assert (code, found["outcome"], found["broken_controls"]) == (2, "INCOMPLETE", 2)
    assert shown(found) == ("UNKNOWN", set())
    isp.rules = {"invalid": resolves, "made-up.invalid": resolves}
    code, found = probe("--absent", "made-up.invalid")
    assert (code, found["broken_controls"]) == (2, 2)
    said = probe("--absent", "made-up.invalid", as_json=False)
    assert "control made-up.invalid over UDP: RESOLVES" in said.out


def test_a_resolver_that_dies_meanwhile_is_not_judged(archive, isp, probe):
    archive.land.in_force_order(TARGETS)
    answered = []

    def dying(reply, name):
        answered.append(name)
        return resolves(reply, name) if len(answered) < 4 else "nothing"

    isp.rules[CONTROL] = dying
    code, found = probe("--names", "1", "--timeout-ms", "500")
    assert (code, shown(found)[0]) == (2, "UNKNOWN")


def test_nobody_there_is_no_violation(archive, isp, probe, run, tmp_path):
    archive.land.in_force_order(TARGETS)
    isp.die()
    code, found = probe()
    assert (code, found["outcome"], found["broken_controls"]) == (2, "INCOMPLETE", 4)
    isp.live()


def test_the_same_seed_draws_the_same_names_and_another_draws_others(archive, isp, probe):
    ref = archive.land.in_force_order(TARGETS)
    isp.rules |= dict.fromkeys(NAMES, blocked(ref.order_id))

    def drawn(*words):
        return [each["name"] for each in probe(*words)[1]["orders"][0]["evidence"]]

    assert drawn() == drawn()
    assert drawn("--seed", "y") != drawn()
    assert set(drawn("--names", "50")) == set(NAMES)


def test_names_that_another_order_decides_or_a_protection_are_not_asked(archive, isp, probe):
    first = archive.land.in_force_order(b"subtree example.org\n")
    archive.write(lists=[b"subtree example.org\n"])
    second = archive.land.in_force_order(b"exact n00.example.org\nsubtree example.org\n")
    archive.write(lists=[b"exact n00.example.org\nsubtree example.org\n"])
    isp.rules |= {
        "example.org": blocked(first.order_id),
        "n00.example.org": blocked(second.order_id),
    }
    code, found = probe()
    assert code == 0, found
    assert [(each["order_id"], each["result"]) for each in found["orders"]] == [
        (first.order_id, "IN_FORCE"),
        (second.order_id, "IN_FORCE"),
    ]
    asked = {each["name"] for each in found["orders"][1]["evidence"]}
    assert asked == {"n00.example.org"}


def test_a_list_without_names_or_not_here_leaves_the_order_unknown(archive, probe):
    text = b"ip 192.0.2.7\n"
    archive.land.in_force_order(text)
    code, found = probe()
    assert (code, found["orders"][0]["unknown_because"]) == (2, "its list is not here")
    archive.write(lists=[text])
    assert probe()[1]["orders"][0]["unknown_because"].startswith("no name in its list")


def test_a_suspension_by_the_operator_of_the_network_counts(archive, isp, probe):
    land = archive.land
    officer = Person("safety.officer", Role.SAFETY_OFFICER, operator="isp-1")
    land.record(seal(officer.registration(land.now_ms), *land.roots[:2]))
    ref = land.in_force_order(TARGETS)
    act = OrderSuspended(
        ledger_origin=land.origin,
        request_id=request_id(),
        valid_until_ms=land.now_ms + DAY_MS,
        order=ref,
        until_ms=None,
        reason_sha256=None,
    )
    assert land.record(seal(act, officer.key)).is_effective
    assert probe()[0] == 1
    code, found = probe("--operator", "isp-1")
    assert (code, shown(found)[0]) == (0, "LIFTED")
    assert found["orders"][0]["standing"] == "IN_FORCE, suspended here"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--resolver", "resolver.example.org"], "is no resolver's address"),
        (["--resolver", ""], "is no resolver's address"),
        (["--resolver", "127.0.0.1:99999"], "is no resolver's address"),
        (["--per-second", "101"], "--per-second: 101"),
        (["--per-second", "0"], "--per-second: 0"),
        (["--names", "51"], "--names: 51"),
        (["--timeout-ms", "0"], "--timeout-ms: 0"),
        (["--block-page", "here"], "no address"),
        (["--control", "https://www.example.org/"], "is no domain name"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(archive, isp, probe, words, said):
    archive.land.in_force_order(TARGETS)
    code, err = probe(*words)
    assert code == 2
    assert said in json.loads(err)["message"]
    assert isp.seen == []


def test_an_order_that_is_not_in_the_ledger_is_not_found(archive, probe):
    assert probe("--order", "VN-2020-000001")[0] == 4
