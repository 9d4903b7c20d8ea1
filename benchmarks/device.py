"""Where the networks are trained."""

from __future__ import annotations

import torch


def checked_device(name: str) -> torch.device:
    """The device of a name, after a look whether it is there.

    Raises:
        ValueError: if it is not, with torch's reason.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {name} is not to be had here: {reason}") from error
    return device
