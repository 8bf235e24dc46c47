"""NetFlow v5, v9 and IPFIX, read into packed flows; see native/flows.pyx.

A flow is 96 octets, ``struct`` format ``<16s16sQQQQQQIHHBBBB4x``: source and target address (IPv4
as ``::ffff:a.b.c.d``, zeros for none), first and last (Unix time, ms), octets, packets, the same
two of the way back, sampling (one packet of so many), source and target port, protocol, TCP
flags, those of the way back, and marks: 1 the TCP flags are known, 2 dropped by the exporter,
4 the times are its own, 8 seen on leaving, 16 the way back is counted in it.
"""

from typing import Final

from typing_extensions import Buffer

TEMPLATES_MAX: Final[int]
EXPORTERS_MAX: Final[int]
REASONS: Final[tuple[str, ...]]

class Decoder:
    malformed: Final[dict[str, int]]
    messages: Final[int]
    flow_records: Final[int]
    option_records: Final[int]
    other_records: Final[int]
    templates_seen: Final[int]
    templates_changed: Final[int]
    sets_without_template: Final[int]
    gaps: Final[int]
    def __init__(self, templates_max: int = ...) -> None: ...
    @property
    def template_count(self) -> int: ...
    def decode(self, data: Buffer, exporter: bytes) -> tuple[bytes, int]: ...
