"""Lists that are not public, as auditors meet them: counted, opened by keys, and never told."""

import tarfile
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from enforcer.app.audit_archive import audit_copy, export_archive
from enforcer.backends import sealing
from enforcer.backends.keys import EncryptionKey
from enforcer.backends.wrap_files import WrapFiles
from enforcer.core import age
from enforcer.core.order import PublicationMode
from enforcer.core.policy import DAY_MS, Pins
from tests.ledgers import Archive
from tests.people import Land, Person
from tests.sealed import SealedText

RESTRICTED, DELAYED = PublicationMode.RESTRICTED_TARGETS, PublicationMode.DELAYED
MARKER = "marker-hush-hush.example.org"
LIST = f"exact {MARKER}\nsubtree worse-hush-hush.example.org\n".encode()
NAMES = b"exact marker-hush-hush.example.org\n"


class Book(Archive):
    """A ledger on disk with sealed lists, and wraps for whoever may open them."""

    def seal(self, mode=RESTRICTED, text=LIST):
        return SealedText.of(text, mode, self.land.now_ms + 20 * DAY_MS)

    def write(self, *sealed, receivers=None, lists=()):
        note = super().write(lists=(*lists, *(each.octets for each in sealed)))
        wraps = WrapFiles(self.path / "wraps")
        for each in sealed:
            for person in receivers or (self.land.oversight, self.land.node):
                wraps.put(each.sealed_sha256, person.key.key_id, each.wrap(person))
        return note

    def found(self, **options):
        return [(each.code.name, each.index) for each in self.audit(**options)]


@pytest.fixture
def book(tmp_path):
    book = Book(tmp_path / "ledger")
    book.write_trust(tmp_path / "trust.toml")
    return book


@pytest.fixture
def said(run, tmp_path):
    """Run a command with the trust file; nothing of a restricted list may be in what it says."""

    def said(*words, may_tell=False):
        told = run(*words, "--trust", tmp_path / "trust.toml")
        for trace in ("hush-hush", sha256(LIST).hexdigest()):
            assert may_tell or trace not in told.out + told.err, told
        return told

    return said


@pytest.fixture
def key_of(tmp_path):
    """Write somebody's encryption key file."""

    def key_of(person: Person):
        octets = age.decode(age.SECRET_PREFIX, person.encryption_secret.lower())
        path = tmp_path / f"{person.person_id}.age.key"
        EncryptionKey(X25519PrivateKey.from_private_bytes(octets)).save(path)
        return path

    return key_of


def moment(book):
    return datetime.fromtimestamp(book.land.now_ms / 1_000 + 1, UTC).isoformat()


# The audit.


@pytest.mark.parametrize("mode", [RESTRICTED, DELAYED])
def test_without_a_key_sealed_lists_are_counted_and_nothing_is_incomplete(book, said, mode):
    made = book.seal(mode)
    made.in_force(book.land)
    book.attest()
    book.write(made)
    told = said("audit", "verify", book.path, "--at", moment(book))
    assert told.code == 0, told
    assert "of 1 orders restricted and not looked into" in " ".join(told.out.split())
    told = said("audit", "verify", book.path, "--at", moment(book), "--json")
    assert (told.json["outcome"], told.json["sealed"], told.json["opened"]) == ("GOOD", 1, 0)


def test_who_asks_for_it_is_told_what_was_not_looked_into(book, said):
    made = book.seal()
    ref = made.in_force(book.land)
    book.attest()
    book.write(made)
    told = said("audit", "verify", book.path, "--at", moment(book), "--require-open", "--json")
    assert told.code == 2
    (finding,) = told.json["findings"]
    assert (finding["code"], finding["index"]) == ("LIST_SEALED", ref.entry_index)


def test_oversights_key_opens_them_and_says_nothing_of_what_is_in_them(book, said, key_of):
    made = book.seal()
    made.in_force(book.land)
    book.attest()
    book.write(made)
    words = ("audit", "verify", book.path, "--at", moment(book))
    told = said(*words, "--identity", key_of(book.land.oversight), "--json")
    assert (told.code, told.json["opened"], told.json["sealed"]) == (0, 1, 0)
    assert (told.json["lists"], told.json["targets"], told.json["guarded"]) == (1, 2, 1)


def test_a_key_that_opens_nothing_leaves_the_audit_incomplete(book, said, key_of):
    made = book.seal()
    made.in_force(book.land)
    book.write(made, receivers=[book.land.node])
    words = ("audit", "verify", book.path, "--at", moment(book))
    told = said(*words, "--identity", key_of(book.land.oversight))
    assert told.code == 2
    assert "LIST_SEALED" in told.out


@pytest.mark.parametrize("fault", ["hash", "count", "grammar"])
def test_a_sealed_list_that_is_not_what_it_says_is_found_by_who_opens_it(book, said, key_of, fault):
    made = book.seal(text=b"exact Marker-hush-hush.example.org\n" if fault == "grammar" else LIST)
    changes = {"hash": {"target_list_sha256": "0" * 64}, "count": {"target_count": 3}}
    ref = made.in_force(book.land, **changes.get(fault, {}))
    book.attest()
    book.write(made)
    words = ("audit", "verify", book.path, "--at", moment(book), "--json")
    assert said(*words).code == 0
    told = said(*words, "--identity", key_of(book.land.oversight))
    assert told.code == 1
    (finding,) = told.json["findings"]
    assert (finding["code"], finding["index"]) == ("LIST_WRONG", ref.entry_index)


def test_sealed_octets_that_were_altered_are_found_without_a_key(book):
    made = book.seal()
    ref = made.in_force(book.land)
    book.attest()
    book.write(made)
    (book.path / "lists" / made.sealed_sha256).write_bytes(made.octets + b"x")
    assert book.found() == [("LIST_ALTERED", ref.entry_index)]


def test_a_wrap_that_is_wrong_is_nobodys_violation(book):
    made = book.seal()
    ref = made.in_force(book.land)
    book.attest()
    book.write(made)
    wraps = WrapFiles(book.path / "wraps")
    oversight = book.land.oversight
    for wrong in (b"wrap", sealing.wrap(sealing.new_identity()[0], oversight.encryption_key)):
        wraps.put(made.sealed_sha256, oversight.key.key_id, wrong)
        found = book.found(identity=oversight.encryption_secret)
        assert found == [("LIST_SEALED", ref.entry_index)]


def guarded(tmp_path):
    pins = Pins(None, sha256(NAMES).hexdigest(), None, None)
    return Book(tmp_path / "guarded", Land.founded(pins=pins))


def test_guards_run_again_on_what_was_opened_and_tell_only_how_many_lines(tmp_path):
    book = guarded(tmp_path)
    made = book.seal()
    ref = made.in_force(book.land)  # a dishonest control plane held nothing
    book.attest()
    book.write(made, lists=[NAMES])
    assert book.found() == []
    (finding,) = book.audit(identity=book.land.oversight.encryption_secret)
    assert (finding.code.name, finding.index) == ("GUARD_SKIPPED", ref.entry_index + 1)
    assert "PROTECTED_NAME holds 1 line of its list" in finding.words
    assert "hush-hush" not in finding.words


def test_a_past_orders_sealed_list_is_compared_with_a_new_one(tmp_path):
    book = Book(tmp_path / "ledger")
    first, second = book.seal(), book.seal()
    stopped = first.in_force(book.land)
    book.land.stop(stopped)
    ref = second.in_force(book.land)
    book.attest()
    book.write(first, second)
    assert book.found() == []
    found = book.found(identity=book.land.oversight.encryption_secret)
    assert found == [("GUARD_SKIPPED", ref.entry_index + 1)]


# Published.


def test_a_published_list_is_opened_by_everybody(book, said):
    made = book.seal(DELAYED)
    ref = made.in_force(book.land)
    assert book.land.publish(ref, secret=made.secret).is_effective
    book.attest()
    book.write(made, receivers=[book.land.control])
    words = ("audit", "verify", book.path, "--at", moment(book), "--require-open", "--json")
    told = said(*words)
    assert (told.code, told.json["opened"], told.json["sealed"]) == (0, 1, 0)


def test_an_approval_that_hides_targets_once_more_is_found(book):
    first, again = book.seal(DELAYED), book.seal(DELAYED)
    ref = first.in_force(book.land)
    assert book.land.publish(ref, secret=first.secret).is_effective
    other = again.in_force(book.land)
    book.land.publish(other, secret=again.secret)
    book.attest()
    book.write(first, again)
    assert book.found() == [("GUARD_SKIPPED", other.entry_index + 1)]


def test_what_was_published_and_does_not_open_the_list_is_a_violation_by_its_entry(book):
    made, other = book.seal(DELAYED), book.seal(DELAYED, b"exact other.example.org\n")
    ref = made.in_force(book.land, target_list_sha256=other.sha256)
    published = book.land.publish(ref, secret=made.secret)
    assert published.is_effective
    book.attest()
    book.write(made)
    (finding,) = book.audit()
    assert (finding.code.name, finding.index) == ("LIST_WRONG", published.index)
    assert "does not open the list" in finding.words


def test_a_published_list_that_is_not_here_is_missing(book):
    made = book.seal(DELAYED)
    ref = made.in_force(book.land)
    book.land.publish(ref, secret=made.secret)
    book.attest()
    book.write()
    assert book.found() == [("LIST_MISSING", ref.entry_index)]


# What decides a target.


@pytest.mark.parametrize("target", [MARKER, f"www.{MARKER}", "x.worse-hush-hush.example.org"])
def test_explain_says_restricted_of_whatever_it_is_asked(book, run, tmp_path, target):
    made = book.seal()
    order = book.land.order_record(made.in_force(book.land)).payload
    book.write(made)
    words = ("--trust", tmp_path / "trust.toml", "--at", moment(book))
    for command in (
        ("audit", "explain", book.path, target),
        ("check", target, "--ledger", book.path),
    ):
        for other in (target, "harmless.example.net"):
            told = run(*(other if each == target else each for each in command), *words)
            assert told.code == 0, told
            assert "PASS" in told.out
            assert f"{order.order_id}: targets not shown, nor looked at" in " ".join(
                told.out.split()
            )
            shown = told.out.replace(other, "")
            assert "hush-hush" not in shown
        told = run(*command, *words, "--json")
        assert told.json["restricted"] == [order.order_id]
        assert told.json["missing"] == []


def test_with_oversights_key_explain_looks_into_it(book, said, key_of):
    made = book.seal()
    order = book.land.order_record(made.in_force(book.land)).payload
    book.write(made)
    words = ("audit", "explain", book.path, MARKER, "--at", moment(book), "--json")
    told = said(*words, "--identity", key_of(book.land.oversight), may_tell=True)
    assert told.json["action"] == "BLOCK"
    assert order.order_id in told.out
    assert told.json["restricted"] == []


def test_explain_looks_into_what_was_published(book, said):
    made = book.seal(DELAYED)
    ref = made.in_force(book.land)
    book.land.publish(ref, secret=made.secret)
    book.write(made)
    told = said("audit", "explain", book.path, MARKER, "--at", moment(book), may_tell=True)
    assert "BLOCK" in told.out


# Files to hand on.


def members(archive):
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}


def test_an_archive_takes_sealed_lists_along_only_if_asked(book, said, tmp_path):
    made = book.seal()
    made.in_force(book.land)
    book.attest()
    book.write(made)
    for words, has_it in (((), False), (("--with-restricted",), True)):
        to = tmp_path / f"ledger-{has_it}.tar.gz"
        told = said("audit", "export", book.path, to, "--at", moment(book), *words, "--json")
        assert told.code == 0, told
        assert told.json["withheld"] == (not has_it)
        found = members(to)
        assert (f"lists/{made.sealed_sha256}" in found) == has_it
        assert any(name.startswith("wraps/") for name in found) == has_it
        assert not any(b"hush-hush" in content for content in found.values())
        _, findings, _ = audit_copy(to, book.trust, now_ms=book.land.now_ms + 1_000)
        assert findings == []
    summary, findings, _ = audit_copy(
        to, book.trust, now_ms=0, identity=book.land.oversight.encryption_secret
    )
    assert (findings, summary.opened) == ([], 1)


def test_an_archive_takes_published_lists_along(book, tmp_path):
    made = book.seal(DELAYED)
    ref = made.in_force(book.land)
    book.land.publish(ref, secret=made.secret)
    book.attest()
    book.write(made)
    to = tmp_path / "ledger.tar.gz"
    done = export_archive(book.path, to, book.trust, taken_at_ms=book.land.now_ms + 1_000)
    assert (done.lists, done.withheld) == (1, 0)
    summary, findings, _ = audit_copy(to, book.trust, now_ms=0, must_open=True)
    assert (findings, summary.opened) == ([], 1)


@pytest.mark.parametrize("name", ["wraps/x", "wraps/" + "a" * 64, "wraps/../" + "a" * 64])
def test_nothing_else_has_a_place_among_wraps(name):
    from enforcer.app.audit_archive import layout

    assert layout(name) is None


def test_a_restricted_list_is_exported_in_no_format(book, said, tmp_path):
    made = book.seal()
    order = book.land.order_record(made.in_force(book.land)).payload
    book.write(made)
    to = tmp_path / "list"
    words = ("--format", "plain", "--ledger", book.path)
    told = said("list", "export", order.order_id, "--out", to, *words)
    assert told.code == 5
    assert "restricted: targets are not shown" in told.err
    assert not to.exists()


def test_a_published_list_is_exported_as_any(book, said, tmp_path):
    made = book.seal(DELAYED)
    ref = made.in_force(book.land)
    book.land.publish(ref, secret=made.secret)
    order = book.land.order_record(ref).payload
    book.write(made)
    to = tmp_path / "list"
    words = ("--format", "plain", "--ledger", book.path)
    told = said("list", "export", order.order_id, "--out", to, *words)
    assert told.code == 0, told
    assert to.read_text().splitlines()[-1] == MARKER


@pytest.mark.parametrize("form", ["html", "csv", "json"])
def test_reports_count_restricted_orders_and_name_nothing_of_them(book, said, tmp_path, form):
    made = book.seal()
    made.in_force(book.land)
    book.attest()
    book.write(made)
    until = datetime.fromtimestamp(book.land.now_ms / 1_000 - 1, UTC).isoformat()
    words = ("--from", "2027-01-01", "--to", until, "--format", form, "--out", tmp_path / "report")
    told = said("audit", "report", book.path, *words)
    assert told.code in (0, 2), told
    (written,) = tmp_path.glob("report*")
    files = [written] if written.is_file() else list(written.iterdir())
    for text in (path.read_bytes() for path in files):
        assert b"hush-hush" not in text
        assert sha256(LIST).hexdigest().encode() not in text


def test_a_probe_never_asks_for_a_restricted_name(book, said):
    made = book.seal()
    made.in_force(book.land)
    book.write(made)
    asked = ("--resolver", "127.0.0.1:9", "--control", "example.org", "--timeout-ms", "100")
    told = said("audit", "probe", book.path, *asked)
    assert "its list is not public" in " ".join(told.out.split()), told


def test_proofs_of_a_restricted_order_have_nothing_of_its_list(book, said, tmp_path):
    made = book.seal()
    order = book.land.order_record(made.in_force(book.land)).payload
    book.write(made)
    told = said("audit", "prove", book.path, order.order_id, tmp_path / "proof.tar.gz")
    assert told.code == 0, told
    assert not any(
        b"hush-hush" in content for content in members(tmp_path / "proof.tar.gz").values()
    )
