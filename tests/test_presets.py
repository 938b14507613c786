"""`vit-atlas use`: a preset's keys are written into params.yaml, and nothing else of the file changes."""

import itertools
import re
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.tiny_settings import params_text
from vit_atlas.cli import commands
from vit_atlas.data.stickers.sample import require_ours
from vit_atlas.errors import AtlasError
from vit_atlas.settings import Settings, check_settings, load_settings
from vit_atlas.settings.presets import list_presets, read_preset, rewrite, use_presets

CONF = Path(__file__).resolve().parents[1] / "conf"
PRESETS = sorted((path.parent.name, path.stem) for path in CONF.glob("*/*.yaml") if not path.stem.startswith("_"))


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A params.yaml beside the project's presets, and photos of one's own to caption."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "captioning" / "images").mkdir(parents=True)
    shutil.copytree(CONF, tmp_path / "conf")
    path = tmp_path / "params.yaml"
    path.write_text(params_text(captioner={"precision": "auto"}))
    return path


def changed_lines(before: str, after: str) -> list[tuple[str, str]]:
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    return [pair for pair in pairs if pair[0] != pair[1]]


def test_only_the_presets_keys_change(params: Path) -> None:
    before = params.read_text()
    changes = use_presets({"data": "photos"})
    assert ("finetune.head_init", "random", "probe") in [(one.key, one.before, one.after) for one in changes]
    lines = changed_lines(before, params.read_text())
    assert ("  head_init: random", "  head_init: probe") in lines
    assert len(lines) == len(changes)


def test_what_the_user_wrote_stays_byte_for_byte(params: Path) -> None:
    text = (
        params.read_text()
        .replace(" random\n", " 'random'   # mine\n")
        .replace("epochs: 3\n", "epochs:   9 # long\n", 1)
    )
    text = text.replace("revision: null", "revision:").replace('"head_mean",', "\n    'head_mean',   # one\n   ")
    params.write_text("# My experiment\n" + text + "\n# The end\n")
    before = params.read_text()
    use_presets({"data": "photos"})
    lines = changed_lines(before, params.read_text())
    assert ("  head_init: 'random'   # mine", "  head_init: 'probe'   # mine") in lines
    assert all("methods" not in line and "epochs" not in line and "revision" not in line for line, _ in lines)


@pytest.mark.parametrize("about", ["Made by `vit-atlas data stickers` from cut-outs.", None])
def test_the_samples_captioner_is_not_trained_for_other_data(params: Path, about: str | None) -> None:
    folder = Path("data/captioning")
    if about:
        (folder / "ABOUT.txt").write_text(about)
    else:
        (folder / "images").rmdir()
    before = load_settings().captioner
    for name in ("photos", "pets"):
        use_presets({"data": name})
        assert load_settings().captioner.kind == "none"
        use_presets({"data": "stickers"})
        assert load_settings().captioner.kind == before.kind == "trained"
    use_presets({"data": "photos", "captioner": "flickr8k"})
    assert load_settings().captioner.kind == "trained"


def test_ones_own_captions_and_a_published_captioner_are_kept(params: Path) -> None:
    use_presets({"data": "photos"})
    assert load_settings().captioner.kind == "trained"
    Path("data/captioning/images").rmdir()
    use_presets({"captioner": "blip"})
    use_presets({"data": "photos"})
    assert load_settings().captioner.kind == "hub"
    use_presets({"captioner": "none"})
    Path("data/captioning/images").mkdir()
    use_presets({"data": "photos"})
    assert load_settings().captioner.kind == "none"


def test_without_captions_the_folder_that_dvc_asks_for_is_there_and_gives_way_to_the_sample(params: Path) -> None:
    folder = Path("data/captioning")
    shutil.rmtree(folder)
    use_presets({"data": "photos"})
    assert [path.name for path in folder.iterdir()] == ["ABOUT.txt"]
    assert "own-photos.md" in (folder / "ABOUT.txt").read_text()
    require_ours(folder, "objects.jsonl")
    (folder / "mine.jpg").touch()
    use_presets({"data": "pets"})
    assert (folder / "mine.jpg").exists()
    with pytest.raises(AtlasError, match="holds something else"):
        require_ours(folder, "objects.jsonl")


def test_an_empty_value_is_filled(params: Path) -> None:
    params.write_text(params.read_text().replace("reference_accuracy: null", "reference_accuracy:  # none"))
    use_presets({"data": "pets"})
    assert "reference_accuracy: 0.948" in params.read_text()
    assert load_settings().evaluate.reference_accuracy == 0.948


@pytest.mark.parametrize(("group", "name"), PRESETS)
def test_every_preset_says_its_command_and_what_to_expect_and_is_valid(params: Path, group: str, name: str) -> None:
    about = list_presets()[group][name]
    assert f"vit-atlas use {group}={name}" in about.replace("use data=pets ", f"use {group}={name} ")
    assert "\nExpected: " in about
    use_presets({group: name})
    load_settings()
    assert use_presets({group: name}) == []


@pytest.mark.parametrize("group", sorted({group for group, _ in PRESETS}))
def test_the_preset_before_leaves_nothing_behind(params: Path, group: str) -> None:
    clean = params.read_text()
    names = [name for one, name in PRESETS if one == group]
    for first, second in itertools.permutations(names, 2):
        params.write_text(clean)
        use_presets({group: second})
        expected = params.read_text()
        params.write_text(clean)
        use_presets({group: first})
        use_presets({group: second})
        assert params.read_text() == expected, (first, second)


def test_no_key_belongs_to_two_groups() -> None:
    bases = [yaml.safe_load((CONF / group / "_base.yaml").read_text()) for group in {group for group, _ in PRESETS}]
    keys = [f"{section}.{key}" for base in bases for section, values in base.items() for key in values]
    assert len(keys) == len(set(keys))


def test_a_captioner_of_another_kind_comes_with_its_keys_and_their_documentation(params: Path) -> None:
    before = params.read_text()
    use_presets({"captioner": "blip"})
    settings = load_settings()
    assert settings.captioner.model_dump() == {
        "kind": "hub",
        "name": "Salesforce/blip-image-captioning-base",
        "revision": None,
    }
    text = params.read_text()
    assert "# A published captioner of the Hugging Face hub.\ncaptioner:\n" in text
    assert "  # Hub id or folder of a VisionEncoderDecoderModel or BLIP captioner.\n  name: Salesforce" in text
    assert text.partition("captioner:")[0].splitlines()[:-1] == before.partition("captioner:")[0].splitlines()[:-1]
    assert text.partition("\n# How captions")[2] == before.partition("\n# How captions")[2]
    use_presets({"captioner": "trained"})
    assert yaml.safe_load(params.read_text()) == yaml.safe_load(before)


def test_the_reports_experiment_is_two_presets(params: Path) -> None:
    use_presets({"data": "pets", "model": "vit_base_patch16_384"})
    settings = load_settings()
    assert settings.evaluate.reference_accuracy == 0.948
    assert settings.model.name == "google/vit-base-patch16-384"
    assert settings.finetune.trainable_blocks == "all"
    assert settings.finetune.learning_rate == 2e-5
    assert settings.augment.policy == "autoaugment"


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"dta": "photos"}, "there is no group `dta`: did you mean `data`?"),
        ({"model": "dinov2smal"}, "there is no preset `model=dinov2smal`: did you mean `dinov2_small`?"),
        ({"data": "xyz"}, "there is no preset `data=xyz`: there are pets, photos, stickers"),
        ({"data": "_base"}, "there is no preset `data=_base`"),
        ({"data": "pets", "model": "../x"}, "there is no preset `model=../x`"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_nearest(params: Path, choices: dict[str, str], told: str) -> None:
    before = params.read_text()
    with pytest.raises(AtlasError) as caught:
        use_presets(choices)
    assert told in str(caught.value)
    assert params.read_text() == before


def test_nothing_is_written_where_the_settings_would_be_wrong(params: Path) -> None:
    params.write_text(params.read_text().replace("workers: 0", "workers: some"))
    before = params.read_text()
    with pytest.raises(AtlasError, match=r"`finetune\.workers` is 'some'"):
        use_presets({"data": "photos"})
    Path("conf/data/mine.yaml").write_text("# Mine\nfinetune: {head_init: prob}\n")
    params.write_text(before.replace("workers: some", "workers: 0"))
    with pytest.raises(AtlasError, match=r"`finetune\.head_init` is 'prob', expected 'random' or 'probe'"):
        use_presets({"data": "mine"})
    assert params.read_text() == before.replace("workers: some", "workers: 0")
    assert sorted(path.name for path in Path().iterdir()) == ["conf", "data", "params.yaml"]


def test_a_preset_sets_no_key_that_its_group_would_leave_behind(params: Path) -> None:
    Path("conf/data/mine.yaml").write_text("# Mine\nfinetune: {seed: 3}\n")
    with pytest.raises(
        AtlasError, match=r"mine\.yaml sets `finetune\.seed`, which conf/data/_base\.yaml does not have"
    ):
        use_presets({"data": "mine"})
    base = Path("conf/data/_base.yaml")
    base.write_text(base.read_text().replace("  head_init: random\n", "  head_init: random\n  seed: 0\n"))
    assert read_preset("data", "mine")["finetune"] == {"head_init": "random", "class_weights": "none", "seed": 3}


def test_values_are_written_so_that_yaml_reads_them_back(params: Path) -> None:
    content = yaml.safe_load(params.read_text())
    content["model"] |= {"name": "on", "revision": "1e5", "image_size": [32, 48]}
    content["attention"]["photos"] = ["a b.jpg", "c: d.jpg", "ä.jpg"]
    content["finetune"]["learning_rate"] = 1e-7
    text = rewrite(params.read_text(), content)
    assert yaml.safe_load(text) == content
    params.write_text(text)
    assert load_settings().model_dump(mode="json") == check_settings(content).model_dump(mode="json")


def test_the_command_shows_what_changed(params: Path) -> None:
    result = CliRunner().invoke(commands, ["use", "data=photos", "model=dinov2_small"])
    assert result.exit_code == 0
    assert "model.name: embedded -> facebook/dinov2-small\n" in result.stdout
    assert "finetune.head_init: random -> probe\n" in result.stdout
    again = CliRunner().invoke(commands, ["use", "data=photos", "model=dinov2_small"])
    assert again.stdout == "params.yaml has these values already\n"


def test_the_list_has_every_preset_with_its_words(params: Path) -> None:
    listed = CliRunner().invoke(commands, ["use", "--list"]).stdout
    assert [line for line in listed.splitlines() if "=" in line and not line.startswith(" ")] == [
        f"{group}={name}" for group, name in PRESETS
    ]
    assert "    Expected: on 1,027 photos of 37 breeds accuracy 0.534" in listed


@pytest.mark.parametrize("words", [["photos"], ["data="], ["=photos"], ["data=pets", "data=photos"]])
def test_what_is_no_choice_is_refused(params: Path, words: list[str]) -> None:
    result = CliRunner().invoke(commands, ["use", *words])
    assert isinstance(result.exception, AtlasError)


def test_outside_a_project_it_says_where_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AtlasError, match=r"run from the project's folder, the one with dvc\.yaml"):
        use_presets({"data": "photos"})


def test_a_section_that_is_a_word_is_refused_by_a_preset_too(params: Path) -> None:
    params.write_text(re.sub(r"^captioner:\n(  .*\n)+", "captioner: none\n", params.read_text(), flags=re.MULTILINE))
    before = params.read_text()
    with pytest.raises(AtlasError, match="`captioner` must be a section with keys"):
        use_presets({"captioner": "none"})
    assert params.read_text() == before


def test_a_group_named_after_a_section_is_hinted_at_when_it_is_set_instead() -> None:
    with pytest.raises(AtlasError, match="a preset is chosen by `vit-atlas use data=photos`"):
        check_settings({name: {} for name in Settings.model_fields} | {"data": "photos"})


@pytest.mark.parametrize("change", ["merge key", "UTF-16"])
def test_a_file_in_another_form_is_one_sentence_and_stays(params: Path, change: str) -> None:
    text = params.read_text()
    if change == "UTF-16":
        params.write_text(text, encoding="utf-16")
    else:
        params.write_text(text.replace("evaluate:\n", "evaluate:\n  <<: {seed: 0}\n", 1))
    before = params.read_bytes()
    with pytest.raises(AtlasError, match="not in the form of a section a block and a key a line"):
        use_presets({"model": "dinov2_small"})
    assert params.read_bytes() == before
