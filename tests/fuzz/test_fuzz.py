"""Every corpus and some thousand mutants of it, on the build as it is; minutes of it sanitised."""

import os
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz.mutate import mutants
from tests.fuzz.targets import ALL, DATA

ROOT = Path(__file__).resolve().parent.parent.parent
MUTANTS = 1_500
SECONDS_EACH = 60
BUILD_SECONDS_MAX = 900

EVERY = pytest.mark.parametrize("name", ALL)


@EVERY
def test_the_whole_corpus_does_no_harm(name):
    target, corpus = ALL[name]
    for wire in corpus():
        for end in (len(wire), len(wire) // 2, 13):
            target(wire[:end])


@EVERY
def test_mutants_of_the_corpus_do_no_harm(name):
    target, corpus = ALL[name]
    for wire in islice(mutants(0, corpus()), MUTANTS):
        target(wire)


def test_mutants_are_the_same_for_the_same_seed():
    corpus = ALL["query"][1]()
    first, again, other = (list(islice(mutants(seed, corpus), 50)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.fixture(scope="module")
def sanitised(tmp_path_factory):
    """A copy of the programs, built with the address and undefined-behaviour sanitisers."""
    copy = tmp_path_factory.mktemp("sanitised")
    copy.chmod(0o755)
    for folder in ("enforcer", "native", "proto", "tests"):
        shutil.copytree(
            ROOT / folder,
            copy / folder,
            ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"),
        )
    for file in ("setup.py", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / file, copy / file)
    # What is C and not Cython's is copied after all.
    for path in ROOT.glob("tests/**/*.c"):
        shutil.copy(path, copy / path.relative_to(ROOT))
    built = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=copy,
        env=os.environ | {"ENFORCER_SANITIZE": "1"},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS_MAX,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-5_000:]
    return copy


def run_sanitised(copy: Path, *words: str) -> None:
    """Run Python in the sanitised copy; what a sanitiser finds ends it."""
    libraries = [
        subprocess.run(
            ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    env = os.environ | {
        "LD_PRELOAD": " ".join(libraries),
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1",
        "PYTHONPATH": str(copy),
        "ENFORCER_DATA": str(DATA),
    }
    ran = subprocess.run(
        [sys.executable, *words], cwd=copy, env=env, capture_output=True, text=True, check=False
    )
    said = (ran.stdout + ran.stderr)[-10_000:]
    assert ran.returncode == 0, said
    assert "runtime error" not in said, said


@pytest.mark.long
@EVERY
def test_minutes_of_mutants_do_no_harm_under_the_sanitisers(sanitised, name):
    run_sanitised(sanitised, "-m", "tests.fuzz", name, str(SECONDS_EACH))


@pytest.mark.long
def test_the_whole_gate_takes_hostile_packets_under_the_sanitisers(sanitised):
    for tests in ("tests/native", "tests/backends/test_gate_hostile.py", "tests/conformance"):
        run_sanitised(
            sanitised, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not long", tests
        )
