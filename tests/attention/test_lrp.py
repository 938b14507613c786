"""AttnLRP against the authors' package, and against the property that gives it its sense: relevance is conserved."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vit_atlas.attention import maps
from vit_atlas.attention.lrp import RelevanceRules
from vit_atlas.attention.passes import Pass, run_pass
from vit_atlas.models.classifier import Classifier

from .conftest import tiny_model


def _trace(model: PreTrainedModel, pixels: Tensor, targets: Tensor) -> Pass:
    size = {"height": pixels.shape[2], "width": pixels.shape[3]}
    return run_pass(Classifier(model, SimpleNamespace(size=size)), pixels, targets, gradients=False)


def test_relevance_of_patches_is_that_of_the_authors_package() -> None:
    """The vectors are those of lxt 2.1's rules (layer norm, activation, attention) in the tiny ViT of these weights.

    The package itself is not asked: it does not import with transformers 5, and brings much that nothing else needs.
    """
    vectors = np.load(Path(__file__).with_name("attnlrp_of_lxt_2_1.npz"))
    model = tiny_model("vit")
    weights = {name.removeprefix("weights."): torch.from_numpy(vectors[name]) for name in vectors if "weights." in name}
    model.load_state_dict(weights)
    found = maps.patch_relevance(_trace(model, torch.from_numpy(vectors["pixels"]), torch.tensor([1, 3])))
    torch.testing.assert_close(found, torch.from_numpy(vectors["relevance"]), atol=1e-6, rtol=1e-3)
    assert (found < 0).any()
    assert (found > 0).any()


def test_the_answer_is_the_models_own(model: PreTrainedModel, pixels: Tensor) -> None:
    with torch.no_grad():
        expected = model(pixels).logits
    with RelevanceRules():
        answer = model(pixels).logits
    torch.testing.assert_close(answer, expected, atol=1e-5, rtol=1e-4)


def test_maps_are_the_positive_part_for_the_class(model: PreTrainedModel, pixels: Tensor) -> None:
    one, other = (_trace(model, pixels, torch.tensor(targets)) for targets in ([1, 3], [2, 0]))
    found = maps.attnlrp(one)
    torch.testing.assert_close(found, maps.patch_relevance(one).clamp(min=0))
    assert not torch.allclose(found, maps.attnlrp(other))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_attention_shares_relevance_between_its_two_sides() -> None:
    """Eager products and the fused function give the same; a product's relevance is kept, half to each side."""
    query, key, value = (torch.randn(1, 1, 3, 4, generator=torch.Generator().manual_seed(n)) for n in range(3))
    both = []
    for fused in (True, False):
        leaves = [tensor.clone().requires_grad_() for tensor in (query, key, value)]
        with RelevanceRules():
            if fused:
                output = nn.functional.scaled_dot_product_attention(*leaves)
            else:
                output = (leaves[0] @ leaves[1].transpose(2, 3) * 0.5).softmax(-1) @ leaves[2]
        both.append(torch.autograd.grad(output.sum(), leaves))
    torch.testing.assert_close(both[0], both[1])
    torch.testing.assert_close((both[0][2] * value).sum(), output.detach().sum() / 2)
