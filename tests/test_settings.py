from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from vit_atlas.errors import AtlasError
from vit_atlas.settings import Settings, load_settings, read_settings


def problem(tmp_path: Path, text: str) -> str:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(AtlasError) as caught:
        load_settings(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "params.yaml" in message
    return message


def test_committed_params_name_every_setting(root: Path) -> None:
    content = yaml.safe_load((root / "params.yaml").read_text())
    assert load_settings(root / "params.yaml").model_dump(mode="json") == content


def test_presets_by_default_compose_the_committed_params(root: Path) -> None:
    with initialize_config_dir(str(root / "conf"), version_base=None):
        composed = OmegaConf.to_container(compose("config"))
    assert composed == yaml.safe_load((root / "params.yaml").read_text())


def preset_names(group: str) -> list[str]:
    return sorted(path.stem for path in (Path(__file__).parents[1] / "conf" / group).glob("*.yaml"))


@pytest.mark.parametrize("data", preset_names("data"))
@pytest.mark.parametrize("model", preset_names("model"))
def test_every_preset_is_valid(root: Path, data: str, model: str) -> None:
    with initialize_config_dir(str(root / "conf"), version_base=None):
        composed = OmegaConf.to_container(compose("config", overrides=[f"data={data}", f"model={model}"]))
    Settings.model_validate(composed)


def test_the_reports_experiment_is_two_presets(root: Path) -> None:
    with initialize_config_dir(str(root / "conf"), version_base=None):
        composed = OmegaConf.to_container(compose("config", overrides=["data=pets", "model=vit_base_patch16_384"]))
    settings = Settings.model_validate(composed)
    assert settings.evaluate.reference_accuracy == 0.948
    assert settings.model.name == "google/vit-base-patch16-384"
    assert settings.finetune.trainable_blocks == "all"
    assert settings.augment.policy == "autoaugment"


def test_sections_come_in_the_order_asked_for(root: Path) -> None:
    data, model = read_settings("data", "model", path=root / "params.yaml")
    assert type(data).__name__ == "DataSettings"
    assert type(model).__name__ == "ModelSettings"


def test_settings_are_frozen(root: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings(root / "params.yaml").finetune.epochs = 9  # type: ignore[misc]


def test_mistyped_section_is_named_with_a_suggestion(tmp_path: Path) -> None:
    assert "unknown key `finetun`: did you mean `finetune`?" in problem(tmp_path, "finetun: {}")


def test_mistyped_key_is_named_with_a_suggestion(tmp_path: Path) -> None:
    assert "unknown key `finetune.epoch`: did you mean `epochs`?" in problem(tmp_path, "finetune: {epoch: 3}")


def test_hopeless_key_gets_the_list_of_known_ones(tmp_path: Path) -> None:
    assert "known keys here are name, revision, image_size" in problem(tmp_path, "model: {xyzzy: 3}")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("finetune: {epochs: three}", "`finetune.epochs` is 'three'"),
        ("finetune: {epochs: 0}", "`finetune.epochs` is 0"),
        ("finetune: {trainable_blocks: some}", "`finetune.trainable_blocks` is 'some'"),
        ("finetune: {learning_rate: .nan}", "`finetune.learning_rate` is nan"),
        ("augment: {crop_scale: [1, 0.5]}", "crop_scale to be [smallest, largest]"),
        ("model: {image_size: big}", "`model.image_size` is 'big'"),
        ("finetune: 3", "`finetune` is 3"),
    ],
)
def test_wrong_value_is_named_with_its_key(tmp_path: Path, text: str, key: str) -> None:
    assert key in problem(tmp_path, text)


def test_each_wrong_key_is_told_once(tmp_path: Path) -> None:
    assert problem(tmp_path, "finetune: {trainable_blocks: some}").count("trainable_blocks") == 1


def test_broken_yaml_is_one_sentence(tmp_path: Path) -> None:
    assert "not valid YAML" in problem(tmp_path, "model: {name: [")


def test_list_instead_of_sections(tmp_path: Path) -> None:
    assert "must hold sections" in problem(tmp_path, "- 1\n- 2\n")


def test_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"run from the project's folder, the one with dvc\.yaml"):
        load_settings(tmp_path / "params.yaml")
