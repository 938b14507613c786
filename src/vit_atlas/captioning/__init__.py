"""Captions and, for every word of one, where in the photo the captioning transformer looked."""
