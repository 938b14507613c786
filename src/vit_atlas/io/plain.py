"""Settings and results as plain mappings: read from YAML, one JSON text of each, and one flat table of names."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML


def load_yaml(text_or_path: str | bytes | Path) -> Any:
    """Read YAML 1.2 as DVC does (to PyYAML 2e-05 is a text, and off is false), by the C parser where it is there."""
    return YAML(typ="safe").load(text_or_path)


def canonical_json(value: Any) -> str:
    """Give the one JSON text of ``value``: sorted keys, no spaces, settings objects as mappings."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"))


def flatten(value: Any, separator: str = ".", name: str = "") -> dict[str, Any]:
    """Turn nested mappings into one from joined names to leaves; an empty mapping is a leaf."""
    content = plain(value)
    if not isinstance(content, dict) or not content:
        return {name: content}
    flat: dict[str, Any] = {}
    for key, item in content.items():
        flat |= flatten(item, separator, f"{name}{separator}{key}" if name else str(key))
    return flat


def plain(value: Any) -> Any:
    """Turn settings objects into mappings and tuples into lists, at any depth."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
