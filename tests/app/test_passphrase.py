"""Where a passphrase comes from, in which order, and what is said when there is none."""

import os

import pytest

from enforcer.app.keys import change_passphrase, load_key, make_request, new_key, tls_key_path
from enforcer.app.passphrase import Passphrases
from enforcer.backends import certificate_request, key_files
from enforcer.backends.key_files import PassphraseError
from enforcer.backends.keys import PrivateKey
from enforcer.core.key import Role
from enforcer.errors import InputError, NotFoundError, UnavailableError

pytestmark = pytest.mark.usefixtures("cheap_passphrases")

PASSPHRASE = "correct horse battery staple"
OTHER = "four other words, unlike the first"
ORIGIN = "example.org/ledger"


class Somebody:
    """A person at the terminal, who gives these answers."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, question):
        self.asked.append(question)
        return self.answers.pop(0)


@pytest.fixture
def key_file(tmp_path):
    PrivateKey.generate().save(tmp_path / "a.key", PASSPHRASE.encode())
    return tmp_path / "a.key"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"{PASSPHRASE}\nand what follows is nothing\n")
    path.chmod(0o600)
    return path


def opened(key_file, environment=None, ask=None):
    return load_key(key_file, Passphrases(environment or {}, ask))


def test_a_person_is_asked_and_may_mistype_twice(key_file):
    somebody = Somebody("wrong", "wrong again", PASSPHRASE)
    assert opened(key_file, ask=somebody).key_id
    assert somebody.asked == [f"Passphrase of {key_file}: "] * 3
    with pytest.raises(PassphraseError, match="not the passphrase"):
        opened(key_file, ask=Somebody("wrong", "wrong", "wrong"))


def test_a_file_is_read_before_anybody_is_asked(key_file, secret):
    somebody = Somebody()
    assert opened(key_file, {"ENFORCER_PASSPHRASE_FILE": str(secret)}, somebody).key_id
    assert not somebody.asked


def test_a_file_that_others_can_read_is_refused(key_file, secret):
    secret.chmod(0o644)
    with pytest.raises(InputError, match="can be read by others"):
        opened(key_file, {"ENFORCER_PASSPHRASE_FILE": str(secret)})
    secret.unlink()
    with pytest.raises(NotFoundError):
        opened(key_file, {"ENFORCER_PASSPHRASE_FILE": str(secret)})


def test_a_descriptor_gives_it_without_any_file(key_file):
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE.encode() + b"\n")
    os.close(writing)
    assert opened(key_file, {"ENFORCER_PASSPHRASE_FD": str(reading)}).key_id
    os.close(reading)


@pytest.mark.parametrize("number", ["three", "-1", "987654"])
def test_a_descriptor_that_is_none_is_told(key_file, number):
    with pytest.raises(UnavailableError, match="nothing can be read"):
        opened(key_file, {"ENFORCER_PASSPHRASE_FD": number})


@pytest.mark.parametrize("content", [b"", b"\nlater", b"\xff\xfe"])
def test_a_file_without_a_passphrase_is_told(key_file, secret, content):
    secret.write_bytes(content)
    with pytest.raises(InputError, match="does not begin with a line"):
        opened(key_file, {"ENFORCER_PASSPHRASE_FILE": str(secret)})


def test_a_wrong_one_from_a_file_is_not_tried_for_ever(key_file, secret):
    secret.write_text(OTHER)
    with pytest.raises(PassphraseError):
        opened(key_file, {"ENFORCER_PASSPHRASE_FILE": str(secret)}, Somebody())


def test_when_nobody_can_be_asked_it_is_said_how_to_give_it(key_file):
    with pytest.raises(InputError, match="nobody is here to be asked") as caught:
        opened(key_file)
    assert "ENFORCER_PASSPHRASE_FILE" in caught.value.advice
    assert "ENFORCER_PASSPHRASE_FD" in caught.value.advice


def test_a_plain_key_asks_nobody(tmp_path):
    PrivateKey.generate().save(tmp_path / "b.key")
    somebody = Somebody()
    assert opened(tmp_path / "b.key", ask=somebody).key_id
    assert not somebody.asked


def test_letters_that_a_keyboard_composes_otherwise_are_the_same(tmp_path):
    composed, decomposed = "mật khẩu rất dài", "mật khẩu rất dài"
    new_key(tmp_path / "a.key", Passphrases({}, Somebody(composed, decomposed)))
    assert opened(tmp_path / "a.key", ask=Somebody(decomposed)).key_id


def test_a_new_key_is_asked_for_twice_and_nothing_is_written_when_they_differ(tmp_path):
    with pytest.raises(InputError, match="the two passphrases differ"):
        new_key(tmp_path / "a.key", Passphrases({}, Somebody(PASSPHRASE, OTHER)))
    with pytest.raises(InputError, match="12 characters"):
        new_key(tmp_path / "a.key", Passphrases({}, Somebody("short")))
    with pytest.raises(InputError, match="nobody is here"):
        new_key(tmp_path / "a.key", Passphrases({}))
    assert not (tmp_path / "a.key").exists()
    new_key(tmp_path / "a.key", Passphrases({}, Somebody(PASSPHRASE, PASSPHRASE)))
    assert key_files.is_encrypted((tmp_path / "a.key").read_bytes())


def test_a_persons_tls_key_is_under_the_same_passphrase_asked_once(tmp_path):
    path = tmp_path / "signing.key"
    new_key(path, Passphrases({}, Somebody(PASSPHRASE, PASSPHRASE)))
    somebody = Somebody(PASSPHRASE)
    make_request(path, ORIGIN, Role.AUDITOR, "an.nguyen", passphrases=Passphrases({}, somebody))
    assert len(somebody.asked) == 1
    assert certificate_request.load_key(tls_key_path(path), PASSPHRASE.encode())
    again = Passphrases({}, Somebody(PASSPHRASE))  # both are opened by it
    make_request(path, ORIGIN, Role.AUDITOR, "an.nguyen", passphrases=again)


def test_a_machines_key_may_have_no_passphrase(key_file):
    with pytest.raises(InputError, match="a machine has nobody to ask") as caught:
        make_request(key_file, ORIGIN, Role.NODE, "node-1", operator="isp")
    assert "--remove" in caught.value.advice


def test_a_passphrase_is_changed_and_taken_away(key_file):
    before = PrivateKey.load(key_file, PASSPHRASE.encode()).key_id
    somebody = Somebody(PASSPHRASE, OTHER, OTHER)
    change_passphrase(key_file, Passphrases({}, somebody), remove=False)
    assert PrivateKey.load(key_file, OTHER.encode()).key_id == before
    change_passphrase(key_file, Passphrases({}, Somebody(OTHER)), remove=True)
    assert PrivateKey.load(key_file).key_id == before
    change_passphrase(key_file, Passphrases({}, Somebody(OTHER, OTHER)), remove=False)
    assert PrivateKey.load(key_file, OTHER.encode()).key_id == before


def test_a_change_that_fails_leaves_the_key_as_it_was(key_file):
    before = key_file.read_bytes()
    for answers in ((OTHER, OTHER, OTHER), (PASSPHRASE, "short"), (PASSPHRASE, OTHER, "else")):
        with pytest.raises(InputError):
            change_passphrase(key_file, Passphrases({}, Somebody(*answers)), remove=False)
    assert key_file.read_bytes() == before
