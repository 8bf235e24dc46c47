"""Files in memory: whose they are while they are made."""

import mmap
import os

import pytest

from enforcer.backends.sealed_table import SealedFile, writable
from enforcer.errors import UnavailableError


def mapped_and_sealed():
    """Try what seals forbid: a file that somebody may write to."""
    with writable() as number:
        os.truncate(number, 1)
        with mmap.mmap(number, 1):
            return number, SealedFile(number)


def test_a_file_that_could_not_be_sealed_is_given_back_once():
    """Twice would be somebody else's file, which has its number by then."""
    with pytest.raises(UnavailableError) as refusal:
        mapped_and_sealed()
    others = os.open("/dev/null", os.O_RDONLY)
    del refusal  # with whose traceback goes what was not made
    os.fstat(others)
    os.close(others)
