"""Keys that say which training, and which result, a run belongs to."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vit_atlas.io.plain import canonical_json, flatten


def training_key(manifest_path: str | Path, settings: Mapping[str, Any]) -> str:
    """Hash what a training run is made from: the manifest's bytes and the settings that finetune reads.

    Args:
        manifest_path: the manifest that prepare wrote.
        settings: the sections ``model``, ``augment`` and ``finetune`` by name, as settings objects or mappings.

    Returns:
        A hex digest of 64 characters.
    """
    digest = hashlib.sha256(Path(manifest_path).read_bytes())
    plain = json.loads(canonical_json(settings))
    if isinstance(plain.get("finetune"), dict):
        # Which further trainings there are makes this one no other.
        plain["finetune"].pop("repeats", None)
    digest.update(canonical_json(plain).encode())
    return digest.hexdigest()


def as_parameters(settings: Mapping[str, Any]) -> dict[str, str]:
    """Turn nested settings into dotted names and readable text, the form in which MLflow shows parameters."""
    flat = flatten(settings)
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in flat.items()}
