"""That a ledger goes on from the history that is known of it: what was cosigned, what a copy had.

Never decides which of two histories is the right one: it says that the log signed both, with the
notes that prove it.
"""

from __future__ import annotations

from pathlib import Path

from enforcer.backends.cosigned_file import CosignedFile
from enforcer.backends.tile_files import COPY_AGAIN, damaged
from enforcer.backends.tile_opening import SignedTree
from enforcer.backends.tile_tree import TileTree
from enforcer.core.checkpoint import Checkpoint
from enforcer.errors import IntegrityError


def check_cosigned(
    known: Checkpoint | None, whole: SignedTree, path: Path, cosigned: CosignedFile
) -> None:
    """Check that a cosigned checkpoint, if there is one, is of this ledger's own history.

    `path` is where the ledger's checkpoint is, and `cosigned` the file that has the other's note.

    Raises:
        IntegrityError: it is of more entries than there are, or of another history; or a tile is
            damaged.
    """
    if known is None:
        return
    tree, note = whole
    notes = {"ours": (note or b"").decode(), "theirs": (cosigned.note or b"").decode()}
    if known.size > tree.size:
        raise damaged(
            path,
            "rolled back",
            f"{path} is of {tree.size} entries, and {cosigned.path.name} "
            f"proves that there were {known.size}",
            advice=COPY_AGAIN,
            expected=known.size,
            got=tree.size,
            **notes,
        )
    root = tree.root_at(known.size)
    if root != known.root:
        raise damaged(
            cosigned.path,
            "split view",
            f"{cosigned.path} is of another history: the log signed two roots for "
            f"{known.size} entries",
            expected=root.hex(),
            got=known.root.hex(),
            **notes,
        )


def check_ahead(tree: TileTree, cosigned: CosignedFile) -> None:
    """Check that a tree goes on from the furthest checkpoint of what this copy had and forgot.

    Raises:
        IntegrityError: it is another history.
    """
    ahead = cosigned.ahead
    if ahead is None or ahead.size > tree.size:
        return
    root = tree.root_at(ahead.size)
    if root != ahead.root:
        raise IntegrityError(
            f"this copy had another history of {ahead.size} entries before it was damaged: the "
            f"log signed two",
            advice="Keep the ledger's directory: with what the feed has it proves that.",
            problem="split view",
            expected=ahead.root.hex(),
            got=root.hex(),
            ours=(cosigned.ahead_note or b"").decode(),
        )


def forget_ahead(tree: TileTree, cosigned: CosignedFile) -> None:
    """Forget what was set aside once the tiles have it: every append has compared them."""
    ahead = cosigned.ahead
    if ahead is not None and ahead.size <= tree.size:
        cosigned.forget_ahead()
