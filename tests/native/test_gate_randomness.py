"""A kernel without random octets: nothing is asked by an id that can be guessed."""

import ctypes
import errno
import os
import platform
import struct

import pytest

from tests.backends.gate_client import query
from tests.native.loops import World
from tests.waiting import eventually

GETRANDOM = {"x86_64": 318, "aarch64": 278}.get(platform.machine())
SERVFAIL = 2
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF, linux/filter.h
ALLOW, FAIL = 0x7FFF0000, 0x00050000

pytestmark = pytest.mark.skipif(GETRANDOM is None, reason="its number of getrandom is not known")


def forbid_randomness():
    """Have getrandom(2) fail with ENOSYS in the calling thread, for as long as that lives."""
    program = ctypes.create_string_buffer(
        b"".join(
            struct.pack("HBBI", *each)
            for each in (
                (LOAD, 0, 0, 0),
                (JUMP_IF_EQUAL, 0, 1, GETRANDOM),
                (RETURN, 0, 0, FAIL | errno.ENOSYS),
                (RETURN, 0, 0, ALLOW),
            )
        )
    )
    head = struct.pack("HxxxxxxP", 4, ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def has_nothing(made):
    """Tell whether nothing has come to a socket of an upstream."""
    made.setblocking(False)
    try:
        made.recv(2_048)
    except BlockingIOError:
        return True
    return False


@pytest.fixture
def deprived(opened):
    """A world whose loops find no randomness, and the errors that they ended with."""
    world, errors = World(opened), []

    def without(loop):
        def run():
            forbid_randomness()
            try:
                loop()
            except OSError as error:
                errors.append(error.errno)

        return run

    return world, errors, without


def test_over_tcp_nothing_is_asked_and_the_loop_ends(deprived):
    world, errors, without = deprived
    world.start(world.gate.run_datagrams, without(world.gate.run_streams))
    reply = world.stream().ask(query("free.example"))
    assert reply[3] & 0x0F == SERVFAIL
    assert eventually(lambda: errors) == [errno.ENOSYS]
    opened_in_vain = world.upstreams[0].stream().carrier
    assert has_nothing(opened_in_vain)


def test_over_udp_nothing_is_asked_and_the_loop_ends(deprived):
    world, errors, without = deprived
    world.client().send(query("free.example"))
    world.start(without(world.gate.run_datagrams))
    assert eventually(lambda: errors) == [errno.ENOSYS]
    assert has_nothing(world.upstreams[0].udp)
