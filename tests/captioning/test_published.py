import os

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from vit_atlas.captioning.model.captioner import SearchOptions
from vit_atlas.captioning.model.network import NetworkShape
from vit_atlas.captioning.published import checkpoint as published
from vit_atlas.captioning.published.catr import Catr
from vit_atlas.captioning.published.checkpoint import CatrCaptioner, check_hash, read_checkpoint, to_pixels
from vit_atlas.errors import AtlasError

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "snow", "##board", "##er", "on", "the", "hill", "."]


class Code:
    def __reduce__(self):
        return os.system, ("echo this must never run > stolen",)


@pytest.fixture(scope="module")
def captioner():
    torch.manual_seed(0)
    shape = NetworkShape(
        len(PIECES), width=16, heads=2, encoder_layers=1, decoder_layers=2, feed_forward=16, positions=12
    )
    network = Catr(shape).eval()
    for parameter in network.mlp.parameters():
        parameter.data *= 6
    model = models.WordPiece({piece: index for index, piece in enumerate(PIECES)}, unk_token="[UNK]")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(model), pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    return CatrCaptioner(network, tokenizer)


def noise(width, height, seed=0):
    values = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def test_pixels_are_prepared_as_the_original_does():
    photo = noise(640, 481)
    pixels = to_pixels(photo)
    assert pixels.shape == (3, int(481 * (299 / 640)), 299)
    expected = np.asarray(photo.resize((299, 224)), dtype=np.float32) / 255
    np.testing.assert_allclose(pixels.permute(1, 2, 0).numpy(), (expected - 0.5) / 0.5, atol=1e-5)


def test_a_strip_keeps_a_visible_side():
    assert to_pixels(noise(900, 9)).shape == (3, 16, 299)


def test_captions_have_maps_on_the_photos_grid_and_no_special_tokens(captioner):
    photos = [noise(80, 60), noise(60, 80, 1), noise(80, 60, 2)]
    together = captioner.caption(photos, SearchOptions(max_length=6, beams=2))
    assert [caption.words[0].maps.shape[-2:] for caption in together] == [(14, 19), (19, 14), (14, 19)]
    for photo, caption in zip(photos, together, strict=True):
        alone = captioner.caption([photo], SearchOptions(max_length=6, beams=2))[0]
        assert alone.text == caption.text
        assert not any(piece in caption.text for piece in ("[", "##"))
        np.testing.assert_allclose(caption.words[0].maps.sum(axis=(-2, -1)), 1, atol=1e-5)


def test_a_pickle_that_carries_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Code()}, tmp_path / "evil.pth")
    with pytest.raises(AtlasError, match=r"evil\.pth holds more than tensors"):
        read_checkpoint(tmp_path / "evil.pth")
    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all"])
def test_a_file_that_is_no_checkpoint_is_one_sentence(tmp_path, content):
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(AtlasError, match=r"broken\.pth"):
        read_checkpoint(path)


def test_missing_file_and_missing_state_are_one_sentence(tmp_path):
    with pytest.raises(AtlasError, match="does not exist"):
        read_checkpoint(tmp_path / "none.pth")
    torch.save({"model": {"epoch": 3}}, tmp_path / "x.pth")
    with pytest.raises(AtlasError, match="no state dict"):
        read_checkpoint(tmp_path / "x.pth")


def test_checkpoint_is_read(tmp_path):
    torch.save({"model": {"a": torch.ones(2)}, "epoch": 1}, tmp_path / "x.pth")
    assert torch.equal(read_checkpoint(tmp_path / "x.pth")["a"], torch.ones(2))


def test_hash_is_kept_at_first_use_and_a_change_is_an_error(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(b"one")
    first = check_hash(path, None)
    assert check_hash(path, None) == check_hash(path, first) == first
    path.write_bytes(b"two")
    with pytest.raises(AtlasError, match=f"not {first}"):
        check_hash(path, None)


def test_download_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("VIT_ATLAS_CACHE", str(tmp_path))
    monkeypatch.setattr(published, "URL", (tmp_path / "nowhere" / "weight.pth").as_uri())
    with pytest.raises(AtlasError, match="cannot be downloaded"):
        published.published_checkpoint()
    assert not list(tmp_path.rglob("*.pth"))


def test_download_is_kept(tmp_path, monkeypatch):
    (tmp_path / "weight.pth").write_bytes(b"weights")
    monkeypatch.setenv("VIT_ATLAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(published, "URL", (tmp_path / "weight.pth").as_uri())
    assert published.published_checkpoint().read_bytes() == b"weights"
    (tmp_path / "weight.pth").unlink()
    assert published.published_checkpoint().read_bytes() == b"weights"


def test_tokenizer_of_another_size_is_one_sentence(captioner):
    with torch.device("meta"):
        network = Catr()
    with pytest.raises(AtlasError, match="CATR 30522"):
        CatrCaptioner(network, [1, 2, 3])
