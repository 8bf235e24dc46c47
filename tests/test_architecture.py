"""The code map in ARCHITECTURE.md names what is there, and all of what is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROWS = re.findall(r"^\| (.*?) \|", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)


def named(package):
    """Return the patterns in the rows below a package's own."""
    start = ROWS.index(f"`enforcer/{package}/`") + 1
    patterns = []
    for row in ROWS[start:]:
        if not row.startswith("…"):
            return patterns
        patterns += " ".join(re.findall(r"`(.*?)`", row)).split()
    return patterns


@pytest.mark.parametrize("package", ["core", "services", "backends", "config"])
def test_every_name_in_the_code_map_is_a_module(package):
    for pattern in named(package):
        assert list((ROOT / "enforcer" / package).glob(f"{pattern}.py")), pattern


@pytest.mark.parametrize("package", ["core", "services", "backends", "config"])
def test_every_module_is_in_the_code_map(package):
    folder = ROOT / "enforcer" / package
    found = {path for pattern in named(package) for path in folder.glob(f"{pattern}.py")}
    assert {path.name for path in folder.glob("*.py")} - {path.name for path in found} == {
        "__init__.py"
    }
