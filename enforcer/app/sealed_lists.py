"""Lists that are not public, as a person's commands need them: sealed, opened, their secrets kept.

A list's secret is written as any private key is: mode 600, under the person's passphrase. Whoever
opens a list gets what its order names, or an error that says nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from enforcer.app.keys import encryption_key_path, has_passphrase, load_encryption_key
from enforcer.backends import durable, sealing
from enforcer.backends.keys import EncryptionKey
from enforcer.core.age import recipient_of
from enforcer.core.guard_data import check_text
from enforcer.core.order import OrderProposed, Publication, PublicationMode
from enforcer.errors import InputError, IntegrityError, NotFoundError

if TYPE_CHECKING:
    from enforcer.api.client import ControlClient
    from enforcer.app.people import Person

AGE_MARK: Final = b"age-encryption.org/v1\n"
NAME_CHARACTERS: Final = 16


@dataclass(frozen=True, slots=True)
class SealedCopy:
    """A canonical list, sealed for a key of its own."""

    path: Path
    """Where its octets are."""
    sealed_sha256: str
    target_list_sha256: str
    """Of salt and text together."""
    key: EncryptionKey

    def publication(self, publish_at_ms: int | None) -> Publication:
        """Return how an order says it: delayed until then, or restricted where that is None."""
        return Publication(
            PublicationMode.RESTRICTED_TARGETS
            if publish_at_ms is None
            else PublicationMode.DELAYED,
            publish_at_ms,
            self.sealed_sha256,
            self.key.recipient,
        )

    def wrap(self, recipient: str) -> bytes:
        """Return its secret, wrapped for one receiver.

        Raises:
            InputError: the recipient is none.
        """
        return sealing.wrap(self.key.secret, recipient)

    def keep_key(self, beside: Path, order_id: str, person: Person) -> Path:
        """Write the list's key beside a file, under the person's passphrase if there is one.

        Raises:
            ConflictError, UnavailableError, InputError: as any private key.
        """
        name = f"{order_id}-{self.sealed_sha256[:NAME_CHARACTERS]}.list.key"
        path = beside.with_name(name)
        encrypted = has_passphrase(person.key_file)
        self.key.save(path, person.passphrases.choose(path) if encrypted else None)
        return path


@dataclass(frozen=True, slots=True)
class HandedOn:
    """A sealed list that lay beside a proposal's file, opened by one for whom it was wrapped."""

    path: Path
    text: bytes
    _secret: str

    def wrap(self, recipient: str) -> bytes:
        """Return its secret, wrapped for one receiver.

        Raises:
            InputError: the recipient is none.
        """
        return sealing.wrap(self._secret, recipient)


def seal_list(canonical: Path, to: Path) -> SealedCopy:
    """Seal a canonical list, with a fresh salt, for a fresh key, into the file `to`.

    Raises:
        UnavailableError: a file cannot be read or written.
    """
    key = EncryptionKey.generate()
    text = durable.read_file(canonical, size_bytes_max=sealing.PLAINTEXT_BYTES_MAX)
    plaintext = sealing.new_salt() + text
    octets = sealing.seal(plaintext, key.recipient)
    durable.write_file(to, octets)
    return SealedCopy(to, sha256(octets).hexdigest(), sha256(plaintext).hexdigest(), key)


def open_list(octets: bytes, secret: str, order: OrderProposed) -> bytes:
    """Return the canonical text of an order's sealed list.

    Raises:
        IntegrityError: it does not open with this secret, or to what the order names.
        InputError: it is not canonical.
    """
    plaintext = sealing.open_sealed(octets, secret)
    got = sha256(plaintext).hexdigest()
    text = plaintext[sealing.SALT_OCTETS :]
    count = check_text(text).target_count
    is_named = got == order.target_list_sha256 and sealing.has_salt(plaintext)
    if not is_named or count != order.target_count:
        raise IntegrityError(
            f"the sealed list of {order.order_id} is not what the order names",
            advice="Sign nothing; have the order proposed again.",
            expected=order.target_list_sha256,
            got=got,
        )
    return text


def open_report(report: bytes, secret: str) -> bytes:
    """Return a guards' report, opened if it is sealed.

    Raises:
        IntegrityError: it does not open with this secret.
    """
    return sealing.open_sealed(report, secret) if is_sealed(report) else report


def is_sealed(document: bytes) -> bool:
    """Tell whether a document is an age file."""
    return document.startswith(AGE_MARK)


def own_key(person: Person) -> EncryptionKey:
    """Return the encryption key beside a person's signing key.

    Raises:
        NotFoundError, InputError, UnavailableError: it cannot be read.
    """
    return load_encryption_key(encryption_key_path(person.key_file), person.passphrases)


def unwrap(document: bytes, person: Person, order: OrderProposed) -> str:
    """Return the secret of an order's list from a wrap for this person.

    Raises:
        NotFoundError, InputError, UnavailableError: the person's own key cannot be read.
        IntegrityError: the wrap is for another, or of another list.
    """
    secret = sealing.unwrap(document, own_key(person).secret)
    _check_secret(secret, order)
    return secret


async def secret_of(
    client: ControlClient, person: Person, order: OrderProposed, list_key: Path | None
) -> str:
    """Return the secret of an order's list: of its key's file, else of the wrap for this person.

    Raises:
        NotFoundError: there is no such file; or neither is here.
        InputError, IntegrityError, UnavailableError: it is of another list, or cannot be read.
    """
    if list_key is not None:
        secret = load_encryption_key(list_key, person.passphrases).secret
        _check_secret(secret, order)
        return secret
    if not encryption_key_path(person.key_file).exists():
        raise NotFoundError(
            f"the list of {order.order_id} is sealed, and nothing here opens it",
            advice="Name the key that was written when it was proposed: --list-key FILE.",
            field="list_key",
        )
    wrap = await client.get_wrap(order.list_file_sha256, person.key.key_id)
    return unwrap(wrap, person, order)


def write_for_oversight(to: Path, sealed: Path, wraps: Mapping[str, bytes]) -> None:
    """Write, beside the file of a proposal, its sealed list, and its secret wrapped for oversight.

    Raises:
        UnavailableError: they cannot be written.
    """
    durable.write_file(_list_of(to), sealed.read_bytes())
    durable.make_directory(_wraps_of(to))
    for key_id, wrap in wraps.items():
        durable.write_file(_wraps_of(to) / key_id, wrap)


def open_from_proposer(act_file: Path, person: Person, order: OrderProposed) -> HandedOn:
    """Return the list that lies beside a proposal's file, opened with a person's own key.

    Raises:
        NotFoundError: nothing there is wrapped for this person, or the own key is not here.
        IntegrityError, InputError, UnavailableError: as :func:`unwrap` and :func:`open_list`.
    """
    wrap_file = _wraps_of(act_file) / person.key.key_id
    if not wrap_file.exists():
        raise NotFoundError(
            f"beside {act_file} nothing is wrapped for your key",
            advice="Have the proposer make it again, now that your key is registered.",
            path=str(wrap_file),
        )
    wrap = durable.read_file(wrap_file, size_bytes_max=sealing.WRAP_BYTES_MAX)
    secret = unwrap(wrap, person, order)
    octets = durable.read_file(_list_of(act_file), size_bytes_max=sealing.SEALED_BYTES_MAX)
    return HandedOn(_list_of(act_file), open_list(octets, secret, order), secret)


def write_private(path: Path, text: bytes) -> None:
    """Write a file for this user alone.

    Raises:
        UnavailableError: it cannot be written.
    """
    durable.write_file(path, text, mode=durable.PRIVATE_MODE)


def _list_of(act: Path) -> Path:
    return act.with_name(f"{act.name}.list")


def _wraps_of(act: Path) -> Path:
    return act.with_name(f"{act.name}.wraps")


def _check_secret(secret: str, order: OrderProposed) -> None:
    if recipient_of(secret) != order.publication.list_recipient:
        raise InputError(
            f"this is not the key of the list of {order.order_id}",
            advice="Name the key that was written when this version was proposed.",
            field="list_key",
        )
