"""Orders against addresses on a box that forwards, told in ``addresses_on_a_box.py``."""

from pathlib import Path

import pytest

from tests.backends.firewall_kernel import why_not
from tests.e2e.apart import told

STORY = Path(__file__).with_name("addresses_on_a_box.py")


@pytest.mark.root
@pytest.mark.parametrize("which", ["not long", pytest.param("long", marks=pytest.mark.long)])
def test_addresses_are_ordered_stopped_and_given_back(which):
    if refuse := why_not():
        pytest.skip(refuse)
    told(STORY, which)
