"""Documents beside the ledger: named in payloads by salted hash, so that they can be erased.

A file is 32 random octets and the content; its SHA-256 over both is its name. It is kept only
when the act that comes with it names it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import fields
from hashlib import sha256
from typing import Final

from enforcer.core.entry import KINDS, AnyPayload, parse_payload
from enforcer.core.envelope import Envelope
from enforcer.core.order import OrderProposed
from enforcer.errors import InputError, NotFoundError, RefusedError
from enforcer.ports import Contents

SALT_BYTES: Final = 32
SIDE_FILE_BYTES_MAX: Final = 1 << 20
SIDE_FILES_PER_ACT_MAX: Final = 8

_DOCUMENTS: Final = frozenset(
    (
        "statement_of_reasons_sha256",
        "decision_sha256",
        "evidence_sha256",
        "facts_sha256",
        "assessment_sha256",
        "necessity_sha256",
        "notice_sha256",
        "reason_sha256",
        "report_sha256",
        "statement_sha256",
    )
)
"""Fields of payloads that name side files; every other hash names something else."""


def named_by(payload: AnyPayload) -> set[str]:
    """Return the hashes of the side files that a payload names."""
    named: set[str] = set()
    for each in fields(payload):
        if each.name in _DOCUMENTS:
            value = getattr(payload, each.name)
            named.update(value if isinstance(value, tuple) else filter(None, (value,)))
    return named


def named_in(envelope: Envelope) -> set[str]:
    """Return the hashes of the side files that an envelope's payload names, if it is readable."""
    kind = KINDS.get(envelope.payload_type)
    if kind is None or not any(each.name in _DOCUMENTS for each in fields(kind)):
        return set()
    try:
        return named_by(parse_payload(envelope))
    except InputError:
        return set()  # it has no effect, and names nothing


def check(payload: AnyPayload, files: Sequence[bytes]) -> dict[str, bytes]:
    """Return the files by their hash.

    Raises:
        InputError: one is too long, has no salt, or is not named by the payload.
    """
    if len(files) > SIDE_FILES_PER_ACT_MAX:
        raise InputError(
            f"{len(files)} side files came with one act",
            advice=f"Send at most {SIDE_FILES_PER_ACT_MAX}; put documents together.",
            field="side_files",
        )
    named = named_by(payload)
    found: dict[str, bytes] = {}
    for at, data in enumerate(files):
        name = sha256(data).hexdigest()
        if not SALT_BYTES < len(data) <= SIDE_FILE_BYTES_MAX:
            raise InputError(
                f"the side file has {len(data)} bytes",
                advice=f"Send {SALT_BYTES} random octets and the content, at most "
                f"{SIDE_FILE_BYTES_MAX} bytes together.",
                field=f"side_files[{at}]",
            )
        if name not in named:
            raise InputError(
                f"the payload does not name the side file {name}",
                advice="Name it in the payload by the SHA-256 over salt and content.",
                field=f"side_files[{at}]",
            )
        found[name] = data
    return found


async def keep(store: Contents, files: dict[str, bytes]) -> None:
    """Make the files durable, but what was erased by law since: an act may come again.

    Raises:
        UnavailableError: the disk did not take one.
    """
    for name, data in files.items():
        if not await asyncio.to_thread(store.is_erased, name):
            await asyncio.to_thread(store.put, data)


async def check_here(store: Contents, payload: AnyPayload, files: dict[str, bytes]) -> None:
    """Check that every document that the payload names is among the files or here already.

    Raises:
        NotFoundError: one is not: what nobody can read says nothing.
        RefusedError: one was erased by law.
    """
    for name in sorted(named_by(payload)):
        await _check_not_erased(store, name)
        if name not in files and not await asyncio.to_thread(store.has, name):
            raise NotFoundError(
                f"the document {name} did not come with the act that names it",
                advice="Send it as a side file: 32 random octets, then the content.",
                field="side_files",
            )


async def check_reasons(store: Contents, order: OrderProposed, files: dict[str, bytes]) -> None:
    """Check that the order's statement of reasons is among the files or here already.

    Raises:
        NotFoundError: it is not: nobody is blocked without reasons that can be read.
        RefusedError: it was erased by law.
    """
    name = order.statement_of_reasons_sha256
    await _check_not_erased(store, name)
    if name not in files and not await asyncio.to_thread(store.has, name):
        raise NotFoundError(
            f"the statement of reasons {name} did not come with the order",
            advice="Send it as a side file: 32 random octets, then the text.",
            field="statement_of_reasons_sha256",
        )


async def _check_not_erased(store: Contents, name: str) -> None:
    if await asyncio.to_thread(store.is_erased, name):
        raise RefusedError(
            f"the document {name} was erased by law",
            advice="Say what still must be said in another document, and name that one.",
            field="side_files",
        )
