"""Signed acts as a call brings them: read, and brought by whom.

That the caller's certificate is of a person who signed the act is all that is decided here; whether
the act is lawful is for the judge, and which role may call which method for the door before.
"""

from __future__ import annotations

from enforcer.api import translate
from enforcer.api.access import Context
from enforcer.api.identity import Caller, caller_of, check_bringer, check_signer, trust_domain
from enforcer.core.envelope import Envelope
from enforcer.core.state import State


def caller_in(context: Context, state: State) -> Caller:
    """Return who calls a service of this state's ledger.

    Raises:
        RefusedError: the certificate is not one of this installation, or names no role.
    """
    return caller_of(context.auth_context(), trust_domain(state.origin))


def signed_act(data: bytes, context: Context, state: State) -> Envelope:
    """Read an act that the caller has signed.

    Raises:
        InputError: it is missing or malformed (``data["field"]``).
        RefusedError: the caller is not one of its signers.
    """
    envelope = translate.envelope(data)
    check_signer(caller_in(context, state), envelope, state)
    return envelope


def brought_act(data: bytes, context: Context, state: State) -> Envelope:
    """Read an act that the caller has signed, or as a node passes on for others.

    Raises:
        InputError, RefusedError: as `signed_act`.
    """
    envelope = translate.envelope(data)
    check_bringer(caller_in(context, state), envelope, state)
    return envelope
