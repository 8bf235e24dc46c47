"""Which user the gate's process becomes, and that it never becomes more again.

Root, or a capability, is needed for port 53 alone: afterwards the process has no capability,
whatever it was started with, gains none from files it runs, and leaves no image of its memory,
where addresses of clients are.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from enforcer._native.gate import (
    give_up_rights,
    parent_death_signal,
    set_parent_death_signal,
)
from enforcer.errors import InputError, UnavailableError


@dataclass(frozen=True, slots=True)
class Identity:
    """A user to become."""

    uid: int
    gid: int


def identity_of(user: str | None, group: str | None) -> Identity | None:
    """Return whom to become, or None when the process already is nobody special.

    Raises:
        InputError: root without a user, a user that is root, one that does not exist, or
            a user although this process cannot become another.
    """
    if os.getuid() != 0:
        if user is not None and _entry_of(user).pw_uid != os.getuid():
            raise InputError(
                f"this process cannot become {user}: it is not root",
                advice="Remove user from the configuration, or start the gate as root.",
                field="user",
            )
        return None
    if user is None:
        raise InputError(
            "the gate is started as root and has no user to become",
            advice="Set user in its configuration (such as a system user enforcer-gate).",
            field="user",
        )
    entry = _entry_of(user)
    if entry.pw_uid == 0:
        raise InputError(
            f"the user {user} is root again",
            advice="Set a user without rights.",
            field="user",
        )
    try:
        gid = grp.getgrnam(group).gr_gid if group is not None else entry.pw_gid
    except KeyError as error:
        raise InputError(
            f"there is no group {group}", advice="Correct group, or create it.", field="group"
        ) from error
    return Identity(entry.pw_uid, gid)


def drop_rights(identity: Identity | None, *, owning: Iterable[Path]) -> None:
    """Become `identity`, to whom the files `owning` are given, and give up every right.

    Raises:
        UnavailableError: the kernel refused; the process must not go on.
    """
    try:
        if identity is not None:
            for path in owning:
                os.chown(path, identity.uid, identity.gid, follow_symlinks=False)
            tie = parent_death_signal()
            os.setgroups([])
            os.setresgid(identity.gid, identity.gid, identity.gid)
            os.setresuid(identity.uid, identity.uid, identity.uid)
            set_parent_death_signal(tie)  # a child of tests or demo must not outlive them
        give_up_rights()
    except OSError as error:
        raise UnavailableError(
            f"the gate cannot give up its rights: {error.strerror or error}",
            advice="Start it as root with a user, or as a user without rights.",
        ) from error


def _entry_of(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError as error:
        raise InputError(
            f"there is no user {user}", advice="Correct user, or create it.", field="user"
        ) from error
