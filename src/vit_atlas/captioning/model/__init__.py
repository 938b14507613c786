"""The captioner: what it sees through, its network, and how it writes."""
