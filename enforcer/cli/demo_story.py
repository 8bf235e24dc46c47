"""The story that the demo tells, step by step; each claim is checked before it is printed."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.markup import escape

from enforcer.app.demo_dns import Answer, Watch, ask
from enforcer.app.demo_forgery import forge_approval, put_into_feed
from enforcer.app.demo_land import APPROVER, AUDITOR, OVERSIGHT, PROPOSER, acts_of, lists_of
from enforcer.app.demo_stage import ORIGIN
from enforcer.app.installation import RULES
from enforcer.app.ledger_backup import back_up
from enforcer.config import read_trust
from enforcer.errors import IntegrityError, UnavailableError

if TYPE_CHECKING:
    from enforcer.app.demo_stage import Stage

CHANGE_TIMEOUT_SECONDS: Final = 60.0
SHORT_ORDER_SECONDS: Final = 12
NEIGHBOUR: Final = "www.example.org"
SHORT_NAME: Final = "short.example.net"
MISTAKEN_NAME: Final = "www.amazon.com"
WANTED_NAME: Final = "newspaper.example.org"

ORDER_TOML: Final = """\
order_id = "VN-2026-00000{number}"
authority = "cert-demo"
case_reference = "demo/{number}"
decision_kind = "administrative"
category = "phishing"
territory = "VN"
reasons = "{reasons}"
expires_at = "{expires_at}"

[[legal_basis]]
instrument = "Law on Cyberinformation Security"
provision = "Art. 16"

[appeal]
body = "Administrative court"
address = "1 Example Street"
"""


class Story:
    """The steps, in order; each raises when what it shows is not so."""

    def __init__(self, stage: Stage, console: Console) -> None:
        self._stage = stage
        self._console = console
        self._number = 0
        listed = (RULES / "demo-list.txt").read_text().split()
        self._name = listed[0]

    def play(self) -> None:
        """Tell it all.

        Raises:
            UnavailableError, IntegrityError: something did not happen as it must.
        """
        self._prepare()
        self._before()
        self._guards()
        self._one_signature()
        self._two_signatures()
        self._neighbour_and_why()
        self._begin_short_order()
        self._forge()
        self._lose_redis()
        self._stop()
        self._audit()

    def _prepare(self) -> None:
        self._step("A small country is founded")
        stage = self._stage
        began = time.monotonic()
        stage.install()
        stage.start()
        arguments = [str(path) for path in acts_of(stage.installation)]
        for path in lists_of(stage.installation):
            arguments += ["--list", str(path)]
        self._do(AUDITOR, "trust", "submit", *arguments, shown="trust submit acts/*.json")
        stage.start_node(len(acts_of(stage.installation)))
        for number, (reasons, expires_at) in enumerate(
            (
                ("Pages that take passwords for banks.", "+30d"),
                ("Seen today, gone tomorrow.", f"+{SHORT_ORDER_SECONDS}s"),
                ("Somebody would like to see this gone.", "+30d"),
                ("To try it out.", "+1d"),
            ),
            1,
        ):
            text = ORDER_TOML.format(number=number, reasons=reasons, expires_at=expires_at)
            (stage.directory / f"order-{number}.toml").write_text(text)
        (stage.directory / "list.txt").write_text(f"{NEIGHBOUR}\n")
        self._say(
            "Three roots, two of whom must sign, adopted a policy and registered a proposer, two "
            "approvers, a court's clerk, an auditor, a network's safety officer, the control plane "
            "and a resolver's node: the first "
            f"{len(acts_of(stage.installation))} entries of the ledger."
        )
        self._say(
            f"Redis, control plane, node and gate run, all on loopback "
            f"({time.monotonic() - began:.1f} s). Queries go to 127.0.0.1 port {stage.dns_port}."
        )

    def _before(self) -> None:
        self._step(f"Before: {self._name} resolves")
        self._show(self._resolves(self._name))

    def _guards(self) -> None:
        self._step("Guards look at a list before anything is recorded")
        directory = self._stage.directory
        listed = (RULES / "demo-list.txt").read_text()
        (directory / "demo-list.txt").write_text(f"{listed}{MISTAKEN_NAME}\n")
        words = ["--targets", str(directory / "demo-list.txt"), "--kind", "subtree", "--yes"]
        words += ["--order", str(directory / "order-1.toml"), "--validate-only", "--json"]
        shown = "order propose --targets demo-list.txt --order order-1.toml --validate-only"
        answer = json.loads(self._do(PROPOSER, "order", "propose", *words, shown=shown))
        if not answer.get("held_by"):
            raise IntegrityError(
                f"a list with {MISTAKEN_NAME} in it was to be held",
                advice="This is a defect: please report it.",
            )
        self._quote((directory / "demo-list.txt.guards").read_text().partition("\n\n")[2])
        self._say(
            "300 real names of phishing and malware, and one that got in by mistake: the whole "
            "order would wait on hold. So the proposer leaves that line out:"
        )
        made = [str(directory / f"demo-list.txt.{part}") for part in ("canonical", "guards")]
        clean = ["--out", str(directory / "clean.txt")]
        shown = "order split demo-list.txt.canonical demo-list.txt.guards --out clean.txt"
        self._run("order", "split", *made, *clean, shown=shown, person=PROPOSER)

    def _one_signature(self) -> None:
        self._step("One person asks for a block: nothing is blocked")
        self._propose(1, self._stage.directory / "clean.txt", shown="clean.txt")
        refused = self._fails(
            PROPOSER, "order", "approve", "VN-2026-000001", "--yes", shown="order approve …0001"
        )
        self._say("The same person cannot approve it:")
        self._quote(refused)
        self._resolves(self._name)
        self._say(f"{self._name} still resolves.")

    def _two_signatures(self) -> None:
        self._step("A second person approves: it is blocked")
        with Watch(self._stage.dns_port, self._name, until_blocked=True) as watch:
            recorded_at_ms = self._approve(1)
            delay_ms = watch.changed_ms(CHANGE_TIMEOUT_SECONDS) - recorded_at_ms
        self._say(
            f"From the approval's recorded time to the first blocked answer: {delay_ms} ms, with "
            "fsync, proof, and every signature checked again by the node."
        )
        self._show(self._blocked(self._name))
        self._say("The SOA names the order even to clients without EDNS; 30 s is the longest TTL.")

    def _neighbour_and_why(self) -> None:
        self._step("Nothing else is touched, and everybody can ask why")
        self._resolves(NEIGHBOUR)
        self._say(f"{NEIGHBOUR} resolves as before.")
        made = self._stage.installation
        trust = str(made.trust_file)
        words = ("check", self._name, "--ledger", str(made.ledger), "--trust", trust)
        self._quote(self._run(*words, shown=f"check {self._name} --ledger …").stdout)

    def _begin_short_order(self) -> None:
        self._step(f"Another order lasts {SHORT_ORDER_SECONDS} seconds")
        (self._stage.directory / "short.txt").write_text(f"{SHORT_NAME}\n")
        self._propose(2, self._stage.directory / "short.txt", shown="short.txt")
        with Watch(self._stage.dns_port, SHORT_NAME, until_blocked=True) as watch:
            recorded_at_ms = self._approve(2)
            delay_ms = watch.changed_ms(CHANGE_TIMEOUT_SECONDS) - recorded_at_ms
        self._say(f"{SHORT_NAME} is blocked after {delay_ms} ms. It will end by itself.")

    def _forge(self) -> None:
        self._step("A thief who can write everything in Redis approves an order")
        (self._stage.directory / "wanted.txt").write_text(f"{WANTED_NAME}\n")
        self._propose(3, self._stage.directory / "wanted.txt", shown="wanted.txt")
        made = self._stage.installation
        trust = read_trust(made.trust_file)
        forgery = forge_approval(made.ledger, trust, "VN-2026-000003")
        put_into_feed(self._stage.redis.url, ORIGIN, forgery)
        self._stage.wait_until("the refusal", self._is_refusing, CHANGE_TIMEOUT_SECONDS)
        self._say("The node refuses it, and says why:")
        self._quote(self._refusal)
        self._resolves(WANTED_NAME)
        self._blocked(self._name)
        self._say(
            f"{WANTED_NAME} resolves, {self._name} stays blocked. The node follows the control "
            "plane itself, which mends Redis from its ledger, and then Redis again."
        )
        self._stage.wait_until("mending the feed", self._is_following, CHANGE_TIMEOUT_SECONDS)

    def _lose_redis(self) -> None:
        self._step("Redis is killed: blocking goes on, and orders still end")
        self._stage.redis.kill()
        self._blocked(self._name)
        self._say(f"kill -9: {self._name} is still blocked.")
        with Watch(self._stage.dns_port, SHORT_NAME, until_blocked=False) as watch:
            watch.changed_ms(SHORT_ORDER_SECONDS + CHANGE_TIMEOUT_SECONDS)
        self._resolves(SHORT_NAME)
        self._say(f"{SHORT_NAME} resolves again: its order ended by itself, Redis or not.")
        self._stage.redis.start()
        self._say("Redis is back, empty; the control plane refills it from the ledger.")

    def _stop(self) -> None:
        self._step("One person stops the first order: the names resolve again")
        with Watch(self._stage.dns_port, self._name, until_blocked=False) as watch:
            words = ("stop", "VN-2026-000001", "--yes", "--reason", "On appeal: not proportionate.")
            answer = self._do(OVERSIGHT, "order", *words, "--json", shown="order stop …0001")
            delay_ms = watch.changed_ms(CHANGE_TIMEOUT_SECONDS) - _recorded_at_ms(answer)
        self._show(self._resolves(self._name))
        self._say(f"{delay_ms} ms after the stop was recorded, by the court's clerk alone.")

    def _audit(self) -> None:
        self._step("An auditor verifies a copy of the ledger, offline")
        made = self._stage.installation
        # What was attested last must be in the copy too.
        size = self._ledger_size()
        self._stage.wait_until("the table", lambda: self._stage.holds(size), CHANGE_TIMEOUT_SECONDS)
        copy = self._stage.directory / "copy"
        # As `enforcer ledger backup` does it: the control plane goes on to write.
        trust = read_trust(made.trust_file)
        back_up(made.ledger, copy, trust, is_full=False, progress=lambda *_: None)
        words = ("audit", "verify", str(copy), "--trust", str(made.trust_file))
        self._quote(self._run(*words, shown="audit verify copy --trust trust.toml").stdout)
        receipt = self._stage.directory / "approval.tlog-proof"
        files = (str(receipt), str(receipt.with_suffix(".entry")))
        words = ("audit", "check-receipt", *files, "--trust")
        shown = "audit check-receipt approval.tlog-proof approval.entry"
        self._quote(self._run(*words, str(made.trust_file), shown=shown).stdout)

    # What happens.

    def _propose(self, number: int, targets: Path, shown: str) -> None:
        order = self._stage.directory / f"order-{number}.toml"
        words = ("--targets", str(targets), "--order", str(order), "--kind", "subtree", "--yes")
        self._do(
            PROPOSER,
            *("order", "propose", *words, "--json"),
            shown=f"order propose --targets {shown} --order order-{number}.toml",
        )

    def _approve(self, number: int) -> int:
        """Approve an order and return when that was recorded, in Unix time, milliseconds."""
        receipt = self._stage.directory / "approval.tlog-proof"
        words = ("approve", f"VN-2026-00000{number}", "--yes", "--receipt", str(receipt), "--json")
        answer = self._do(APPROVER, "order", *words, shown=f"order approve VN-2026-00000{number}")
        return _recorded_at_ms(answer)

    def _do(self, person: str, *words: str, shown: str) -> str:
        """Run a person's command, which must succeed, and return what it printed."""
        made = self._run(*words, "-c", self._stage.person(person), shown=shown, person=person)
        return made.stdout

    def _fails(self, person: str, *words: str, shown: str) -> str:
        """Run a person's command, which must be refused, and return what it said."""
        self._command(shown, person)
        done = self._stage.command(*words, "-c", self._stage.person(person))
        if done.returncode == 0:
            raise IntegrityError(
                f"`enforcer {shown}` was to be refused, and was not",
                advice="This is a defect: please report it.",
            )
        lines = done.stderr.strip().splitlines()
        return "\n".join(line for line in lines if line.startswith(("error:", "advice:")))

    def _run(
        self, *words: str, shown: str, person: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        self._command(shown, person)
        done = self._stage.command(*words)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise UnavailableError(
                f"`enforcer {shown}` failed with {done.returncode}: {' '.join(said[-3:])}",
                advice=f"See the logs in {self._stage.directory}; --keep keeps them.",
            )
        return done

    # What is so.

    def _resolves(self, name: str) -> Answer:
        answer = ask(self._stage.dns_port, name)
        if answer.is_blocked or not answer.addresses:
            raise IntegrityError(
                f"{name} was to resolve:\n{answer.as_dig()}",
                advice="This is a defect: please report it.",
            )
        return answer

    def _blocked(self, name: str) -> Answer:
        answer = ask(self._stage.dns_port, name)
        if not answer.is_blocked or answer.addresses:
            raise IntegrityError(
                f"{name} was to be blocked:\n{answer.as_dig()}",
                advice="This is a defect: please report it.",
            )
        return answer

    def _redis(self) -> dict[str, object]:
        """Return what the node says of its path over Redis."""
        said: object = self._stage.node_status()
        for name in ("feed", "paths", "redis"):
            said = said.get(name) if isinstance(said, dict) else None
        return said if isinstance(said, dict) else {}

    def _is_refusing(self) -> bool:
        redis = self._redis()
        if redis.get("state") == "REFUSED":
            self._refusal = str(redis["reason"])
        return redis.get("state") == "REFUSED"

    def _is_following(self) -> bool:
        return self._redis().get("state") == "FEEDS"

    def _ledger_size(self) -> int:
        lines = (self._stage.installation.ledger / "checkpoint").read_text().split("\n")
        return int(lines[1])

    # How it is told.

    def _step(self, title: str) -> None:
        self._number += 1
        self._console.print(f"\n[bold cyan]{self._number}. {escape(title)}[/]")

    def _say(self, text: str) -> None:
        self._console.print(f"   {escape(text)}")

    def _command(self, shown: str, person: str | None) -> None:
        who = f"[magenta]{person}[/]" if person else "[magenta]anybody[/]"
        self._console.print(f"   {who} [dim]$[/] [bold]enforcer {escape(shown)}[/]")

    def _quote(self, text: str) -> None:
        for line in text.strip().splitlines():
            self._console.print(f"   [dim]│[/] {escape(line.rstrip())}")

    def _show(self, answer: Answer) -> None:
        self._quote(answer.as_dig())


def _recorded_at_ms(answer: str) -> int:
    """Return when the entry was recorded that a command with --json tells of."""
    entry = json.loads(json.loads(answer)["entry"])
    return int(entry["recorded_at_ms"])
