"""Every method against plain loops over transformers' eager attention maps."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForImageClassification, PreTrainedModel, TimmWrapperConfig, ViTImageProcessor

from tests import tiny_models
from tests.tiny_models import PREFIX_TOKENS
from tests.tiny_settings import tiny
from vit_atlas.attention import maps
from vit_atlas.attention.maps import MapOptions, centre_gaussian, make_maps, random_map
from vit_atlas.attention.methods import METHODS, Method, needing
from vit_atlas.attention.passes import Pass, run_pass
from vit_atlas.attention.recorder import LayerRecord
from vit_atlas.attention.summary import method_table
from vit_atlas.errors import AtlasError
from vit_atlas.estimates import Estimate
from vit_atlas.models.classifier import Classifier
from vit_atlas.models.geometry import TokenLayout
from vit_atlas.report import charts
from vit_atlas.settings import AttentionSettings

from .conftest import SMALL, eager_attentions, tiny_model

TARGETS = torch.tensor([1, 3])


def _trace(model: PreTrainedModel, pixels: Tensor, **options: Any) -> Pass:
    size = {"height": pixels.shape[2], "width": pixels.shape[3]}
    classifier = Classifier(model, SimpleNamespace(size=size))
    return run_pass(classifier, pixels, **{"targets": TARGETS, **options})


def _patches(row: Tensor, kind: str, grid: tuple[int, int] = (4, 4)) -> Tensor:
    return row[..., PREFIX_TOKENS[kind] :].reshape(*row.shape[:-1], *grid)


def _read(model: PreTrainedModel, kind: str, rows: Tensor) -> Tensor:
    """What the head reads of rows (..., queries, tokens): the class token's; DINOv2's reads the mean patch as well."""
    if kind in ("vit", "deit"):
        return rows[..., 0, :]
    size = {"height": 16, "width": 16}
    share = float(Classifier(model, SimpleNamespace(size=size)).readout.weights[0])
    assert 0.1 < share < 0.9
    return share * rows[..., 0, :] + (1 - share) * rows[..., PREFIX_TOKENS[kind] :, :].mean(dim=-2)


def _eager_with_graph(model: PreTrainedModel, pixels: Tensor) -> Any:
    model.set_attn_implementation("eager")
    output = model(pixels, output_attentions=True, output_hidden_states=True)
    model.set_attn_implementation("sdpa")
    return output


def test_single_layer_methods(model: PreTrainedModel, kind: str, pixels: Tensor) -> None:
    attentions = eager_attentions(model, pixels)
    trace = _trace(model, pixels, gradients=False)
    for layer in (0, -1):
        rows = _patches(_read(model, kind, attentions[layer]), kind)
        torch.testing.assert_close(maps.head_mean(trace, MapOptions(layer)), rows.mean(dim=1), atol=1e-6, rtol=0)
        torch.testing.assert_close(maps.head_max(trace, MapOptions(layer)), rows.max(dim=1).values, atol=1e-6, rtol=0)
        torch.testing.assert_close(maps.best_head(trace, MapOptions(layer, head=1)), rows[:, 1], atol=1e-6, rtol=0)


def test_rollout_is_the_product_of_mixed_layers(model: PreTrainedModel, kind: str, pixels: Tensor) -> None:
    attentions = eager_attentions(model, pixels)
    for image in range(2):
        product = torch.eye(attentions[0].shape[-1])
        for attention in attentions:
            mixed = attention[image].mean(dim=0) + torch.eye(attention.shape[-1])
            product = (mixed / mixed.sum(dim=-1, keepdim=True)) @ product
        found = maps.rollout(_trace(model, pixels, gradients=False))[image]
        torch.testing.assert_close(found, _patches(_read(model, kind, product), kind), atol=1e-6, rtol=1e-5)


def test_rollout_with_discard_drops_the_smallest_weights(model: PreTrainedModel, kind: str, pixels: Tensor) -> None:
    attentions = eager_attentions(model, pixels)
    for image in range(2):
        product = torch.eye(attentions[0].shape[-1])
        for attention in attentions:
            mean = attention[image].mean(dim=0)
            order = sorted(range(mean.numel()), key=lambda place: float(mean.flatten()[place]))
            kept = mean.flatten().clone()
            for place in order[: int(mean.numel() * 0.7)]:
                if place != 0:
                    kept[place] = 0
            mixed = kept.reshape(mean.shape) + torch.eye(mean.shape[0])
            product = (mixed / mixed.sum(dim=-1, keepdim=True)) @ product
        found = maps.rollout(_trace(model, pixels, gradients=False), discard=0.7)[image]
        torch.testing.assert_close(found, _patches(_read(model, kind, product), kind), atol=1e-6, rtol=1e-5)


def test_relevance_is_the_sum_over_paths_of_positive_gradient_times_attention(
    model: PreTrainedModel, kind: str, pixels: Tensor
) -> None:
    output = _eager_with_graph(model, pixels)
    gradients = torch.autograd.grad(output.logits[0, 1] + output.logits[1, 3], output.attentions)
    found = maps.relevance(_trace(model, pixels))
    for image in range(2):
        total = torch.eye(gradients[0].shape[-1])
        for attention, gradient in zip(output.attentions, gradients, strict=True):
            flow = (gradient[image] * attention[image]).clamp(min=0).mean(dim=0)
            total = total + flow @ total
        torch.testing.assert_close(
            found[image], _patches(_read(model, kind, total).detach(), kind), atol=1e-5, rtol=1e-3
        )


def _logits_of(model: PreTrainedModel, kind: str, states: Tensor) -> Tensor:
    """The model's own head on token states, written out for each family."""
    states = model.base_model.layernorm(states)
    if kind in ("vit", "deit"):
        return model.classifier(states[:, 0])
    return model.classifier(torch.cat([states[:, 0], states[:, PREFIX_TOKENS[kind] :].mean(dim=1)], dim=1))


def test_legrad_sums_layers_of_positive_gradients(model: PreTrainedModel, kind: str, pixels: Tensor) -> None:
    output = _eager_with_graph(model, pixels)
    layers = []
    for attention, states in zip(output.attentions, output.hidden_states[1:], strict=True):
        logits = _logits_of(model, kind, states)
        (gradient,) = torch.autograd.grad(logits[0, 1] + logits[1, 3], attention, retain_graph=True)
        layers.append(gradient.clamp(min=0).mean(dim=(1, 2)))
    expected = _patches(torch.stack(layers).mean(dim=0), kind)
    trace = _trace(model, pixels)
    torch.testing.assert_close(maps.legrad(trace, layers=None), expected, atol=1e-6, rtol=1e-3)
    last_two = _patches(torch.stack(layers[1:]).mean(dim=0), kind)
    torch.testing.assert_close(maps.legrad(trace, layers=2), last_two, atol=1e-6, rtol=1e-3)


def test_head_of_the_last_states_is_the_models_own_answer(model: PreTrainedModel, pixels: Tensor) -> None:
    trace = _trace(model, pixels)
    torch.testing.assert_close(trace.head(trace.hidden[-1]).detach(), trace.logits, atol=1e-5, rtol=1e-5)


def _cam(
    model: PreTrainedModel, kind: str, pixels: Tensor, target: Callable[[Tensor], Tensor], norm: Any = None
) -> Tensor:
    """Grad-CAM of ``target`` of the logits, written out."""
    norm = norm or _norm(model, kind)
    kept: list[Tensor] = []
    handle = norm.register_forward_hook(lambda *call: kept.append(call[2]))
    logits = model(pixels).logits
    handle.remove()
    (gradient,) = torch.autograd.grad(target(logits), kept[0])
    weights = gradient[:, PREFIX_TOKENS[kind] :].mean(dim=1, keepdim=True)
    cam = (weights * kept[0][:, PREFIX_TOKENS[kind] :]).sum(dim=2).clamp(min=0).detach()
    cam = cam - cam.amin(dim=1, keepdim=True)
    return (cam / (1e-7 + cam.amax(dim=1, keepdim=True))).reshape(2, 4, 4)


def _norm(model: PreTrainedModel, kind: str) -> Any:
    block = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList))[-1]
    return block.layernorm_before if kind in ("vit", "deit") else block.norm1


def test_gradcam_equals_a_plain_computation(model: PreTrainedModel, kind: str, pixels: Tensor) -> None:
    expected = _cam(model, kind, pixels, lambda logits: logits[0, 1] + logits[1, 3])
    torch.testing.assert_close(maps.gradcam(_trace(model, pixels)), expected, atol=1e-4, rtol=1e-3)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not _norm(model, kind)._forward_hooks


def test_gradcam_finds_the_norm_whatever_library_it_is_from(pixels: Tensor) -> None:
    """timm's RMS norm, which is another class than PyTorch's."""
    sizes = {"img_size": 16, "patch_size": 4, "depth": 2, "embed_dim": 48, "num_heads": 3, "norm_layer": "rmsnorm"}
    torch.manual_seed(0)
    config = TimmWrapperConfig(architecture="vit_tiny_patch16_224", model_args=sizes, num_labels=5)
    model = AutoModelForImageClassification.from_config(config).eval()
    norm = model.timm_model.blocks[-1].norm1
    assert type(norm).__name__ == "RmsNorm"
    expected = _cam(model, "vit", pixels, lambda logits: logits[0, 1] + logits[1, 3], norm)
    assert expected.max() > 0.9
    torch.testing.assert_close(maps.gradcam(_trace(model, pixels)), expected, atol=1e-4, rtol=1e-3)


def test_finercam_equals_a_plain_computation(model: PreTrainedModel, kind: str, pixels: Tensor) -> None:
    """Of five classes, the three with the nearest logits, whatever side they lie on."""

    def target(logits: Tensor) -> Tensor:
        total = logits.new_zeros(())
        for row, label in zip(logits, TARGETS.tolist(), strict=True):
            others = sorted(
                (other for other in range(5) if other != label), key=lambda k: abs(float(row[k] - row[label]))
            )
            shares = [row.softmax(dim=0)[other] for other in others[:3]]
            total = total + sum(
                share * (row[label] - row[other]) for share, other in zip(shares, others, strict=False)
            ) / sum(shares)
        return total

    found = maps.finercam(_trace(model, pixels))
    torch.testing.assert_close(found, _cam(model, kind, pixels, target), atol=1e-4, rtol=1e-3)
    assert not torch.allclose(found, maps.gradcam(_trace(model, pixels)), atol=0.01)


def test_finercam_of_one_class_is_gradcam(pixels: Tensor) -> None:
    trace = _trace(tiny_models.tiny_model("vit", "a", 0, **SMALL), pixels, targets=torch.tensor([0, 0]))
    torch.testing.assert_close(maps.finercam(trace), maps.gradcam(trace))


def test_class_specific_methods_follow_the_class(pixels: Tensor) -> None:
    model = tiny_model("dinov2")
    one, other = _trace(model, pixels), _trace(model, pixels, targets=torch.tensor([2, 0]))
    for method in (maps.relevance, maps.legrad, maps.gradcam, maps.finercam):
        assert not torch.allclose(method(one), method(other))
    likely = _trace(model, pixels, targets=None)
    assert likely.targets.tolist() == likely.logits.argmax(dim=1).tolist()


def test_maps_of_input_that_is_not_square() -> None:
    model = tiny_model("vit", image_size=(8, 20))
    pixels = torch.randn(2, 3, 8, 20)
    attention = eager_attentions(model, pixels)[-1]
    trace = _trace(model, pixels)
    expected = attention[:, :, 0, 1:].mean(dim=1).reshape(2, 2, 5)
    torch.testing.assert_close(maps.head_mean(trace), expected, atol=1e-6, rtol=0)
    found = make_maps(trace, ["a", "b"], list(METHODS), MapOptions(head=0))
    assert list(found) == list(METHODS)
    assert all(values.shape == (2, 2, 5) and (values >= 0).all() for values in found.values())


def test_best_head_waits_for_its_head(pixels: Tensor) -> None:
    trace = _trace(tiny_model("vit"), pixels)
    assert "best_head" not in make_maps(trace, ["a", "b"], ["head_mean", "best_head"], MapOptions())
    found = make_maps(trace, ["a", "b"], ["best_head"], MapOptions(head=1))["best_head"]
    np.testing.assert_allclose(found, maps.best_head(trace, MapOptions(head=1)).detach().numpy())


def test_baselines() -> None:
    gaussian = centre_gaussian(3, 5)
    assert gaussian.argmax() == 7
    torch.testing.assert_close(gaussian, gaussian.flip(0).flip(1))
    torch.testing.assert_close(random_map(3, 5, "a", 0), random_map(3, 5, "a", 0))
    assert not torch.equal(random_map(3, 5, "a", 0), random_map(3, 5, "b", 0))
    assert not torch.equal(random_map(3, 5, "a", 0), random_map(3, 5, "a", 1))


def test_the_table_says_what_a_method_needs() -> None:
    """Each method runs alone on a pass that keeps what the table says, and no more."""
    model = tiny_model("vit")
    pixels = torch.randn(2, 3, 16, 16)
    for name, method in METHODS.items():
        trace = _trace(model, pixels, gradients=method.gradients, layers=method.states)
        assert make_maps(trace, ["a", "b"], [name], MapOptions(head=0))[name].shape == (2, 4, 4)
    assert needing(["head_mean", "legrad"], "gradients")
    assert not needing(["head_mean", "rollout", "gradcam", "uniform"], "gradients")


def test_a_method_is_added_by_one_entry_and_one_function(pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    def head_min(trace: Pass, options: MapOptions) -> Tensor:
        return trace.read_rows(options.layer).amin(dim=1)

    monkeypatch.setitem(METHODS, "head_min", Method("head_min", "head min", one_layer=True))
    monkeypatch.setattr(maps, "head_min", head_min, raising=False)
    assert tiny(AttentionSettings, methods=["head_min"]).methods == ("head_min",)
    trace = _trace(tiny_model("vit"), pixels, gradients=False)
    found = make_maps(trace, ["a", "b"], ["head_min"], MapOptions())["head_min"]
    np.testing.assert_allclose(found, trace.read_rows(-1).amin(dim=1))
    metrics = Estimate(0.5, 0.4, 0.6).flat("head_min.miou") | {"head_min.mass": 0.3}
    assert [row["name"] for row in charts.method_scores(metrics)[0]["data"]["values"]] == ["head min"]
    assert method_table(metrics)["method"].tolist() == ["head min"]


@pytest.mark.parametrize("finer", [False, True])
def test_gradcam_and_finercam_equal_the_librarys(
    model: PreTrainedModel, kind: str, pixels: Tensor, finer: bool
) -> None:
    from pytorch_grad_cam import FinerCAM, GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, photos: Tensor) -> Tensor:
            return self.model(photos).logits

    def as_image(states: Tensor) -> Tensor:
        return states[:, PREFIX_TOKENS[kind] :].transpose(1, 2).reshape(2, -1, 4, 4)

    likely = model(pixels).logits.argmax(dim=1)  # The library compares the likeliest class only.
    kinds = {"model": Logits(), "target_layers": [_norm(model, kind)], "reshape_transform": as_image}
    with FinerCAM(**kinds) if finer else GradCAM(**kinds) as cam:
        targets = None if finer else [ClassifierOutputTarget(int(target)) for target in likely]
        large = torch.from_numpy(cam(pixels, targets=targets))
    # The library stretches its map to the photo; ours is compared after the same stretching.
    ours = (maps.finercam if finer else maps.gradcam)(_trace(model, pixels, targets=likely))
    stretched = torch.nn.functional.interpolate(ours[:, None], size=(16, 16), mode="bilinear")[:, 0]
    for one, other in zip(stretched, large, strict=True):
        assert np.corrcoef(one.flatten(), other.flatten())[0, 1] > 0.999


def test_gradients_under_inference_mode_are_refused(pixels: Tensor) -> None:
    with torch.inference_mode(), pytest.raises(AtlasError, match=r"under torch\.inference_mode"):
        _trace(tiny_model("vit"), pixels)


@pytest.mark.parametrize("name", ["legrad", "gradcam", "finercam", "attnlrp"])
def test_a_map_by_gradients_under_inference_mode_is_refused(name: str, pixels: Tensor) -> None:
    trace = _trace(tiny_model("vit"), pixels)
    with torch.inference_mode(), pytest.raises(AtlasError, match=r"asked for under torch\.inference_mode"):
        getattr(maps, name)(trace)


def test_another_class_under_inference_mode_is_refused(pixels: Tensor) -> None:
    trace = _trace(tiny_model("vit"), pixels)
    with torch.inference_mode(), pytest.raises(AtlasError, match=r"asked for under torch\.inference_mode"):
        trace.explaining(TARGETS)


@pytest.mark.parametrize("name", ["gradcam", "finercam", "attnlrp"])
def test_a_map_that_records_its_own_graph_is_the_same_without_gradients(name: str, pixels: Tensor) -> None:
    trace = _trace(tiny_model("vit"), pixels)
    with torch.no_grad():
        found = getattr(maps, name)(trace)
    torch.testing.assert_close(found, getattr(maps, name)(trace))


def test_methods_say_what_they_miss(pixels: Tensor) -> None:
    model = tiny_model("vit")
    with pytest.raises(AtlasError, match="head 2 does not exist: the layer has 2 heads"):
        maps.best_head(_trace(model, pixels, gradients=False), MapOptions(head=2))
    with pytest.raises(AtlasError, match="LeGrad needs the token states"):
        maps.legrad(_trace(model, pixels, layers=False))
    with pytest.raises(AtlasError, match="LeGrad needs gradients"):
        maps.legrad(_trace(model, pixels, gradients=False))
    with pytest.raises(AtlasError, match="Grad-CAM needs the token states"):
        maps.gradcam(_trace(model, pixels, layers=False))


def test_rollout_equals_a_published_package() -> None:
    """Vectors: attentions (layers, B, heads, N, N) and what fast-vit-rollout 0.1.1 (PyPI) made of them, no discard."""
    vectors = np.load(Path(__file__).with_name("rollout_of_fast_vit_rollout_0_1_1.npz"))
    attentions, expected = torch.from_numpy(vectors["attentions"]), torch.from_numpy(vectors["rollout"])
    tokens = attentions.shape[-1]
    identity = torch.eye(tokens).expand(2, 2, tokens, tokens)
    records = [LayerRecord(identity, attention.log().transpose(2, 3), identity, 1.0) for attention in attentions]
    trace: Any = SimpleNamespace(
        records=records,
        start=lambda: torch.eye(tokens)[:1].expand(2, -1),
        pixels=torch.zeros(2, 3, 4, 6),
        layout=TokenLayout(grid=(2, 3), prefix_tokens=1, patch=(2, 2)),
        on_grid=lambda row: row[:, 1:].reshape(2, 2, 3),
    )
    torch.testing.assert_close(maps.rollout(trace), expected[:, 0, 1:].reshape(2, 2, 3), atol=1e-6, rtol=1e-5)


def test_another_classes_map_of_a_head_that_pools_by_attention_starts_from_that_class(pixels: torch.Tensor) -> None:
    arguments = {"img_size": 16, "patch_size": 4, "depth": 2, "embed_dim": 48, "num_heads": 3}
    config = TimmWrapperConfig(architecture="vit_base_patch16_siglip_224", model_args=arguments, num_labels=5)
    torch.manual_seed(0)
    model = AutoModelForImageClassification.from_config(config).eval()
    classifier = Classifier(model, ViTImageProcessor(size={"height": 16, "width": 16}))
    other = torch.tensor([3, 4])
    direct = run_pass(classifier, pixels, other)
    assert direct.pooling is not None
    again = run_pass(classifier, pixels, torch.tensor([0, 1])).explaining(other)
    names = ["relevance", "legrad"]
    expected, found = (make_maps(one, ["", ""], names, MapOptions()) for one in (direct, again))
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6, err_msg=name)


def test_a_layer_that_the_model_does_not_have_is_named(pixels: torch.Tensor) -> None:
    trace = run_pass(
        Classifier(tiny_model("vit"), ViTImageProcessor(size={"height": 16, "width": 16})), pixels, gradients=False
    )
    for layer, named in ((3, "4"), (-4, "-4")):
        with pytest.raises(AtlasError, match=f"there is no layer {named}: the model has 3"):
            trace.read_rows(layer)
        with pytest.raises(AtlasError, match=f"there is no layer {named}: the model has 3"):
            trace.block_rows(layer)
