"""Running commands in this process, and a whole installation to run them against."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from enforcer.app.demo_land import AUDITOR, acts_of, lists_of
from enforcer.app.demo_stage import Stage, open_to_pass
from enforcer.cli.main import app


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def error(self):
        """The two lines of an error: what is wrong, what to do."""
        lines = self.err.strip().splitlines()
        return lines[-2:]


@pytest.fixture
def run(capsys):
    """Run ``enforcer WORDS`` here, and return its exit code and what it said."""

    def run(*words):
        capsys.readouterr()
        code = 0
        try:
            app([str(word) for word in words])
        except SystemExit as ending:
            code = ending.code or 0
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def stage(redis_executable):
    """A country with everybody's keys; redis, control plane, gate and node run."""
    with ExitStack() as stack:
        yield _started(stack)


def _started(stack):
    # Not below pytest's directory: when root runs this, the gate's user must pass through.
    base = stack.enter_context(TemporaryDirectory(prefix="enforcer-cli-"))
    open_to_pass(Path(base))
    stage = stack.enter_context(Stage(Path(base) / "land"))
    stage.install()
    stage.start()
    words = ["trust", "submit", "-c", stage.person(AUDITOR)]
    words += map(str, acts_of(stage.installation))
    for path in lists_of(stage.installation):
        words += ["--list", str(path)]
    done = stage.command(*words)
    assert done.returncode == 0, done.stderr
    stage.start_node(len(acts_of(stage.installation)))
    return stage
