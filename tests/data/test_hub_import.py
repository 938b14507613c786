"""A data set of the library `datasets` becomes an ordinary folder, its photos byte for byte."""

import builtins
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.data.conftest import picture
from tests.tiny_settings import tiny
from vit_atlas.cli.data import app
from vit_atlas.data.hub_import import Choice, folder_names, import_dataset
from vit_atlas.data.prepare import prepare
from vit_atlas.errors import AtlasError
from vit_atlas.settings import DataSettings


def encoded(name: str, form: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    picture(name).save(buffer, form)
    return buffer.getvalue()


def rows(count: int, kinds: int = 2) -> dict[str, list[Any]]:
    photos = [{"bytes": encoded(str(n), "PNG" if n % 2 else "JPEG"), "path": f"a/photo {n}.jpg"} for n in range(count)]
    return {"image": photos, "label": [n % kinds for n in range(count)]}


def dataset(count: int = 8, names: tuple[str, ...] = ("cat", "dog"), **columns: Any) -> Any:
    content = rows(count, len(names)) | columns
    features = {name: datasets.Value("string") for name in columns}
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))} | features
    return datasets.Dataset.from_dict(content, features=datasets.Features(kinds))


def test_a_parquet_file_with_class_labels(tmp_path: Path) -> None:
    dataset().to_parquet(tmp_path / "photos.parquet")
    lines: list[str] = []
    count = import_dataset(str(tmp_path / "photos.parquet"), tmp_path / "out", lines.append)
    assert count == 8
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert found[:3] == ["SOURCE.txt", "train/cat/0_photo_0.jpg", "train/cat/2_photo_2.jpg"]
    assert (tmp_path / "out/train/dog/1_photo_1.png").read_bytes() == encoded("1", "PNG")
    assert lines == (tmp_path / "out/SOURCE.txt").read_text().splitlines()
    assert lines[1:] == ["licence: not stated", "train: 8 photos"]
    assert prepare(tmp_path / "out", tiny(DataSettings)).metrics["photos"] == 8


def test_a_saved_folder_with_splits_and_odd_names_of_classes(tmp_path: Path) -> None:
    names = ("cat/dog", "..", "Cat_dog", "001")
    splits = {"train": dataset(8, names), "validation": dataset(4, names), "unsupervised": dataset(4, names)}
    splits["test"] = dataset(6, names)
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    lines: list[str] = []
    import_dataset(str(tmp_path / "saved"), tmp_path / "out", lines.append)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["SOURCE.txt", "test", "train", "val"]
    assert sorted(path.name for path in (tmp_path / "out/train").iterdir()) == [
        "001",
        "Cat_dog",
        "cat_dog_2",
        "class_without_name",
    ]
    assert "split unsupervised left out: not known" in lines
    assert "class 'cat/dog' is the folder cat_dog_2/" in lines


def test_a_class_has_one_folder_in_all_splits(tmp_path: Path) -> None:
    splits = {"train": dataset(4, ("a/b", "a_b")), "test": dataset(2, ("a_b",))}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    import_dataset(str(tmp_path / "saved"), tmp_path / "out", print)
    assert sorted(path.name for path in (tmp_path / "out/train").iterdir()) == ["a_b", "a_b_2"]
    assert [path.name for path in (tmp_path / "out/test").iterdir()] == ["a_b_2"]


def test_rows_without_label_or_photo_are_left_out_and_counted(tmp_path: Path) -> None:
    content = rows(6) | {"label": ["a", "b", None, "a", "b", "a"]}
    content["image"][3] = None
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    datasets.Dataset.from_dict(content, features=kinds).save_to_disk(tmp_path / "saved")
    lines: list[str] = []
    assert import_dataset(str(tmp_path / "saved"), tmp_path / "out", lines.append) == 4
    assert "train: 2 rows left out, without label or photo" in lines


def test_the_hubs_test_splits_without_labels_are_left_out(tmp_path: Path) -> None:
    splits = {"train": dataset()}
    splits["test"] = datasets.Dataset.from_dict(rows(4) | {"label": [-1] * 4}, features=splits["train"].features)
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    lines: list[str] = []
    assert import_dataset(str(tmp_path / "saved"), tmp_path / "out", lines.append) == 8
    assert lines[-1] == "test: 4 rows left out, without label or photo"
    assert not (tmp_path / "out" / "test").exists()


def test_several_columns_need_a_choice(tmp_path: Path) -> None:
    dataset(class_name=["x", "y"] * 4).rename_column("label", "kind").to_parquet(tmp_path / "p.parquet")
    assert import_dataset(str(tmp_path / "p.parquet"), tmp_path / "out", print) == 8
    chosen = Choice(label="class_name")
    import_dataset(str(tmp_path / "p.parquet"), tmp_path / "other", print, chosen)
    assert sorted(path.name for path in (tmp_path / "other/train").iterdir()) == ["x", "y"]
    with pytest.raises(AtlasError, match="there is no column `nothing` for the label: the columns are `image`, `kind`"):
        import_dataset(str(tmp_path / "p.parquet"), tmp_path / "third", print, Choice(label="nothing"))
    assert not (tmp_path / "third").exists()


def test_own_photos_are_never_overwritten(tmp_path: Path) -> None:
    dataset().to_parquet(tmp_path / "p.parquet")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.jpg").write_bytes(b"x")
    with pytest.raises(AtlasError, match="add --replace"):
        import_dataset(str(tmp_path / "p.parquet"), tmp_path / "out", print)
    import_dataset(str(tmp_path / "p.parquet"), tmp_path / "out", print, replace=True)
    assert not (tmp_path / "out" / "mine.jpg").exists()


def test_an_import_that_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset().to_parquet(tmp_path / "p.parquet")
    written: list[Path] = []
    real = Path.write_bytes

    def write(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == 5:
            raise KeyboardInterrupt
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(KeyboardInterrupt):
        import_dataset(str(tmp_path / "p.parquet"), tmp_path / "out", print)
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def test_revision_and_licence_of_the_hub_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = SimpleNamespace(sha="0123abc", card_data={"license": ["cc-by-4.0"]})
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda self, name, revision: info)
    asked = []

    def load(*arguments: Any, **options: Any) -> Any:
        asked.append((arguments, options))
        return datasets.DatasetDict({"train": dataset()})

    monkeypatch.setattr(datasets, "load_dataset", load)
    result = CliRunner().invoke(app, ["import", "someone/cats", "--folder", str(tmp_path / "out"), "--config", "small"])
    assert result.exit_code == 0
    assert asked == [(("someone/cats", "small"), {"revision": "0123abc"})]
    note = ["source: someone/cats", "revision: 0123abc", "licence: cc-by-4.0", "train: 8 photos"]
    assert (tmp_path / "out/SOURCE.txt").read_text().splitlines() == note


@pytest.mark.parametrize("error", [ConnectionError("no\nroute"), ValueError("Config name is missing."), KeyError("x")])
def test_whatever_the_hub_says_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", refuse)
    with pytest.raises(AtlasError, match="someone/cats could not be imported") as caught:
        import_dataset("someone/cats", tmp_path / "out", print)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_parquet_and_one_without_photos(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    with pytest.raises(AtlasError, match="could not be imported"):
        import_dataset(str(tmp_path / "x.parquet"), tmp_path / "out", print)
    datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(AtlasError, match="no column could be the image: choose with --image one of `text`"):
        import_dataset(str(tmp_path / "x.parquet"), tmp_path / "out", print)


def test_without_the_library_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name == "datasets":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.delitem(sys.modules, "datasets")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AtlasError, match=r"pip install 'vit-atlas\[datasets\]'"):
        import_dataset("someone/cats", tmp_path / "out", print)


def test_folders_of_classes_are_distinct_in_any_letter_case() -> None:
    assert folder_names(["a", "A", "a/b", ".x", "", "\u732b", "x" * 300]) == {
        "a": "a",
        "A": "A_2",
        "a/b": "a_b",
        ".x": "x",
        "": "class_without_name",
        "\u732b": "\u732b",
        "x" * 300: "x" * 120,
    }


def test_pictures_without_file_names_are_named_by_number(tmp_path: Path) -> None:
    images = [Image.new("RGB", (9, 9), (n, 0, 0)) for n in range(4)]
    kinds = datasets.Features({"img": datasets.Image(), "label": datasets.Value("int64")})
    datasets.Dataset.from_dict({"img": images, "label": [3, 3, 10, 10]}, features=kinds).save_to_disk(
        tmp_path / "saved"
    )
    import_dataset(str(tmp_path / "saved"), tmp_path / "out", print)
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert found == ["train/10/2_photo.png", "train/10/3_photo.png", "train/3/0_photo.png", "train/3/1_photo.png"]
