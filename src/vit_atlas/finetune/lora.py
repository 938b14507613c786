"""Low-rank adapters: blocks that learn through a few small matrices, which end up in the model's own weights.

References:
    Hu et al. 2022, LoRA: Low-Rank Adaptation of Large Language Models, https://arxiv.org/abs/2106.09685
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import Tensor, nn

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_folder, write_json
from vit_atlas.models.classifier import Classifier
from vit_atlas.models.trunk import blocks, head_names
from vit_atlas.settings import FinetuneSettings

FOLDER = "adapter"
"""Where the adapter lies in the folder of the model that it was merged into."""


@dataclass(frozen=True)
class Adapter:
    """The trained matrices and the new head: what turns the pretrained model into the fine-tuned one."""

    config: dict[str, Any]
    """What peft's ``adapter_config.json`` says."""
    weights: dict[str, Tensor]
    """By their names in peft's files."""

    def save(self, folder: str | Path) -> None:
        """Write a folder for ``PeftModel.from_pretrained(pretrained, folder)`` (atomically)."""
        with atomic_folder(folder) as temporary:
            write_json(temporary / "adapter_config.json", self.config)
            save_file(self.weights, temporary / "adapter_model.safetensors", {"format": "pt"})


def add_adapters(classifier: Classifier, settings: FinetuneSettings) -> None:
    """Give the linear layers of the last blocks a low-rank adapter each, in place; only these and the head will learn.

    An adapter starts as zero, so that the model answers as before. Blocks are those of ``finetune.trainable_blocks``;
    which linear layers they have is asked of the model, so that every family's names do.

    Raises:
        AtlasError: no block has a linear layer that can be adapted.
    """
    model = classifier.model
    targets = _linear_layers(classifier, settings.trainable_blocks)
    if not targets:
        raise AtlasError(
            f"finetune.lora_rank is {settings.lora_rank}, but the blocks of a {model.config.model_type} model have no "
            "linear layer that is called as one: set finetune.lora_rank to 0"
        )
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        target_modules="|".join(re.escape(name) for name in targets),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        inject_adapter_in_model(config, model)
    parameters = dict(model.named_parameters())
    for name in head_names(model):
        parameters[name].requires_grad_(True)


def merge_adapters(classifier: Classifier) -> Adapter | None:
    """Add what the adapters learnt to the weights of their layers, in place: the model is an ordinary one again.

    Returns:
        The adapter by itself; None where the model has none.
    """
    model = classifier.model
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    if not layers:
        return None
    state, head = model.state_dict(), head_names(model)
    learnt = {name.replace(".default.", "."): value for name, value in state.items() if ".lora_" in name}
    learnt |= {name: state[name] for name in head}
    weights = {f"base_model.model.{name}": value.cpu().contiguous().clone() for name, value in sorted(learnt.items())}
    used = model.peft_config["default"]
    config = {
        "peft_type": "LORA",
        "r": used.r,
        "lora_alpha": used.lora_alpha,
        "target_modules": used.target_modules,
        "modules_to_save": sorted({name.rpartition(".")[0] for name in head}),
        "inference_mode": True,
    }
    for name, layer in layers.items():
        layer.merge()
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer.get_base_layer())
    del model.peft_config
    return Adapter(config, weights)


def _linear_layers(classifier: Classifier, trainable_blocks: Any) -> list[str]:
    """Names of the linear layers of the last blocks that one forward pass calls.

    Where a family reads a layer's weights without calling it (as fused attention may), an adapter would never be asked.
    """
    model = classifier.model
    layers = blocks(model)[1]
    adapted = layers if trainable_blocks == "all" else layers[-trainable_blocks:]
    wanted = {module for block in adapted for module in block.modules() if isinstance(module, nn.Linear)}
    called: set[nn.Module] = set()
    hooks = [module.register_forward_pre_hook(lambda module, _: called.add(module)) for module in wanted]
    try:
        with torch.inference_mode():
            model(pixel_values=torch.zeros(1, 3, *classifier.image_size, device=next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return [name for name, module in model.named_modules() if module in called]
