"""What users read when a model does not come."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import errors

from tests.tiny_settings import tiny
from vit_atlas.errors import AtlasError
from vit_atlas.models import hub
from vit_atlas.models.classifier import load_pretrained
from vit_atlas.models.hub import explained, model_source
from vit_atlas.settings import ModelSettings

RESPONSE = SimpleNamespace(headers={}, request=None, status_code=404)
"""The parts of an HTTP response that the hub's exceptions look at."""


def sentence(error: Exception, cause: Exception | None = None, revision: str | None = None) -> str:
    settings = tiny(ModelSettings, name="some/model", revision=revision)
    with pytest.raises(AtlasError) as caught, explained(settings):
        raise error from cause
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_model_that_is_not_on_the_hub() -> None:
    cause = errors.RepositoryNotFoundError("401", response=RESPONSE)  # type: ignore[arg-type]
    assert "some/model is no folder here and no model on the Hugging Face hub" in sentence(OSError("x\ny"), cause)


def test_a_name_that_no_model_can_have() -> None:
    assert "check its spelling" in sentence(OSError("x"), errors.HFValidationError("bad"))


def test_a_revision_that_does_not_exist() -> None:
    cause = errors.RevisionNotFoundError("404", response=RESPONSE)  # type: ignore[arg-type]
    assert "model.revision v9 does not exist for some/model" in sentence(OSError("x"), cause, revision="v9")


def test_a_model_behind_terms() -> None:
    cause = errors.GatedRepoError("403", response=RESPONSE)  # type: ignore[arg-type]
    assert "asks you to accept its terms" in sentence(OSError("x"), cause)


@pytest.mark.parametrize("cause", [errors.LocalEntryNotFoundError("no"), errors.OfflineModeIsEnabled("off")])
def test_no_network(cause: Exception) -> None:
    text = sentence(OSError("We couldn't connect\nto it"), cause)
    assert "cannot be reached and some/model is not in the local cache" in text
    assert "HF_HOME" in text
    assert "embedded" in text


def test_anything_else_names_the_model_and_the_reason() -> None:
    assert sentence(ValueError("odd config.\nmore")) == "model.name some/model cannot be loaded: odd config"


def test_programming_errors_are_not_dressed_up() -> None:
    with pytest.raises(TypeError), explained(tiny(ModelSettings)):
        raise TypeError


def test_offline_without_a_cached_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real code path of a hub id, with the hub library told to stay offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(AtlasError, match="hub cannot be reached and google/vit-base-patch16-384 is not in the local"):
        load_pretrained(tiny(ModelSettings, name="google/vit-base-patch16-384"), ["a", "b"], 0)


def test_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").touch()
    monkeypatch.setattr(hub, "embedded_folder", lambda: Path("cache/embedded-vit"))
    assert model_source(tiny(ModelSettings, name=str(tmp_path))) == str(tmp_path)
    assert model_source(tiny(ModelSettings, name="google/vit-base-patch16-384")) == "google/vit-base-patch16-384"
    assert model_source(tiny(ModelSettings, name="embedded")) == "cache/embedded-vit"


@pytest.mark.parametrize("name", ["./here", "/no/such", "~/no-such-folder", "a/b/c"])
def test_paths_that_do_not_exist(name: str) -> None:
    with pytest.raises(AtlasError, match="no folder has that name"):
        model_source(tiny(ModelSettings, name=name))
