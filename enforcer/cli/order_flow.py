"""What commands about an order share: find it, show it, have one person sign, bring the act.

A command that brings one act says what is its own, the options and what they mean in the act;
`brings` adds the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec, TypeAlias

import typer

from enforcer.cli.output import (
    CLIENT_CONFIG,
    AsJson,
    Config,
    emit_json,
    emit_pairs,
    err,
    now_ms,
    out,
    progress,
    when,
)
from enforcer.cli.shared_options import command_of
from enforcer.cli.show import order_lines, review_words
from enforcer.cli.signing import Key, Proved, ReceiptFile, Yes, confirm, tell
from enforcer.core.fields import Json
from enforcer.core.payload import Payload

if TYPE_CHECKING:
    from enforcer.api.client import ControlClient
    from enforcer.app.order_acts import Documents
    from enforcer.app.orders import KnownOrder, Particulars
    from enforcer.app.people import Person
    from enforcer.core.envelope import Envelope

P = ParamSpec("P")

OrderId: TypeAlias = Annotated[str, typer.Argument(help="Such as VN-2026-000001.")]
Entry: TypeAlias = Annotated[
    int | None, typer.Option(help="Entry index of the proposal, for an older version.")
]
Reason: TypeAlias = Annotated[
    str | None, typer.Option(help="Why; kept beside the ledger, erasable.")
]
ValidateOnly: TypeAlias = Annotated[
    bool, typer.Option("--validate-only", help="Have it judged, and record nothing.")
]


@dataclass(frozen=True, slots=True)
class Written:
    """The text of a document; None: there is none."""

    text: str | None


Values: TypeAlias = Mapping[str, Json | Path | Written]
"""What an act says, by its fields' names; for a document, which the act names by its hash, what
is written in it or the file that it is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which order an act is about, and how it is signed and brought: options of many commands."""

    order_id: OrderId
    entry: Entry = None
    key: Key = None
    yes: Yes = False
    validate_only: ValidateOnly = False
    receipt: ReceiptFile = None
    config: Config = CLIENT_CONFIG
    as_json: AsJson = False


def brings(kind: type[Payload], done: str) -> Callable[[Callable[P, Values]], Callable[P, None]]:
    """Make, of a function that returns what an act says, the command that brings the act.

    One person signs it; `done` is said when it stands in the ledger.
    """

    def decorated(own: Callable[P, Values]) -> Callable[P, None]:
        return command_of(Options, own, lambda options, values: bring(options, kind, done, values))

    return decorated


def bring(options: Options, kind: type[Payload], done: str, values: Values) -> None:
    """Have one person sign an act about an order, and bring it with its documents.

    Raises:
        EnforcerError: what is wrong with it, or nobody confirmed the signature.
    """
    from enforcer.app.order_acts import Documents, about
    from enforcer.app.people import Person
    from enforcer.core.entry import parse_payload
    from enforcer.core.order import OrderRejected

    person, documents = Person.load(options.config, options.key), Documents()
    plain = {name: _plain(value, documents) for name, value in values.items()}

    async def run(client: ControlClient) -> None:
        order, policy_sha256 = await known(client, options.order_id, options.entry)
        payload = about(kind, person.trust.origin, order, policy_sha256, now_ms(), **plain)
        act = signed(payload, person)
        show_order(order)
        confirm(parse_payload(act), yes=options.yes)
        call = client.reject if kind is OrderRejected else client.record_act
        proof = await call(act, documents.files, validate_only=options.validate_only)
        say(done, proof, options.receipt, as_json=options.as_json)

    with_client(person, run)


def _plain(value: Json | Path | Written, documents: Documents) -> Json:
    if isinstance(value, Path):
        return documents.file(value)
    return documents.text(value.text) if isinstance(value, Written) else value


def say(done: str, proof: Proved | None, receipt: Path | None, *, as_json: bool) -> None:
    """Tell that an act stands in the ledger, or would be accepted."""
    if proof is not None:
        tell(done, proof, receipt, as_json=as_json)
    elif as_json:
        emit_json({"valid": True})
    else:
        out().print("[green]It would be accepted.[/] Nothing was recorded.")


def with_client(person: Person, run: Callable[[ControlClient], Awaitable[None]]) -> None:
    """Run it with a connection of a person's own."""

    async def connected() -> None:
        async with person.client() as client:
            await run(client)

    asyncio.run(connected())


async def upload(
    client: ControlClient, path: Path, wrap_for: Callable[[str], bytes] | None = None
) -> None:
    """Bring a list; a sealed one with its secret, which `wrap_for` wraps for the control plane."""
    wrap = wrap_for((await client.receivers()).encryption_key) if wrap_for is not None else b""
    with progress() as advance:
        await client.upload_targets(
            path, lambda done, total: advance("upload the list", done, total), wrap=wrap
        )


async def known(client: ControlClient, order_id: str, entry: int | None) -> tuple[KnownOrder, str]:
    """Return an order, checked against its hash, and the hash of the policy in force."""
    from enforcer.app.orders import known_order

    order = await client.get(order_id, entry)
    return known_order(order, order_id), order.policy_sha256


def signed(payload: Payload, person: Person) -> Envelope:
    """Return the act with a person's signature."""
    from enforcer.app import acts

    return acts.signed(payload, person.key)


def show_order(
    known: KnownOrder, said: Particulars | None = None, *, to_stdout: bool = False
) -> None:
    """Show what an order says: on stdout as a result, else before a signature."""
    shown = {**order_lines(known.payload), **known.standing_lines()}
    shown["until"] = when(known.expires_at_ms)  # as extended
    shown["review by"] = review_words(known.review_due_at_ms, known.expires_at_ms)
    if said is not None and said.is_hidden:
        shown["they are"] = "not shown: the list is not public"
        shown["reasons"] = said.reasons or "not kept any more"
    elif said is not None:
        unshown = known.payload.target_count - len(said.targets)
        more = [f"… and {unshown} more: enforcer order show --targets FILE"] if unshown else []
        shown["they are"] = "\n".join([*said.targets, *more])
        shown["reasons"] = said.reasons or "not kept any more"
    emit_pairs(shown, out() if to_stdout else err())
