"""AttnLRP against the authors' package, and against the property that gives it its sense: relevance is conserved."""

import importlib
import sys
from pathlib import Path
from types import MethodType, ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from vit_atlas.attention import maps
from vit_atlas.attention.lrp import RelevanceRules
from vit_atlas.attention.passes import Pass, run_pass
from vit_atlas.models.classifier import Classifier

from .conftest import tiny_model


def _trace(model: PreTrainedModel, pixels: Tensor, targets: Tensor) -> Pass:
    size = {"height": pixels.shape[2], "width": pixels.shape[3]}
    return run_pass(Classifier(model, SimpleNamespace(size=size)), pixels, targets, gradients=False)


@pytest.fixture
def lxt_rules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package's rules, without its models, which import what transformers 5 has not."""
    package: Any = pytest.importorskip("lxt", reason="lxt is not installed: pip install lxt")
    efficient: Any = ModuleType("lxt.efficient")
    efficient.__path__ = [str(Path(package.__path__[0], "efficient"))]
    monkeypatch.setitem(sys.modules, "lxt.efficient", efficient)
    return importlib.import_module("lxt.efficient.patches")


def test_relevance_of_patches_is_that_of_the_authors_package(lxt_rules: Any, pixels: Tensor) -> None:
    targets = torch.tensor([1, 3])
    found = maps.patch_relevance(_trace(tiny_model("vit"), pixels, targets))

    model = tiny_model("vit")
    ALL_ATTENTION_FUNCTIONS["lxt"] = lxt_rules.wrap_attention_forward(ALL_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation("lxt")
    activations = 0
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.forward = MethodType(lxt_rules.layer_norm_forward, module)  # type: ignore[method-assign]
        elif "gelu" in type(module).__name__.lower():
            activations += 1
            module.original_forward = module.forward
            module.forward = MethodType(lxt_rules.non_linear_forward, module)
    assert activations
    leaf = pixels.clone().requires_grad_()
    logits = model(leaf).logits
    (gradient,) = torch.autograd.grad(logits[0, 1] + logits[1, 3], leaf)
    expected = (leaf.detach() * gradient).sum(dim=1).reshape(2, 4, 4, 4, 4).sum(dim=(2, 4))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-3)
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
