"""Which tracked connections touch an address in some pieces; see native/conntrack.pyx."""

from typing_extensions import Buffer

def connections_hit(dump: Buffer, ipv4: Buffer, ipv6: Buffer) -> list[bytes]: ...
