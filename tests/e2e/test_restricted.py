"""The whole life of lists that are not public, and then a search for them in all that was written.

Real programs, real Redis. Two orders block at the gate; whatever files, logs, metrics, answers and
exports exist then are searched for a target: as text, as it goes over the wire, and by the hash
that would confirm a guess. Nothing may be found; what is published then is everybody's.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from urllib.request import urlopen

import pytest
import redis

from enforcer.app.demo_land import AUDITOR, AUTHORITY
from enforcer.cli.main import app
from enforcer.core.key import Category
from enforcer.core.name import Name
from enforcer.core.order import OrderPublished, OrderRef, PublicationMode
from enforcer.core.policy import DAY_MS
from enforcer.errors import EnforcerError
from tests.e2e.installation import REASONS, Installation, now_ms, ref_of
from tests.people import request_id, seal
from tests.ports import free_ports
from tests.sealed import SealedText
from tests.waiting import WAIT_SECONDS

RESTRICTED, DELAYED = PublicationMode.RESTRICTED_TARGETS, PublicationMode.DELAYED
HELD_BY = "cloudflare.com"
"""A name that the demo's policy protects: guards hold an order for what is below it."""


@dataclass(frozen=True)
class Marked:
    """A list whose names nothing else has."""

    marker: str
    text: bytes

    @classmethod
    def of(cls, marker: str, *more: bytes) -> Marked:
        own = (f"exact one.{marker}.example.org\n", f"subtree two.{marker}.example.org\n")
        return cls(marker, b"".join(sorted((*(each.encode() for each in own), *more))))

    @property
    def names(self) -> tuple[str, str]:
        return f"one.{self.marker}.example.org", f"below.two.{self.marker}.example.org"

    @property
    def traces(self) -> dict[str, bytes]:
        """What must stand nowhere, by what it is."""
        digest = sha256(self.text).digest()
        return {
            "a name": self.marker.encode(),
            "a name's wire form": Name.from_text(self.names[0]).wire[4:],
            "the list's hash": digest,
            "the list's hash in hex": digest.hex().encode(),
            "the list's hash in base64": b64encode(digest)[:-1],
        }


FIRST, SECOND, HELD = (
    Marked.of("qz7rmark"),
    Marked.of("qz8dmark"),
    Marked.of("qz9hmark", f"exact qz9hmark.{HELD_BY}\n".encode()),
)


class Restricted(Installation):
    """An installation that shows metrics, and whose programs leave temporary files in sight."""

    def __init__(self) -> None:
        super().__init__()
        (self.metrics_port,) = free_ports(1)
        config = self.files.node / "node.toml"
        shown = f'metrics_listen = "127.0.0.1:{self.metrics_port}"\n'
        config.write_text(re.sub(r"# metrics_listen = .*\n", shown, config.read_text()))
        self.said: dict[str, bytes] = {}
        """What programs answered to whoever asked, by what was asked."""
        self.scratch = self.directory / "scratch"
        self.scratch.mkdir(mode=0o1777)
        self.scratch.chmod(0o1777)

    def hear(self, what: str, said: object) -> None:
        self.said[f"{len(self.said)} {what}"] = (
            said if isinstance(said, bytes) else str(said).encode()
        )

    def refused(self, what: str, call) -> EnforcerError:
        """Have something refused, and keep all that is said about it."""
        with pytest.raises(EnforcerError) as caught:
            call()
        error = caught.value
        self.hear(what, f"{error.diagnostics()} {error.data!r} {error.__cause__!r}")
        return error

    def bring(self, made: SealedText) -> None:
        """Upload a sealed list as a proposer does."""
        client = self.client(self.land.proposer.person_id)
        control = self.call(client.receivers()).encryption_key
        path = self.directory / "upload.age"
        path.write_bytes(made.octets)
        self.call(client.upload_targets(path, wrap=made.wrap_for(control)))

    def propose_sealed(self, made: SealedText, **changes: object) -> OrderRef:
        self.land.now_ms = now_ms()
        fields: dict[str, object] = {
            "authority": AUTHORITY,
            "statement_of_reasons_sha256": sha256(REASONS).hexdigest(),
            "publication": made.publication,
            "target_list_sha256": made.sha256,
            "target_count": made.text.count(b"\n"),
        }
        keys = [self.land.proposer.key]
        if made.publication.mode is RESTRICTED:
            fields["category"] = Category.CHILD_ABUSE_MATERIAL
            keys.append(self.land.oversight.key)
        envelope = seal(self.land.order(**(fields | changes)), *keys)
        client = self.client(self.land.proposer.person_id)
        recorded, answer = self.call(client.propose_held(envelope, [REASONS]))
        self.hear("the answer to a proposal", answer)
        self.hear("a guards' report", answer.guard_report)
        return ref_of(self._keep(recorded))

    def publish(self, ref: OrderRef, made: SealedText) -> None:
        self.land.now_ms = now_ms()
        act = OrderPublished(
            ledger_origin=self.land.origin,
            request_id=request_id(),
            valid_until_ms=now_ms() + DAY_MS,
            order=ref,
            list_secret=made.secret,
        )
        self.submit(self.land.proposer, "record_act", seal(act, self.land.proposer.key))

    def redis_dump(self) -> Iterator[tuple[str, bytes]]:
        """Yield all that Redis holds, decoded: what it saves is compressed."""
        with redis.Redis.from_url(self.redis.url) as client:
            for key in client.scan_iter(count=1_000):
                kind = client.type(key)
                value = client.get(key) if kind == b"string" else client.xrange(key)
                yield f"Redis {key!r}", key + (value if kind == b"string" else repr(value).encode())

    def everything(self) -> Iterator[tuple[str, bytes]]:
        """Yield all that was written or said, with where."""
        for path in self.directory.rglob("*"):
            if path.is_file() and not path.is_socket():
                with suppress(FileNotFoundError):
                    yield str(path.relative_to(self.directory)), path.read_bytes()
        yield from self.redis_dump()
        yield from self.said.items()

    def found(self, *marked: Marked) -> list[str]:
        """Return where something of these lists stands."""
        return [
            f"{what} of {each.marker} in {where}"
            for where, data in self.everything()
            for lower in [data.lower()]
            for each in marked
            for what, trace in each.traces.items()
            if trace in data or trace in lower
        ]


@pytest.fixture(scope="module")
def installation(redis_executable: Path) -> Iterator[Restricted]:
    before = os.environ.get("TMPDIR")
    made = Restricted()
    os.environ["TMPDIR"] = str(made.scratch)
    try:
        with made:
            yield made
    finally:
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before


@pytest.fixture
def run(installation, capsys):
    """Run a command in this process, keep what it says, and return its standard output."""

    def run(*words: object, codes: tuple[int, ...] = (0,)) -> str:
        capsys.readouterr()
        code = 0
        try:
            app([str(word) for word in words])
        except SystemExit as ending:
            code = ending.code or 0
        said = capsys.readouterr()
        installation.hear(" ".join(map(str, words[:3])), said.out + said.err)
        assert code in codes, (words, said)
        return said.out

    return run


def unpacked(archive: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile():
                yield member.name, tar.extractfile(member).read()


def refuse_what_is_wrong(installation: Restricted, made: SealedText) -> None:
    """Have proposals refused that are not what their sealed list says."""
    propose = installation.propose_sealed
    installation.refused("a wrong count", lambda: propose(made, target_count=7))
    installation.refused("a wrong hash", lambda: propose(made, target_list_sha256="0" * 64))
    for what, text in (
        ("a wrong line", FIRST.text.upper()),
        ("what a guard refuses", f"exact {FIRST.marker}.ipv4only.arpa\n".encode()),
    ):
        wrong = SealedText.of(text, RESTRICTED)
        installation.bring(wrong)
        installation.refused(what, lambda wrong=wrong: propose(wrong))


def ask_control_node_and_gate(installation: Restricted, refs: list[OrderRef]) -> None:
    """Keep what whoever may call gets to hear."""
    client = installation.client(installation.land.oversight.person_id)
    for ref in refs:
        installation.hear("GetOrder", installation.call(client.get(ref.order_id)))

    async def watched() -> list[str]:
        return [str(each) async for each in client.watch_orders(once=True)]

    installation.hear("WatchOrders", installation.call(watched()))
    installation.hear("ListOrders", installation.call(client.list_orders()))
    metrics = f"http://127.0.0.1:{installation.metrics_port}/metrics"
    with urlopen(metrics, timeout=WAIT_SECONDS) as page:
        installation.hear("metrics", page.read())
    installation.hear("the gate's report", installation.gate_status())


def run_every_command(installation: Restricted, run, refs: list[OrderRef]) -> None:
    """Keep what commands say and write, with a key that opens the lists and without."""
    ledger, scratch = installation.files.ledger, installation.scratch
    asked = ("--resolver", f"127.0.0.1:{installation.dns_port}", "--control", "example.org")
    other = "other.example.net"
    person = installation.files.person(AUDITOR)
    for words in ((), ("--json",)):
        for ref in refs:
            shown = run("order", "show", ref.order_id, "--config", person / "client.toml", *words)
            assert "not shown" in " ".join(shown.split()) or words, shown
        run("status", "--node", installation.files.node / "node.toml", *words)
        run("check", other, "--ledger", ledger, *words)
        run("audit", "replay", ledger, *words)
        run("audit", "explain", ledger, other, *words)
        run("audit", "diff", ledger, "--sizes", 0, installation.ledger_size(), *words)
        run("audit", "probe", ledger, *asked, *words, codes=(0, 1, 2))
    run("audit", "verify", ledger)
    run("audit", "verify", ledger, "--require-open", codes=(2,))
    for ref in refs:
        run("audit", "prove", ledger, ref.order_id, scratch / f"{ref.order_id}.tar.gz")
        to = ("--out", scratch / "list", "--format", "plain")
        run("list", "export", ref.order_id, *to, "--ledger", ledger, codes=(5,))
    (scratch / "report").mkdir()
    until = datetime.fromtimestamp(now_ms() / 1_000, UTC).isoformat()
    until_now = ("--from", "2026-01-01", "--to", until, "--out", scratch / "report")
    run("audit", "report", ledger, *until_now, codes=(0, 2))
    assert any((scratch / "report").iterdir())
    for words in ((), ("--with-restricted",)):
        run("audit", "export", ledger, scratch / f"ledger{len(words)}.tar.gz", *words)
    for archive in scratch.glob("*.tar.gz"):
        for name, data in unpacked(archive):
            installation.hear(f"{archive.name} {name}", data)


def counted(run, ledger: Path, *words: object) -> tuple[str, int, int]:
    """Return what an audit says: its outcome, the sealed lists, and those that it looked into."""
    said = json.loads(run("audit", "verify", ledger, "--json", *words))
    return said["outcome"], said["sealed"], said["opened"]


def test_nothing_of_a_list_that_is_not_public_is_written_or_said_anywhere(
    installation: Restricted, run, monkeypatch
):
    monkeypatch.chdir(installation.files.trust_file.parent)
    restricted, held = (SealedText.of(each.text, RESTRICTED) for each in (FIRST, HELD))
    delayed = SealedText.of(SECOND.text, DELAYED, now_ms() + DAY_MS)
    for made in (restricted, delayed, held):
        installation.bring(made)
    refuse_what_is_wrong(installation, restricted)

    refs = {
        marked: installation.propose_sealed(made)
        for marked, made in ((FIRST, restricted), (SECOND, delayed), (HELD, held))
    }
    for marked in (FIRST, SECOND):
        installation.approve(refs[marked])
    installation.refused("an approval of what is held", lambda: installation.approve(refs[HELD]))
    names = [*FIRST.names, *SECOND.names]
    installation.wait_until(lambda: installation.is_blocked(*names), "sealed lists block")
    assert not installation.is_blocked(HELD.names[0])

    # A gate that has its last table alone, and a node that starts anew.
    installation.kill("node")
    installation.programs["gate"].stop()  # in order: by then its disk has the table
    installation.start("gate")
    installation.wait_until(installation.gate_status, "the gate is back")
    assert installation.is_blocked(*names)
    installation.mend()
    for program in ("control", "node"):
        limits = Path(f"/proc/{installation.programs[program].pid}/limits").read_text()
        assert re.search(r"Max core file size +1 +1 ", limits), program

    ask_control_node_and_gate(installation, list(refs.values()))
    run_every_command(installation, run, list(refs.values()))
    ledger = installation.files.ledger
    oversight = installation.files.person(installation.land.oversight.person_id)
    identity = ("--identity", oversight / "signing.age.key")
    assert counted(run, ledger) == ("GOOD", 3, 0)
    assert counted(run, ledger, *identity) == ("GOOD", 0, 3)
    places = {where.partition(" ")[0] for where, _ in installation.everything()}
    assert {"Redis", "node.log", "control.log", "gate.log"} <= places
    assert installation.found(FIRST, SECOND, HELD) == []

    # A stop frees; what was published is everybody's.
    installation.stop(refs[FIRST])
    installation.wait_until(lambda: not installation.is_blocked(FIRST.names[0]), "it is stopped")
    installation.publish(refs[SECOND], delayed)
    installation.mend()
    assert installation.is_blocked(*SECOND.names)
    assert counted(run, ledger) == ("GOOD", 2, 1)
    assert "BLOCK" in run("audit", "explain", ledger, SECOND.names[0])
    assert installation.found(FIRST, HELD) == []
