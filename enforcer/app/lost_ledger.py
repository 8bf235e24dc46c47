"""Keeps a control plane whose ledger is not at its place from beginning another one.

A disk that is not mounted looks like a first start. Always true: where the feed or a witness shows
what this log signed, nothing is begun; where nobody can tell, a ledger begins only under a log key
whose mark says that it has signed nothing. The mark goes with the first entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from enforcer.backends import durable
from enforcer.backends.keys import verify
from enforcer.backends.redis_feed import RedisFeedPublisher
from enforcer.backends.tile_checkpoint import BEGUN_FILE
from enforcer.config import ControlConfig
from enforcer.core.checkpoint import open_checkpoint
from enforcer.core.cosignature import CosignerKey
from enforcer.core.trust import Trust
from enforcer.errors import ConflictError, EnforcerError, UnavailableError
from enforcer.ports import WitnessLink
from enforcer.services.ledger import Appended, Ledger

_UNUSED: Final = b"""\
This log key has signed nothing yet. `enforcer control` takes this file away with the first entry.
Never make it again for a log that has entries: a second history under one key ends both.
"""

_log: Final = structlog.get_logger(__name__)


def unused_mark(log_key_file: Path) -> Path:
    """Return the file that says of a log key that it has signed nothing.

    Beside the key and not in the ledger's directory, since under a disk that is mounted there it
    would outlast the first entry.
    """
    return log_key_file.with_name(f"{log_key_file.name}.unused")


def mark_unused(log_key_file: Path) -> None:
    """Say of a new log key that it has signed nothing.

    Raises:
        UnavailableError: it cannot be written.
    """
    durable.write_file(unused_mark(log_key_file), _UNUSED)


def spend_mark(log_key_file: Path, ledger: Ledger) -> None:
    """Take the mark away: at once where the ledger has entries, else with the first one."""
    mark = unused_mark(log_key_file)

    def tell(appended: Appended) -> None:
        if appended.first_index == 0:
            _remove(mark)

    if ledger.state.size:
        _remove(mark)
    else:
        ledger.on_append(tell)


async def check_not_lost(
    config: ControlConfig,
    trust: Trust,
    feed: RedisFeedPublisher,
    witnesses: Mapping[CosignerKey, WitnessLink],
) -> None:
    """Refuse to begin a ledger of which anybody shows an entry, or may have one.

    Raises:
        ConflictError: there is none in its directory, and the log has signed one.
        UnavailableError: there is none, and nobody can tell whether the log has signed one.
    """
    if (config.ledger_dir / "checkpoint").exists():
        return
    left = await _left_in(feed)
    shown = await asyncio.gather(*(_shown_by(link, trust.origin) for link in witnesses.values()))
    found = [("its feed", note) for note in left or ()]
    found += [(f"its witness {key.name}", note) for key, note in zip(witnesses, shown, strict=True)]
    for who, note in found:
        size = _signed_size(note, trust)
        if size is not None:
            raise ConflictError(
                f"there is no ledger in {config.ledger_dir}, and this log has signed one of {size} "
                f"entries, which {who} has",
                advice="Mount its disk, or make it anew: enforcer ledger restore. To begin another "
                "ledger, take another origin and log key, or a Redis that has nothing of this one.",
                size=size,
            )
    mark = unused_mark(config.log_key_file)
    has_begun = (config.ledger_dir / BEGUN_FILE).exists()  # then it is refused when it is opened
    if left != [] and not has_begun and not mark.exists():
        raise _nobody_tells(config, mark, is_away=left is None)


def _nobody_tells(config: ControlConfig, mark: Path, *, is_away: bool) -> UnavailableError:
    why = "its Redis is away" if is_away else "its Redis has what the log did not sign"
    shown = ", and no witness shows what the log signed" if config.witnesses else ""
    return UnavailableError(
        f"there is no ledger in {config.ledger_dir}, and nobody can tell whether this log has one: "
        f"{why}{shown}",
        advice="Mount its disk, or make it anew: enforcer ledger restore. For a first start, start "
        f"Redis, empty; or, only if this log key has signed nothing yet, say so: touch {mark}",
        path=str(config.ledger_dir),
    )


async def _left_in(feed: RedisFeedPublisher) -> list[bytes] | None:
    """Return what the feed has of any ledger; None: it is away."""
    try:
        return await feed.traces()
    except EnforcerError:
        return None


async def _shown_by(link: WitnessLink, origin: str) -> bytes:
    """Return the newest note that a witness shows; empty: it shows none, or is away."""
    try:
        return await link.latest(origin)
    except EnforcerError:
        return b""


def _signed_size(note: bytes, trust: Trust) -> int | None:
    """Return how many entries the log has signed here; None: this is not its word."""
    try:
        return open_checkpoint(note, trust.origin, trust.key_of(note), verify).size
    except EnforcerError:
        return None


def _remove(mark: Path) -> None:
    try:
        with durable.reporting(mark, "remove"):
            if not mark.exists():
                return
            mark.unlink()
        durable.sync_directory(mark.parent)
    except EnforcerError as error:
        _log.error("log_key_mark_stays", problem=error.message, advice=f"Remove it: rm {mark}")
