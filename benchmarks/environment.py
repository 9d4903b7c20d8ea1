"""Where a result was made: commit, versions and machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

# what a result depends on: glyphs are drawn by pillow with matplotlib's fonts
_PACKAGES = (
    "pml-hierarchical",
    "pytorch-metric-learning",
    "torch",
    "torchvision",
    "timm",
    "faiss-cpu",
    "scikit-learn",
    "numpy",
    "pillow",
    "matplotlib",
)


def environment(device: torch.device) -> dict[str, Any]:
    """Where a run took place: versions, commit and machine."""
    return {
        "commit": commit_of(Path(__file__).parent),
        "versions": _versions(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):  # timm is there for those who want it
            found[package] = version(package)
    return found


def commit_of(folder: Path) -> str | None:
    """The commit of a checkout, with "-dirty" if it was changed since; ``None`` outside git.

    A folder that git does not track, such as that of an installed package, has none: the checkout
    around it is another project's.

    The settings that ``tune`` writes while it runs do not count: every result holds its own.
    """
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    if commit is None or not _git(folder, "ls-files", "."):
        return None
    code = (":/", ":(top,exclude)benchmarks/tuned")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", *code)
    return f"{commit}-dirty" if changed else commit


def _git(folder: Path, *arguments: str) -> str | None:
    if shutil.which("git") is None:
        return None
    command = ["git", *arguments]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None
