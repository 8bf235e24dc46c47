"""Archives: bytes are a function of the content; what is not spelt that one way is refused."""

import gzip
import io
import os
import subprocess
import tarfile
from hashlib import sha256

import pytest

from enforcer.backends.archive import SUMS, unpack, write_archive
from enforcer.errors import ConflictError, IntegrityError, NotFoundError

ABOUT = b'{"format":"test"}\n'
FILES = {"a/1": b"one", "a/2": b"", "b": bytes(2_000)}


def layout(name):
    return 2_048 if name in {"about.json", *FILES, "c"} else None


def sums_of(files):
    return b"".join(f"{sha256(text).hexdigest()}  {name}\n".encode() for name, text in files)


def plain(name, text, **changes):
    member = tarfile.TarInfo(name)
    member.size = len(text)
    for field, value in changes.items():
        setattr(member, field, value)
    return member, text


def packed(path, members, ending=bytes(1024), tail=b"", kind=tarfile.USTAR_FORMAT):
    """Write an archive by hand, members as (TarInfo, bytes)."""
    body = io.BytesIO()
    for member, text in members:
        body.write(member.tobuf(kind, "ascii", "strict"))
        body.write(text + bytes(-len(text) % 512))
    path.write_bytes(gzip.compress(body.getvalue() + ending, mtime=0) + tail)
    return path


def files_of(*changes, without=(), also=()):
    """Return the members of a good archive, some changed, left out or added at the end."""
    files = [("about.json", ABOUT), *FILES.items()]
    changed = {member.name: (member, text) for member, text in changes}
    members = [
        changed.get(name) or plain(name, text) for name, text in files if name not in without
    ]
    return [*members, *also, plain(SUMS, sums_of(files))]


def refused(path, tmp_path, layout=layout):
    with pytest.raises(IntegrityError) as caught:
        unpack(path, tmp_path / "fresh", layout)
    assert not (tmp_path / "fresh").exists()
    assert caught.value.data["path"] == str(path)
    assert isinstance(caught.value.data["offset"], int)
    return caught.value


def test_what_is_written_is_read_back_and_its_bytes_do_not_vary(tmp_path):
    (tmp_path / "b").write_bytes(FILES["b"])
    members = [("a/1", FILES["a/1"]), ("a/2", b""), ("b", tmp_path / "b")]
    first = write_archive(tmp_path / "1.tar.gz", ABOUT, members)
    os.utime(tmp_path / "b", (1, 1))
    (tmp_path / "b").chmod(0o600)
    second = write_archive(tmp_path / "2.tar.gz", ABOUT, members)
    assert first == second
    assert (tmp_path / "1.tar.gz").read_bytes() == (tmp_path / "2.tar.gz").read_bytes()
    unpack(tmp_path / "1.tar.gz", tmp_path / "to", layout)
    found = {name: (tmp_path / "to" / name).read_bytes() for name in FILES}
    assert found == FILES
    assert (tmp_path / "to" / "about.json").read_bytes() == ABOUT


def test_tar_and_sha256sum_read_it_too(tmp_path):
    write_archive(tmp_path / "x.tar.gz", ABOUT, FILES.items())
    subprocess.run(["tar", "xzf", "x.tar.gz"], cwd=tmp_path, check=True)
    words = ["sha256sum", "--check", "--strict", SUMS]
    done = subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "a/1: OK" in done.stdout


def test_a_good_archive_by_hand_is_what_the_refusals_begin_from(tmp_path):
    unpack(packed(tmp_path / "x", files_of()), tmp_path / "fresh", layout)
    assert (tmp_path / "fresh" / "a" / "1").read_bytes() == b"one"


def test_a_file_that_went_away_meanwhile_is_left_out(tmp_path):
    write_archive(tmp_path / "x", ABOUT, [("a/1", tmp_path / "gone"), ("b", b"here")])
    unpack(tmp_path / "x", tmp_path / "to", layout)
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["about.json", "b"]


def test_nothing_is_overwritten(tmp_path):
    write_archive(tmp_path / "x", ABOUT, FILES.items())
    before = (tmp_path / "x").read_bytes()
    with pytest.raises(ConflictError):
        write_archive(tmp_path / "x", b"", [])
    (tmp_path / "to").mkdir()
    with pytest.raises(ConflictError):
        unpack(tmp_path / "x", tmp_path / "to", layout)
    assert (tmp_path / "x").read_bytes() == before
    with pytest.raises(NotFoundError):
        unpack(tmp_path / "y", tmp_path / "fresh", layout)


def test_an_archive_cut_anywhere_is_refused(tmp_path):
    write_archive(tmp_path / "x", ABOUT, FILES.items())
    whole = (tmp_path / "x").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        assert refused(tmp_path / "cut", tmp_path).data["problem"] == "cut", length


def test_an_archive_with_a_flipped_bit_is_refused_or_says_the_same(tmp_path):
    write_archive(tmp_path / "x", ABOUT, FILES.items())
    whole = bytearray((tmp_path / "x").read_bytes())
    refusals = 0
    for at in range(10, len(whole)):  # the first ten are gzip's own header
        whole[at] ^= 4
        (tmp_path / "bad").write_bytes(whole)
        to = tmp_path / f"to-{at}"
        try:
            unpack(tmp_path / "bad", to, layout)
        except IntegrityError:
            refusals += 1
            assert not to.exists()
        else:  # deflate can point to the same zeros in two ways
            assert {name: (to / name).read_bytes() for name in FILES} == FILES
        whole[at] ^= 4
    assert refusals > len(whole) * 9 // 10


LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
HARD = {"type": tarfile.LNKTYPE, "linkname": "a/1"}


@pytest.mark.parametrize(
    ("members", "problem", "words"),
    [
        (files_of(without=["a/2"]), "missing", "'a/2' is missing"),
        (files_of(without=["b"]), "missing", "'b' is missing"),
        (files_of(without=["about.json"]), "missing", "does not begin with about.json"),
        (files_of()[:-1], "missing", "ends without SHA256SUMS"),
        (files_of(also=[plain("c", b"more")]), "extra", "does not name c"),
        (files_of(also=[plain("d", b"more")]), "name", "'d' has no place"),
        (files_of(also=[plain("b", b"again")]), "duplicate", "b comes twice"),
        (files_of(also=[plain("a/1", b"one")]), "duplicate", "a/1 comes twice"),
        (files_of(plain("b", b"other")), "altered", "b does not have the hash"),
        (files_of(also=[plain("../escaped", b"x")]), "name", "'../escaped' has no place"),
        (files_of(also=[plain("/escaped", b"x")]), "name", "'/escaped' has no place"),
        (files_of(also=[plain("a/../../x", b"x")]), "name", "has no place"),
        (files_of(also=[plain("c", b"", **LINK)]), "kind", "'c' is a symbolic link"),
        (files_of(also=[plain("c", b"", **HARD)]), "kind", "'c' is a hard link"),
        (files_of(also=[plain("c", b"", type=tarfile.BLKTYPE)]), "kind", "a block device"),
        (files_of(also=[plain("c", b"", type=tarfile.CHRTYPE)]), "kind", "a character device"),
        (files_of(also=[plain("c", b"", type=tarfile.FIFOTYPE)]), "kind", "a named pipe"),
        (files_of(also=[plain("c", b"", type=tarfile.DIRTYPE)]), "kind", "a directory"),
        (files_of(also=[plain("c", b"", type=tarfile.GNUTYPE_SPARSE)]), "kind", "sparse"),
        (files_of(also=[plain("c", bytes(2_049))]), "too large", "2049 bytes, over 2048"),
        (files_of(plain("b", FILES["b"], mode=0o4755)), "header", "a mode, owner or time"),
        (files_of(plain("b", FILES["b"], mtime=1)), "header", "a mode, owner or time"),
        (files_of(plain("b", FILES["b"], uname="root")), "header", "a mode, owner or time"),
    ],
)
def test_what_is_not_as_it_must_be_is_refused_with_its_place(tmp_path, members, problem, words):
    found = refused(packed(tmp_path / "x.tar.gz", members), tmp_path)
    assert (found.data["problem"], words in found.message) == (problem, True), found.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.tar.gz"]


def test_members_out_of_order_are_refused(tmp_path):
    about, first, second, *rest = files_of()
    path = packed(tmp_path / "x", [about, second, first, *rest])
    assert refused(path, tmp_path).data["problem"] == "order"


def test_a_header_of_a_later_tar_is_refused(tmp_path):
    for kind, words in (
        (tarfile.PAX_FORMAT, "an extended header"),
        (tarfile.GNU_FORMAT, "a long name of GNU tar"),
    ):
        long_named = packed(tmp_path / "long", [plain("c" * 120, b"x")], b"", kind=kind)
        about = packed(tmp_path / "about", files_of()[:1], b"")
        body = gzip.decompress(about.read_bytes()) + gzip.decompress(long_named.read_bytes())
        (tmp_path / "x").write_bytes(gzip.compress(body))
        found = refused(tmp_path / "x", tmp_path)
        assert (found.data["problem"], words in found.message) == ("kind", True)


@pytest.mark.parametrize(
    ("ending", "tail", "problem"),
    [
        (bytes(1023), b"", "cut"),
        (bytes(1536), b"", "trailing"),
        (bytes(1024) + b"hidden", b"", "trailing"),
        (bytes(1024), b"hidden", "trailing"),
        (bytes(1024), gzip.compress(b"a second stream", mtime=0), "trailing"),
        (b"x" * 1024, b"", "trailing"),
    ],
)
def test_nothing_may_follow_the_last_member(tmp_path, ending, tail, problem):
    path = packed(tmp_path / "x", files_of(), ending, tail)
    assert refused(path, tmp_path).data["problem"] == problem


def test_octets_hidden_in_the_padding_are_refused(tmp_path):
    body = gzip.decompress(packed(tmp_path / "x", files_of()).read_bytes())
    at = body.index(b"one") + 100
    (tmp_path / "x").write_bytes(gzip.compress(body[:at] + b"!" + body[at + 1 :]))
    assert "not zero" in refused(tmp_path / "x", tmp_path).message


def test_a_small_archive_of_something_vast_is_refused_before_it_is_written(tmp_path):
    member, _ = plain("b", b"")
    member.size = 1 << 32
    path = packed(tmp_path / "x", [plain("about.json", ABOUT), (member, bytes(5_000))])
    assert refused(path, tmp_path).data["problem"] == "too large"


def test_what_is_no_gzip_stream_at_all_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"PK\3\4 a zip, or anything")
    assert refused(tmp_path / "x", tmp_path).data["problem"] == "malformed"
