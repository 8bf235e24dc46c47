"""An installation on a box that forwards: a client on one side, a server of every address behind.

Everything runs in the box's network namespace, made for it; the client and the server have one
each. The roots adopt a policy whose shared ranges leave out most documentation prefixes.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from typing import Any

from enforcer.backends.keys import PrivateKey
from enforcer.core.entry import parse
from enforcer.core.fold import apply
from enforcer.core.order import Measure, OrderRef
from enforcer.core.table import DnsMeasure, IpMeasure
from tests.backends.firewall_kernel import FAMILY, Namespace, Network, inside
from tests.e2e.installation import Installation, now_ms
from tests.people import request_id, seal

PORT = 4_010
REJECT = Measure(DnsMeasure.NONE, IpMeasure.REJECT)
CHECK_SECONDS = 1
SHARED = b"shared 198.51.100.0/24 cdn\n"


class Echo:
    """A TCP server at all addresses of a namespace, which gives back what it gets."""

    def __init__(self, namespace: Namespace) -> None:
        self._listeners = [namespace.call(lambda v=v: self._listening(v)) for v in FAMILY]
        self._ends: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._told, self._tell = socket.socketpair()
        self._thread.start()

    def close(self) -> None:
        self._tell.close()
        self._thread.join()
        for each in (*self._listeners, *self._ends, self._told):
            each.close()

    @staticmethod
    def _listening(version: int) -> socket.socket:
        made = socket.socket(FAMILY[version], socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(("", PORT))
        made.listen()
        return made

    def _serve(self) -> None:
        while True:
            readable, _, _ = select.select([self._told, *self._listeners, *self._ends], [], [])
            if self._told in readable:
                return
            for each in readable:
                if each in self._listeners:
                    self._ends.append(each.accept()[0])
                    continue
                with suppress(OSError):
                    if octets := each.recv(4_096):
                        each.sendall(octets)
                        continue
                self._ends.remove(each)
                each.close()


class Router(Installation):
    """The installation, its client and its server."""

    is_patient = False  # it is asked for no names

    def __init__(self, network: Network) -> None:
        self.network = network
        super().__init__()

    def _prepare(self, changes: dict[str, Any]) -> None:
        super()._prepare(changes)
        config = self.files.node / "node.toml"
        part = f'[firewall]\nbackend = "nftables"\ncheck_seconds = {CHECK_SECONDS}\n'
        config.write_text(config.read_text() + part)

    def _found(self) -> None:
        super()._found()
        shared = self.desk / "shared"
        shared.write_bytes(SHARED)
        auditor = self.client("auditor")
        self.call(auditor.upload_targets(shared))
        self.land.now_ms = now_ms()
        policy = self.land.state.policy
        payload = replace(
            policy.payload,
            request_id=request_id(),
            follows_sha256=policy.payload_sha256,
            pins=replace(policy.payload.pins, shared_ranges=sha256(SHARED).hexdigest()),
        )
        roots = sorted((self.files.directory / "roots").glob("*.key"))
        act = seal(payload, *map(PrivateKey.load, roots[: self.trust.roots.threshold]))
        recorded = self._keep(self.call(auditor.record_root_act(act)))
        assert apply(self.land.state, parse(recorded.leaf)).is_effective

    def propose_addresses(self, *lines: str) -> OrderRef:
        """Have one person propose to reject addresses."""
        return self.propose(text_of(*lines), measure=REJECT)

    def order_addresses(self, *lines: str, **changes: Any) -> OrderRef:
        """Have two persons order addresses."""
        return self.order(text_of(*lines), **{"measure": REJECT} | changes)

    @property
    def firewall(self) -> dict[str, Any]:
        """What the node says of its firewall."""
        return self.node_status().get("firewall", {})

    def connect(self, address: str) -> socket.socket:
        """Connect from the client; raises OSError as the client would see it."""
        version = 6 if ":" in address else 4

        def connected() -> socket.socket:
            made = socket.socket(FAMILY[version], socket.SOCK_STREAM)
            try:
                made.settimeout(10)
                made.connect((address, PORT))
            except OSError:
                made.close()
                raise
            return made

        return self.network.client.call(connected)

    def passes(self, address: str) -> bool:
        """Tell whether a new connection gets through, and is answered."""
        try:
            with self.connect(address) as end:
                return echoes(end)
        except OSError:
            return False

    def why_not(self, address: str) -> int:
        """Return the error number that a new connection meets; 0: it gets through."""
        try:
            self.connect(address).close()
        except OSError as error:
            return error.errno or -1
        return 0

    def rules(self) -> str:
        """Return what the kernel holds, as another tool reads it, whoever owns it."""
        listed = self.network.box.run("nft", "-s", "list", "table", "inet", "enforcer")
        owned = ("table ", "\tflags ")
        return "\n".join(
            line
            for line in listed.splitlines()
            if "expires" not in line and not line.startswith(owned)
        )


def text_of(*lines: str) -> bytes:
    return b"".join(sorted(f"{line}\n".encode() for line in lines))


def echoes(end: socket.socket) -> bool:
    """Tell whether what is sent comes back."""
    try:
        end.sendall(b"word")
        return end.recv(4) == b"word"
    except OSError:
        return False


@contextmanager
def routed() -> Iterator[Router]:
    """Have it all, in namespaces; this thread is in the box's until the end."""
    with ExitStack() as stack:
        network = Network()
        stack.callback(network.close)
        echo = Echo(network.server)
        stack.callback(echo.close)
        stack.enter_context(inside(network.box))
        router = stack.enter_context(Router(network))
        yield router
