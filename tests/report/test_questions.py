"""What the tutorial says that the page alone answers, each within three clicks: this is the path, click by click."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_settings import tiny_settings
from vit_atlas.report import render_report

from .browsers import CHROMIUM, browser
from .synthetic import fill, write_gallery

__all__ = ["browser"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser is on PATH")


class Reader:
    """A reader who has just opened the page, with three clicks to spend."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.left = 3

    def click(self, place: Any) -> None:
        assert self.left
        self.left -= 1
        place.click()

    def chapter(self, name: str) -> Any:
        """Go to a chapter through the line at the top."""
        link = self.page.locator(".top nav a", has_text=name)
        self.click(link)
        return self.page.locator(str(link.get_attribute("href")))


@pytest.fixture
def reader(folder: Path, browser: Any) -> Iterator[Reader]:
    fill()
    write_gallery(["cat", "NA"], photos=8)
    path = folder / "index.html"
    path.write_text(render_report(tiny_settings(model={"name": "google/vit"})), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page.goto(path.as_uri())
    page.evaluate("async () => { for (const name in Atlas.ready) await Atlas.ready[name]; }")
    yield Reader(page)
    page.close()


def test_which_class_is_worst_and_with_what_it_is_confused(reader: Reader) -> None:
    chapter = reader.chapter("Mistakes")
    said = " ".join(chapter.locator("p").first.inner_text().split())
    assert said == (
        "Least often recognised: cat, recall 0.500 [0.100, 0.900] on 3 test photos, most often taken for NA."
    )
    assert chapter.locator("p").first.is_visible()
    assert chapter.locator("tbody th").all_inner_texts() == ["cat", "NA"]


def test_which_photos_and_where_the_model_looked(reader: Reader) -> None:
    chapter = reader.chapter("Mistakes")
    reader.click(chapter.locator("p button"))
    shots = reader.page.locator("#photos-list .shot")
    assert all("cat" in text for text in shots.all_inner_texts())
    wrong = reader.page.locator("#photos-list .shot", has_text="0.jpg")
    assert "0\u00a0% of its look on the object" in wrong.inner_text()
    reader.click(wrong.locator("button"))
    assert wrong.locator("canvas").is_visible()


def test_which_photos_are_behind_a_confusion(reader: Reader) -> None:
    chapter = reader.chapter("Mistakes")
    reader.click(chapter.locator("[data-chart=confusion] .role-mark text", has_text="1"))
    assert reader.page.locator("#photos-truth option:checked").inner_text() == "cat"
    assert reader.page.locator("#photos-guess option:checked").inner_text() == "NA"
    reader.click(reader.page.locator("#photos-maps"))
    assert (
        reader.page.locator("#photos-list .shot").count() == reader.page.locator("#photos-list canvas:visible").count()
    )


def test_whether_the_look_is_on_the_object_and_whether_it_matters(reader: Reader) -> None:
    chapter = reader.chapter("Interventions")
    assert (
        "accuracy on the whole photo less that on the background alone\t+0.600 [+0.400, +0.800]" in chapter.inner_text()
    )
    verdicts = " ".join(reader.chapter("Sentences").inner_text().split())
    assert "The attention that the head reads is mostly on the object. Supported" in verdicts
    assert "The emphasis beside the object carries the answer. Cannot be said" in verdicts
