"""Drilling down: from a class, a confusion, a bin or a point to the photos behind it, and the map of all photos."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_settings import tiny_settings
from vit_atlas.report import gallery, render_report
from vit_atlas.report.gallery import read_gallery

from .browsers import CHROMIUM, browser
from .synthetic import EVIL, fill, write_gallery

__all__ = ["browser"]
SETTINGS = tiny_settings(model={"name": "google/vit"})
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no browser is on PATH")
Open = Callable[..., Any]


@pytest.fixture
def opened(browser: Any, folder: Path) -> Open:
    """Render the result in the current folder and open it; nothing may be complained of."""

    @contextmanager
    def open_page(**options: Any) -> Iterator[Any]:
        path = folder / "index.html"
        path.write_text(render_report(SETTINGS), encoding="utf-8")
        context = browser.new_context(
            viewport={"width": 1280, "height": 900}, offline=True, reduced_motion="reduce", **options
        )
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        page.evaluate("async () => { for (const name in Atlas.ready) await Atlas.ready[name]; }")
        yield page
        context.close()
        assert complaints == []

    return open_page


def names(page: Any) -> list[str]:
    return page.locator("#photos-list .file").all_inner_texts()


@needs_browser
def test_photos_are_filtered_and_sorted(opened: Open) -> None:
    fill()
    write_gallery(["cat", "NA"], photos=8)
    with opened() as page:
        # Of the test photos 0 to 3, least look on the object first.
        assert names(page) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
        page.locator("#photos-sort").select_option("unsure")
        assert names(page) == ["3.jpg", "2.jpg", "1.jpg", "0.jpg"]
        page.locator("#photos-kind").select_option("wrong")
        assert names(page) == ["3.jpg", "1.jpg"]
        assert "NA taken for cat" in page.locator("#photos-list figcaption").first.inner_text().replace("\n", " ")
        page.locator("#photos-split").select_option("")
        assert page.locator("#photos-count").inner_text() == "4 of 8 photos"


@needs_browser
def test_a_photo_shows_its_map_and_one_without_a_picture_says_so(opened: Open) -> None:
    fill()
    with opened() as page:
        first = page.locator("#photos-list .shot").first
        assert not first.locator("canvas").is_visible()
        first.locator("button").click()
        assert first.locator("canvas").is_visible()
        assert first.locator("canvas").evaluate("node => node.width") == 5
        page.locator("#photos-maps").check()
        assert page.locator("#photos-list canvas:visible").count() == 3
        assert page.locator("#photos-list button:disabled").inner_text() == "no picture on this page"


@needs_browser
def test_a_class_a_confusion_and_a_bin_lead_to_their_photos(opened: Open) -> None:
    fill()
    with opened() as page:
        page.locator('[data-class="NA"]').click()
        assert names(page) == ["1.jpg", "3.jpg"]
        # Drawn are NA taken for NA and the other class taken for NA; the counts lie over the cells.
        page.locator("[data-chart=confusion] .role-mark text", has_text="2").click()
        assert page.locator("#photos-truth option:checked").inner_text() == "NA"
        assert page.locator("#photos-guess option:checked").inner_text() == "NA"
        page.locator("[data-chart=reliability] .role-mark.mark-symbol path").first.click()
        assert page.locator("#photos-truth").input_value() == ""
        assert page.locator("#photos-special-text").inner_text() == "confidence from 73 to 80 %"
        assert names(page) == ["1.jpg"]
        page.locator("#photos-special-off").click()
        assert len(names(page)) == 4


@needs_browser
def test_points_tell_their_photo_and_lead_to_their_neighbours(opened: Open) -> None:
    fill()
    with opened() as page:
        page.locator("#map-canvas").scroll_into_view_if_needed()
        box = page.locator("#map-canvas").bounding_box()
        data = page.evaluate("({x: Atlas.places().x[5], y: Atlas.places().y[5]})")
        side = min(box["width"], box["height"]) * 0.94
        place = [
            box["x"] + box["width"] / 2 + (data["x"] / 1000 - 0.5) * side,
            box["y"] + box["height"] / 2 + (data["y"] / 1000 - 0.5) * side,
        ]
        page.mouse.move(*place)
        assert page.locator("#map-reading").inner_text().startswith("5.jpg (train): NA, taken for cat")
        page.mouse.down()
        page.mouse.up()
        assert names(page)[0] == "5.jpg"
        assert page.locator("#photos-special-text").inner_text() == "nearest to 5.jpg first"
        before = page.evaluate("document.querySelector('#map-canvas').toDataURL()")
        page.locator("#map-canvas").focus()
        page.keyboard.press("+")
        frames = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        page.evaluate(frames)
        assert page.evaluate("document.querySelector('#map-canvas').toDataURL()") != before
        page.locator("#map-colour").select_option("inside")
        page.locator("#map-legend", has_text="75 to 100 %").wait_for()


@needs_browser
def test_hostile_class_names_are_text(opened: Open) -> None:
    fill(EVIL)
    with opened() as page:
        assert page.evaluate("window.broken") is None
        assert " ".join(EVIL.split()) in " ".join(page.locator("#photos-list figcaption").first.inner_text().split())


@needs_browser
def test_without_masks_nothing_is_said_of_the_object(opened: Open) -> None:
    fill()
    table = Path("build/gallery/gallery.csv")
    lines = [line.split(",") for line in table.read_text().splitlines()]
    column = lines[0].index("inside")
    table.write_text(
        "\n".join(
            ",".join([*line[:column], line[column] if not i else "", *line[column + 1 :]])
            for i, line in enumerate(lines)
        )
    )
    with opened() as page:
        assert "on the object" not in page.locator("#photos-list").inner_text()
        assert page.locator("#photos-kind option").all_inner_texts() == ["all", "wrong guesses", "right guesses"]


@needs_browser
def test_ten_thousand_photos_of_a_thousand_classes(opened: Open) -> None:
    fill()
    write_gallery([f"breed {number} with a rather long name" for number in range(1000)], photos=10_000)
    with opened() as page:
        assert page.locator("#photos-count").inner_text() == "5000 of 10000 photos"
        assert page.locator("#photos-list .shot").count() == 24
        page.locator("#photos-truth").select_option("7")
        assert len(names(page)) == 5
        assert page.locator("#map-legend li").last.inner_text() == "and 976 more"
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_pictures_are_bounded_and_what_is_left_out_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    monkeypatch.setattr(gallery, "BUDGET", 2000)
    whole = read_gallery()
    shown = gallery.gallery(whole, 15)
    assert shown is not None
    assert sum(map(len, shown["pictures"])) <= 2000
    assert shown["without_picture"] == 6 - len(shown["pictures"])
    text = render_report(SETTINGS)
    assert "6 of 9 photos are on this page (gallery.photos in params.yaml)" in text
    assert f"{shown['without_picture']} of them are listed without a picture" in text


def test_without_a_gallery_the_page_says_so_and_mistakes_have_no_picture(folder: Path) -> None:
    fill()
    (folder / "build/gallery/gallery.csv").unlink()
    text = render_report(SETTINGS)
    assert "There are no photos to look through" in text
    assert "no picture on this page" in text
    assert "data-class" not in text.partition("<script")[0]


def test_doubted_labels_are_marked_and_suspected_shortcuts_are_not(folder: Path) -> None:
    fill()
    write_gallery(["cat", "NA"], photos=4)
    shown = gallery.gallery(read_gallery(), bins=5)
    assert shown is not None
    assert shown["suspect"] == [0, 0, 0, 0]
    header = "image_id,split,class_name,suggested_name,quality,kind,predicted_name,inside,object"
    rows = ["NA/1.jpg,test,NA,cat,0.1,label,cat,0.5,0.4", "cat/2.jpg,test,cat,cat,0.9,shortcut,cat,0.1,0.4"]
    Path("build/suspects.csv").write_text("\n".join([header, *rows]) + "\n")
    shown = gallery.gallery(read_gallery(), bins=5)
    assert shown is not None
    assert shown["suspect"] == [0, 1, 0, 0]
