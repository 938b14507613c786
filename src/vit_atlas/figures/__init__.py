"""Matplotlib figures: one module a kind of picture, one style for all."""
