"""Who is calling: the one URI name in the certificate that TLS has verified.

``spiffe://<trust domain>/<role>/<id>``, the trust domain being the ledger origin up to its first
'/'. A certificate lets somebody speak; what may be done is decided by the signature on the act,
and both must be of the same person. No address of a caller is read or logged anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from enforcer.core.envelope import Envelope
from enforcer.core.key import Role
from enforcer.core.state import State
from enforcer.errors import RefusedError

URI_NAMES: Final = "peer_uri"
"""Where gRPC lists the certificate's URI names, DNS names not among them."""

_ADVICE: Final = "Use the certificate that was issued to you for this installation."
_ROLES: Final = {role.name.lower().replace("_", "-"): role for role in Role if role}


@dataclass(frozen=True, slots=True)
class Caller:
    """A person or machine, as its certificate says."""

    role: Role
    identity: str


def trust_domain(origin: str) -> str:
    """Return the trust domain of a ledger's certificates."""
    return origin.partition("/")[0]


def caller_of(auth_context: Mapping[str, Iterable[bytes]], domain: str) -> Caller:
    """Return who calls, from what gRPC says about the verified certificate.

    Raises:
        RefusedError: it has no URI name, several, one of another installation, or no known role.
    """
    names = [name.decode("utf-8", "replace") for name in auth_context.get(URI_NAMES, ())]
    if not names:
        raise _refused("the certificate names no role: it has no URI name, and must have one")
    if len(names) > 1:
        raise _refused(
            f"the certificate has {len(names)} URI names, and must have one: nobody has two roles"
        )
    parts = names[0].split("/")
    if len(parts) != 5 or parts[0] != "spiffe:" or parts[1] or not parts[4]:
        raise _refused("the certificate's URI name is not spiffe://<trust domain>/<role>/<id>")
    if parts[2] != domain:
        raise _refused(f"the certificate is of the trust domain {parts[2]}, and this is {domain}")
    if parts[3] not in _ROLES:
        raise _refused(f"the certificate names no known role: {parts[3]!r}")
    return Caller(_ROLES[parts[3]], parts[4])


def check_signer(caller: Caller, envelope: Envelope, state: State) -> None:
    """Check that the caller is one of those who signed, in the role that the signature has.

    Keys that are not registered are left to the judge, who says so more exactly.

    Raises:
        RefusedError: all signers are known, and the caller is none of them.
    """
    records = [state.keys.get(part.key_id) for part in envelope.signatures]
    own = [
        record.registration.role
        for record in records
        if record is not None and record.registration.person_id == caller.identity
    ]
    if None in records or caller.role in own:
        return
    if own:
        raise RefusedError(
            f"the certificate is for the role {caller.role.name}, and the signature of "
            f"{caller.identity} for {own[0].name}",
            advice="Use the certificate and the signing key of the same role.",
            field="signatures",
        )
    raise RefusedError(
        f"the certificate is {caller.identity}'s, who did not sign this act",
        advice="Send the act with the certificate of the person who signed it.",
        field="signatures",
    )


def check_bringer(caller: Caller, envelope: Envelope, state: State) -> None:
    """Check that the caller signed the act, or is a node, which passes on what others signed.

    Raises:
        RefusedError: as `check_signer`.
    """
    if caller.role is not Role.NODE:
        check_signer(caller, envelope, state)


def _refused(problem: str) -> RefusedError:
    return RefusedError(problem, advice=_ADVICE, field="certificate")
