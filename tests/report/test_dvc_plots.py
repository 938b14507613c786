"""DVC's own page of charts in a browser without a network: Vega comes from the template that `make setup` writes."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .browsers import CHROMIUM, browser

dvc_render = pytest.importorskip("dvc_render", reason="DVC is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser is on PATH")
ROOT = Path(__file__).parents[2]
__all__ = ["browser"]


@pytest.fixture
def project(folder: Path) -> Path:
    """A DVC project with a table of two columns, and the repository's own template."""
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], check=True)
    shutil.copy(ROOT / ".dvc/plots.html", ".dvc/plots.html")
    Path(".dvc/config").write_text((ROOT / ".dvc/config").read_text().replace("[core]", "[core]\n    no_scm = true"))
    Path("loss.csv").write_text("step,loss\n1,2.0\n2,1.0\n")
    Path("dvc.yaml").write_text("plots:\n  - Loss:\n      x: step\n      y:\n        loss.csv: loss\n")
    return folder


def page_of(project: Path) -> str:
    printed = subprocess.run(["dvc", "plots", "show"], check=True, capture_output=True, text=True).stdout
    return printed.strip().splitlines()[-1]


def test_charts_are_drawn_without_a_network(project: Path, browser: Any) -> None:
    subprocess.run([sys.executable, str(ROOT / "scripts/offline-plots")], check=True)
    context = browser.new_context(offline=True)
    requests: list[str] = []
    context.on("request", lambda request: requests.append(request.url))
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    address = page_of(project)
    page.goto(address)
    page.wait_for_selector(".vega-embed canvas, .vega-embed svg", timeout=20_000)
    context.close()
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [address]
    assert complaints == []


def test_without_the_setup_the_page_says_what_it_needs(project: Path, browser: Any) -> None:
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(page_of(project))
    assert "cdn.jsdelivr.net" in page.locator("#offline").inner_text()
    context.close()
