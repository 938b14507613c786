"""What a section of settings is, and its values: kinds of numbers, checks whose message completes "expected ..."."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from vit_atlas.attention.methods import METHODS


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys, no silent conversion of text to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


# Strict: neither text nor true and false become numbers.
Integer = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True)]
Natural = Annotated[Integer, Field(ge=0)]
Count = Annotated[Integer, Field(ge=1)]
Shown = Annotated[Integer, Field(ge=1, le=64)]
Resamples = Annotated[Integer, Field(ge=100)]
Seed = Annotated[Integer, Field(ge=0, lt=2**32)]
Seeds = tuple[Seed, ...]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]


def layer(value: int) -> int:
    """Check the number of a layer."""
    if value == 0:
        raise ValueError("1 for the first layer, 2 for the second, ... or -1 for the last")
    return value


Layer = Annotated[Integer, AfterValidator(layer)]


def method(value: str) -> str:
    """Check that a map method is known."""
    if value not in METHODS:
        raise ValueError(f"one of {', '.join(METHODS)}")
    return value


def shares(value: tuple[float, float]) -> tuple[float, float]:
    """Check a smallest and a largest share."""
    if not 0 < value[0] <= value[1] <= 1:
        raise ValueError("[smallest, largest] with 0 < smallest <= largest <= 1")
    return value


def ratios(value: tuple[float, float]) -> tuple[float, float]:
    """Check a smallest and a largest ratio."""
    if not 0 < value[0] <= value[1]:
        raise ValueError("[smallest, largest] with 0 < smallest <= largest")
    return value


def other_seeds(repeats: tuple[int, ...], main: int | None, key: str) -> tuple[int, ...]:
    """Check that the seeds of repeats differ from each other and from ``main``, the value of ``key``."""
    if len({*repeats, main}) <= len(repeats):
        raise ValueError(f"seeds that differ from each other and from {key}, which is {main}")
    return repeats


def pattern_with_group(value: str) -> str:
    """Check a regular expression that names a group."""
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from None
    if not groups:
        raise ValueError(r"a regular expression with a group in parentheses, such as '([^/]+)_\d+\.'")
    return value
