"""Who gets to speak at the control socket, whoever else comes to it."""

import json
import os
import socket
import struct
import threading
from contextlib import ExitStack

import pytest

from enforcer.backends.gate_control import CONNECTIONS_MAX, ControlSocket, listen
from enforcer.backends.gate_messages import Check, Reply
from enforcer.backends.watch import Watch
from tests.waiting import WAIT_SECONDS

STRANGER_UID = os.getuid() + 1


class Peer(socket.socket):
    """A conversation of which the kernel says that `uid` began it."""

    uid: int

    def getsockopt(self, level, option, size=0):
        return struct.pack("3i", os.getpid(), self.uid, 0)


class Listener(socket.socket):
    """A listening socket whose next peers are of `uid`."""

    uid = os.getuid()

    def accept(self):
        fd, address = self._accept()
        peer = Peer(self.family, self.type, fileno=fd)
        peer.uid = self.uid
        return peer, address


class World:
    """A control socket being served, and those who come to it."""

    def __init__(self, path, closing):
        self._path, self._closing = path, closing
        self.listener = closing.enter_context(Listener(fileno=listen(path).detach()))
        self._watch = closing.enter_context(Watch())
        self._control = ControlSocket(self.listener, {os.getuid()}, self.answer, self._watch)
        self._control.open()
        wake, self._waker = socket.socketpair()
        closing.enter_context(wake)
        closing.enter_context(self._waker)
        self._is_over = False
        self._watch.add(wake, self._told)
        self._thread = threading.Thread(target=self._serve)
        closing.callback(self.end)
        self._thread.start()

    @staticmethod
    def answer(request, fds):
        if isinstance(request, Check):
            raise ZeroDivisionError
        return Reply()

    def _told(self):
        self._is_over = True

    def _serve(self):
        while not self._is_over:
            self._watch.turn(WAIT_SECONDS)
        self._control.close()

    def end(self):
        self._waker.send(b"\0")
        self._thread.join(WAIT_SECONDS)

    def come(self, uid):
        """Begin a conversation as `uid`."""
        self.listener.uid = uid
        peer = self._closing.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        peer.settimeout(WAIT_SECONDS)
        peer.connect(str(self._path))
        return peer


@pytest.fixture
def world(tmp_path):
    with ExitStack() as closing:
        yield World(tmp_path / "gate.sock", closing)


def ask(peer):
    peer.send(b'{"op":"status"}')
    return json.loads(peer.recv(65_536))


def test_strangers_put_nobody_off_the_line(world):
    friends = []
    for _ in range(CONNECTIONS_MAX):
        friends.append(world.come(os.getuid()))
        assert ask(friends[-1]) == {}
    for _ in range(CONNECTIONS_MAX):
        stranger = world.come(STRANGER_UID)
        assert json.loads(stranger.recv(65_536))["refusal"]["kind"] == "RefusedError"
        assert stranger.recv(1) == b""
    for friend in friends:
        assert ask(friend) == {}


def test_a_friend_too_many_puts_off_the_one_who_came_first(world):
    friends = []
    for _ in range(CONNECTIONS_MAX + 1):
        friends.append(world.come(os.getuid()))
        assert ask(friends[-1]) == {}
    assert friends[0].recv(1) == b""
    for friend in friends[1:]:
        assert ask(friend) == {}


def test_a_defect_ends_neither_the_conversation_nor_the_gate(world):
    friend = world.come(os.getuid())
    friend.send(b'{"op":"check","qname":"a.example","qtype":1}')
    refusal = json.loads(friend.recv(65_536))["refusal"]
    assert (refusal["kind"], "ZeroDivisionError" in refusal["message"]) == (
        "UnavailableError",
        True,
    )
    assert ask(friend) == {}
