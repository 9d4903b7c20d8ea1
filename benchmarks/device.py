"""Where the networks are trained."""

from __future__ import annotations

import torch


def checked_device(name: str) -> torch.device:
    """The device with a name, if it can be used.

    Raises:
        ValueError: if it cannot, with torch's reason.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" makes tensors without values
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0] + hint_at_cuda(name)
        raise ValueError(f"--device {name} is not available here: {reason}") from error
    return device


def hint_at_cuda(name: str) -> str:
    """The end of a message on a device that does not exist, for someone who wants a GPU."""
    is_gpu = name.lower().startswith(("gpu", "nvidia", "amd", "rocm"))
    return ". A GPU is called cuda, the second of several cuda:1" if is_gpu else ""
