"""Training a captioner on data/captioning."""
