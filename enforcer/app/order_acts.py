"""Acts about an order as a person's commands make them, and the documents that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields as dataclass_fields
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from enforcer.app.acts import Common, side_file
from enforcer.app.keys import read_document
from enforcer.backends import durable
from enforcer.core import fields
from enforcer.core.entry import AnyPayload
from enforcer.core.fields import Json
from enforcer.core.payload import Payload
from enforcer.services.side_files import SALT_BYTES, SIDE_FILE_BYTES_MAX, named_by

if TYPE_CHECKING:
    from enforcer.app.orders import KnownOrder

DOCUMENT_BYTES_MAX: Final = SIDE_FILE_BYTES_MAX - SALT_BYTES

P = TypeVar("P", bound=Payload)


def about(
    kind: type[P], origin: str, known: KnownOrder, policy_sha256: str, now_ms: int, **values: Json
) -> P:
    """Return an act about an order; `values` are its own fields, enums by their names.

    Raises:
        InputError: a field is out of its bounds (``data["field"]``).
    """
    common = Common.new(origin, now_ms)
    plain: dict[str, Json] = {
        "ledger_origin": common.ledger_origin,
        "request_id": common.request_id,
        "valid_until_ms": common.valid_until_ms,
        "order": fields.to_plain(known.ref),
        **values,
    }
    if any(field.name == "policy_sha256" for field in dataclass_fields(kind)):
        plain["policy_sha256"] = policy_sha256
    return fields.read(kind, plain, kind.__name__)


class Documents:
    """The documents of one act, each with its salt before it, by the hash that names it."""

    def __init__(self) -> None:
        self.files: list[bytes] = []

    def text(self, text: str | None) -> str | None:
        """Take a text in and return its hash; None stays None."""
        return self._add(text.encode("utf-8")) if text else None

    def file(self, path: Path) -> str:
        """Take a file in and return its hash.

        Raises:
            NotFoundError, UnavailableError: it cannot be read.
            InputError: it is empty, or over 1 MiB with its salt.
        """
        return self._add(read_document(path, DOCUMENT_BYTES_MAX))

    def _add(self, content: bytes) -> str:
        data = side_file(content)
        self.files.append(data)
        return sha256(data).hexdigest()


def write_documents(act: Path, files: Sequence[bytes]) -> None:
    """Write the documents of an act beside its file, for whoever submits it.

    Raises:
        UnavailableError: they cannot be written.
    """
    if files:
        durable.make_directory(_folder(act))
    for data in files:
        durable.write_file(_folder(act) / sha256(data).hexdigest(), data)


def read_documents(act: Path, payload: AnyPayload) -> list[bytes]:
    """Read the documents that the payload names and that lie beside the act's file.

    Raises:
        UnavailableError: one cannot be read.
    """
    paths = (_folder(act) / name for name in sorted(named_by(payload)))
    return [
        durable.read_file(path, size_bytes_max=SIDE_FILE_BYTES_MAX)
        for path in paths
        if path.exists()
    ]


def _folder(act: Path) -> Path:
    return act.with_name(f"{act.name}.documents")
