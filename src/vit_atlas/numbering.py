"""Layers and heads count from 1 wherever a person reads or writes a number; code counts from 0."""


def to_index(number: int) -> int:
    """The place in Python's sense of the layer or head with this ``number``: 1 is the first, -1 the last.

    0 is nobody's number; settings and commands refuse it before.
    """
    return number - 1 if number > 0 else number


def exists(number: int, count: int) -> bool:
    """Whether there is a layer or head of this ``number`` among ``count``."""
    return 1 <= abs(number) <= count
