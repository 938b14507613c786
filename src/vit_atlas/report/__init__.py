"""The report: one page that holds every number and every picture of a result, and needs no other file."""

from vit_atlas.report.page import render_report

__all__ = ["render_report"]
