import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    DeiTConfig,
    DeiTModel,
    GPT2Config,
    GPT2LMHeadModel,
    IJepaConfig,
    IJepaModel,
    PreTrainedTokenizerFast,
    SwinConfig,
    SwinModel,
    VisionEncoderDecoderModel,
    ViTImageProcessor,
    ViTModel,
)

from tests.tiny_models import tiny_config
from vit_atlas.captioning.model.captioner import SearchOptions
from vit_atlas.captioning.published.hub import open_hub
from vit_atlas.errors import AtlasError

WORDS = ["[pad]", "[start]", "[end]", "[unknown]", *(f"w{index}" for index in range(16))]
SIZE = (32, 48)


def save_tokenizer(folder):
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[unknown]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[pad]", unk_token="[unknown]").save_pretrained(
        folder
    )


def scaled(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    return model


@pytest.fixture(scope="module")
def vit_gpt2(tmp_path_factory):
    torch.manual_seed(0)
    encoder = ViTModel(tiny_config(hidden_size=24, num_hidden_layers=2, image_size=SIZE))
    return encoded_by(encoder, tmp_path_factory.mktemp("vit-gpt2"))


def encoded_by(encoder, folder):
    decoder = GPT2LMHeadModel(
        GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=4, n_positions=12, add_cross_attention=True)
    )
    model = scaled(VisionEncoderDecoderModel(encoder=encoder, decoder=decoder))
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = 1, 2, 0
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": SIZE[0], "width": SIZE[1]}).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("blip")
    shape = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    text = {"vocab_size": 20, "bos_token_id": 1, "sep_token_id": 2, "pad_token_id": 0, "max_position_embeddings": 12}
    config = BlipConfig(
        text_config={**shape, **text, "encoder_hidden_size": 24},
        vision_config={**shape, "image_size": 32, "patch_size": 8},
    )
    scaled(BlipForConditionalGeneration(config)).save_pretrained(folder)
    BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def photos():
    values = np.random.default_rng(0).integers(0, 255, (3, 40, 60, 3), dtype=np.uint8)
    return [Image.fromarray(value) for value in values]


@pytest.mark.parametrize(("name", "grid"), [("vit_gpt2", (4, 6)), ("blip", (4, 4))])
@pytest.mark.parametrize("beams", [1, 3])
def test_words_probabilities_and_maps(name, grid, beams, photos, request):
    captioner = open_hub(str(request.getfixturevalue(name)), None)
    captions = captioner.caption(photos, SearchOptions(max_length=8, beams=beams))
    assert len(captions) == 3
    assert any(caption.words for caption in captions)
    for word in (word for caption in captions for word in caption.words):
        assert word.text in WORDS[4:]
        assert word.log_probability < 0
        assert word.maps.shape[1:] in {(4, *grid), (2, *grid)}
        assert len(word.maps) == 2
        assert (word.maps.sum(axis=(-2, -1)) < 1).all(), "the class token's share is cut off"
        assert word.map().sum() == pytest.approx(1)


SHAPE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "patch_size": 8}


@pytest.mark.parametrize(
    ("encoder", "special"),
    [
        (lambda: IJepaModel(IJepaConfig(**SHAPE, image_size=SIZE)), 0),
        (lambda: DeiTModel(DeiTConfig(**SHAPE, image_size=SIZE)), 2),
    ],
)
def test_special_tokens_are_counted_from_what_the_encoder_makes(encoder, special, photos, tmp_path):
    torch.manual_seed(0)
    captioner = open_hub(str(encoded_by(encoder(), tmp_path)), None)
    words = [word for one in captioner.caption(photos, SearchOptions(max_length=4)) for word in one.words]
    assert words
    for word in words:
        assert word.maps.shape == (2, 4, 4, 6)
        shares = word.maps.sum(axis=(-2, -1))
        assert (shares < 1 - 1e-6).all() if special else shares == pytest.approx(1)


def test_an_encoder_whose_tokens_are_not_its_patches_is_refused(photos, tmp_path):
    config = SwinConfig(image_size=32, patch_size=4, embed_dim=12, depths=[1, 1], num_heads=[2, 2], window_size=4)
    captioner = open_hub(str(encoded_by(SwinModel(config), tmp_path)), None)
    with pytest.raises(AtlasError, match="the encoder makes 16 tokens of 64 patches"):
        captioner.caption(photos, SearchOptions(max_length=4))


def tokens_of(caption):
    return [WORDS.index(word.text) for word in caption.words]


def test_vit_gpt2_writes_what_generate_writes_and_looks_where_it_looks(vit_gpt2, photos):
    captioner = open_hub(str(vit_gpt2), None)
    model = VisionEncoderDecoderModel.from_pretrained(vit_gpt2, attn_implementation="eager").eval()
    pixels = ViTImageProcessor.from_pretrained(vit_gpt2)(images=photos, return_tensors="pt").pixel_values
    for photo, caption in enumerate(captioner.caption(photos, SearchOptions(max_length=7))):
        expected = model.generate(
            pixels[photo : photo + 1],
            max_new_tokens=7,
            do_sample=False,
            suppress_tokens=[0, 1, 3],
            output_attentions=True,
            return_dict_in_generate=True,
        )
        tokens = [token for token in expected.sequences[0, 1:].tolist() if token != 2]
        assert tokens_of(caption) == tokens
        for step, word in enumerate(caption.words):
            for layer in range(2):
                looked = expected.cross_attentions[step][layer][0, :, -1, 1:].unflatten(-1, (4, 6))
                np.testing.assert_allclose(word.maps[layer], looked.numpy(), atol=1e-5)


def test_blip_writes_what_generate_writes(blip, photos):
    captioner = open_hub(str(blip), None)
    model = BlipForConditionalGeneration.from_pretrained(blip).eval()
    pixels = BlipImageProcessorPil.from_pretrained(blip)(images=photos, return_tensors="pt").pixel_values
    for photo, caption in enumerate(captioner.caption(photos, SearchOptions(max_length=7))):
        tokens = model.generate(
            pixels[photo : photo + 1],
            input_ids=torch.tensor([[1, 2]]),
            max_new_tokens=7,
            do_sample=False,
            suppress_tokens=[0, 1, 3],
        )[0, 1:].tolist()
        assert tokens_of(caption) == [token for token in tokens if token != 2]


def test_another_model_is_refused_in_one_sentence(tmp_path):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(AtlasError, match="is a bert model: choose a VisionEncoderDecoderModel"):
        open_hub(str(tmp_path), None)


def test_photo_of_one_pixel_is_refused(vit_gpt2):
    with pytest.raises(AtlasError, match="1x1 pixels"):
        open_hub(str(vit_gpt2), None).caption([Image.new("RGB", (1, 1))], SearchOptions())
