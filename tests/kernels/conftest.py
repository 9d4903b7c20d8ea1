"""What older versions of torch cannot differentiate twice in PML's own losses is skipped."""

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    try:
        return (yield)
    except NotImplementedError as error:
        if "_cdist_backward" not in str(error):
            raise
        pytest.skip("this torch has no second derivative of cdist, which PML's Proxy-NCA calls")
