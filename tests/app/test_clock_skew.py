"""A command on a machine whose clock is wrong, against a control plane whose clock is right."""

import asyncio
import os
import subprocess
import sys

import pytest

from enforcer.core.key import Role
from tests.backends.wall_clock import WallClock, can_be_made
from tests.control import Installation


@pytest.fixture
def clock(tmp_path):
    if not can_be_made():
        pytest.skip("no C compiler to make a clock that can be set")
    return WallClock(tmp_path)


@pytest.fixture
async def served(tmp_path):
    """A control plane, and an auditor's client.toml."""
    async with Installation(tmp_path) as installation:
        installation.write_config()
        files = installation.issue(Role.AUDITOR, "auditor")
        (tmp_path / "own.crt").write_bytes(files.certificate)
        (tmp_path / "own.key").write_bytes(files.key)
        (tmp_path / "own.key").chmod(0o600)
        (tmp_path / "client.toml").write_text(
            'trust_file = "trust.toml"\nkey_file = "absent.key"\n'
            f'[control]\naddress = "127.0.0.1:{installation.control.port}"\n'
            '[tls]\ncertificate = "own.crt"\nkey = "own.key"\nca = "ca.pem"\n'
        )
        yield installation


async def status(served, clock):
    """Ask for the state as a person would, on a machine with that clock."""
    words = [sys.executable, "-m", "enforcer", "status", "--control", "client.toml"]
    return await asyncio.to_thread(
        subprocess.run,
        words,
        cwd=served.directory,
        env={**os.environ, **clock.env, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_a_clock_that_is_right_enough_is_no_fault(served, clock):
    said = await status(served, clock)
    assert "EMPTY" in said.stdout, said.stderr
    assert "clock" not in said.stdout + said.stderr


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (24 * 40, "is ahead of that of 127.0.0.1"),
        (-24, "is behind that of 127.0.0.1"),
    ],
)
async def test_a_clock_that_is_wrong_is_told_with_its_direction(served, clock, hours, words):
    clock.set_ahead(hours)
    said = await status(served, clock)
    told = said.stdout + said.stderr
    assert words in told
    assert "Set this machine's clock" in told
    assert said.returncode == 6
