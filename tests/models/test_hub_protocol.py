"""A model of the hub through the real protocol: downloaded, cached, used offline, and all that may fail on the way."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import close_session, constants

from tests.models.hub_server import COMMIT, Hub, serve
from tests.tiny_models import tiny_model
from tests.tiny_settings import tiny
from vit_atlas.errors import AtlasError
from vit_atlas.models.classifier import Classifier, load_pretrained, open_classifier
from vit_atlas.models.hub import quiet
from vit_atlas.settings import ModelSettings

NAME = "google/vit-base-patch16-384"
WEIGHTS = "model.safetensors"
SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "patch_size": 16, "image_size": 384}
PUBLISHED = {"do_normalize": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 384}
"""The preprocessor_config.json of that model, as it stands on the hub."""


def save(folder: Path, seed: int) -> Path:
    with quiet():
        tiny_model("vit", [f"LABEL_{number}" for number in range(5)], seed, **SHAPE).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PUBLISHED))
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the model, in two revisions, and an empty cache."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with serve(Hub(NAME, save(tmp_path / "hub", 1), save(tmp_path / "older", 2))) as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.endpoint)
        template = served.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
        close_session()
        yield served
        close_session()


def load(revision: str | None = None, name: str = NAME) -> Classifier:
    return load_pretrained(tiny(ModelSettings, name=name, revision=revision), ["cat", "dog"], 0)


def refused(revision: str | None = None, name: str = NAME) -> str:
    with pytest.raises(AtlasError) as caught:
        load(revision, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def is_of(classifier: Classifier, folder: str) -> bool:
    """Whether the blocks' weights are those of a folder of the hub."""
    expected, found = load(name=folder).model.base_model.state_dict(), classifier.model.base_model.state_dict()
    return expected.keys() == found.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def cached_weights() -> list[Path]:
    return list(Path("cache").glob(f"models--*/snapshots/*/{WEIGHTS}"))


def test_downloaded_once_then_from_the_cache(hub: Hub) -> None:
    classifier = load()
    assert is_of(classifier, "hub")
    assert classifier.image_size == (384, 384)
    assert {*classifier.processor.image_mean, *classifier.processor.image_std} == {0.5}
    assert classifier.id2label == {0: "cat", 1: "dog"}
    assert len(hub.downloads(WEIGHTS)) == 1
    assert [path.parent.name for path in cached_weights()] == [COMMIT]
    assert is_of(load(), "hub")
    assert len(hub.downloads(WEIGHTS)) == 1


@pytest.mark.parametrize("how", ["told to be offline", "hub down"])
def test_used_again_without_the_hub(hub: Hub, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load()
    asked = len(hub.asked)
    if how == "hub down":
        hub.down = True
    else:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert is_of(load(), "hub")
    assert how == "hub down" or len(hub.asked) == asked


def test_a_revision(hub: Hub) -> None:
    assert is_of(load("v1"), "older")
    assert is_of(load("main"), "hub")
    assert f"model.revision v9 does not exist for {NAME}: see https://huggingface.co" in refused("v9")


def test_behind_terms(hub: Hub) -> None:
    hub.gated = True
    assert refused() == (
        f"{NAME} asks you to accept its terms: do so at https://huggingface.co/{NAME}, then `hf auth login`"
    )
    assert not cached_weights()
    hub.gated = False
    assert is_of(load(), "hub")


@pytest.mark.parametrize("name", ["google/vit-bse-patch16-384", "timm/no_such_vit"])
def test_no_such_model(hub: Hub, name: str) -> None:
    assert f"{name} is no folder here and no model on the Hugging Face hub (or a private one)" in refused(name=name)


def test_a_token_that_is_no_longer_valid(hub: Hub) -> None:
    hub.refuses_token = True
    assert "does not accept the token of this machine" in refused()


@pytest.mark.parametrize("missing", ["config.json", WEIGHTS, "preprocessor_config.json"])
def test_a_repository_without_a_file(hub: Hub, missing: str) -> None:
    Path("hub", missing).unlink()
    assert missing in refused()


def test_the_hub_is_down_and_nothing_is_cached(hub: Hub) -> None:
    hub.down = True
    assert f"the Hugging Face hub cannot be reached and {NAME} is not in the local cache" in refused()


def test_a_cut_connection_is_taken_up_where_it_broke(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
    hub.cuts = 1
    assert is_of(load(), "hub")
    first, second = hub.downloads(WEIGHTS)
    assert first.endswith(" -")
    assert " bytes=" in second
    assert "bytes=0-" not in second


@pytest.mark.parametrize("file", [WEIGHTS, "config.json", "preprocessor_config.json"])
def test_a_connection_that_is_always_cut(hub: Hub, file: str) -> None:
    hub.cut, hub.cuts = file, 1000
    told = refused()
    assert f"the download of {NAME} broke off" in told
    assert "run this again" in told
    assert not list(Path("cache").glob(f"models--*/snapshots/*/{file}")), "half a file does not count as whole"
    hub.cuts = 0
    assert is_of(load(), "hub")


def test_other_people_are_told_the_same(hub: Hub) -> None:
    """`vit-atlas explain --model` opens a model by another way."""
    hub.cuts = 1000
    with pytest.raises(AtlasError, match=f"the download of {NAME} broke off"):
        open_classifier(NAME, "--model")
    hub.cuts = 0
    assert is_of(open_classifier(NAME, "--model"), "hub")


def test_by_environment_variables_alone(hub: Hub) -> None:
    """As a user has it: HF_ENDPOINT, HF_HOME, then HF_HUB_OFFLINE."""
    code = "from tests.models.test_hub_protocol import load, is_of\nprint(is_of(load(), 'hub'))\n"
    root = Path(__file__).resolve().parents[2]
    variables: dict[str, Any] = {
        "PYTHONPATH": f"{root}:{root / 'src'}",
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(Path("home").resolve()),
    }
    removed = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE")
    environment = {key: value for key, value in os.environ.items() if key not in removed} | variables
    for offline in ({}, {"HF_HUB_OFFLINE": "1"}):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment | offline)
        assert done.stdout == "True\n", done.stderr
    assert len(hub.downloads(WEIGHTS)) == 1
