"""How good captions are, and where their words look."""
