"""What holds for all tests: how they share the cores, which of them stay together, and their cache.

``pytest -n 2 --dist loadgroup`` runs them in two processes.
"""

import atexit
import os
import shutil
import tempfile

if "PYTEST_XDIST_WORKER" not in os.environ:  # the processes of pytest-xdist and of tests inherit it
    cache = tempfile.mkdtemp(prefix="pml-hierarchical-tests-")  # not that of the user
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    os.environ["PML_HIERARCHICAL_CACHE"] = cache
else:  # before torch is imported, and for the processes of tests
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis

# the first call of what numba compiles, in the middle of an example, takes seconds
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "xdist_group(name): tests that pytest-xdist runs in one process, which share what is slow",
    )
