"""The README's listings of commands are what the commands say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCKS = re.findall(r"<!-- help: (.*?) -->\n```\n(.*?)\n```", README.read_text(), re.DOTALL)


def help_of(command):
    words = [sys.executable, "-m", "enforcer", *command.split()[1:], "--help"]
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_readme_lists_every_group_of_commands():
    assert {command for command, _ in BLOCKS} == {
        "enforcer",
        "enforcer order",
        "enforcer list",
        "enforcer key",
        "enforcer pki",
        "enforcer trust",
        "enforcer node",
        "enforcer gate",
        "enforcer audit",
        "enforcer ledger",
    }


@pytest.mark.parametrize(("command", "text"), BLOCKS)
def test_a_listing_is_what_the_command_says(command, text):
    assert help_of(command) == text
    assert "..." not in text.replace("[ARGS]...", "")


def test_the_version_is_told():
    words = [sys.executable, "-m", "enforcer", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"enforcer \d+\.\d+\.\d+\n", done.stdout)


def test_a_mistyped_command_is_no_defect():
    done = subprocess.run(
        [sys.executable, "-m", "enforcer", "ordr"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "ordr" in done.stderr
