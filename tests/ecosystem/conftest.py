"""Every test of this folder runs with PML's loss, the control, and with the hierarchical ones."""

from __future__ import annotations

import pytest
import torch
from small_models import LOSSES


@pytest.fixture(params=LOSSES)
def name(request) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
