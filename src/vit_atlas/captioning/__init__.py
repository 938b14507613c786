"""Captions: a captioner of our own or another's, its training, and where it looks for every word."""

SMALLEST_SIDE = 8
"""Photos with a shorter side in pixels than this show nothing to write about."""
