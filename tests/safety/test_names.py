"""Names that people or strangers give, of files, classes and nouns, go through prepare, its tables, page and plots."""

import io
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.report.synthetic import fill
from tests.tiny_settings import tiny, tiny_settings
from vit_atlas.captioning.dataset import read_dataset
from vit_atlas.cli.data import app
from vit_atlas.data.manifest import Manifest, read_classes
from vit_atlas.data.prepare import prepare, write_prepared
from vit_atlas.data.summary import summarise
from vit_atlas.errors import AtlasError
from vit_atlas.io.names import safe_stems
from vit_atlas.io.summary import write_summary
from vit_atlas.paths import CLASS_COUNTS, MANIFEST, REJECTED
from vit_atlas.report import render_report
from vit_atlas.settings import DataSettings

CLASSES = ("--help", "NA", "line\nbreak", "<script>alert(1)<", "a\"b'c,d;e", "=1+1", "ünï 😀", "\x1b[2J")
FILES = (
    "-rf",
    "new\nline",
    "<img src=x onerror=alert(1)>",
    "a\"b'c,d",
    "{{ 7 * 7 }}",
    " ",
    "NaN",
)
EVIL = (
    *("</script><script>broken()</script>", '"><img src=x onerror=broken()>', "<!--", "]]>", "{{ 7 * 7 }}", "</style>"),
    *("${broken()}", "javascript:broken()", "a\u2028b", "\\u003cb\\u003e", "../../x", "__proto__", "&lt;b&gt;"),
)


@pytest.fixture
def odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose classes and photos have odd names, and a broken file in every class."""
    monkeypatch.chdir(tmp_path)
    root = Path("data/classification")
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for stem in FILES:
            picture = Image.effect_noise((12, 10), 80).convert("RGB")
            picture.save(root / name / f"{stem}.jpg", quality=95)
            (root / name / f"{stem}.png").touch()
    write_prepared(prepare(root, tiny(DataSettings)))
    write_summary(summarise(tiny_settings()))
    return root


def test_tables_hold_every_name_as_it_is(odd_names: Path) -> None:
    manifest = Manifest.read().frame
    assert sorted(manifest["image_id"]) == sorted(f"{name}/{stem}.jpg" for name in CLASSES for stem in FILES)
    assert all(Path(path).is_file() for path in manifest["path"])
    assert set(manifest["class_name"]) == set(CLASSES)
    assert read_classes() == sorted(CLASSES)
    rejected = pd.read_csv(REJECTED, dtype=str, keep_default_na=False)
    assert sorted(rejected["file"]) == sorted(f"{name}/{stem}.png" for name in CLASSES for stem in FILES)
    counts = pd.read_csv(CLASS_COUNTS, dtype=str, keep_default_na=False)
    assert set(counts["class_name"]) == set(CLASSES)
    assert MANIFEST.read_bytes().count(b"\x00") == 0


def test_a_carriage_return_which_csv_readers_take_for_a_line_end_is_refused_by_name(odd_names: Path) -> None:
    (odd_names / "NA" / "old\rline.jpg").write_bytes((odd_names / "NA" / "-rf.jpg").read_bytes())
    prepared = prepare(odd_names, tiny(DataSettings))
    assert ["NA/old\\rline.jpg", "odd-name"] in prepared.findings.rejected[["file", "kind"]].to_numpy().tolist()
    write_prepared(prepared)
    assert len(Manifest.read()) == len(CLASSES) * len(FILES)
    assert len(pd.read_csv(REJECTED)) == len(CLASSES) * len(FILES) + 1


def test_check_prints_no_line_end_or_control_sequence_of_a_name(odd_names: Path) -> None:
    printed = CliRunner().invoke(app, ["check", str(odd_names)]).stdout
    assert "\\x1b[2J/" in printed
    assert "\x1b" not in printed
    assert "\r" not in printed
    assert r"new\nline.png: the file is empty (zero bytes)" in printed


class Tags(HTMLParser):
    """The tags of a page with the names of their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[tuple[str, tuple[str, ...]]]]:
    """The tags of the page of a result where classes, photos, nouns and words of captions have this name."""

    def render(name: str) -> list[tuple[str, tuple[str, ...]]]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        monkeypatch.chdir(folder)
        fill(name)
        return Tags(render_report(tiny_settings(model={"name": "google/vit"}))).found

    return render


def test_no_name_adds_a_tag_or_an_attribute_to_the_page(
    page: Callable[[str], list[tuple[str, tuple[str, ...]]]],
) -> None:
    harmless = page("cat")
    assert len(harmless) > 50
    for name in EVIL + CLASSES:
        found = page(name)
        assert [tag for tag in found if tag not in harmless] == [], name
        assert found == harmless, name


@pytest.mark.parametrize(
    "name", [*EVIL, *CLASSES, "..", "../..", "/etc/passwd", "a/../../b", "con", ".hidden", "x" * 240]
)
def test_the_picture_of_a_photo_lies_in_its_folder(name: str, tmp_path: Path) -> None:
    (stem,) = safe_stems([f"{name}.jpg"])
    path = tmp_path / "plots" / f"{stem}.png"
    assert path.resolve().parent == (tmp_path / "plots").resolve()
    assert not stem.startswith(".")
    path.parent.mkdir()
    path.touch()


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/hostname", "a/../../secret.jpg"])
def test_captions_and_masks_are_taken_from_their_own_folder_only(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "captioning"
    (folder / "images" / "a").mkdir(parents=True)
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "JPEG")
    for path in (folder / "secret.jpg", tmp_path / "secret.jpg", folder / "images" / "x.jpg"):
        path.write_bytes(content.getvalue())
    (folder / "captions.csv").write_text(f"image,caption,split\n{name},a dog,test\n")
    with pytest.raises(AtlasError, match=r"captions\.csv: 1 photos that it names are missing"):
        read_dataset(folder)
    (folder / "captions.csv").unlink()
    (folder / "objects.jsonl").write_text(f'{{"image": "x.jpg", "noun": "dog", "mask": "{name}"}}\n')
    (photo,) = read_dataset(folder).photos
    assert (photo.name, photo.things) == ("x.jpg", ())
