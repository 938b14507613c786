"""Keys that say which training, and which result, a run belongs to."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def training_key(manifest_path: str | Path, settings: Mapping[str, Any]) -> str:
    """Hash what a training run is made from: the manifest's bytes and the settings that finetune reads.

    Args:
        manifest_path: the manifest that prepare wrote.
        settings: the sections ``model``, ``augment`` and ``finetune`` by name, as settings objects or mappings.

    Returns:
        A hex digest of 64 characters.
    """
    digest = hashlib.sha256(Path(manifest_path).read_bytes())
    digest.update(canonical_json(settings).encode())
    return digest.hexdigest()


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Turn nested settings into dotted names and readable text, the form in which MLflow shows parameters."""
    flat: dict[str, str] = {}
    for name, value in _plain(settings).items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def canonical_json(value: Any) -> str:
    """Give the one JSON text of ``value``: sorted keys, no spaces, settings objects as mappings."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
