"""The same search for every loss, on validation classes."""

from .tuned import (
    Tuned,
    adapt_to_tuned,
    apply_tuned,
    tuned_file,
    tuned_file_to_read,
    tuned_settings,
)

__all__ = [
    "Tuned",
    "adapt_to_tuned",
    "apply_tuned",
    "tuned_file",
    "tuned_file_to_read",
    "tuned_settings",
]
