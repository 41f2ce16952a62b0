"""The self-contained HTML report of a run."""

from olhar.report.page import write_report

__all__ = ["write_report"]
