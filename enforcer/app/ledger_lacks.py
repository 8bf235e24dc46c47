"""What a restored ledger does not have, in words, each with what follows from it.

No copy has the keys, and few have all that lies beside the entries. Whatever is missing keeps no
order from ending, and none that a node has from being enforced.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from enforcer.app.audit import open_ledger
from enforcer.app.audit_archive import named_by_entries
from enforcer.backends.keys import PrivateKey
from enforcer.backends.tiles import TileLedger
from enforcer.config import ControlConfig
from enforcer.core.trust import Trust
from enforcer.services.audit import Progress

NAMED_MAX: Final = 5
"""So many files are named; of the others their number."""


def lacks(
    config: ControlConfig, ledger_dir: Path, trust: Trust, progress: Progress
) -> tuple[str, ...]:
    """Return what is missing beside the ledger in `ledger_dir`, and of the keys to serve it.

    Raises:
        EnforcerError: the ledger or a key file is damaged.
    """
    found = []
    keys = _missing_keys(config)
    if keys:
        found.append(
            f"keys, which are in no copy: {', '.join(map(str, keys))}. Bring them from where they "
            "are kept; a lost log key needs the roots, see `enforcer trust rotate-log-key`."
        )
    with open_ledger(ledger_dir, trust) as ledger:
        named = named_by_entries(ledger, progress)
        lists = sorted(each for each in named.lists if not ledger.lists.has(each))
        documents = [
            each
            for each in named.documents
            if not ledger.side.has(each) and not ledger.side.is_erased(each)
        ]
        sealed = _unwrapped(config, ledger, named.restricted)
    if lists:
        found.append(
            f"{len(lists)} target lists ({_some(lists)}): nodes that have them go on, others "
            "leave those orders out. Copy them from any node, <state_dir>/ledger/lists."
        )
    if sealed:
        found.append(
            f"the wraps of {len(sealed)} sealed lists for this control plane ({_some(sealed)}): "
            "nodes registered later cannot open them, and they cannot be looked at again."
        )
    if documents:
        found.append(
            f"{len(documents)} documents (reasons, evidence): the ledger verifies without them, "
            "and nobody can be shown them. Copy `side` from a backup."
        )
    if not any(ledger_dir.glob("attestations/*/*.json")):
        found.append(
            "attestations: what nodes said before is not here. They attest anew by themselves."
        )
    return tuple(found)


def _missing_keys(config: ControlConfig) -> list[Path]:
    wanted = (
        config.log_key_file,
        config.second_log_key_file,
        config.signing_key_file,
        config.encryption_key_file,
        config.tls.certificate,
        config.tls.key,
    )
    return [path for path in wanted if path is not None and not path.exists()]


def _unwrapped(config: ControlConfig, ledger: TileLedger, restricted: set[str]) -> list[str]:
    """Return the sealed lists that this control plane cannot open; without its key none is."""
    if not config.signing_key_file.exists():
        return sorted(restricted)
    key_id = PrivateKey.load(config.signing_key_file).key_id
    return sorted(each for each in restricted if ledger.wraps.read(each, key_id) is None)


def _some(names: list[str]) -> str:
    rest = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {rest} more" if rest > 0 else "")
