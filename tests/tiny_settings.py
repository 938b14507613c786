"""Settings for tests: every key a literal here, never the params.yaml of whoever runs them."""

import json
from typing import Any, TypeVar

from vit_atlas.settings import (
    AttentionSettings,
    AugmentSettings,
    CaptionerSettings,
    CaptionsSettings,
    CatrSettings,
    DataSettings,
    EmbeddingsSettings,
    EvaluateSettings,
    FinetuneSettings,
    GallerySettings,
    HubSettings,
    InterventionSettings,
    ModelSettings,
    NoCaptionerSettings,
    Section,
    Settings,
)

VALUES: dict[type[Section], dict[str, Any]] = {
    DataSettings: {
        "val_fraction": 0.15,
        "test_fraction": 0.2,
        "seed": 0,
        "max_pixels": 100_000_000,
        "near_duplicate_distance": 6,
        "group_pattern": None,
    },
    ModelSettings: {"name": "embedded", "revision": None, "image_size": None},
    AugmentSettings: {
        "policy": "autoaugment",
        "crop_scale": [0.08, 1.0],
        "crop_ratio": [0.75, 1.3333],
        "horizontal_flip": 0.5,
        "seed": 0,
    },
    FinetuneSettings: {
        "epochs": 3,
        "batch_size": 32,
        "learning_rate": 2e-4,
        "head_learning_rate": None,
        "head_init": "random",
        "layer_decay": 1.0,
        "weight_decay": 0.05,
        "warmup_ratio": 0.1,
        "label_smoothing": 0.1,
        "class_weights": "none",
        "sampling": "natural",
        "trainable_blocks": 3,
        "lora_rank": 0,
        "lora_alpha": 16.0,
        "cached_views": 3,
        "trunk_cache_gb": 1,
        "linear_probe": True,
        "seed": 0,
        "repeats": [],
        "workers": 0,
        "processes": 1,
        "checkpoint_steps": 50,
        "precision": "float32",
        "compile": "auto",
    },
    EvaluateSettings: {
        "batch_size": 32,
        "bootstrap_samples": 2000,
        "calibration_bins": 15,
        "mistakes": 12,
        "reference_accuracy": None,
        "seed": 0,
    },
    EmbeddingsSettings: {"tiles": 16, "photos": 4},
    AttentionSettings: {
        "photos": "auto",
        "count": 6,
        "layer": -1,
        "methods": [
            "head_mean",
            "best_head",
            "head_max",
            "rollout",
            "rollout_discard",
            "relevance",
            "legrad",
            "gradcam",
            "gaussian",
            "random",
            "uniform",
        ],
        "scored_photos": 32,
        "faithfulness_photos": 3,
        "faithfulness_steps": 3,
        "faithfulness_fillings": ["blur"],
        "sanity_photos": 2,
        "bootstrap_samples": 2000,
        "seed": 0,
    },
    InterventionSettings: {"photos": 4, "highlight": 0.1, "drawn": 2, "bootstrap_samples": 100, "seed": 0},
    GallerySettings: {"photos": 40, "thumbnails": 4, "seed": 0},
    CaptionerSettings: {
        "kind": "trained",
        "backbone": "model",
        "image_size": 168,
        "layers": [-5, -1],
        "width": 128,
        "heads": 4,
        "encoder_layers": 0,
        "decoder_layers": 2,
        "dropout": 0.1,
        "longest": 32,
        "minimum_count": 3,
        "epochs": 15,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "weight_decay": 0.01,
        "warmup_ratio": 0.1,
        "label_smoothing": 0.1,
        "seed": 0,
        "checkpoint_steps": 50,
        "precision": "float32",
    },
    CatrSettings: {"kind": "catr", "checkpoint": None, "sha256": None},
    NoCaptionerSettings: {"kind": "none"},
    HubSettings: {"kind": "hub", "name": "somebody/captioner", "revision": None},
    CaptionsSettings: {
        "beams": 3,
        "max_length": 30,
        "length_penalty": 1.0,
        "photos": "auto",
        "count": 6,
        "layer": None,
        "head": None,
        "repeats": [],
    },
}
SECTIONS: dict[str, type[Section]] = {
    "data": DataSettings,
    "model": ModelSettings,
    "augment": AugmentSettings,
    "finetune": FinetuneSettings,
    "evaluate": EvaluateSettings,
    "embeddings": EmbeddingsSettings,
    "attention": AttentionSettings,
    "interventions": InterventionSettings,
    "gallery": GallerySettings,
    "captioner": CaptionerSettings,
    "captions": CaptionsSettings,
}
AnySection = TypeVar("AnySection", bound=Section)


def tiny(section: type[AnySection], **values: Any) -> AnySection:
    """One section, with ``values`` instead of this module's own."""
    return section.model_validate(VALUES[section] | values)


def params(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The content of a params.yaml, with ``changes`` by section; a captioner of another kind with all its keys."""
    sections = {name: VALUES[model] | changes.get(name, {}) for name, model in SECTIONS.items()}
    if changes.get("captioner", {}).get("kind", "trained") != "trained":
        sections["captioner"] = changes["captioner"]
    return sections


def tiny_settings(**changes: dict[str, Any]) -> Settings:
    """All settings, with ``changes`` by section."""
    return Settings.model_validate(params(**changes))


def params_text(**changes: dict[str, Any]) -> str:
    """A params.yaml with its documentation, with ``changes`` by section."""
    lines = []
    for name, values in params(**changes).items():
        models = (SECTIONS[name], CatrSettings, HubSettings, NoCaptionerSettings)
        model = next(one for one in models if one.model_fields.keys() == values.keys())
        lines += ["", f"# {model.__doc__}", f"{name}:"]
        for key, value in values.items():
            lines += [
                f"  # {model.model_fields[key].description}",
                f"  {key}: {value if isinstance(value, str) else json.dumps(value)}",
            ]
    return "\n".join(lines[1:]) + "\n"
