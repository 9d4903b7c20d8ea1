"""Tests that share what is slow run in one process."""

import pytest


@pytest.mark.xdist_group("of this test")
def test_pytest_xdist_knows_the_groups(request):
    """It needs private names of pytest: without groups the tests take minutes longer."""
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("not run with --dist loadgroup")
    assert request.node.nodeid.endswith("@of this test")
