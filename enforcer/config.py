"""The TOML files of every program, each as one frozen value that was checked when it was read.

Owns: which keys there are, their bounds, and the words when one is wrong: the file, the key, the
remedy. Refuses unknown keys, and a password inside a URL. Always true: a path in a value is
absolute, and was relative to the file it stood in. Nothing here opens what the paths name,
the password file and the trust file excepted.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeVar, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from enforcer.core.cosignature import WITNESSES_MAX, CosignerKey, Witnesses
from enforcer.core.name import Name
from enforcer.core.note import VerifierKey
from enforcer.core.state import Roots
from enforcer.core.trust import Trust
from enforcer.errors import EnforcerError, InputError, NotFoundError, UnavailableError

CONFIG_BYTES_MAX: Final = 1 << 20
PASSWORD_BYTES_MAX: Final = 1_024
UNIX_PATH_BYTES_MAX: Final = 107  # sun_path of unix(7), without its final NUL

T = TypeVar("T", bound="File")

_IDENTIFIER: Final = r"^[a-z0-9][a-z0-9._-]{0,63}\Z"
_KEY_HEX: Final = r"^[0-9a-f]{64}\Z"
_ORIGIN: Final = r"^[!-*,-~]{1,200}\Z"
_FORMS: Final = {
    _IDENTIFIER: "up to 64 lower-case letters, digits, '.', '_' and '-'",
    _KEY_HEX: "32 octets in lower-case hexadecimal",
    _ORIGIN: "printable ASCII without spaces and '+', up to 200 characters",
}
Identifier = Annotated[str, Meta(pattern=_IDENTIFIER)]
PublicKeyHex = Annotated[str, Meta(pattern=_KEY_HEX)]
Origin = Annotated[str, Meta(pattern=_ORIGIN)]


class Address(str):
    """A host or IP address and a port: ``127.0.0.1:7443``, ``[2001:db8::1]:53``."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check `text`.

        Raises:
            ValueError: it is no such pair.
        """
        host, colon, port = text.rpartition(":")
        if not colon or not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 0xFFFF:
            raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:7443 or [::1]:7443")
        if host.startswith("[") != host.endswith("]") or (":" in host and host[0] != "["):
            raise ValueError(f"{text!r} has an IPv6 address without its brackets")
        if host[0] == "[":
            ipaddress.IPv6Address(host[1:-1])
        return super().__new__(cls, text)

    @property
    def host(self) -> str:
        """The host, an IPv6 address without its brackets."""
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port."""
        return int(self.rpartition(":")[2])


class Prefix(str):
    """Addresses that begin alike: ``192.0.2.0/24``, ``2001:db8::/32``."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check `text`.

        Raises:
            ValueError: it is no prefix, or has bits behind its length.
        """
        ipaddress.ip_network(text)
        return super().__new__(cls, text)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a file; an unknown key in it is an error."""


class File(Section, frozen=True, kw_only=True):
    """A whole file."""


class ServerTls(Section, frozen=True, kw_only=True):
    """What a gRPC server shows, and whose clients it takes."""

    certificate: Path
    key: Path
    client_ca: Path
    crl: Path | None = None
    """The authority's list of revoked certificates; null: none is known to be revoked."""


class ClientTls(Section, frozen=True, kw_only=True):
    """What a gRPC client shows, and whose servers it believes."""

    certificate: Path
    key: Path
    ca: Path
    crl: Path | None = None
    """For a program that is a server too, as a node is for stops."""


class Redis(Section, frozen=True, kw_only=True):
    """Where the feed is; nothing that comes from there is believed without proof."""

    url: str
    """``redis://``, ``rediss://`` or ``unix://``; a name of a user may stand in it."""
    password_file: Path | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for another scheme, or a password in the URL."""
        scheme, separator, rest = self.url.partition("://")
        if not separator or scheme not in ("redis", "rediss", "unix") or not rest:
            raise ValueError("the url does not begin with redis://, rediss:// or unix://")
        user, at, _ = rest.rpartition("@")
        if at and ":" in user:
            raise ValueError("the url has a password in it: write it into a file, password_file")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        if scheme != "rediss" and (self.ca or self.certificate):
            raise ValueError("ca, certificate and key are for rediss://, and the url has another")
        if self.from_replica and not self.sentinels:
            raise ValueError("from_replica needs sentinels; else name the replica in the url")

    ca: Path | None = None
    """For ``rediss://``: whom to believe; without it the system's authorities."""
    certificate: Path | None = None
    """What to show, where this Redis asks for it (tls-auth-clients)."""
    key: Path | None = None
    sentinels: Annotated[tuple[Address, ...], Meta(max_length=16)] = ()
    """Who knows the primary; the host in the url is then the name by which they know it."""
    sentinel_user: str | None = None
    sentinel_password_file: Path | None = None
    from_replica: bool = False
    """Behind sentinels, for nodes: read from a replica where there is one."""

    def password(self) -> str | None:
        """Return what the password file holds, without its final newline.

        Raises:
            NotFoundError, UnavailableError: it cannot be read.
            InputError: others than its owner can read it, or it is too long.
        """
        return _password(self.password_file)

    def sentinel_password(self) -> str | None:
        """Return what the sentinels' password file holds, as `password` does."""
        return _password(self.sentinel_password_file)


class Control(Section, frozen=True, kw_only=True):
    """Where the control plane is."""

    address: Address


class TrustedWitnesses(Section, frozen=True, kw_only=True):
    """Who must have seen a checkpoint before a new block counts."""

    quorum: Annotated[int, Meta(ge=0, le=WITNESSES_MAX)]
    """More than half of them; 0: nobody witnesses yet, shown as UNWITNESSED."""
    vkeys: Annotated[tuple[str, ...], Meta(max_length=WITNESSES_MAX)] = ()
    """Their cosigner keys (C2SP tlog-cosignature, type 0x04)."""

    def witnesses(self) -> Witnesses:
        """Return the witnesses that the section spells.

        Raises:
            ValueError: a vkey is none, or they and the quorum do not fit each other.
        """
        try:
            keys = tuple(map(CosignerKey.parse, self.vkeys))
        except InputError as error:
            raise ValueError(f"vkeys: {error.message}") from error
        return Witnesses(keys, self.quorum)


class TrustFile(File, frozen=True, kw_only=True):
    """What is believed before anything has been read; the same file for everybody."""

    origin: Origin
    log_vkey: str
    former_log_vkeys: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    """Keys that signed the ledger's checkpoints before; for receipts and checkpoints from then."""
    root_keys: tuple[PublicKeyHex, ...]
    root_threshold: int
    witnesses: TrustedWitnesses

    def __post_init__(self) -> None:
        """Raise ValueError when the parts do not make a trust."""
        self.trust()

    def trust(self) -> Trust:
        """Return the trust that the file spells."""
        try:
            for vkey in (self.log_vkey, *self.former_log_vkeys):
                VerifierKey.parse(vkey)
        except InputError as error:
            raise ValueError(f"log_vkey: {error.message}") from error
        roots = Roots(tuple(map(bytes.fromhex, self.root_keys)), self.root_threshold)
        return Trust(
            self.origin, self.log_vkey, roots, self.witnesses.witnesses(), self.former_log_vkeys
        )


class Url(str):
    """Where an HTTP service is: ``https://witness.example.org/w1/``, without a query."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check `text`.

        Raises:
            ValueError: it is no such URL, or has a password in it.
        """
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{text!r} is no URL that begins with http:// or https://")
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError(f"{text!r} has more than a host and a path")
        return super().__new__(cls, text)


class AskedWitness(Section, frozen=True, kw_only=True):
    """Where a witness of the trust file is asked (C2SP tlog-witness)."""

    name: str
    """The name in its vkey."""
    url: Url
    """Its submission prefix."""


class ControlConfig(File, frozen=True, kw_only=True):
    """``enforcer control``."""

    ledger_dir: Path
    trust_file: Path
    log_key_file: Path
    """Ed25519, PEM: signs the checkpoints; its public half is the trust file's ``log_vkey``."""
    second_log_key_file: Path | None = None
    """Signs them too, from before a LogKeyRotated until no trust file names the former key."""
    signing_key_file: Path
    """Ed25519, PEM: signs what the control plane itself records, such as holds; the roots
    register it with the role CONTROL."""
    encryption_key_file: Path
    """X25519, PEM: opens sealed lists; its recipient stands in the same registration."""
    listen: Address = Address("127.0.0.1:7443")
    tls: ServerTls
    redis: Redis
    reconcile_interval_seconds: Annotated[float, Meta(ge=0.1, le=3_600)] = 5.0
    """How often the feed is compared with the ledger."""
    metrics_listen: Address | None = None
    """Where the control plane shows its nodes to Prometheus (`/metrics`), and that it serves
    (`/health`); without it nowhere."""
    attestations_interval_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 600.0
    """How often what nodes attested is recorded, if they said anything."""
    witnesses: Annotated[tuple[AskedWitness, ...], Meta(max_length=WITNESSES_MAX)] = ()
    """Who is asked for a cosignature after each append; nodes bring theirs by themselves."""


class WitnessedLog(Section, frozen=True, kw_only=True):
    """A log that a witness knows."""

    origin: Origin
    vkey: str
    """The log's key, as the trust file's ``log_vkey``."""

    def __post_init__(self) -> None:
        """Raise ValueError for a key that is none."""
        try:
            VerifierKey.parse(self.vkey)
        except InputError as error:
            raise ValueError(f"vkey: {error.message}") from error


class WitnessConfig(File, frozen=True, kw_only=True):
    """``enforcer audit witness``."""

    name: Origin
    """The witness's name in its cosignatures, such as ``witness.example.org/w1``."""
    key_file: Path
    """Ed25519, PEM: of this witness alone, for nothing else."""
    state_dir: Path
    """What was cosigned. A witness that lost it needs another key."""
    listen: Address = Address("127.0.0.1:7480")
    logs: Annotated[tuple[WitnessedLog, ...], Meta(min_length=1, max_length=1_000)]

    def __post_init__(self) -> None:
        """Raise ValueError when a log stands twice."""
        if len({log.origin for log in self.logs}) != len(self.logs):
            raise ValueError("logs: an origin stands twice")


class FirewallPart(Section, frozen=True, kw_only=True):
    """How a node blocks addresses."""

    backend: Literal["none", "dry-run", "nftables"] = "none"
    """none: orders against addresses are left out here; dry-run: so too, and what would be done is
    logged."""
    protect: Annotated[tuple[Prefix, ...], Meta(max_length=1_000)] = ()
    """What no order can cut off, beside what this host itself must reach or be reached at."""
    check_seconds: Annotated[float, Meta(ge=1, le=3_600)] = 60.0
    """How often it is read back, and the host's own addresses are looked up."""
    lease_seconds: Annotated[int, Meta(ge=60, le=604_800)] = 3_600
    """How long rules count without a word from the node; no longer than the next order anyway."""

    def __post_init__(self) -> None:
        """Raise ValueError when the lease would run out between two looks."""
        if self.lease_seconds < 2 * self.check_seconds:
            raise ValueError("lease_seconds is less than twice check_seconds")


class CanaryPart(Section, frozen=True, kw_only=True):
    """Which nodes of a network take new blocks first."""

    role: Literal["none", "canary"] = "none"
    """canary: this node waits for nobody, and tells others what its gate said."""
    follows: Annotated[tuple[Address, ...], Meta(max_length=16)] = ()
    """The canaries that this node waits for, where they take stops (their ``listen``)."""
    wait_seconds: Annotated[float, Meta(ge=0, le=60)] = 10.0
    """How long a new block waits for a word of theirs, at most; 0: not at all."""

    def __post_init__(self) -> None:
        """Raise ValueError for a canary that waits for others."""
        if self.role == "canary" and self.follows:
            raise ValueError("a canary follows nobody: take out role or follows")


class SyncPart(Section, frozen=True, kw_only=True):
    """The second path: the control plane streams the ledger itself, when Redis is away or lies."""

    enabled: bool = True
    unheard_seconds_max: Annotated[int, Meta(ge=60, le=2_592_000)] = 600
    """After so long without the control plane's word it is said that the ledger may be withheld."""


class NodeConfig(File, frozen=True, kw_only=True):
    """``enforcer node``."""

    node_id: Identifier
    state_dir: Path
    trust_file: Path
    key_file: Path
    """The node's own Ed25519 key, PEM: signs attestations."""
    encryption_key_file: Path | None = None
    """The node's own X25519 key, PEM: opens sealed lists, if it may have any."""
    gate_socket: Path | None = None
    """Where its gate answers; null: it has none, and does nothing for orders against names."""
    redis: Redis | None = None
    """The first path; null: the others alone."""
    control: Control
    sync: SyncPart = SyncPart()
    copies: Annotated[tuple[Path, ...], Meta(max_length=4)] = ()
    """Copies of the ledger's directory, the last paths: for sites that no network reaches."""
    tls: ClientTls
    listen: Address | None = None
    """Where this node takes stops over gRPC, if it does."""
    metrics_listen: Address | None = None
    """Where /metrics and /health are served over plain HTTP, if they are."""
    poll_interval_ms: Annotated[int, Meta(ge=10, le=60_000)] = 1_000
    """How often the feed's head is read, pushed or not."""
    firewall: FirewallPart = FirewallPart()
    canary: CanaryPart = CanaryPart()

    def __post_init__(self) -> None:
        """Raise ValueError for a path of a socket that is too long, a node or canary cut off."""
        if self.gate_socket is not None:
            _check_socket_path(self.gate_socket, "gate_socket")
        if self.canary.role == "canary" and (self.listen is None or self.gate_socket is None):
            raise ValueError("a canary needs listen, where others ask it, and a gate_socket")
        if self.redis is None and not self.sync.enabled and not self.copies:
            raise ValueError("the ledger has no path to this node: name redis, sync or copies")


class BlockPage(Section, frozen=True, kw_only=True):
    """The operator's page for orders with the measure BLOCK_PAGE."""

    ipv4: str | None = None
    ipv6: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for what is no address of its family."""
        if self.ipv4 is not None:
            ipaddress.IPv4Address(self.ipv4)
        if self.ipv6 is not None:
            ipaddress.IPv6Address(self.ipv6)


class GateConfig(File, frozen=True, kw_only=True):
    """``enforcer gate``."""

    origin: Origin
    listen: Annotated[tuple[Address, ...], Meta(min_length=1, max_length=64)]
    """UDP and TCP at each; 0.0.0.0 and [::] are all of this host's addresses."""
    upstreams: Annotated[tuple[Address, ...], Meta(min_length=1, max_length=8)]
    """The resolvers behind the gate, in the order of preference."""
    state_dir: Path
    control_socket: Path
    user: str | None = None
    group: str | None = None
    allowed_uids: Annotated[tuple[int, ...], Meta(max_length=64)] | None = None
    """Who may speak at the control socket; null: this process's user and root."""
    block_page: BlockPage = BlockPage()
    workers: Annotated[int, Meta(ge=0, le=64)] = 0
    """0: one for each core."""
    mode: Literal["enforce", "shadow"] = "enforce"
    """shadow: decide and count, and pass everything."""
    golden_names: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    """Names that no table may block: one that does is given back."""
    probe_name: str = "."
    """Asked with type NS to see whether an upstream, or the gate itself, answers."""
    allow: Annotated[tuple[Prefix, ...], Meta(max_length=4_000)] | None = None
    """Who may ask; null: loopback, private, link-local and shared addresses."""
    cache_bytes_max: Annotated[int, Meta(ge=0, le=(1 << 40) - 1)] = 64 << 20
    """Of each worker; 0 switches the cache off."""
    serve_stale_seconds_max: Annotated[int, Meta(ge=0, le=604_800)] = 86_400
    """How long an expired answer may stand in for an upstream that is away (RFC 8767)."""
    responses_per_second_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Over UDP to one /24 or /56; 0: no limit."""
    proxy_from: Annotated[tuple[Prefix, ...], Meta(max_length=4_000)] = ()
    """From these a PROXY header (version 2) says who the client is."""
    proxy_to_upstream: bool = False
    """Say the same to the upstream; switches the cache off."""
    tcp_connections_max: Annotated[int, Meta(ge=1, le=60_000)] = 1_000
    """Of each worker."""
    tcp_connections_per_client_max: Annotated[int, Meta(ge=1, le=60_000)] = 100
    """Of each worker; raise it for a proxy that stands before the gate."""
    tcp_idle_ms: Annotated[int, Meta(ge=100, le=600_000)] = 10_000
    upstream_timeout_ms: Annotated[int, Meta(ge=10, le=60_000)] = 2_000
    """In all, over every try."""
    upstream_try_ms: Annotated[int, Meta(ge=10, le=60_000)] = 600
    dns64_prefixes: Annotated[tuple[Prefix, ...], Meta(max_length=8)] = (Prefix("64:ff9b::/96"),)

    def __post_init__(self) -> None:
        """Raise ValueError for a socket's path that is too long, or a name that is none."""
        _check_socket_path(self.control_socket, "control_socket")
        for name in (*self.golden_names, self.probe_name):
            try:
                Name.from_text(name)
            except InputError as error:
                raise ValueError(f"{name!r} is no domain name: {error.message}") from error


class ClientConfig(File, frozen=True, kw_only=True):
    """``enforcer order`` and the rest of what a person runs."""

    control: Control
    tls: ClientTls
    trust_file: Path
    key_file: Path
    """The person's own Ed25519 key, PEM."""
    nodes: Annotated[tuple[Address, ...], Meta(max_length=10_000)] = ()
    """A safety officer's own nodes, where suspensions are brought to at once."""


def read(path: Path, kind: type[T]) -> T:
    """Read the TOML file `path` as a `kind`.

    Raises:
        NotFoundError, UnavailableError: the file is not there, or cannot be read.
        InputError: ``data["key"]`` is what is wrong in it.
    """
    base = path.parent.resolve()
    with _Reading(path):
        data = path.read_bytes()
    if len(data) > CONFIG_BYTES_MAX:
        raise _error(path, None, f"has over {CONFIG_BYTES_MAX} bytes", "Name a configuration file.")
    try:
        plain = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _error(
            path, None, f"is not UTF-8 at byte {error.start}", "Save it as UTF-8."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise _error(path, None, f"is not TOML: {error}", "Correct that line.") from error

    def special(wanted: type, value: object) -> object:
        if hasattr(wanted, "from_toml"):
            return wanted.from_toml(value)
        if not isinstance(value, str) or not value:
            raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
        if wanted is Path:
            return Path(os.path.normpath(base / Path(value).expanduser()))
        return wanted(value)

    try:
        return msgspec.convert(plain, kind, dec_hook=special)
    except msgspec.ValidationError as error:
        raise _explained(path, kind, str(error)) from error


def read_trust(path: Path) -> Trust:
    """Read a trust file.

    Raises:
        NotFoundError, UnavailableError, InputError: as :func:`read`.
    """
    return read(path, TrustFile).trust()


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    with _Reading(path):
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InputError(
                f"the password file {path} can be read by others",
                advice=f"Run: chmod 600 {path}",
                path=str(path),
            )
        data = path.read_bytes()
    if len(data) > PASSWORD_BYTES_MAX:
        raise InputError(
            f"the password file {path} has over {PASSWORD_BYTES_MAX} bytes",
            advice="Name the file that holds the password alone.",
            path=str(path),
        )
    return data.decode("utf-8").rstrip("\r\n")


class _Reading:
    """Turns what the system says about a file into our errors."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, EnforcerError) or not isinstance(error, OSError):
            return
        if isinstance(error, FileNotFoundError):
            raise NotFoundError(
                f"there is no file {self.path}",
                advice="Name an existing file; `enforcer init` makes a first set of them.",
                path=str(self.path),
            ) from error
        raise UnavailableError(
            f"{self.path} cannot be read: {error.strerror}",
            advice="Check its owner and rights.",
            path=str(self.path),
        ) from error


def _explained(path: Path, kind: type[File], said: str) -> InputError:
    """Turn msgspec's words into ours: they end with `` - at `$.section.key```."""
    what, _, place = said.partition(" - at `$")
    key = place.rstrip("`").lstrip(".")
    if match := re.fullmatch("Object contains unknown field `(.*)`", what):
        unknown, known = match[1], _keys(kind, key)
        near = get_close_matches(unknown, known, n=1)
        return _error(
            path,
            f"{key}.{unknown}".lstrip("."),
            "is unknown",
            f"Write {near[0]!r} instead." if near else f"Known keys: {', '.join(sorted(known))}.",
        )
    if match := re.fullmatch("Object missing required field `(.*)`", what):
        missing = f"{key}.{match[1]}".lstrip(".")
        return _error(path, missing, "is missing", f"Add a line for {match[1]!r}.")
    return _error(path, key or None, f"is wrong: {plain_words(what)}", "Correct that value.")


def plain_words(what: str) -> str:
    """Return what msgspec says is wrong with a value, a pattern as words."""
    if match := re.fullmatch("Expected `str` matching regex '(.*?)'( - at .*)?", what):
        return f"not {_FORMS[match[1].encode().decode('unicode_escape')]}{match[2] or ''}"
    return what


def _keys(kind: type[Section], key: str) -> list[str]:
    """Return the keys that the section `key` of a file may have."""
    for part in filter(None, re.sub(r"\[[0-9]+\]", "", key).split(".")):
        (field,) = (each for each in msgspec.structs.fields(kind) if each.encode_name == part)
        kind = _section_in(field.type) or kind
    return [each.encode_name for each in msgspec.structs.fields(kind)]


def _section_in(annotation: object) -> type[Section] | None:
    """Return the section that an annotation such as ``tuple[Part, ...] | None`` is about."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)


def _check_socket_path(path: Path, key: str) -> None:
    if len(bytes(path)) > UNIX_PATH_BYTES_MAX:
        raise ValueError(f"the path of {key} is longer than {UNIX_PATH_BYTES_MAX} bytes")


def _error(path: Path, key: str | None, problem: str, advice: str) -> InputError:
    place = f"{path}: the key {key!r}" if key else f"{path}"
    return InputError(f"{place} {problem}", advice=advice, path=str(path), key=key)
