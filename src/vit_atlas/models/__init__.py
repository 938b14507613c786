"""Pretrained Vision Transformers: where they come from, how their tokens lie on the photo, how they are trained."""
