"""Layers and heads as people count them."""

import pytest

from tests.tiny_settings import VALUES
from vit_atlas.numbering import exists, to_index
from vit_atlas.settings import AttentionSettings, CaptionsSettings


def test_the_first_is_1_and_the_last_minus_1() -> None:
    layers = ["first", "second", "last"]
    assert [layers[to_index(number)] for number in (1, 2, 3, -1, -3)] == ["first", "second", "last", "last", "first"]
    assert [number for number in range(-5, 6) if exists(number, 3)] == [-3, -2, -1, 1, 2, 3]


@pytest.mark.parametrize(
    ("section", "values"),
    [(AttentionSettings, {"layer": 0}), (CaptionsSettings, {"layer": 0}), (CaptionsSettings, {"head": 0})],
)
def test_there_is_no_number_0(section: type, values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"first layer|greater than or equal to 1"):
        section.model_validate(VALUES[section] | values)  # type: ignore[attr-defined]
