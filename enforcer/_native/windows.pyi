"""Going through a list in parts; see native/windows.pyx."""

from collections.abc import Iterator
from typing import Final

from typing_extensions import Buffer

WINDOW_BYTES: Final[int]

def windows(text: Buffer) -> Iterator[int]: ...
def let_go(text: Buffer) -> None: ...
