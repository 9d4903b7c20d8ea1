"""The README's code runs."""

import re
from pathlib import Path

import pytest

BLOCKS = re.findall(
    r"^```python\n(.*?)^```", (Path(__file__).parent.parent / "README.md").read_text(), re.S | re.M
)


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
@pytest.mark.filterwarnings("ignore:a HierarchicalProxyLoss was trained for 3 steps")
@pytest.mark.parametrize("code", BLOCKS)
def test_python_block(code):
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})


def test_there_are_blocks():
    assert len(BLOCKS) == 5
