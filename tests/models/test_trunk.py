import pytest
import torch

from tests.tiny_models import tiny_model
from vit_atlas.errors import AtlasError
from vit_atlas.models.trunk import blocks, split


@pytest.mark.parametrize("trainable", range(5))
def test_trunk_and_tail_make_the_whole_model(family: str, trainable: int) -> None:
    model = tiny_model(family, image_size=48)
    parts = split(model, trainable)
    pixels = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        hidden = parts.trunk(pixels).last_hidden_state
        assert torch.equal(parts.tail(pixel_values=hidden).logits, model(pixels).logits)


def test_trunk_is_not_normalised_and_takes_half_precision_back(family: str) -> None:
    model = tiny_model(family, image_size=48)
    parts = split(model, 1)
    pixels = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        hidden = parts.trunk(pixels).last_hidden_state
        assert parts.tail(pixel_values=hidden.half()).logits.dtype == torch.float32
        whole = split(model, 0).trunk(pixels).last_hidden_state
        torch.testing.assert_close(model.base_model.layernorm(whole), model.base_model(pixels).last_hidden_state)
        assert not torch.allclose(whole, model.base_model(pixels).last_hidden_state)


def test_parts_share_the_models_weights_and_leave_it_as_it_is(family: str) -> None:
    model = tiny_model(family, image_size=48)
    names = [name for name, _ in model.named_modules()]
    parts = split(model, 2)
    assert [name for name, _ in model.named_modules()] == names
    tail = {id(parameter) for parameter in parts.tail.parameters()}
    last = {id(parameter) for layer in blocks(model)[1][-2:] for parameter in layer.parameters()}
    assert last < tail
    assert not {id(parameter) for layer in blocks(model)[1][:2] for parameter in layer.parameters()} & tail
    with torch.no_grad():
        next(blocks(model)[1][-1].parameters()).add_(1.0)
    assert tail == {id(parameter) for parameter in parts.tail.parameters()}


def test_tail_has_no_state_of_its_own(family: str) -> None:
    model = tiny_model(family, image_size=48)
    blocks_path = blocks(model)[0]
    tail = split(model, 2).tail.state_dict()
    assert tail.keys() <= model.state_dict().keys()
    assert not [name for name in tail if name.startswith((f"{blocks_path}.0.", f"{blocks_path}.1."))]


def test_more_blocks_than_there_are() -> None:
    with pytest.raises(AtlasError, match="but the model has 4 blocks: use a number up to 4"):
        split(tiny_model("vit"), 5)
