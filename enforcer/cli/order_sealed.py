"""``enforcer order cosign|publish``: oversight signs that targets are hidden; and the end of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.markup import escape

from enforcer.cli.order_flow import (
    Options,
    ValidateOnly,
    known,
    say,
    show_order,
    signed,
    upload,
    with_client,
)
from enforcer.cli.output import CLIENT_CONFIG, AsJson, Config, emit_json, err, now_ms, out
from enforcer.cli.shared_options import with_options
from enforcer.cli.signing import Key, ReceiptFile, Yes, confirm
from enforcer.errors import InputError

if TYPE_CHECKING:
    from enforcer.api.client import ControlClient

ListKey: TypeAlias = Annotated[
    Path | None, typer.Option(help="The list's key, as it was written by `order propose`.")
]


def cosign(
    act_file: Annotated[Path, typer.Argument(help="What the proposer made and signed.")],
    *,
    targets: Annotated[
        Path | None, typer.Option(help="Write the targets to this file, for your eyes alone.")
    ] = None,
    key: Key = None,
    yes: Yes = False,
    validate_only: ValidateOnly = False,
    receipt: ReceiptFile = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Sign, as oversight, that targets stay hidden; submit it.

    The list is opened with your own encryption key and held against what the order says of it. The
    signature is no approval: two other persons stand behind the block.
    """
    from enforcer.app.acts import add_signature, read_act
    from enforcer.app.order_acts import read_documents
    from enforcer.app.people import Person
    from enforcer.app.sealed_lists import open_from_proposer, write_private
    from enforcer.core.order import OrderProposed, PublicationMode

    act, payload = read_act(act_file)
    if (
        not isinstance(payload, OrderProposed)
        or payload.publication.mode is not PublicationMode.RESTRICTED_TARGETS
    ):
        raise InputError(
            f"{act_file} is no proposal with restricted targets",
            advice="Name a file that `enforcer order propose --restricted` wrote.",
            path=str(act_file),
        )
    person = Person.load(config, key)
    documents = read_documents(act_file, payload)
    found = open_from_proposer(act_file, person, payload)
    if targets is not None:
        write_private(targets, found.text)
    if not as_json:
        out().print(
            f"The sealed list opens with your key: {payload.target_count} targets, as the "
            "order says." + ("" if targets else " To read them: --targets FILE")
        )
    confirm(payload, yes=yes)
    both = add_signature(act, person.key)

    async def run(client: ControlClient) -> None:
        await upload(client, found.path, found.wrap)
        proof = await client.propose(both, documents, validate_only=validate_only)
        say("Proposed, with restricted targets.", proof, receipt, as_json=as_json)

    with_client(person, run)


@with_options(Options)
def publish(options: Options, *, list_key: ListKey = None) -> None:
    """Publish a delayed list: from then on everybody can open it.

    Without that the order ends when its list was to be public.
    """
    from enforcer.app.order_acts import about
    from enforcer.app.people import Person
    from enforcer.app.sealed_lists import open_list, secret_of
    from enforcer.core.order import OrderPublished

    person = Person.load(options.config, options.key)

    async def run(client: ControlClient) -> None:
        order = (await known(client, options.order_id, options.entry))[0]
        if not order.payload.publication.is_sealed:
            raise InputError(
                f"the list of {options.order_id} is public already",
                advice="Nothing needs to be done.",
                field="order_id",
            )
        secret = await secret_of(client, person, order.payload, list_key)
        chunks = [each async for each in client.get_target_list(order.payload.list_file_sha256)]
        open_list(b"".join(chunks), secret, order.payload)  # or everybody would see that it is not
        origin = person.trust.origin
        payload = about(OrderPublished, origin, order, "", now_ms(), list_secret=secret)
        act = signed(payload, person)
        show_order(order)
        confirm(payload, yes=options.yes)
        proof = await client.record_act(act, validate_only=options.validate_only)
        say("Published.", proof, options.receipt, as_json=options.as_json)

    with_client(person, run)


def tell_next(to: Path, key_file: Path, *, as_json: bool) -> None:
    """Say what becomes of a proposal that oversight has to sign."""
    if as_json:
        emit_json({"act": str(to), "signatures": 1, "list_key": str(key_file)})
        return
    console = out()
    console.print(f"[green]Wrote[/] {escape(str(to))}, with what lies beside it. A person of")
    console.print(f"oversight signs and submits it: enforcer order cosign {escape(str(to))}")
    tell_key(key_file)


def tell_key(key_file: Path) -> None:
    """Say where a list's key is."""
    err().print(f"The list's key is {escape(str(key_file))}: keep it, it opens and publishes it.")
