"""Which lists may share a target with one short list; see native/near.pyx."""

from typing import final

from typing_extensions import Buffer

@final
class Near:
    def __init__(self, text: Buffer) -> None: ...
    def shares(self, other: Buffer) -> bool: ...
