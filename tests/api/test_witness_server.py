"""A witness over HTTP: the document's statuses, connections that stay, nothing hurts it."""

from __future__ import annotations

import asyncio
import json

import pytest

from enforcer.api import witness_server
from enforcer.api.witness_server import witness_served
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.witness_http import HttpWitness
from enforcer.core.checkpoint import open_checkpoint
from enforcer.core.cosignature import cosigned_at, with_lines
from enforcer.core.note import Note, SignatureLine, VerifierKey
from enforcer.core.witness import REQUEST_BYTES_MAX, log_name
from enforcer.errors import ConflictError, RefusedError, UnavailableError
from tests.witnesses import forked, open_witness

LOG_KEY = PrivateKey.generate()
LOG = VerifierKey("example.org/ledger", LOG_KEY.public_key)
KEY = PrivateKey.generate()
HONEST, FORKED = forked(LOG, LOG_KEY)
STRANGER = PrivateKey.generate()
UNSIGNED = forked(LOG, STRANGER)[0]
UNKNOWN = forked(VerifierKey("example.com/other", LOG_KEY.public_key), LOG_KEY)[0]


@pytest.fixture
async def server(tmp_path):
    witness = open_witness(tmp_path / "w", LOG, KEY)
    async with witness_served(witness, "127.0.0.1", 0) as port:
        yield witness, port


async def exchange(port, *requests: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Send requests over one connection, and return status, headers and body of each answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    try:
        for request in requests:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            body = await reader.readexactly(int(headers["Content-Length"]))
            answers.append((int(head[0].split()[1]), headers, body))
    finally:
        writer.close()
    return answers


def post(body: bytes, path: str = "/add-checkpoint", more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: w\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


async def test_the_statuses_are_those_of_the_document(server):
    _, port = server
    got = await exchange(
        port,
        post(UNKNOWN.request(0, 3)),
        post(UNSIGNED.request(0, 3)),
        post(b"nonsense"),
        post(HONEST.request(0, 9)),
        post(HONEST.request(0, 9)),
        post(FORKED.request(9, 9)),
        post(FORKED.request(9, 12)),
        post(HONEST.request(9, 12).replace(b"old 9", b"old 13")),
        post(HONEST.request(9, 12), "/some/prefix/add-checkpoint"),
        post(b"", "/elsewhere"),
        b"GET /add-checkpoint HTTP/1.1\r\nHost: w\r\n\r\n",
    )
    assert [status for status, _, _ in got] == [
        404, 403, 400, 200, 409, 409, 422, 400, 200, 404, 405,
    ]  # fmt: skip
    for _, headers, body in (got[4], got[5]):
        assert body == b"9\n"
        assert headers["Content-Type"] == "text/x.tlog.size"


async def test_the_answer_is_a_signature_line_that_verifies(server):
    witness, port = server
    ((_, _, body),) = await exchange(port, post(HONEST.request(0, 9)))
    assert body.endswith(b"\n")
    line = SignatureLine.parse(body.decode().removesuffix("\n"))
    note = with_lines(Note.parse(HONEST.note(9)), [line])
    assert cosigned_at(note, witness.key, verify)


async def test_split_views_are_shown_to_everybody(server):
    _, port = server
    got = await exchange(
        port,
        b"GET /split-views HTTP/1.1\r\nHost: w\r\n\r\n",
        post(HONEST.request(0, 9)),
        post(FORKED.request(9, 9)),
        b"GET /split-views HTTP/1.1\r\nHost: w\r\n\r\n",
    )
    assert json.loads(got[0][2]) == []
    (shown,) = json.loads(got[3][2])
    assert (shown["cosigned"].encode(), shown["offered"].encode()) == (
        HONEST.note(9),
        FORKED.note(9),
    )


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /add-checkpoint HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /add-checkpoint HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 400),
        (post(b"").replace(b": 0", b": %d" % (REQUEST_BYTES_MAX + 1)), 413),
        (post(b"").replace(b": 0", b": 99999999999999999999"), 413),
    ],
)
async def test_what_is_no_request_ends_the_connection(server, request_, status):
    _, port = server
    ((got, headers, _),) = await exchange(port, request_)
    assert got == status
    assert headers["Connection"] == "close"
    ((again, _, _),) = await exchange(port, post(HONEST.request(0, 3)))
    assert again == 200


async def test_who_is_slow_or_one_too_many_is_hung_up_on(server, monkeypatch):
    _, port = server
    seconds_max = witness_server.REQUEST_SECONDS_MAX
    monkeypatch.setattr(witness_server, "REQUEST_SECONDS_MAX", 0.05)
    monkeypatch.setattr(witness_server, "CONNECTIONS_MAX", 2)
    slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    for _, writer in slow:
        writer.write(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
    for reader, writer in slow:
        assert await reader.read() == b""
        writer.close()
    monkeypatch.setattr(witness_server, "REQUEST_SECONDS_MAX", seconds_max)
    ((status, _, _),) = await exchange(port, post(HONEST.request(0, 3)))
    assert status == 200


async def test_the_client_and_the_server_understand_each_other(server):
    _, port = server
    link = HttpWitness(f"http://127.0.0.1:{port}/")
    assert (await link.add_checkpoint(HONEST.request(0, 9))).startswith("— ".encode())
    with pytest.raises(ConflictError) as caught:
        await link.add_checkpoint(HONEST.request(0, 9))
    assert caught.value.data["size"] == 9
    for body, status in ((FORKED.request(9, 12), 422), (UNKNOWN.request(0, 3), 404)):
        with pytest.raises(RefusedError) as refused:
            await link.add_checkpoint(body)
        assert refused.value.data["status"] == status


async def test_what_was_cosigned_last_is_shown_to_whoever_asks(server):
    witness, port = server
    link = HttpWitness(f"http://127.0.0.1:{port}/prefix/")
    with pytest.raises(RefusedError) as refused:
        await link.latest(LOG.name)
    assert refused.value.data["status"] == 404
    await link.add_checkpoint(HONEST.request(0, 9))
    note = Note.parse(await link.latest(LOG.name))
    assert open_checkpoint(note.format(), LOG.name, LOG, verify) == HONEST.checkpoint(9)
    assert cosigned_at(note, witness.key, verify) is not None
    path = f"/latest/{log_name(LOG.name)}"
    got = await exchange(port, post(b"", path), get(path), get("/latest/"), get("/latest/%ff"))
    assert [status for status, _, _ in got] == [405, 200, 404, 404]


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: w\r\n\r\n".encode()


async def hostile(answer: bytes):
    """Serve one answer to whatever is asked."""

    async def serve(reader, writer):
        await reader.read(100)
        writer.write(answer)
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        b"HTTP/1.1 500 Broken\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 70_000,
    ],
)
async def test_a_witness_that_answers_otherwise_is_away(answer):
    async with await hostile(answer) as served:
        link = HttpWitness(f"http://127.0.0.1:{served.sockets[0].getsockname()[1]}/", seconds_max=2)
        with pytest.raises(UnavailableError):
            await link.add_checkpoint(HONEST.request(0, 9))
        with pytest.raises(UnavailableError):
            await link.latest(LOG.name)


async def test_a_size_that_is_none_is_no_size():
    async with await hostile(b"HTTP/1.1 409 Conflict\r\nContent-Length: 4\r\n\r\nmany") as served:
        link = HttpWitness(f"http://127.0.0.1:{served.sockets[0].getsockname()[1]}/")
        with pytest.raises(ConflictError) as caught:
            await link.add_checkpoint(HONEST.request(0, 9))
        assert caught.value.data["size"] is None


async def test_nobody_there_is_away():
    async with await hostile(b"") as served:
        port = served.sockets[0].getsockname()[1]
    with pytest.raises(UnavailableError):
        await HttpWitness(f"http://127.0.0.1:{port}/").add_checkpoint(b"")
