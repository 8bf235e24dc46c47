"""Every bench still fits what it measures: it can be imported, and run."""

from __future__ import annotations

import inspect
from importlib import import_module
from pkgutil import walk_packages

import pytest

import bench
from bench.__main__ import bench_names
from tests.e2e.installation import Installation

MODULES = [
    each.name
    for each in walk_packages(bench.__path__, "bench.")
    if not each.name.endswith("__main__")
]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_of_the_benches_can_be_imported(module):
    import_module(module)


@pytest.mark.parametrize("name", bench_names())
def test_every_bench_can_be_run_by_its_name(name):
    module = import_module(f"bench.{name}")
    assert not inspect.signature(module.run).parameters
    assert (module.__doc__ or "").strip(), "its first line is its heading in RESULTS.md"


@pytest.mark.parametrize("module", MODULES)
def test_no_bench_has_a_gate_that_is_patient_as_those_of_tests_are(module):
    for each in vars(import_module(module)).values():
        if inspect.isclass(each) and issubclass(each, Installation):
            assert not each.is_patient
