"""Redis as operators run it: by the files of an installation, over TLS, and behind sentinels."""

import asyncio
import re
import socket
import subprocess
import time
from contextlib import AsyncExitStack
from pathlib import Path

from enforcer.app.redis_files import NODE, PUBLISHER, write_redis
from enforcer.backends.child import tied_to_parent
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.pki import Authority
from enforcer.backends.redis_feed import RedisFeedPublisher
from enforcer.backends.redis_place import RedisPlace, RedisTls, Sentinels
from enforcer.backends.redis_server import find_redis_server
from enforcer.backends.redis_source import RedisFeedSource
from enforcer.backends.tiles import TileLedger
from enforcer.core.checkpoint import sign_checkpoint
from enforcer.core.note import VerifierKey
from enforcer.errors import ConflictError, UnavailableError
from tests.waiting import WAIT_SECONDS

ORIGIN = "example.org/ledger"
PRIMARY = "Feed"
"""In upper case too, as operators write it and as no URL's host is."""
SOON_MS = 30
DOWN_MS = 1_500
"""How long a sentinel waits before it calls a server dead; a busy machine keeps one so long."""


async def eventually(holds):
    """Return what `holds` returns, once that is true and it no longer finds Redis away."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            if found := await holds():
                return found
        except UnavailableError:
            if time.monotonic() > until:
                raise
        assert time.monotonic() < until, "it never came true"
        await asyncio.sleep(0.02)


def wait_until_open(port):
    """Wait until somebody listens there."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < until, "it never listened"
        time.sleep(0.01)


class Process:
    """One server of Redis's, by a file; `arguments` come after it."""

    def __init__(self, conf, *arguments):
        self._command = tied_to_parent([str(find_redis_server()), conf.name, *arguments])
        self.log = conf.parent / "log"
        self._conf = conf
        self.process = None

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self._conf.parent, stdout=log, stderr=log
            )
        return self

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Installed:
    """What an installation writes for its Redis, and the two users of it."""

    def __init__(
        self,
        folder: Path,
        scheme: str,
        ports: list[int],
        *,
        origin: str = ORIGIN,
    ):
        """Write what a server at each of the ports needs; all but the first are replicas."""
        self.folder, self.ports = folder, ports
        folder.mkdir()
        self.authority = Authority.create(origin)
        (folder / "ca.crt").write_bytes(self.authority.pem)
        self.scheme = scheme
        self.servers: list[Process] = []
        self.sentinels: list[Process] = []
        url = f"{scheme}://127.0.0.1:{ports[0]}"
        self.passwords = write_redis(folder / "0", origin, url, self.authority)
        for number in range(1, len(ports)):
            (folder / str(number)).mkdir()
            for file in (folder / "0").iterdir():
                (folder / str(number) / file.name).write_bytes(file.read_bytes())

    def start_all(self):
        encrypted = self.scheme == "rediss"
        option = "--tls-port" if encrypted else "--port"
        for number in range(len([each for each in self.folder.iterdir() if each.is_dir()])):
            following = ["--replicaof", "127.0.0.1", str(self.ports[0])] if number else []
            conf = self.folder / str(number) / "redis.conf"
            self.servers.append(Process(conf, option, str(self.ports[number]), *following).start())

        for port in self.ports[: len(self.servers)]:
            wait_until_open(port)

    def start_sentinels(self, ports):
        """Start sentinels by the file that there is for them."""
        text = (self.folder / "0" / "sentinel.conf").read_text()
        changed = {
            " feed ": f" {PRIMARY} ",
            "0.0.0.0": "127.0.0.1",
            " 5000": f" {DOWN_MS}",
            " 30000": " 2000",
        }
        for ours, here in changed.items():
            assert ours in text
            text = text.replace(ours, here)
        self.sentinel_ports = ports
        for port in ports:
            folder = self.folder / f"sentinel-{port}"
            folder.mkdir()
            for file in (self.folder / "0").iterdir():
                (folder / file.name).write_bytes(file.read_bytes())
            conf = folder / "sentinel.conf"
            conf.write_text(text.replace("port 26379", f"port {port}"))
            self.sentinels.append(Process(conf, "--sentinel").start())
        for port in ports:
            wait_until_open(port)

    def place(self, user, *, url=None, ca=True, behind=False, **changes):
        """Return where the feed is for one of the users."""
        host = PRIMARY if behind else f"127.0.0.1:{self.ports[0]}"
        given = {
            "url": url or f"{self.scheme}://{user}@{host}",
            "password": self.passwords[user].decode(),
            "tls": RedisTls(self.folder / "ca.crt" if ca else None),
            **changes,
        }
        if behind:
            given["sentinels"] = Sentinels(
                tuple(("127.0.0.1", port) for port in self.sentinel_ports)
            )
        return RedisPlace(**given)

    def cli(self, port, *words):
        """Ask a sentinel; return its words."""
        secured = ["--tls", "--cacert", str(self.folder / "ca.crt")]
        command = ["redis-cli", *(secured if self.scheme == "rediss" else ()), "-p", str(port)]
        said = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
        return said.stdout.split()

    def primary_port(self):
        """Return where the first sentinel says the primary is."""
        return int(
            self.cli(self.sentinel_ports[0], "sentinel", "get-master-addr-by-name", PRIMARY)[1]
        )

    def knows_as_primary(self, port):
        """Return what tells whether the first sentinel knows it, which others may know before."""

        async def knows():
            return self.primary_port() == port

        return knows

    def is_watched(self):
        """Tell whether every sentinel knows the others, and the replicas, which are up."""
        for port in self.sentinel_ports:
            words = self.cli(port, "sentinel", "master", PRIMARY)
            found = dict(zip(words[::2], words[1::2], strict=False))
            known = found.get("num-slaves"), found.get("num-other-sentinels")
            if known != (str(len(self.ports) - 1), str(len(self.sentinel_ports) - 1)):
                return False
            replicas = " ".join(self.cli(port, "sentinel", "replicas", PRIMARY))
            if len(re.findall(r"master-link-status ok", replicas)) < len(self.ports) - 1:
                return False
        return True

    def wait_until_watched(self):
        until = time.monotonic() + WAIT_SECONDS
        while not self.is_watched():
            assert time.monotonic() < until, "the sentinels never agreed"
            time.sleep(0.05)

    def primary(self):
        """Return the server that is the primary at present."""
        return self.servers[self.ports.index(self.primary_port())]

    def kill_all(self):
        for each in (*self.sentinels, *self.servers):
            each.kill()


class Book:
    """A ledger on disk, published as a control plane does: what fails is filled up afterwards."""

    def __init__(self, folder: Path, publisher):
        key = PrivateKey.generate()
        vkey = VerifierKey(ORIGIN, key.public_key)
        self.files = TileLedger.open(folder, origin=ORIGIN, vkey=vkey, verify=verify, writer=True)
        self.seal = lambda checkpoint: sign_checkpoint(checkpoint, vkey, key.sign)
        self.publisher = publisher
        self.leaves: list[bytes] = []

    async def add(self, count=1):
        """Record entries one by one and return when the feed has them."""
        for _ in range(count):
            leaf = b"entry %d" % self.files.size
            note = self.files.append([leaf], self.seal)
            self.leaves.append(leaf)
            try:
                await self.publisher.publish(len(self.leaves) - 1, [leaf], note)
            except (ConflictError, UnavailableError):
                await eventually(self.is_filled)

    async def is_filled(self):
        await self.publisher.reconcile(self.files, self.files.lists, ())
        return True

    async def is_read_whole(self, source):
        """Tell whether a reader gets all entries; if not, mend the feed, as is done every while.

        What a primary took while it was being demoted is lost with it.
        """
        update = await source.next(0, SOON_MS)
        if update is not None and list(update.leaves) == self.leaves:
            return True
        await self.is_filled()
        return False


async def opened(stack: AsyncExitStack, installed: Installed, **how):
    """Return a publisher and a source, closed with the stack."""
    publisher = RedisFeedPublisher(installed.place(PUBLISHER, **how), ORIGIN)
    source = RedisFeedSource(installed.place(NODE, **how), ORIGIN, poll_interval_ms=10)
    stack.push_async_callback(publisher.close)
    stack.push_async_callback(source.close)
    return publisher, source
