"""A canonical target list in the formats that other programs read.

What a format cannot say exactly is left out and reported, never widened: a hosts file has no
subtrees, a filter list no single names, neither has addresses. What is read back by
:mod:`list_import` covers what was written, no more and no less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from typing import IO, Final, TypeAlias

from enforcer.backends.list_format import ListFormat
from enforcer.backends.list_line import left_out
from enforcer.backends.list_report import NormaliseReport, Notes
from enforcer.core.name import WIRE_OCTETS_MAX, Name
from enforcer.core.target import NAME_KINDS, Target, TargetKind, parse_line
from enforcer.errors import InputError

_RECORDS: Final = (
    "@ IN SOA localhost. hostmaster.localhost. 1 3600 600 86400 300\n@ IN NS localhost.\n"
)


@dataclass(frozen=True, slots=True)
class Writing:
    """How a list is to be written."""

    format: ListFormat
    kind: TargetKind = TargetKind.EXACT
    """What a bare name means in PLAIN."""
    zone: str = "rpz"
    """The zone's name in RPZ."""


Write: TypeAlias = Callable[[Target], str | None]
"""Returns the text of one target, line ends included; None for what the format cannot say."""


def export(
    source: IO[bytes], to: IO[bytes], writing: Writing, report_to: IO[bytes] | None = None
) -> NormaliseReport:
    """Write the checked canonical list `source` to `to`; what is left out also to `report_to`.

    Raises:
        InputError: nothing of the list can be said in the format, or the zone has no name.
        OSError: a file cannot be read or written.
    """
    notes = Notes(text=report_to)
    report = notes.report
    report.format = writing.format.word
    head, write, reason = _writer(writing)
    to.write(head.encode("ascii"))
    for line in source:
        report.line_count += 1
        text = write(parse_line(line[:-1], report.line_count))
        if text is None:
            notes.note(left_out(reason, report.line_count), report.line_count)
        else:
            report.target_count += 1
            to.write(text.encode("ascii"))
    if report.target_count == 0:
        raise InputError(
            f"nothing of the list can be said in the format {report.format}: {reason}",
            advice="Choose another format, or for plain names what they mean: --kind.",
            field="format",
        )
    return report


def _writer(writing: Writing) -> tuple[str, Write, str]:
    """Return what stands first, what writes a target, and why it cannot write some."""
    match writing.format:
        case ListFormat.PLAIN:
            word = writing.kind.name.lower()
            write = partial(_of_kind, {writing.kind: "{}\n"})
            return f"# each line means: {word}\n", write, f"the line's kind is not {word}"
        case ListFormat.RPZ:
            zone = _zone(writing.zone)
            head = f"$ORIGIN {zone.text}.\n$TTL 300\n{_RECORDS}"
            return head, partial(_rpz, len(zone.wire)), "the zone has no place for such a name"
        case ListFormat.CSV:
            return "target,kind,value\n", _csv, ""
        case ListFormat.CANONICAL:
            return "", lambda target: target.line.decode("ascii"), ""
        case _ if writing.format in _LINES:
            lines, reason = _LINES[writing.format]
            return "", partial(_of_kind, lines), reason
        case _:
            raise InputError(
                f"a list cannot be written as {writing.format.word}",
                advice="Name plain, hosts, adblock, dnsmasq, rpz, csv or canonical.",
                field="format",
            )


_LINES: Final[Mapping[ListFormat, tuple[Mapping[TargetKind, str], str]]] = {
    ListFormat.HOSTS: (
        {TargetKind.EXACT: "0.0.0.0 {}\n"},
        "a hosts file has single names alone",
    ),
    ListFormat.ADBLOCK: (
        {TargetKind.SUBTREE: "||{}^\n"},
        "a filter list has names with all below them alone",
    ),
    ListFormat.DNSMASQ: (
        {TargetKind.SUBTREE: "local=/{}/\n"},
        "dnsmasq has names with all below them alone",
    ),
}


def _of_kind(lines: Mapping[TargetKind, str], target: Target) -> str | None:
    line = lines.get(target.kind)
    return None if line is None else line.format(target.value)


def _csv(target: Target) -> str:
    word = target.kind.name.lower()
    return f"{word} {target.value},{word},{target.value}\n"


def _rpz(zone_octets: int, target: Target) -> str | None:
    """Return the records of a target below a zone whose name takes `zone_octets` on the wire."""
    value = target.value
    if target.kind not in NAME_KINDS:
        return f"{_trigger(value)} CNAME .\n"
    is_subtree = target.kind is TargetKind.SUBTREE
    octets = len(value) + 1 + zone_octets + (2 if is_subtree else 0)
    if octets > WIRE_OCTETS_MAX or value.rpartition(".")[2].startswith("rpz-"):
        return None
    return f"{value} CNAME .\n" + (f"*.{value} CNAME .\n" if is_subtree else "")


def _trigger(value: str) -> str:
    """Return the owner of an address trigger: the length, and the words in reverse."""
    network = ip_network(value)
    if network.version == 4:
        words = str(network.network_address).split(".")
    else:
        words = str(network.network_address).replace("::", ":zz:").strip(":").split(":")
    return ".".join([str(network.prefixlen), *reversed(words), "rpz-ip"])


def _zone(text: str) -> Name:
    try:
        zone = Name.from_text(text)
    except InputError as error:
        raise InputError(error.message, advice=error.advice, field="zone") from error
    if not zone.labels:
        raise InputError("the root is no policy zone", advice="Name a zone: rpz.", field="zone")
    return zone
