"""axe-core finds nothing to mend on the page, in light and in dark; it is put into the page by the test alone."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_settings import tiny_settings
from vit_atlas.report import render_report

from .browsers import CHROMIUM, browser
from .synthetic import fill

axe = pytest.importorskip(
    "axe_playwright_python", reason="axe-core is not installed: pip install axe-playwright-python"
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser is on PATH")
__all__ = ["browser"]

RUN = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
    .map(one => [one.id, one.nodes.map(node => node.html.slice(0, 200))])"""


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(folder: Path, browser: Any, scheme: str, width: int) -> None:
    fill()
    path = folder / "index.html"
    path.write_text(render_report(tiny_settings(model={"name": "google/vit"})), encoding="utf-8")
    # The page's own policy would not let the test's script in.
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, bypass_csp=True
    )
    page = context.new_page()
    page.goto(path.as_uri())
    page.evaluate("async () => { for (const name in Atlas.ready) await Atlas.ready[name]; }")
    page.evaluate("document.querySelectorAll('details').forEach(item => { item.open = true; })")
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate(RUN)
    context.close()
    assert found == []
