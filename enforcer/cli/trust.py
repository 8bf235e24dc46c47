"""``enforcer trust``: the roots' ceremony. Acts are made and signed offline, then submitted."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from enforcer.cli.output import (
    CLIENT_CONFIG,
    AsJson,
    Config,
    emit_json,
    emit_pairs,
    now_ms,
    out,
    progress,
)
from enforcer.cli.show import lines, sentence
from enforcer.cli.signing import Yes, confirm
from enforcer.cli.trust_flow import Out, RootKey, Trust, make, tell
from enforcer.cli.trust_rotation import change_roots, rotate_log_key
from enforcer.cli.words import time_of
from enforcer.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The roots: adopt a policy, register, revoke and rotate keys.",
)

Act = Annotated[Path, typer.Argument(help="The act's file.")]


@app.command("policy")
def policy(
    *,
    to: Out,
    register_url: Annotated[str, typer.Option(help="Public register; ends with '/'.")],
    register_domain: Annotated[str, typer.Option(help="Domain under which orders have names.")],
    follows: Annotated[
        str | None,
        typer.Option(help="Payload hash of the policy in force; not given for the first policy."),
    ] = None,
    targets_max: Annotated[int, typer.Option(help="Most targets of one order.")] = 2_000_000,
    growth_targets_max: Annotated[
        int, typer.Option(help="Most targets that one authority adds in a day without a hold.")
    ] = 100_000,
    administrative_days_max: Annotated[
        int, typer.Option(help="Longest that a target is blocked without a court, in all.")
    ] = 366,
    delayed_days_max: Annotated[
        int, typer.Option(help="Longest that a list may stay unpublished; 0: none may.")
    ] = 0,
    persons_min: Annotated[int, typer.Option(help="Persons who must sign a block.")] = 2,
    protected_core: Annotated[
        Path | None, typer.Option(help="Canonical list of names that nobody can block.")
    ] = None,
    protected_names: Annotated[
        Path | None,
        typer.Option(help="Canonical list of names and networks that pass unless overridden."),
    ] = None,
    public_suffixes: Annotated[
        Path | None, typer.Option(help="Names under which others register theirs.")
    ] = None,
    shared_ranges: Annotated[
        Path | None, typer.Option(help="Prefixes whose addresses many parties share.")
    ] = None,
    unguarded: Annotated[
        bool, typer.Option("--unguarded", help="Adopt it without the data that is not given.")
    ] = False,
    key: RootKey = None,
    yes: Yes = False,
    trust: Trust = Path("trust.toml"),
    as_json: AsJson = False,
) -> None:
    """Make the act that adopts a policy.

    The four lists come with the program, in its folder rules/. Without one of them the guards
    that read it never fire.
    """
    from enforcer.app.acts import Common
    from enforcer.app.installation import RULES
    from enforcer.config import read_trust
    from enforcer.core.policy import FOLD_VERSION, Pins, PolicyAdopted

    given = {
        "protected-core": protected_core,
        "protected-names": protected_names,
        "public-suffixes": public_suffixes,
        "shared-ranges": shared_ranges,
    }
    missing = [name for name, path in given.items() if path is None]
    if missing and not unguarded:
        raise InputError(
            f"the policy pins no {', '.join(missing)}, so the guards that read them never fire",
            advice=f"Give --{missing[0]} {RULES / missing[0]}.txt, or your own; or --unguarded.",
            field=missing[0],
        )
    common = Common.new(read_trust(trust).origin, now_ms())
    payload = PolicyAdopted(
        ledger_origin=common.ledger_origin,
        request_id=common.request_id,
        valid_until_ms=common.valid_until_ms,
        fold_version=FOLD_VERSION,
        follows_sha256=follows,
        register_url=register_url,
        register_domain=register_domain,
        targets_max=targets_max,
        growth_targets_max=growth_targets_max,
        administrative_days_max=administrative_days_max,
        delayed_days_max=delayed_days_max,
        persons_min=persons_min,
        lifetime_caps=(),
        pins=Pins(
            _pin(protected_core),
            _pin(protected_names),
            _pin(public_suffixes),
            _pin(shared_ranges),
        ),
    )
    make(payload, to, key, yes=yes, as_json=as_json)


@app.command("register")
def register(
    request_file: Annotated[Path, typer.Argument(help="The holder's request.")],
    *,
    to: Out,
    until: Annotated[str, typer.Option(help="When the registration ends: +365d, a date.")],
    key: RootKey = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make the act that registers a key."""
    from enforcer.app.keys import read_request, registration

    now = now_ms()
    payload = registration(read_request(request_file), now, time_of(until, now, "until"))
    make(payload, to, key, yes=yes, as_json=as_json)


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id (enforcer key show).")],
    *,
    to: Out,
    compromised_since: Annotated[
        int | None, typer.Option(help="Orders that rest on it from this entry on go on hold.")
    ] = None,
    key: RootKey = None,
    yes: Yes = False,
    trust: Trust = Path("trust.toml"),
    as_json: AsJson = False,
) -> None:
    """Make the act that ends a key."""
    from enforcer.app.acts import Common
    from enforcer.config import read_trust
    from enforcer.core.key import KeyRevoked

    common = Common.new(read_trust(trust).origin, now_ms())
    payload = KeyRevoked(
        ledger_origin=common.ledger_origin,
        request_id=common.request_id,
        valid_until_ms=common.valid_until_ms,
        key_id=key_id,
        compromised_since_index=compromised_since,
        reason_sha256=None,
    )
    make(payload, to, key, yes=yes, as_json=as_json)


app.command("change-roots")(change_roots)
app.command("rotate-log-key")(rotate_log_key)


@app.command("sign")
def sign(
    act_file: Act,
    *,
    key: Annotated[Path, typer.Option(help="Your root key.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Add a root's signature to an act; read first what it says."""
    from enforcer.app.acts import add_signature, read_act, write_act
    from enforcer.app.keys import load_key

    act, payload = read_act(act_file)
    signer = load_key(key)
    confirm(payload, yes=yes)
    write_act(act_file, add_signature(act, signer))
    tell(act_file, len(act.signatures) + 1, as_json=as_json)


@app.command("show")
def show(act_file: Act, *, as_json: AsJson = False) -> None:
    """Show what an act says and who has signed it."""
    from enforcer.app.acts import read_act
    from enforcer.core.fields import to_plain

    act, payload = read_act(act_file)
    signers = [signature.key_id for signature in act.signatures]
    if as_json:
        emit_json({"type": act.payload_type, "payload": to_plain(payload), "signed_by": signers})
        return
    out().print(escape(sentence(payload)))
    emit_pairs({**lines(payload), "signed by": "\n".join(signers) or "nobody yet"})


@app.command("submit")
def submit(
    act_files: Annotated[list[Path], typer.Argument(help="Signed acts, the policy first.")],
    *,
    lists: Annotated[
        list[Path] | None, typer.Option("--list", help="A list that a policy pins; repeated.")
    ] = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Bring signed acts to the control plane, in this order."""
    from enforcer.app.acts import read_act
    from enforcer.app.people import Person

    acts = [read_act(path)[0] for path in act_files]
    person = Person.load(config)

    async def send() -> list[tuple[str, int]]:
        recorded = []
        async with person.client() as client:
            with progress() as advance:
                for path in lists or ():
                    await client.upload_targets(
                        path, lambda done, total: advance("upload lists", done, total)
                    )
                for path, act in zip(act_files, acts, strict=True):
                    proof = await client.record_root_act(act)
                    if proof is not None:
                        recorded.append((path.name, proof.index))
                    advance("submit acts", len(recorded), len(acts))
        return recorded

    recorded = asyncio.run(send())
    if as_json:
        emit_json([{"act": name, "entry_index": index} for name, index in recorded])
        return
    for name, index in recorded:
        out().print(f"[green]Recorded[/] {escape(name)} as entry {index}.")


def _pin(path: Path | None) -> str | None:
    from enforcer.app.keys import read_list

    return None if path is None else sha256(read_list(path)).hexdigest()
