"""The page in a real browser, opened from disk: pointing, choosing, keys, schemes, a phone, paper, hostile names.

In every test no request may leave the page and nothing may be said on the browser's console.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny_settings import tiny_settings
from vit_atlas.io.files import write_json
from vit_atlas.report import render_report

from .browsers import CHROMIUM, browser
from .synthetic import COLUMNS, EVIL, LAYERS, ROWS, fill, write_attention

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

__all__ = ["browser"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser is on PATH")

FAR_TOO_SLOW = 1000
"""Milliseconds that no interaction takes even on a busy machine; what was measured is printed."""

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three pages: with ordinary names, with names made to break it, and with a fine grid and many classes."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for kind, name in (("plain", "cat"), ("evil", EVIL), ("large", "cat")):
            folder = tmp_path_factory.mktemp(kind)
            patch.chdir(folder)
            fill(name)
            if kind == "large":
                write_attention(name, cell=2)
                write_json("build/prepared/classes.json", ["NA", "cat", *(f"breed {number}" for number in range(40))])
            found[kind] = folder / "index.html"
            found[kind].write_text(render_report(tiny_settings()), encoding="utf-8")
    return found


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Open:
    """Open a page and wait until all of it is drawn; afterwards look at what it asked for and complained of."""

    @contextmanager
    def open_page(kind: str = "plain", **options: Any) -> Iterator[Any]:
        address = pages[kind].as_uri()
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "offline": True, **options})
        requests: list[str] = []
        complaints: list[str] = []
        context.on("request", lambda request: requests.append(request.url))
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        if options.get("java_script_enabled", True):
            page.evaluate("async () => { for (const name in Atlas.ready) await Atlas.ready[name]; }")
        yield page
        context.close()
        assert [url for url in requests if not url.startswith("data:")] == [address]
        assert complaints == []

    return open_page


def point(page: Any, board: str, row: int, column: int) -> None:
    """Move the mouse over a patch (counted from 0)."""
    place = page.locator(f"#{board}-board")
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    page.mouse.move(box["x"] + (column + 0.5) * box["width"] / COLUMNS, box["y"] + (row + 0.5) * box["height"] / ROWS)


def reading(page: Any, name: str) -> str:
    return str(page.locator(f"#{name}-reading").inner_text())


def picture(page: Any, board: str) -> str:
    """What is painted on a board."""
    return str(page.evaluate(f"document.querySelector('#{board}-board canvas').toDataURL()"))


def test_the_class_token_is_first_and_all_charts_are_drawn(opened: Open) -> None:
    with opened() as page:
        assert reading(page, "attention").startswith(
            "Class token, layer 2, mean of 2 heads: looks most at the patch in"
        )
        assert page.locator("#attention-guess").inner_text().startswith("right cat0.png: cat")
        assert page.locator(".plot").count() == page.locator(".plot[data-drawn] svg").count() >= 7
        assert page.evaluate("getComputedStyle(document.querySelector('.plot svg text')).fill") != "rgb(0, 0, 0)"


def test_pointing_at_a_patch_shows_where_it_looks(opened: Open) -> None:
    with opened() as page:
        before = reading(page, "attention"), picture(page, "attention")
        point(page, "attention", 1, 2)
        assert "Patch in row 2, column 3, layer 2, mean of 2 heads" in reading(page, "attention")
        assert "looks most at the patch in row 2, column 4, 50\u00a0% of its attention" in reading(page, "attention")
        assert picture(page, "attention") != before[1]
        assert page.locator("#attention-bar .high").inner_text() == "50\u00a0%"
        page.mouse.move(2, 2)
        assert (reading(page, "attention"), picture(page, "attention")) == before


def test_a_click_keeps_the_patch_and_keys_move_it(opened: Open) -> None:
    with opened() as page:
        point(page, "attention", 0, 0)
        page.mouse.down()
        page.mouse.up()
        page.mouse.move(2, 2)
        assert "Patch in row 1, column 1" in reading(page, "attention")
        page.locator("#attention-board").focus()
        for key, place in (("ArrowRight", "row 1, column 2"), ("ArrowDown", "row 2, column 2"), ("ArrowUp", "row 1")):
            page.keyboard.press(key)
            assert f"Patch in {place}" in reading(page, "attention")
        page.keyboard.press("ArrowUp")
        assert "Patch in row 1, column 2" in reading(page, "attention")
        assert page.locator("#attention-board .cursor").is_visible()
        page.keyboard.press("Escape")
        assert reading(page, "attention").startswith("Class token")
        assert not page.locator("#attention-board .cursor").is_visible()


def test_photo_layer_head_and_token_are_chosen(opened: Open) -> None:
    with opened() as page:
        page.locator("#attention .photos button").nth(1).click()
        page.wait_for_function("document.getElementById('attention-guess').textContent.includes('cat1.png')")
        assert "taken for NA" in page.locator("#attention-guess").inner_text()
        page.locator("#attention-layers button").nth(0).click()
        page.locator("#attention-heads button").nth(2).click()
        assert reading(page, "attention").startswith("Class token, layer 1, head 2:")
        page.locator("#attention-from").select_option(label="register 1")
        assert reading(page, "attention").startswith("Register 1, layer 1, head 2:")


def test_the_outline_and_the_heads_belong_to_the_map_on_show(opened: Open) -> None:
    """Single heads of patches are kept for one layer: elsewhere the mean is on show, and so it is outlined."""
    with opened() as page:
        page.locator("#attention-layers button").nth(0).click()
        page.locator("#attention-heads button").nth(2).click()
        point(page, "attention", 0, 0)
        page.mouse.down()
        page.mouse.up()
        assert "mean of 2 heads" in reading(page, "attention")
        assert page.locator('#attention-heads [aria-checked="true"]').inner_text() == "mean"
        assert page.locator("#attention-heads canvas:visible").count() == 3
        assert "single heads of patches are kept" in page.locator("#attention-heads-note").inner_text()
        page.locator("#attention-heads button").nth(1).click()
        assert "layer 2, head 1" in reading(page, "attention")
        assert page.locator('#attention-heads [aria-checked="true"]').inner_text() == "1"
        assert page.locator('#attention-layers [aria-checked="true"]').inner_text() == "2"
        assert page.locator("#attention-heads-note").inner_text() == ""


def test_radio_groups_follow_the_arrow_keys(opened: Open) -> None:
    with opened() as page:
        page.locator('#attention-layers [aria-checked="true"]').focus()
        page.keyboard.press("ArrowRight")
        assert reading(page, "attention").startswith("Class token, layer 1,")
        assert page.locator('#attention-layers [tabindex="0"]').count() == 1
        page.keyboard.press("ArrowLeft")
        assert reading(page, "attention").startswith(f"Class token, layer {LAYERS},")


def test_methods_are_shown_with_their_score(opened: Open) -> None:
    with opened() as page:
        before = picture(page, "attention")
        page.locator("#attention-method").select_option("head_mean")
        assert picture(page, "attention") != before
        assert (
            "Mean IoU with the masks of 12 test photos 0.70 [0.60, 0.80]."
            in page.locator("#attention-note").inner_text()
        )
        point(page, "attention", 1, 1)
        assert "of the highest value of head mean" in reading(page, "attention")
        page.locator("#attention-layers button").nth(1).click()
        assert page.locator("#attention-method").input_value() == ""
        page.mouse.move(2, 2)
        assert picture(page, "attention") == before


def test_opacity_and_outline(opened: Open) -> None:
    with opened() as page:
        page.locator("#attention-opacity").fill("30")
        assert page.evaluate("document.querySelector('#attention-board canvas').style.opacity") == "0.3"
        line = page.locator("#attention-board path.line")
        assert line.get_attribute("d").startswith("M100")
        page.locator("#attention-outline").uncheck()
        assert line.get_attribute("d") == ""


def test_patch_tokens_are_shown_as_colours(opened: Open) -> None:
    with opened() as page:
        colours = page.locator("#attention-colours")
        assert colours.evaluate("node => [node.width, node.height]") == [COLUMNS, ROWS]
        first = colours.evaluate("node => Array.from(node.getContext('2d').getImageData(0, 0, 1, 1).data)")
        assert first == [*np.random.default_rng(4).integers(0, 256, 3, dtype=np.uint8).tolist(), 255]
        before = colours.evaluate("node => node.toDataURL()")
        page.locator("#attention .photos button").nth(1).click()
        page.wait_for_function("document.getElementById('attention-guess').textContent.includes('cat1.png')")
        assert colours.evaluate("node => node.toDataURL()") != before


def test_position_maps_follow_one_pointer(opened: Open) -> None:
    with opened() as page:
        before = picture(page, "positions-before"), picture(page, "positions-after")
        point(page, "positions-before", 0, 0)
        assert picture(page, "positions-before") != before[0]
        assert picture(page, "positions-after") != before[1]
        assert page.locator("#positions .cursor:visible").count() == 2
        assert reading(page, "positions").startswith("Patch in row 1, column 1 of 6 by 10: mean similarity")


def test_words_and_places_of_a_caption(opened: Open) -> None:
    with opened() as page:
        words = page.locator("#captions-words .word")
        assert words.all_inner_texts() == ["a", "cat \u2248 chance", "above", "sea"]
        assert words.nth(1).get_attribute("aria-pressed") == "true"
        assert page.locator("#captions-board path.line").get_attribute("d").startswith("M0 0")
        assert "no better than chance" in reading(page, "captions")
        assert page.locator("#captions-words .chance").count() == 1
        before = picture(page, "captions")
        words.nth(2).hover()
        assert reading(page, "captions").startswith("\u201cabove\u201d, probability 0.50")
        assert picture(page, "captions") != before
        words.nth(0).focus()
        assert reading(page, "captions").startswith("\u201ca\u201d")
        page.locator("#captions-layer").select_option("0")
        point(page, "captions", 1, 1)
        looked = [
            int(words.nth(index).evaluate("node => parseInt(node.style.getPropertyValue('--looked'))"))
            for index in range(4)
        ]
        assert 0 < max(looked) <= 100
        assert len(set(looked)) > 1
        assert reading(page, "captions").startswith("Place in row 2, column 2: looked at most by")
        page.locator("#captions .photos button").nth(1).click()
        page.wait_for_function("document.getElementById('captions-words').textContent.includes('empty caption')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_have_contrast_and_the_button_changes_over(opened: Open, scheme: str) -> None:
    with opened(color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.dataset.scheme") == scheme
        assert luminance(page, "--paper") < 0.2 if scheme == "dark" else luminance(page, "--paper") > 0.8
        for ink in ("--ink", "--muted", "--accent", "--good", "--bad"):
            for paper in ("--paper", "--panel"):
                assert contrast(page, ink, paper) >= 4.5, (ink, paper)
        assert contrast(page, "--warn", "--warn-paper") >= 4.5
        assert contrast(page, "--warn", "--paper") >= 4.5
        other = "Light mode" if scheme == "dark" else "Dark mode"
        assert page.locator("#scheme").inner_text() == other
        page.locator("#scheme").click()
        assert page.locator("#scheme").inner_text() != other
        assert luminance(page, "--paper") > 0.8 if scheme == "dark" else luminance(page, "--paper") < 0.2


def luminance(page: Any, name: str) -> float:
    """WCAG's relative luminance of one of the page's colours, as the browser resolves it."""
    page.evaluate("name => { document.body.style.outlineColor = `var(${name})`; }", name)
    text = page.evaluate("getComputedStyle(document.body).outlineColor")
    channels = [float(part) / 255 for part in text[text.index("(") + 1 : -1].split(",")[:3]]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(page: Any, one: str, other: str) -> float:
    low, high = sorted([luminance(page, one), luminance(page, other)])
    return (high + 0.05) / (low + 0.05)


def test_a_phone_shows_everything_without_scrolling_sideways(opened: Open) -> None:
    with opened(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        board = page.locator("#attention-board")
        board.scroll_into_view_if_needed()
        box = board.bounding_box()
        page.touchscreen.tap(box["x"] + box["width"] * 0.5 / COLUMNS, box["y"] + box["height"] * 0.5 / ROWS)
        assert "Patch in row 1, column 1" in reading(page, "attention")


def test_paper_is_light_and_has_everything_open(opened: Open) -> None:
    with opened(color_scheme="dark") as page:
        page.emulate_media(media="print")
        assert luminance(page, "--paper") > 0.8
        assert not page.locator(".top").is_visible()
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details:not([open])").count() == 0
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert page.locator("details[open]").count() == 0


def test_hostile_names_are_shown_as_they_are(opened: Open) -> None:
    with opened("evil") as page:
        assert page.evaluate("window.broken") is None
        shown = " ".join(EVIL.split())
        assert shown in page.locator("#attention-guess").inner_text()
        assert shown in page.locator("#captions-words").inner_text()
        assert shown in " ".join(page.locator("#mistakes table").last.inner_text().split())
        page.locator("#captions-words .word").nth(1).hover()
        assert shown in " ".join(reading(page, "captions").split())
        # At an axis the name is cut, and whole for who points at it.
        whole = page.locator("[data-chart=confusion] .role-axis-label title").first.text_content()
        assert " ".join(whole.split()) == shown


def test_a_fine_grid_is_explored_in_blocks_and_many_classes_can_be_scrolled(opened: Open) -> None:
    with opened("large", viewport={"width": 360, "height": 740}) as page:
        point(page, "attention", 2, 4)
        assert "Patch in row 3, column 5, layer 2" in reading(page, "attention")
        assert "looks most at the block in row 1, column 1, 50\u00a0%" in reading(page, "attention")
        page.mouse.move(2, 2)
        assert "looks most at the patch in" in reading(page, "attention")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.evaluate("document.querySelector('[data-chart=confusion]').scrollWidth") > 400


def test_without_scripts_the_numbers_can_be_read(opened: Open) -> None:
    with opened(java_script_enabled=False) as page:
        text = page.locator("main").inner_text()
        assert "The fine-tuned model, trained on 4 photos, is right on 90.0% of 200 test photos" in text
        assert "need JavaScript" in text


def test_interactions_are_measured(opened: Open, capsys: pytest.CaptureFixture[str]) -> None:
    with opened() as page:
        for row in range(ROWS):
            for column in range(COLUMNS):
                point(page, "attention", row, column)
        page.locator("#attention .photos button").nth(1).click()
        page.locator("#attention-layers button").nth(0).click()
        page.locator("#attention-method").select_option("gaussian")
        page.locator("#attention-opacity").fill("30")
        point(page, "positions-after", 1, 1)
        page.locator("#captions-words .word").nth(0).hover()
        point(page, "captions", 1, 1)
        page.locator("#scheme").click()
        page.wait_for_function("'attention photo' in Atlas.timings")
        slowest = {name: max(values) for name, values in page.evaluate("Atlas.timings").items()}
    with capsys.disabled():
        figures = ", ".join(f"{name} {value:.1f}" for name, value in slowest.items())
        sys.stdout.write(f"\nslowest redraw in ms: {figures}\n")
    assert {
        "attention-board point",
        "attention photo",
        "attention layers",
        "captions word",
        "scheme",
        "attention method",
    } <= set(slowest)
    assert max(slowest.values()) < FAR_TOO_SLOW
