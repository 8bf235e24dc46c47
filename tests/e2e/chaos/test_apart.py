"""Networks that are cut and disks that are full, told in processes of their own."""

from pathlib import Path

import pytest

from tests.backends.firewall_kernel import why_not
from tests.e2e.apart import told

FOLDER = Path(__file__).parent
MOUNTS_APART = ("unshare", "--mount", "--propagation", "private")


@pytest.mark.root
@pytest.mark.long
@pytest.mark.parametrize("story", ["cut_off.py", "full_disks.py"])
def test_told_apart(story):
    if refuse := why_not():
        pytest.skip(refuse)
    told(FOLDER / story, "not long", MOUNTS_APART)
