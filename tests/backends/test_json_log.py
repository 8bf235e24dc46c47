"""Lines on stderr: whole, in order, and never a reason to fail or to wait."""

import json
import os

import pytest

from enforcer.backends.json_log import WAIT_MS_MAX, Lines

LONG = "x" * 3_000


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    ends = {reading, writing}
    yield reading, writing, ends
    for fd in ends:
        os.close(fd)


def taken(reading):
    """Return the lines that were written, whole or not."""
    octets = b""
    try:
        while more := os.read(reading, 65_536):
            octets += more
    except BlockingIOError:
        pass
    return octets.decode().split("\n")[:-1]


def test_a_line_is_there_when_it_was_said(pipe):
    reading, writing, _ = pipe
    lines = Lines(writing)
    lines.info('{"event": "one"}')
    lines.error("Tiếng Việt \udcff")
    assert taken(reading) == ['{"event": "one"}', "Tiếng Việt \\udcff"]


def test_what_a_sleeping_reader_misses_is_counted_for_it(pipe, monkeypatch):
    monkeypatch.setattr("enforcer.backends.json_log.WAIT_MS_MAX", 1)
    reading, writing, _ = pipe
    lines = Lines(writing)
    for number in range(50):
        lines.info(f"{number} {LONG}")
    first = taken(reading)
    lines.info("awake")
    lost, last = taken(reading)
    assert first == [f"{number} {LONG}" for number in range(len(first))]
    assert json.loads(lost) == {
        "event": "log_lines_lost",
        "level": "error",
        "count": 50 - len(first),
    }
    assert last == "awake"
    assert WAIT_MS_MAX <= 100


def test_a_line_that_was_torn_ends_before_the_next(pipe, monkeypatch):
    monkeypatch.setattr("enforcer.backends.json_log.WAIT_MS_MAX", 1)
    reading, writing, _ = pipe
    lines = Lines(writing)
    lines.info("y" * 1_000_000)
    (torn,) = (os.read(reading, 1 << 20),)
    assert set(torn) == {ord("y")}
    lines.info("after")
    assert [line[:24] for line in taken(reading)] == ["", '{"event": "log_lines_los', "after"]


def test_a_reader_that_is_gone_is_no_error(pipe):
    reading, writing, ends = pipe
    ends.remove(reading)
    os.close(reading)
    Lines(writing).info("nobody hears")


def test_a_full_disk_is_no_error():
    with open("/dev/full", "wb") as full:
        Lines(full.fileno()).info("nobody reads")


def test_a_descriptor_that_is_none_is_no_error():
    Lines(1 << 19).info("nobody reads")
