"""Results that lack something, or have far too much of it: the page says what is missing, and nothing breaks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.tiny_settings import tiny_settings
from vit_atlas.estimates import Estimate
from vit_atlas.io.files import read_json, write_json
from vit_atlas.report import render_report

from .browsers import CHROMIUM, browser
from .synthetic import ATTENTION, EVIL, INTERVENTIONS, fill, write_attention, write_gallery

__all__ = ["browser"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser is on PATH")


def write_classes(names: list[str], guesses: list[str]) -> None:
    """Tables of a test with one photo of each class, and a gallery with two."""
    right = [float(name == guess) for name, guess in zip(names, guesses, strict=True)]
    scores = dict.fromkeys(("precision", "recall", "recall_low", "recall_high", "f1"), right)
    table = {"class_name": names, "photos": 1, **scores, "taken_for": guesses}
    pd.DataFrame(table).to_csv("plots/evaluate/per_class.csv", index=False)
    pd.DataFrame({"actual": names, "predicted": guesses}).to_csv("plots/evaluate/confusion.csv", index=False)
    write_json("build/prepared/classes.json", names)
    write_json("metrics/prepare.json", read_json("metrics/prepare.json") | {"classes": len(names)})
    write_gallery(names, photos=2 * len(names) + 4)


def one_class() -> None:
    write_classes(["cat"], ["cat"])


def thousand_classes() -> None:
    names = [f"breed {number:04} with a rather long name" for number in range(1000)]
    write_classes(names, [names[0], *names[:-1]])


def no_masks() -> None:
    write_attention("cat", outline=None)
    write_json("metrics/attention.json", dict.fromkeys(ATTENTION) | {"photos_scored": 0, "artefacts.photos": 0})
    asked = dict.fromkeys(INTERVENTIONS) | Estimate(0.1, 0.0, 0.2).flat("highlight_effect")
    write_json("metrics/interventions.json", asked | {"photos": 24, "photos_with_masks": 0})
    table = pd.read_csv("build/gallery/gallery.csv", keep_default_na=False)
    table.assign(inside=None).to_csv("build/gallery/gallery.csv", index=False)


def nobody_captioned() -> None:
    content = read_json("build/captions/captions.json")
    for photo in content["photos"]:
        photo |= {"references": [], "outlines": {}}
    write_json("build/captions/captions.json", content)
    write_json("metrics/caption.json", {"noun_mass": None})


def names_with_html() -> None:
    fill(EVIL)
    write_classes([EVIL, "<b>bold</b>", "a&amp;b"], [EVIL, EVIL, "<b>bold</b>"])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (one_class, ["There is one class only", "Confusion matrix of 1 test photos in 1 classes"]),
        (thousand_classes, ["Shown are the 100 classes with the most mistakes", "and 976 more"]),
        (no_masks, ["No map is scored: no test photo has an object mask", "No map was scored: no test photo"]),
        (nobody_captioned, ["Nobody captioned the photos", "nobody captioned it"]),
        (names_with_html, ["a&amp;b", "Least often recognised: <b>bold</b>"]),
    ],
)
def test_what_is_missing_is_said_and_nothing_breaks(
    folder: Path, browser: Any, make: Callable[[], None], said: list[str]
) -> None:
    fill()
    make()
    path = folder / "index.html"
    path.write_text(render_report(tiny_settings(model={"name": "google/vit"})), encoding="utf-8")
    page = browser.new_page(viewport={"width": 360, "height": 740})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    page.evaluate("async () => { for (const name in Atlas.ready) await Atlas.ready[name]; }")
    text = " ".join(page.locator("main").inner_text().split())
    assert [sentence for sentence in said if sentence not in text] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#photos-list button:not([disabled])").first.click()
    page.locator("#map-colour").select_option("guess")
    if page.locator("[data-class]").count():
        page.locator("[data-class]").last.click()
    assert page.evaluate("window.broken") is None
    assert complaints == []
    page.close()
