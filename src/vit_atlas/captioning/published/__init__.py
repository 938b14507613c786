"""Captioners that others trained: CATR, and models of the Hugging Face hub."""
