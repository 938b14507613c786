"""The page of two results: a table that says what the others say, and both maps of every changed photo."""

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.report.browsers import CHROMIUM, browser
from vit_atlas.cli import commands
from vit_atlas.comparison import page as pages
from vit_atlas.comparison.compare import compare_results, open_both
from vit_atlas.comparison.maps import SavedMaps
from vit_atlas.comparison.page import CHANGED, NEEDED, render_page
from vit_atlas.io.arrays import pack_maps, write_arrays

from .conftest import predictions, write_result

__all__ = ["browser"]
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no browser is on PATH")
EVIL = '<img src=x onerror="window.broken=1">{}.png'
GRID = (4, 6)
Open = Callable[..., Any]


def write_looks(folder: Path, answers: pd.DataFrame, peak: int, without: int = 0) -> None:
    """build/gallery with a map of every photo whose highest patch is ``peak``; the last ``without`` have none."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (80, 120, 3), dtype=np.uint8)).save(buffer, "JPEG")
    count = len(answers) - without
    columns = answers[["image_id", "class_name", "predicted_name"]]
    numbers = np.where(np.arange(len(answers)) < count, np.arange(len(answers)), -1)
    (folder / "build/gallery").mkdir(parents=True, exist_ok=True)
    columns.assign(split="test", thumbnail=numbers).to_csv(folder / "build/gallery/gallery.csv", index=False)
    maps = np.full((count, *GRID), 0.01)
    maps.reshape(count, -1)[:, peak] = 1
    arrays = {"jpegs": np.frombuffer(buffer.getvalue() * count, np.uint8), "maps": pack_maps(maps)[0]}
    ends = np.arange(1, count + 1) * len(buffer.getvalue())
    write_arrays(folder / "build/gallery/gallery.npz", arrays | {"ends": ends})


def write_drawn(folder: Path, photos: list[str], seed: int) -> None:
    maps = np.random.default_rng(seed).random((len(photos), 3, *GRID))
    methods = ["head_mean", "rollout", "gaussian"]
    SavedMaps(photos, ["nowhere.png"] * len(photos), methods, maps).save(folder / "build/attention/maps.npz")


@pytest.fixture
def results(tmp_path: Path) -> list[str]:
    """Two results: photo 7 is wrong now, photo 3 right now, and all other maps moved."""
    found = []
    names = [EVIL.format(place) for place in range(40)]
    for side, wrong, peak in (("old", 3, 2), ("new", 7, 20)):
        answers = predictions(np.arange(40) != wrong, names)
        found.append(write_result(tmp_path / side, answers, np.linspace(0.2, 0.9, 40)))
        write_looks(tmp_path / side, answers, peak)
        write_drawn(tmp_path / side, names[:2], peak)
    return found


def written(results: list[str]) -> str:
    with open_both(*results, NEEDED) as sides:
        return render_page(compare_results(*sides), *sides)


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Open:
    """Open the page of two results; nothing may be complained of."""

    @contextmanager
    def open_page(results: list[str], **options: Any) -> Iterator[Any]:
        path = tmp_path / "index.html"
        path.write_text(written(results), encoding="utf-8")
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "offline": True, **options})
        opened = context.new_page()
        complaints: list[str] = []
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.goto(path.as_uri())
        opened.evaluate("async () => { for (const name in Atlas.ready) await Atlas.ready[name]; }")
        yield opened
        context.close()
        assert complaints == []

    return open_page


@needs_browser
def test_a_slider_lays_one_map_over_the_other(opened: Open, results: list[str]) -> None:
    with opened(results) as page:
        first = page.locator("#photos .pair").first
        assert "wrong now" in first.inner_text()
        assert first.locator(".file").inner_text() == EVIL.format(7).split("/")[-1]
        brightest = """node => { const data = node.getContext("2d").getImageData(0, 0, node.width, node.height).data;
            const alphas = Array.from({length: node.width * node.height}, (_, cell) => data[cell * 4 + 3]);
            return [node.width, node.height, alphas.indexOf(Math.max(...alphas))]; }"""
        assert first.locator("canvas.old").evaluate(brightest) == [6, 4, 2]
        assert first.locator("canvas.new").evaluate(brightest) == [6, 4, 20]
        at = "node => node.style.getPropertyValue('--at')"
        board, slider = first.locator(".wipe"), first.locator("input")
        slider.focus()
        page.keyboard.press("ArrowRight")
        assert board.evaluate(at) == "55%"
        page.keyboard.press("End")
        assert board.evaluate(at) == "100%"
        board.click(position={"x": 1, "y": 20})
        assert (board.evaluate(at), slider.input_value()) in [("1%", "0"), ("0%", "0")]
        page.locator("#pairs-all").fill("25")
        assert {pair.evaluate(at) for pair in page.locator(".wipe").all()} == {"25%"}


@needs_browser
def test_a_finger_moves_the_line_and_kinds_are_filtered(opened: Open, results: list[str]) -> None:
    with opened(results, has_touch=True, viewport={"width": 360, "height": 800}) as page:
        first = page.locator("#photos .pair").first
        first.scroll_into_view_if_needed()
        box = first.locator(".wipe").bounding_box()
        page.touchscreen.tap(box["x"] + box["width"] * 0.9, box["y"] + 20)
        assert 85 <= int(first.locator("input").input_value()) <= 95
        page.locator("#pairs-kind").select_option("right now")
        assert page.locator("#photos .pair:visible .file").all_inner_texts() == [EVIL.format(3).split("/")[-1]]
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        moved = page.locator("#maps .pair").first.locator(".moved:visible")
        before = moved.inner_text()
        page.locator("#pairs-method").select_option("rollout")
        assert moved.inner_text() != before
        assert page.evaluate("window.broken") is None


@needs_browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_no_violation(opened: Open, results: list[str], scheme: str, width: int) -> None:
    pytest.importorskip("axe_playwright_python", reason="axe-core is not installed: pip install axe-playwright-python")
    from tests.report.test_accessibility import RUN

    size = {"width": width, "height": 900}
    with opened(results, viewport=size, color_scheme=scheme, bypass_csp=True) as page:
        page.evaluate("document.querySelectorAll('details').forEach(item => { item.open = true; })")
        page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
        assert page.evaluate(RUN) == []


def test_page_markdown_and_json_say_the_same(results: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "compared"

    def run(*options: str) -> Any:
        return CliRunner().invoke(commands, ["compare", *results, "--folder", str(folder), *options])

    content = json.loads(run("--json", "--page").stdout)
    marked, text = run("--markdown").stdout, run().stdout
    page = (folder / "index.html").read_text()
    assert content["summary"] in text
    assert f"{content['summary'][1:]}." in page
    rows = {row["name"]: row for row in content["rows"]}
    assert {"accuracy", "relevance.mass"} <= rows.keys()
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "ece"):
        row = rows[name]
        cells = [
            f"{row['old']:.3f}",
            f"{row['new']:.3f}",
            f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]",
        ]
        assert f"| {' | '.join([name.replace('_', chr(92) + '_'), *cells[:2]])} |" in marked
        shown = re.search(rf'<th scope="row">{name}</th>(.*?)</tr>', page, re.DOTALL)
        assert shown is not None
        assert re.findall(r"<td.*?>(.*?)</td>", shown[1])[:3] == cells
        assert re.findall(r"<td.*?>(.*?)</td>", shown[1])[-1] == row["verdict"]
        for cell in cells:
            assert cell in text


def test_photos_are_bounded_and_what_is_left_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "NAMED", 5)
    found = []
    for side, right, peak in (("old", 0, 2), ("new", 1, 20)):
        answers = predictions(np.arange(140) % 2 == right)
        found.append(write_result(tmp_path / side, answers))
        write_looks(tmp_path / side, answers, peak, without=20)
    text = written(found)
    assert text.count('<figure class="shot pair"') == CHANGED
    assert (
        "Of 140 photos with another answer 72 are left out here, which shows 48 at most and 20 have no map in one of "
        "the results (gallery.photos, gallery.thumbnails)."
    ) in text
    assert text.count('<th scope="row">photo_') == 5
    assert len(text) < 1_000_000


def test_a_result_without_maps_is_told_and_the_rest_is_shown(results: list[str]) -> None:
    (Path(results[0]) / "build/gallery/gallery.csv").unlink()
    (Path(results[0]) / "build/attention/maps.npz").unlink()
    text = written(results)
    assert "has no build/gallery here: its maps of photos with another answer are not shown" in text
    assert "2 have no map in one of the results" in text
    assert "No photo was drawn in both results by the same method." in text
    assert "<td>wrong now</td>" in text


def test_other_grids_are_shown_beside_each_other(results: list[str]) -> None:
    arrays = dict(np.load(Path(results[1]) / "build/gallery/gallery.npz"))
    write_arrays(Path(results[1]) / "build/gallery/gallery.npz", arrays | {"maps": arrays["maps"][:, :2]})
    text = written(results)
    assert "maps of other grids" in text


def test_answers_that_git_holds_without_photos_are_not_called_the_same(results: list[str]) -> None:
    lock = {"stages": {"prepare": {"outs": [{"path": "build/prepared", "md5": "p.dir"}]}}}
    for folder in map(Path, results):
        answers = pd.read_csv(folder / "build/predictions.csv")
        (folder / "build/predictions.csv").unlink()
        (folder / "plots/evaluate").mkdir(parents=True)
        confusion = answers[["class_name", "predicted_name"]].set_axis(["actual", "predicted"], axis=1)
        confusion.to_csv(folder / "plots/evaluate/confusion.csv", index=False)
        (folder / "dvc.lock").write_text(json.dumps(lock))
    text = written(results)
    assert "<dd>40</dd>" in text
    assert "The answers are not known by photo." in text
    assert "Both results give the same answer" not in text
