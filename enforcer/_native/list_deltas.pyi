"""Deltas of target lists, made and applied in pieces; see native/list_deltas.pyx."""

from typing import Final

from typing_extensions import Buffer

ROOM_BYTES_MIN: Final[int]

class Diff:
    def __init__(self, base: Buffer, following: Buffer) -> None: ...
    def fill(self, out: Buffer) -> int: ...

class Patch:
    def __init__(self, base: Buffer, delta: Buffer) -> None: ...
    def fill(self, out: Buffer) -> int: ...
