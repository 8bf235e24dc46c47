"""``enforcer trust change-roots|rotate-log-key``: other root keys, another key of the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enforcer.cli.output import AsJson, now_ms
from enforcer.cli.signing import Yes
from enforcer.cli.trust_flow import Out, RootKey, Trust, make
from enforcer.errors import InputError


def change_roots(
    *,
    to: Out,
    root: Annotated[
        list[str], typer.Option(help="A new root's public key; all of them, repeated.")
    ],
    threshold: Annotated[int, typer.Option(help="How many of them must sign together.")] = 2,
    key: RootKey = None,
    yes: Yes = False,
    trust: Trust = Path("trust.toml"),
    as_json: AsJson = False,
) -> None:
    """Make the act that puts other roots in the place of these.

    The threshold of the present roots and that of the new ones must sign it: enforcer trust sign.
    """
    from enforcer.app.acts import Common
    from enforcer.config import read_trust
    from enforcer.core.key import RootsChanged

    common = Common.new(read_trust(trust).origin, now_ms())
    payload = RootsChanged(
        ledger_origin=common.ledger_origin,
        request_id=common.request_id,
        valid_until_ms=common.valid_until_ms,
        public_keys=tuple(root),
        threshold=threshold,
        reason_sha256=None,
    )
    make(payload, to, key, yes=yes, as_json=as_json)


def rotate_log_key(
    *,
    to: Out,
    public_key: Annotated[
        str, typer.Option(help="The new log key's public half (enforcer key new, key show).")
    ],
    key: RootKey = None,
    yes: Yes = False,
    trust: Trust = Path("trust.toml"),
    as_json: AsJson = False,
) -> None:
    """Make the act by which another key signs the checkpoints."""
    from enforcer.app.acts import Common
    from enforcer.config import read_trust
    from enforcer.core.key import LogKeyRotated
    from enforcer.core.note import VerifierKey

    common = Common.new(read_trust(trust).origin, now_ms())
    try:
        octets = bytes.fromhex(public_key)
        log_vkey = VerifierKey(common.ledger_origin, octets).text
        VerifierKey.parse(log_vkey)
    except (ValueError, InputError) as error:
        raise InputError(
            f"{public_key!r} is no public key",
            advice="Give 32 octets in hexadecimal, as `enforcer key show` does.",
            field="public-key",
        ) from error
    payload = LogKeyRotated(
        ledger_origin=common.ledger_origin,
        request_id=common.request_id,
        valid_until_ms=common.valid_until_ms,
        log_vkey=log_vkey,
        reason_sha256=None,
    )
    make(payload, to, key, yes=yes, as_json=as_json)
