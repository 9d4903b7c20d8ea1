"""The report of a suite: tables, plots and pictures, as Markdown and as one HTML file."""

from .page import write_report

__all__ = ["write_report"]
