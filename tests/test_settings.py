"""params.yaml as typed settings: what is wrong is told in one sentence a key, all at once."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tiny_settings import VALUES, HubSettings, params, params_text, tiny_settings
from vit_atlas import settings as module
from vit_atlas.errors import AtlasError
from vit_atlas.settings import Settings, check_settings, load_settings, settings_outside_a_project
from vit_atlas.settings.problems import section_models


def problem(tmp_path: Path, text: str) -> str:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(AtlasError) as caught:
        load_settings(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "params.yaml" in message
    return message


def with_values(**changes: dict[str, Any]) -> str:
    return yaml.safe_dump(params(**changes))


def test_every_key_of_the_projects_params_is_explained_above_it(root: Path) -> None:
    """Keys and comments only: what the values are is the user's business."""
    lines = (root / "params.yaml").read_text().splitlines()
    settings = load_settings(root / "params.yaml")
    for name in Settings.model_fields:
        section = getattr(settings, name)
        place = lines.index(f"{name}:")
        assert lines[place - 1] == f"# {type(section).__doc__}"
        for key, field in type(section).model_fields.items():
            place = next(number for number in range(place + 1, len(lines)) if lines[number].startswith(f"  {key}:"))
            assert lines[place - 1] == f"  # {field.description}", f"{name}.{key}"


def test_no_key_has_a_default() -> None:
    models = [model for name in Settings.model_fields for model in section_models(Settings, name)]
    assert len(models) == 14
    assert not [key for model in models for key, field in model.model_fields.items() if not field.is_required()]


def test_outside_a_project_those_of_the_installed_one_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "INSTALLED", tmp_path / "installed.yaml")
    (tmp_path / "installed.yaml").write_text(params_text(data={"seed": 7}))
    assert settings_outside_a_project().data.seed == 7
    Path("params.yaml").write_text(params_text(data={"seed": 8}))
    assert settings_outside_a_project().data.seed == 8


def test_words_are_words_and_numbers_numbers_as_dvc_reads_them(tmp_path: Path) -> None:
    text = (
        with_values().replace("compile: auto", "compile: off").replace("learning_rate: 0.0002", "learning_rate: 1e-4")
    )
    (tmp_path / "params.yaml").write_text(text)
    finetune = load_settings(tmp_path / "params.yaml").finetune
    assert (finetune.compile, finetune.learning_rate) == ("off", 0.0001)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        tiny_settings().finetune.epochs = 9  # type: ignore[misc]


def test_mistyped_section_is_named_with_a_suggestion(tmp_path: Path) -> None:
    assert "unknown key `finetun`: did you mean `finetune`?" in problem(tmp_path, "finetun: {}")


def test_mistyped_key_is_named_with_a_suggestion(tmp_path: Path) -> None:
    assert "unknown key `finetune.epoch`: did you mean `epochs`?" in problem(tmp_path, "finetune: {epoch: 3}")


def test_hopeless_key_gets_the_list_of_known_ones(tmp_path: Path) -> None:
    assert "known keys here are name, revision, image_size" in problem(tmp_path, "model: {xyzzy: 3}")


@pytest.mark.parametrize(
    ("section", "values", "told"),
    [
        ("finetune", {"epochs": "three"}, "`finetune.epochs` is 'three', expected an integer"),
        ("finetune", {"epochs": "3"}, "`finetune.epochs` is '3', expected an integer"),
        ("finetune", {"epochs": True}, "`finetune.epochs` is True, expected an integer"),
        ("finetune", {"epochs": 0}, "`finetune.epochs` is 0, expected greater than or equal to 1"),
        (
            "finetune",
            {"trainable_blocks": "some"},
            "`finetune.trainable_blocks` is 'some', expected 'all' or an integer",
        ),
        ("finetune", {"learning_rate": float("nan")}, "`finetune.learning_rate` is nan"),
        ("augment", {"crop_scale": [1, 0.5]}, "`augment.crop_scale` is [1, 0.5], expected [smallest, largest]"),
        ("augment", {"crop_ratio": [0, 1]}, "`augment.crop_ratio` is [0, 1], expected [smallest, largest]"),
        (
            "finetune",
            {"repeats": [1, 0]},
            "`finetune.repeats` is [1, 0], expected seeds that differ from each other and",
        ),
        ("finetune", {"repeats": [1, 2, 1]}, "and from finetune.seed, which is 0"),
        ("finetune", {"repeats": 3}, "`finetune.repeats` is 3, expected a list"),
        ("finetune", {"repeats": ["a"]}, "`finetune.repeats` is 'a', expected an integer"),
        ("model", {"image_size": "big"}, "`model.image_size` is 'big', expected an integer or a list"),
        ("data", {"group_pattern": "(a"}, "`data.group_pattern` is '(a', expected a regular expression (missing )"),
        ("data", {"group_pattern": "a"}, "`data.group_pattern` is 'a', expected a regular expression with a group"),
        ("captioner", {"heads": 3}, "`captioner.heads` is 3, expected a divisor of captioner.width, which is 128"),
        ("captioner", {"width": 17, "heads": 17}, "`captioner.heads` is 17, expected a divisor of captioner.width"),
        ("captioner", {"layers": ["a"]}, "`captioner.layers` is 'a', expected an integer"),
        ("attention", {"photos": []}, "`attention.photos` is [], expected 'auto' or at least one entry"),
        ("captions", {"photos": []}, "`captions.photos` is [], expected 'auto' or at least one entry"),
    ],
)
def test_wrong_value_is_named_with_its_key(section: str, values: dict[str, Any], told: str) -> None:
    with pytest.raises(AtlasError) as caught:
        check_settings(params(**{section: values}))
    assert told in str(caught.value)


def test_a_section_that_is_none(tmp_path: Path) -> None:
    content = params()
    content["finetune"] = 3  # type: ignore[assignment]
    with pytest.raises(AtlasError, match="`finetune` is 3, expected keys with values"):
        check_settings(content)


def test_a_missing_key_says_what_to_add() -> None:
    content = params()
    del content["finetune"]["epochs"], content["captions"]
    with pytest.raises(AtlasError) as caught:
        check_settings(content)
    assert "missing key `finetune.epochs`: add `epochs:` under `finetune:` (Passes over the training photos.)" in str(
        caught.value
    )
    assert "missing section `captions`: add it with its keys beams, max_length" in str(caught.value)


def test_everything_wrong_is_told_at_once_and_once() -> None:
    content = params(
        finetune={"trainable_blocks": "some", "epoch": 3}, augment={"crop_scale": [2, 3], "policy": "best"}
    )
    with pytest.raises(AtlasError) as caught:
        check_settings(content)
    told = str(caught.value)
    assert told.count("trainable_blocks") == 1
    assert all(key in told for key in ("finetune.epoch`", "augment.crop_scale", "augment.policy"))


def test_a_captioner_has_the_keys_of_its_kind() -> None:
    assert isinstance(tiny_settings(captioner=VALUES[HubSettings]).captioner, HubSettings)
    with pytest.raises(AtlasError) as caught:
        check_settings(params(captioner=VALUES[HubSettings] | {"width": 64, "heads": 2}))
    assert "`captioner` has keys of another kind (width, heads)" in str(caught.value)
    assert "vit-atlas use captioner=NAME" in str(caught.value)


@pytest.mark.parametrize("kind", ["trained by hand", None])
def test_an_unknown_kind_is_answered_with_those_that_are(kind: str | None) -> None:
    content = params()
    content["captioner"]["kind"] = kind
    with pytest.raises(AtlasError, match=f"`captioner.kind` is {kind!r}, expected 'trained' or 'catr' or 'hub'"):
        check_settings(content)


@pytest.mark.parametrize(
    "text", ["model: {name: [", "model: {name: 2026-13-01}", "model: {name: !!int abc}", "model: {name: !!bool maybe}"]
)
def test_broken_yaml_is_one_sentence(tmp_path: Path, text: str) -> None:
    assert "not valid YAML" in problem(tmp_path, text)


def test_a_folder_in_the_place_of_the_settings_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="cannot be read: Is a directory"):
        load_settings(tmp_path)


def test_a_key_twice_is_one_sentence(tmp_path: Path) -> None:
    assert 'found duplicate key "seed"' in problem(tmp_path, "data:\n  seed: 0\n  seed: 1\n")


def test_list_instead_of_sections(tmp_path: Path) -> None:
    assert "must hold sections" in problem(tmp_path, "- 1\n- 2\n")


def test_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"run from the project's folder, the one with dvc\.yaml"):
        load_settings(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("captioner", "told"),
    [
        ({}, r"`captions\.repeats` is \[0\], expected seeds that differ from each other and from captioner\.seed"),
        (
            VALUES[HubSettings],
            r"is \[0\], and no captioner is trained \(`captioner\.kind` is hub\): set it to \[\]",
        ),
    ],
)
def test_repeats_of_a_captioner_need_one_that_is_trained_and_other_seeds(captioner: dict[str, Any], told: str) -> None:
    with pytest.raises(AtlasError, match=told):
        check_settings(params(captioner=captioner, captions={"repeats": [0]}))
