"""The report of a suite: tables, plots and pictures, as Markdown, LaTeX and one HTML file."""

from .page import write_joint_report, write_report

__all__ = ["write_joint_report", "write_report"]
