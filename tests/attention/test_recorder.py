"""The recorder gives what transformers' eager attention gives, and leaves the model as it was."""

import threading
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    VisionEncoderDecoderModel,
    ViTModel,
)

from tests.tiny_models import tiny_config
from vit_atlas.attention.recorder import AttentionRecorder, record_attention
from vit_atlas.errors import AtlasError

from .conftest import SMALL, eager_attentions, tiny_model


def test_rows_equal_eager_for_every_layer_and_kind(model: PreTrainedModel, pixels: torch.Tensor) -> None:
    expected = eager_attentions(model, pixels)
    with torch.no_grad(), AttentionRecorder(model, queries=[0, 2]) as recorder:
        logits = model(pixels).logits
    assert recorder.layer_count == len(expected) == 3
    for layer, attention in enumerate(expected):
        assert recorder.rows(layer).dtype == torch.float32
        torch.testing.assert_close(recorder.rows(layer), attention[:, :, [0, 2]], atol=1e-6, rtol=0)
    torch.testing.assert_close(logits, model(pixels).logits.detach(), atol=1e-5, rtol=1e-5)


def test_whole_maps_equal_eager(model: PreTrainedModel, pixels: torch.Tensor) -> None:
    expected = eager_attentions(model, pixels)
    with torch.no_grad(), AttentionRecorder(model, queries=None) as recorder:
        model(pixels)
    for layer, attention in enumerate(expected):
        torch.testing.assert_close(recorder.record(layer).rows(), attention, atol=1e-6, rtol=0)
        torch.testing.assert_close(recorder.record(layer).head_mean(), attention.mean(dim=1), atol=1e-6, rtol=0)
        pieces = torch.cat([rows for _, rows in recorder.record(layer).chunks(rows=5)], dim=2)
        torch.testing.assert_close(pieces, attention, atol=1e-6, rtol=0)


def test_gradients_equal_autograd_through_eager_maps(model: PreTrainedModel, pixels: torch.Tensor) -> None:
    model.set_attn_implementation("eager")
    output = model(pixels, output_attentions=True)
    target = output.logits[0, 1] + output.logits[1, 3]
    expected = torch.autograd.grad(target, output.attentions)
    model.set_attn_implementation("sdpa")

    with AttentionRecorder(model, gradients=True) as recorder:
        logits = model(pixels).logits
        recorder.backward(logits[0, 1] + logits[1, 3])
    for layer, gradient in enumerate(expected):
        torch.testing.assert_close(recorder.record(layer).gradient(), gradient, atol=1e-5, rtol=1e-4)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_model_is_as_before_even_after_an_exception(pixels: torch.Tensor) -> None:
    model = tiny_model("vit")
    model.set_attn_implementation("eager")
    model.vit.embeddings.cls_token.requires_grad_(False)
    trainable = [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(ValueError, match="Input image size"), AttentionRecorder(model, gradients=True):
        model(pixels[..., :8])
    assert model.config._attn_implementation == "eager"
    assert model.vit.config._attn_implementation == "eager"
    assert [parameter.requires_grad for parameter in model.parameters()] == trainable


def test_nothing_is_kept_outside_the_block_or_of_other_layers(pixels: torch.Tensor) -> None:
    model = tiny_model("vit")
    with torch.no_grad(), AttentionRecorder(model, layers=[-1]) as recorder:
        model(pixels)
    newest = recorder.rows(-1)
    model(pixels * 2)
    assert recorder.rows(-1) is newest
    assert recorder.rows(2) is newest
    with pytest.raises(AtlasError, match="layer 0 was not recorded"):
        recorder.rows(0)


def test_one_recorder_does_not_see_another_model(pixels: torch.Tensor) -> None:
    one, other = tiny_model("vit"), tiny_model("dinov2")
    with torch.no_grad(), AttentionRecorder(one) as recorder:
        one(pixels)
        before = recorder.rows(-1)
        other(pixels)
    assert recorder.rows(-1) is before


def test_clear_forgets_and_all_rows_keeps_every_pass(pixels: torch.Tensor) -> None:
    model = tiny_model("vit")
    with torch.no_grad(), AttentionRecorder(model) as recorder:
        model(pixels)
        model(pixels * 2)
        assert len(recorder.all_rows(-1)) == 2
        recorder.clear()
        model(pixels)
        assert len(recorder.all_rows(-1)) == 1


def _captioner() -> VisionEncoderDecoderModel:
    torch.manual_seed(0)
    encoder = ViTModel(tiny_config(**SMALL))
    decoder = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=20,
            n_positions=12,
            n_embd=16,
            n_layer=2,
            n_head=2,
            add_cross_attention=True,
            initializer_range=0.5,
            bos_token_id=0,
            eos_token_id=1,
        )
    )
    return VisionEncoderDecoderModel(encoder=encoder, decoder=decoder).eval()


def test_cross_attention_of_a_gpt2_decoder(pixels: torch.Tensor) -> None:
    captioner = _captioner()
    words = torch.tensor([[0, 3, 5], [0, 4, 6]])
    captioner.set_attn_implementation("eager")
    with torch.no_grad():
        expected = captioner(pixels, decoder_input_ids=words, output_attentions=True).cross_attentions
    captioner.set_attn_implementation("sdpa")

    modules = [block.crossattention for block in captioner.decoder.transformer.h]
    assert len(modules) == len(expected) == 2
    with (
        torch.no_grad(),
        AttentionRecorder(captioner.decoder, queries=range(3), modules=modules) as recorder,
    ):
        captioner(pixels, decoder_input_ids=words)
    for layer, attention in enumerate(expected):
        torch.testing.assert_close(recorder.rows(layer), attention, atol=2e-6, rtol=0)
    assert captioner.encoder.config._attn_implementation == "sdpa"


def test_causal_self_attention_of_a_decoder(pixels: torch.Tensor) -> None:
    captioner = _captioner()
    words = torch.tensor([[0, 3, 5, 7]])
    captioner.set_attn_implementation("eager")
    with torch.no_grad():
        expected = captioner(pixels[:1], decoder_input_ids=words, output_attentions=True).decoder_attentions
    captioner.set_attn_implementation("sdpa")
    modules = [block.attn for block in captioner.decoder.transformer.h]
    with torch.no_grad(), AttentionRecorder(captioner.decoder, queries=None, modules=modules) as recorder:
        captioner(pixels[:1], decoder_input_ids=words)
    for layer, attention in enumerate(expected):
        torch.testing.assert_close(recorder.record(layer).rows(), attention, atol=1e-6, rtol=0)


def test_rows_of_decoding_step_by_step_with_a_cache(pixels: torch.Tensor) -> None:
    captioner = _captioner()
    modules = [block.crossattention for block in captioner.decoder.transformer.h]
    with torch.no_grad(), AttentionRecorder(captioner.decoder, queries=[-1], modules=modules) as recorder:
        words = captioner.generate(pixels[:1], max_new_tokens=3, min_new_tokens=3, do_sample=False, num_beams=1)
    steps = torch.cat(recorder.all_rows(-1), dim=2)
    captioner.set_attn_implementation("eager")
    with torch.no_grad():
        whole = captioner(pixels[:1], decoder_input_ids=words[:, :-1], output_attentions=True).cross_attentions[-1]
    torch.testing.assert_close(steps, whole, atol=1e-5, rtol=0)


def test_a_model_without_attention_is_named() -> None:
    network = ConvNextForImageClassification(
        ConvNextConfig(hidden_sizes=[4, 8, 8, 8], depths=[1, 1, 1, 1], num_labels=2)
    )
    with (
        torch.no_grad(),
        pytest.raises(AtlasError, match="no attention of ConvNextForImageClassification reached the recorder"),
        AttentionRecorder(network),
    ):
        network(torch.zeros(1, 3, 32, 32))


def test_a_model_with_an_attention_of_its_own_is_named(pixels: torch.Tensor) -> None:
    model = tiny_model("vit")

    class OwnKernel(nn.Module):
        def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, None]:
            return hidden_states, None

    for layer in model.vit.layers:
        layer.attention = OwnKernel()
    with (
        torch.no_grad(),
        pytest.raises(AtlasError, match="does not attend through torch's scaled_dot_product_attention"),
        AttentionRecorder(model),
    ):
        model(pixels)


class Plain(nn.Module):
    """One attention layer in plain PyTorch, over ``windows`` windows of the tokens, with a mask and grouped heads."""

    def __init__(self, windows: int = 1, mask: torch.Tensor | None = None, groups: int = 1, fail: bool = False) -> None:
        super().__init__()
        self.windows, self.mask, self.groups, self.fail = windows, mask, groups, fail

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.fail:
            raise ValueError("broken")
        split = tokens.reshape(len(tokens) * self.windows, -1, 4, 8).transpose(1, 2)
        key = split[:, :: self.groups]
        return functional.scaled_dot_product_attention(
            split, key, key, attn_mask=self.mask, scale=0.5, enable_gqa=self.groups > 1
        )


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("boolean", [True, False])
def test_masks_scales_and_grouped_heads_of_plain_modules(boolean: bool, groups: int) -> None:
    torch.manual_seed(0)
    tokens = torch.randn(2, 6, 32)
    bias = torch.randn(4, 6, 6)
    mask = bias > -0.5 if boolean else bias
    mask[..., 0] = True if boolean else 0.0
    with torch.no_grad(), record_attention(Plain(mask=mask, groups=groups), queries=None) as recorder:
        output = recorder.model(tokens)
    split = tokens.reshape(2, 6, 4, 8).transpose(1, 2)
    key = split[:, ::groups].repeat_interleave(groups, dim=1)
    added = torch.zeros_like(bias).masked_fill(~mask, float("-inf")) if boolean else mask
    expected = (split @ key.transpose(2, 3) * 0.5 + added).softmax(-1)
    torch.testing.assert_close(recorder.record().rows(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(expected @ key, output, atol=1e-5, rtol=0)


def test_windows_are_refused_by_name() -> None:
    model = Plain(windows=2)
    with torch.no_grad(), pytest.raises(AtlasError, match="Plain attends within windows"), record_attention(model):
        model(torch.randn(2, 6, 32))


def test_function_is_put_back_and_other_threads_are_not_recorded() -> None:
    original = functional.scaled_dot_product_attention
    model = Plain()
    tokens = torch.randn(1, 6, 32)
    with torch.no_grad(), record_attention(model) as outer:
        thread = threading.Thread(target=lambda: model(tokens))
        thread.start()
        thread.join()
        assert outer.layer_count == 0
        with record_attention(model, queries=[1]) as inner:
            model(tokens)
        assert functional.scaled_dot_product_attention is not original
    assert functional.scaled_dot_product_attention is original
    assert outer.rows().shape == inner.rows().shape == (1, 4, 1, 6)
    assert not torch.equal(outer.rows(), inner.rows())
    with pytest.raises(ValueError, match="broken"), record_attention(Plain(fail=True)) as failed:
        failed.model(tokens)
    assert functional.scaled_dot_product_attention is original
    assert not failed.model._forward_hooks
    assert not failed.model._forward_pre_hooks


@pytest.mark.parametrize("layers", [[-1], [0], [1, -1], [-3, 2]])
def test_only_asked_layers_are_kept_while_the_model_runs(layers: list[int], pixels: torch.Tensor) -> None:
    model = tiny_model("vit")
    with torch.no_grad(), AttentionRecorder(model, queries=None) as whole:
        model(pixels)
    with torch.no_grad(), AttentionRecorder(model, layers=layers) as recorder:
        model(pixels)
    for layer in range(3):
        if layer in {wanted % 3 for wanted in layers}:
            assert torch.equal(recorder.rows(layer), whole.record(layer).rows([0]))
        else:
            assert not recorder.all_rows(layer)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_gradients_without_autograd_are_refused(mode: Any, pixels: torch.Tensor) -> None:
    model = tiny_model("vit")
    with mode(), pytest.raises(AtlasError, match="gradients were asked for under"):
        AttentionRecorder(model, gradients=True).__enter__()
    with (
        pytest.raises(AtlasError, match="gradients were asked for under"),
        AttentionRecorder(model, gradients=True),
        mode(),
    ):
        model(pixels)
    assert model.config._attn_implementation == "sdpa"


def test_layers_out_of_range_are_refused(pixels: torch.Tensor) -> None:
    model = tiny_model("vit")
    with (
        torch.no_grad(),
        pytest.raises(AtlasError, match="layer 3 does not exist: ViTForImageClassification has 3 attention layers"),
        AttentionRecorder(model, layers=[3]),
    ):
        model(pixels)


def test_backward_needs_the_mode() -> None:
    model = tiny_model("vit")
    pixels = torch.zeros(1, 3, 16, 16)
    with AttentionRecorder(model, queries=None) as recorder:
        logits = model(pixels).logits
    with pytest.raises(AtlasError, match="gradients=True"):
        recorder.backward(logits.sum())
    with pytest.raises(AtlasError, match=r"before AttentionRecorder\.backward"):
        recorder.record().gradient()
