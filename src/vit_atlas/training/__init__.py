"""Fine-tuning: a pretrained Vision Transformer and labelled photos in, a classifier and its training history out."""

from vit_atlas.training.processes import launch
from vit_atlas.training.run import finetune

__all__ = ["finetune", "launch"]
