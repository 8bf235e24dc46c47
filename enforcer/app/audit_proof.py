"""Proofs of one order's acts: written from a ledger, as a folder or one archive, and checked.

Beside each entry stands its receipt, a C2SP tlog-proof that other tools verify too. The file
``README.txt`` says to whoever gets it what to do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from enforcer.app.audit import open_ledger
from enforcer.backends import durable
from enforcer.backends.archive import ABOUT, Content, unpack, write_archive
from enforcer.backends.keys import verify
from enforcer.core.receipt import RECEIPT_BYTES_MAX, Receipt
from enforcer.core.tile import ENTRY_BYTES_MAX
from enforcer.core.trust import Trust
from enforcer.errors import ConflictError, InputError, IntegrityError, NotFoundError
from enforcer.services.audit import Progress
from enforcer.services.prove import Evidence, Proved, check, needed_for
from enforcer.services.replay import read_entries

FORMAT: Final = "enforcer-order-proof-v1"
ENTRIES_MAX: Final = 100_000
SUFFIXES: Final = (".tar.gz", ".tgz")

_ABOUT_BYTES_MAX: Final = 65_536
_README: Final = "README.txt"
_ENTRY: Final = re.compile(r"entries/[0-9]{12}\.json")
_RECEIPT: Final = re.compile(r"proofs/[0-9]{12}\.tlog-proof")
_TEXT: Final = """\
This proves the acts of the order {order_id} in the ledger {origin}.

entries/N.json         what was recorded as entry N: an act, its signatures, its time
proofs/N.tlog-proof    that entry N is in the ledger (c2sp.org/tlog-proof, RFC 6962)

To check all of it, with the installation's trust file and nothing else:

    enforcer audit check-proof THIS --trust trust.toml

The other entries are what the acts rest on: policies, and who the keys belong to. That no other
act was recorded can only be said by whoever verifies the whole ledger.
"""


@dataclass(frozen=True, slots=True)
class Written:
    """What a proof was made of."""

    acts: int
    entries: int
    size_bytes: int
    """Of all entries and receipts."""


def prove(
    directory: Path,
    order_id: str,
    to: Path,
    trust: Trust,
    progress: Progress = lambda _stage, _done, _total: None,
) -> Written:
    """Write the proof of an order's acts: an archive where `to` ends so, else a folder.

    Raises:
        NotFoundError: no act names the order, or there is no ledger.
        ConflictError: there is something at `to`.
        IntegrityError, UnavailableError: the ledger is damaged, or `to` cannot be written.
    """
    ledger = open_ledger(directory, trust)
    indices = needed_for(order_id, read_entries(ledger))
    if len(indices) > ENTRIES_MAX:
        raise InputError(
            f"the order {order_id} rests on {len(indices)} entries, over {ENTRIES_MAX}",
            advice="Give the third person an archive of the whole ledger.",
            field="order",
        )
    evidence = []
    for done, index in enumerate(indices, 1):
        (leaf,) = ledger.entries(index, index + 1)
        evidence.append(Evidence(leaf, ledger.receipt(index)))
        progress("prove entries", done, len(indices))
    proved = check(order_id, evidence, trust, verify)
    members: dict[str, Content] = {
        _README: _TEXT.format(order_id=order_id, origin=trust.origin).encode("utf-8")
    }
    members |= {f"entries/{part.receipt.index:012}.json": part.leaf for part in evidence}
    receipts = {
        f"proofs/{part.receipt.index:012}.tlog-proof": part.receipt.format() for part in evidence
    }
    members |= receipts
    about = {"format": FORMAT, "origin": trust.origin, "order_id": order_id, "size": ledger.size}
    text = json.dumps(about, indent=2).encode("utf-8") + b"\n"
    if to.name.endswith(SUFFIXES):
        write_archive(to, text, members.items())
    else:
        _write_folder(to, {ABOUT: text, **members})
    size_bytes = sum(len(part.leaf) for part in evidence) + sum(map(len, receipts.values()))
    return Written(len(proved.acts), len(evidence), size_bytes)


def check_proof(path: Path, trust: Trust) -> Proved:
    """Check a proof, folder or archive, against a trust alone.

    Raises:
        NotFoundError: there is no proof.
        IntegrityError: it does not prove what it says, or is not what a proof must be.
        InputError: it is about another ledger.
    """
    with _folder(path) as folder:
        about = _about(folder)
        if about["origin"] != trust.origin:
            raise InputError(
                f"the proof is about the ledger {about['origin']}, the trust is in {trust.origin}",
                advice="Name the trust file of that ledger's installation.",
                field="trust",
            )
        return check(about["order_id"], _evidence(folder), trust, verify)


def _evidence(folder: Path) -> list[Evidence]:
    entries = sorted((folder / "entries").glob("*.json"))
    if len(entries) > ENTRIES_MAX:
        raise _no_proof(folder, f"it has over {ENTRIES_MAX} entries")
    found = []
    for entry in entries:
        proof = folder / "proofs" / f"{entry.stem}.tlog-proof"
        leaf = durable.read_file(entry, size_bytes_max=ENTRY_BYTES_MAX)
        receipt = Receipt.parse(durable.read_file(proof, size_bytes_max=RECEIPT_BYTES_MAX))
        if entry.stem != f"{receipt.index:012}":
            raise _no_proof(folder, f"{proof.name} is about entry {receipt.index}")
        found.append(Evidence(leaf, receipt))
    return found


def _about(folder: Path) -> dict[str, str]:
    data = durable.read_file(folder / ABOUT, size_bytes_max=_ABOUT_BYTES_MAX)
    try:
        plain = json.loads(data)
        if plain["format"] == FORMAT:
            return {name: str(plain[name]) for name in ("origin", "order_id")}
    except (ValueError, KeyError, TypeError):
        pass
    raise _no_proof(folder, f"its {ABOUT} is of something else")


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield path
        return
    if not path.exists():
        raise NotFoundError(f"there is no proof {path}", advice="Check the path.", path=str(path))
    with TemporaryDirectory(prefix="enforcer-proof-") as fresh:
        to = Path(fresh) / "proof"
        unpack(path, to, _layout)
        yield to


def _layout(name: str) -> int | None:
    if name in (ABOUT, _README):
        return _ABOUT_BYTES_MAX
    if _ENTRY.fullmatch(name):
        return ENTRY_BYTES_MAX
    return RECEIPT_BYTES_MAX if _RECEIPT.fullmatch(name) else None


def _write_folder(to: Path, members: dict[str, Content]) -> None:
    if to.exists():
        raise ConflictError(
            f"{to} exists", advice="Name a folder that does not exist yet.", path=str(to)
        )
    for folder in (to, to / "entries", to / "proofs"):
        durable.make_directory(folder)
    durable.write_files(
        {to / name: data for name, data in members.items() if isinstance(data, bytes)}
    )


def _no_proof(path: Path, what: str) -> IntegrityError:
    return IntegrityError(
        f"{path} is no proof of an order: {what}",
        advice="Ask for one that `enforcer audit prove` made.",
        problem="malformed",
        path=str(path),
    )
