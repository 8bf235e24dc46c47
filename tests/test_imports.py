"""Imports point inward, and the core touches nothing but pure parts of the standard library.

``core <- ports <- services <- {api, app}``; ``backends -> ports, core, _native``; only ``app`` sees
both services and backends; ``cli`` stands on ``app`` and ``api``; everyone may import ``errors``.
"""

import ast
from pathlib import Path

import pytest

ENFORCER = Path(__file__).resolve().parent.parent / "enforcer"

# What each part may import beside itself and errors. "v1" is the generated wire format.
MAY_IMPORT = {
    "errors": set(),
    "core": set(),
    "ports": {"core"},
    "services": {"core", "ports"},
    "backends": {"core", "ports", "_native", "v1"},
    "api": {"core", "ports", "services", "v1"},
    "config": {"core"},
    "app": {"core", "ports", "services", "backends", "api", "config", "v1"},
    "cli": {"core", "ports", "api", "app", "config", "v1"},
    "_native": set(),
    "__main__": {"cli"},
}

# Modules that compute and do nothing else: no clock, no chance, no files, no network, no threads.
PURE = set(
    "__future__ abc array base64 binascii bisect collections copy dataclasses enum functools "
    "hashlib heapq hmac ipaddress itertools json math operator re string struct types typing "
    "unicodedata".split()
)
REACHES_OUT = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}


def part_of(path):
    """Name the part a file of the package belongs to: its first folder, or its own stem."""
    return Path(path).parts[0].removesuffix(".py")


def imported(tree, path):
    """Yield (line, dotted name) of every import, relative ones resolved, wherever it stands."""
    package = ("enforcer", *Path(path).parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join([*base, *([node.module] if node.module else [])])
            if name == "enforcer":  # from enforcer import core
                yield from ((node.lineno, f"enforcer.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, name


def violations(sources):
    """Return one line for each import (in core: or call) that the rules forbid.

    ``sources`` maps a path inside the package to its text.
    """
    found = []
    for path, text in sources.items():
        part, tree = part_of(path), ast.parse(text)
        if part not in MAY_IMPORT:
            found.append(f"{path}: no rule says what {part!r} may import")
            continue
        allowed = MAY_IMPORT[part] | {part, "errors", "__version__"}
        for line, name in imported(tree, path):
            top, _, rest = name.partition(".")
            if top == "enforcer":
                bad = rest and rest.partition(".")[0] not in allowed
            else:
                bad = part in ("core", "errors") and top not in PURE
            if bad:
                found.append(f"{path}:{line}: {part} may not import {name}")
        if part == "core":
            found += [
                f"{path}:{node.lineno}: core may not call {node.func.id}"
                for node in ast.walk(tree)
                if isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in REACHES_OUT
            ]
    return found


def test_every_import_points_inward():
    sources = {
        str(path.relative_to(ENFORCER)): path.read_text()
        for path in ENFORCER.rglob("*.py")
        if path.relative_to(ENFORCER).parts[0] not in ("v1", "__init__.py")
    }
    assert "errors.py" in sources
    assert violations(sources) == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("core/state.py", "import time"),
        ("core/state.py", "import os.path"),
        ("core/state.py", "from datetime import datetime"),
        ("core/state.py", "import cryptography"),
        ("core/state.py", "from enforcer import ports"),
        ("core/state.py", "from ..services import node"),
        ("core/state.py", "def f():\n    from enforcer.backends import tiles"),
        ("core/state.py", "open('x')"),
        ("errors.py", "import grpc"),
        ("errors.py", "from enforcer.core import name"),
        ("ports/feed.py", "from enforcer.services.node import Node"),
        ("services/node.py", "from enforcer.backends.tiles import Tiles"),
        ("services/node.py", "from enforcer._native import gate"),
        ("services/node.py", "from enforcer.v1 import orders_pb2"),
        ("api/orders.py", "import enforcer.backends.tiles"),
        ("api/orders.py", "import enforcer.app"),
        ("backends/tiles.py", "from enforcer.services import ledger"),
        ("backends/deep/tiles.py", "from ...services import ledger"),
        ("app.py", "import enforcer.cli.main"),
        ("cli/main.py", "from enforcer.backends import tiles"),
        ("cli/main.py", "from enforcer.services import ledger"),
        ("novelty.py", "import json"),
    ],
)
def test_a_planted_violation_is_found(path, line):
    assert len(violations({path: line})) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("core/state.py", "from collections.abc import Mapping\nfrom . import entry"),
        ("core/state.py", "from enforcer.errors import InputError"),
        ("services/node.py", "import asyncio\nfrom enforcer.ports import Feed"),
        ("backends/gate.py", "from enforcer._native import gate\nimport redis"),
        ("api/orders.py", "import grpc\nfrom enforcer.v1 import orders_pb2"),
        ("app.py", "from enforcer import backends, services"),
        ("cli/main.py", "import typer\nfrom enforcer import __version__, app"),
    ],
)
def test_what_the_rules_allow_passes(path, line):
    assert violations({path: line}) == []
