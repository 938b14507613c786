"""Which parameter learns how fast."""

from typing import Any

from torch import nn

from vit_atlas.models.trunk import after_blocks, blocks, head_names, head_of
from vit_atlas.settings import FinetuneSettings

_UNDECAYED = (
    "cls_token",
    "distillation_token",
    "dist_token",
    "register_tokens",
    "reg_token",
    "mask_token",
    "position_embeddings",
    "position_embedding.weight",
    "pos_embed",
    "relative_position_bias_table",
)


def freeze(model: Any, trainable_blocks: int) -> None:
    """Let only the last ``trainable_blocks`` blocks, the final norm and the head learn; with 0 the head alone."""
    after = after_blocks(model)
    model.requires_grad_(False)
    head_of(model).requires_grad_(True)
    if trainable_blocks:
        for parameter in after.values():
            parameter.requires_grad_(True)
        blocks(model)[1][-trainable_blocks:].requires_grad_(True)


def parameter_groups(model: Any, settings: FinetuneSettings) -> list[dict[str, Any]]:
    """AdamW's parameter groups: one per learning rate, with and without weight decay; frozen parameters are left out.

    The last block and the final norm learn with ``learning_rate``, each block below with ``layer_decay`` times the rate
    of the one above, the embeddings as a block below the first. The head has its own rate. Biases, norms, scales, class
    and register tokens and position embeddings are not decayed. The last block's group comes first: its rate is the
    one that the history shows.

    References:
        Bao et al. 2022, BEiT, appendix on fine-tuning (layer-wise learning-rate decay), https://arxiv.org/abs/2106.08254
    """
    rates = _rates(model, settings)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim > 1 and not name.endswith(_UNDECAYED)
            groups.setdefault((rates[name], decayed), []).append(parameter)
    first = settings.learning_rate
    ordered = sorted(groups, key=lambda group: (group[0] != first, -group[0], not group[1]))
    return [
        {"params": groups[rate, decayed], "lr": rate, "weight_decay": settings.weight_decay if decayed else 0.0}
        for rate, decayed in ordered
    ]


def _rates(model: Any, settings: FinetuneSettings) -> dict[str, float]:
    """Peak learning rate of every parameter by name."""
    path, layers = blocks(model)
    head, after = set(head_names(model)), after_blocks(model)
    rates = {}
    for name, _ in model.named_parameters():
        if name in head:
            rates[name] = settings.head_learning_rate or settings.learning_rate
        elif name.startswith(f"{path}."):
            block = int(name.removeprefix(f"{path}.").split(".")[0])
            rates[name] = settings.learning_rate * settings.layer_decay ** (len(layers) - 1 - block)
        elif name in after:
            rates[name] = settings.learning_rate
        else:
            rates[name] = settings.learning_rate * settings.layer_decay ** len(layers)
    return rates
