"""Doing a committed result over again, and saying whether it came out the same."""

from vit_atlas.reproduce.run import Reproduction, reproduce
from vit_atlas.reproduce.table import as_json, as_text

__all__ = ["Reproduction", "as_json", "as_text", "reproduce"]
