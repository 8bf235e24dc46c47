"""A process's own small files: whole whenever it stops, and whoever writes them at once."""

import threading

import pytest

from enforcer.backends.kept_files import KeptFiles
from enforcer.errors import EnforcerError, InputError

ROUNDS = 15


@pytest.fixture
def files(tmp_path):
    return KeptFiles(tmp_path / "state")


@pytest.mark.parametrize("method", ["write", "show"])
def test_threads_that_write_one_file_do_not_take_each_others_temporary_file(files, method):
    failures: list[EnforcerError] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(ROUNDS):
                getattr(files, method)("floor", content)
        except EnforcerError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(bytes([at]) * 8,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert files.read("floor") in [bytes([at]) * 8 for at in range(4)]


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b/c", ".hidden", ""])
def test_a_name_that_leads_out_of_the_directory_is_refused(files, name):
    with pytest.raises(InputError):
        files.write(name, b"x")


def test_a_file_that_is_not_there_is_none_and_no_error(files):
    assert files.read("floor") is None
    files.remove("floor")
    assert files.names("stops") == []
