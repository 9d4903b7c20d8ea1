"""One run trained by several processes together, which ``torchrun`` starts."""

from .batch_norm import with_whole_batches
from .processes import (
    from_first,
    is_helper,
    launched_together,
    process_group,
    say_once,
    wait_for_all,
)

__all__ = [
    "from_first",
    "is_helper",
    "launched_together",
    "process_group",
    "say_once",
    "wait_for_all",
    "with_whole_batches",
]
