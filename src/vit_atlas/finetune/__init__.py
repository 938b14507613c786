"""Fine-tuning: a pretrained Vision Transformer and labelled photos in, a classifier and its training history out."""
