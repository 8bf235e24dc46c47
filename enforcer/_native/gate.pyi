from collections.abc import Sequence
from mmap import mmap
from typing import Final

COUNTER_NAMES: Final[tuple[str, ...]]

def give_up_rights() -> None: ...

class Gate:
    # The sockets stay the caller's to close, after `run` has returned.
    def __init__(
        self,
        client_fds: Sequence[int],
        upstream_fds: Sequence[int],
        *,
        inflight_max: int,
        timeout_ms: int,
        drain_ms: int,
        page4: bytes = b"",
        page6: bytes = b"",
    ) -> None: ...
    def run(self) -> None: ...
    def stop(self) -> None: ...
    def swap(self, table: mmap | bytes, *, time_floor_ms: int = 0) -> None: ...
    def time_floor_ms(self) -> int: ...
    def counters(self) -> dict[str, int]: ...
    def order_counts(self) -> dict[int, int]: ...
