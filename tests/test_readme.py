"""The code in the README and in the docs runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = [
    pytest.param(code, id=f"{path.name}-{number}")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, code in enumerate(
        re.findall(r"^```python\n(.*?)^```", path.read_text(), re.S | re.M)
    )
]


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
@pytest.mark.filterwarnings("ignore:a HierarchicalProxyLoss was trained for 3 steps")
@pytest.mark.parametrize("code", BLOCKS)
def test_python_block(code):
    exec(compile(code, "documentation", "exec"), {"__name__": "__main__"})


def test_there_are_blocks():
    assert len(BLOCKS) == 12
