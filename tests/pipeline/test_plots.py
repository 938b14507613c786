"""`dvc plots diff` between two commits: every chart with its words and both results' data, every picture twice."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from PIL import Image

from tests.project import Project

REVISIONS = {"HEAD~1", "HEAD"}


@pytest.fixture(scope="module")
def two_commits(finished: tuple[Project, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose last two commits differ in the layer that is drawn."""
    folder = tmp_path_factory.mktemp("plots") / "project"
    shutil.copytree(finished[0].folder, folder, symlinks=True)
    project = Project(folder, finished[0].python)
    project.set("attention", layer=1, methods=["head_mean", "head_max", "rollout", "gaussian"])
    project.run("dvc", "repro", "--single-item", "attn-viz", "metrics")
    project.commit("first layer")
    return project


@pytest.fixture(scope="module")
def plots(two_commits: Project) -> dict[str, list[dict[str, Any]]]:
    printed = json.loads(two_commits.run("dvc", "plots", "diff", "HEAD~1", "HEAD", "--json").stdout)
    assert not printed.get("errors")
    return printed["data"]


def definitions(root: Path) -> dict[str, dict[str, Any]]:
    """Charts of dvc.yaml by their id; pictures have no definition."""
    entries = yaml.safe_load((root / "dvc.yaml").read_text())["plots"]
    return {name: chart for entry in entries if isinstance(entry, dict) for name, chart in entry.items()}


def spec_of(items: list[dict[str, Any]]) -> dict[str, Any]:
    (item,) = items
    return json.loads(item["content"]) if isinstance(item["content"], str) else item["content"]


def texts(value: Any) -> set[str]:
    """All texts of a chart's definition, the data left out."""
    if isinstance(value, dict):
        return {text for key, item in value.items() if key != "values" for text in texts(item)}
    if isinstance(value, list):
        return {text for item in value for text in texts(item)}
    return {value} if isinstance(value, str) else set()


def test_every_chart_has_title_axes_and_both_commits(root: Path, plots: dict[str, list[dict[str, Any]]]) -> None:
    charts = definitions(root)
    assert {"Loss", "Validation accuracy", "Confusion", "Map scores, IoU"} <= set(charts)
    for name, chart in charts.items():
        assert {"title", "x_label", "y_label"} <= set(chart), name
        (item,) = plots[name]
        assert item["type"] == "vega"
        assert set(item["revisions"]) == REVISIONS, name
        spec = spec_of(plots[name])
        assert {chart["title"], chart["x_label"], chart["y_label"]} <= texts(spec), name
        assert {row["rev"] for row in spec["data"]["values"]} == REVISIONS, name


def test_no_chart_draws_what_was_not_measured(root: Path, plots: dict[str, list[dict[str, Any]]]) -> None:
    """Vega takes an empty cell for a zero: a table with gaps would make the curve fall to the axis."""
    for name, chart in definitions(root).items():
        for row in spec_of(plots[name])["data"]["values"]:
            field = "dvc_inferred_y_value" if "dvc_inferred_y_value" in row else next(iter(chart["y"].values()))
            assert "" not in (row[chart["x"]], row[field]), (name, row)


def test_map_scores_are_those_of_the_metrics(two_commits: Project) -> None:
    table = pd.read_csv(two_commits.folder / "plots/attention_scores.csv").set_index("method")
    metrics = two_commits.json("metrics/attention.json")
    assert set(table.index) == {"head mean", "head max", "rollout", "centre Gaussian"}
    assert table.loc["head max", "miou"] == metrics["head_max.miou"]
    assert table.loc["centre Gaussian", "pointing"] == metrics["gaussian.pointing"]
    assert table["miou"].is_monotonic_decreasing


def test_every_picture_is_there_of_both_commits(two_commits: Project, plots: dict[str, list[dict[str, Any]]]) -> None:
    pictures = {name: items for name, items in plots.items() if items[0]["type"] == "image"}
    for folder in ("plots/attention", "plots/captions", "plots/embeddings"):
        drawn = {
            path.relative_to(two_commits.folder).as_posix() for path in (two_commits.folder / folder).rglob("*.png")
        }
        assert drawn
        assert drawn <= set(pictures)
    for name, items in pictures.items():
        found = {revision for item in items for revision in item["revisions"]}
        assert found == REVISIONS or "/why_not/" in name, f"{name} is of {found}"  # drawn where the guess is wrong
        assert all(len(Image.open(item["url"]).getcolors(2**24) or ()) > 2 for item in items), f"{name} shows nothing"
    photos = [name for name in pictures if re.fullmatch(r"plots/attention/(red|green|blue)_\d+\.png", name)]
    assert photos
    for name in photos:
        old, new = (Path(item["url"]).read_bytes() for item in pictures[name])
        assert old != new, "another layer was drawn"


def test_the_page_puts_pictures_of_two_commits_side_by_side(root: Path, two_commits: Project) -> None:
    shutil.copy(root / ".dvc/plots.html", two_commits.folder / ".dvc")
    settings = two_commits.run("dvc", "config", "--project", "--list").stdout
    assert "plots.html_template" not in settings
    assert "html_template = plots.html" in (root / ".dvc/config").read_text()
    two_commits.run("dvc", "config", "plots.html_template", "plots.html")
    address = two_commits.run("dvc", "plots", "diff", "HEAD~1").stdout.strip()
    page = Path(address.removeprefix("file://"))
    text = page.read_text()
    assert "max-width: 46vw" in text
    assert "{" + "plot_divs}" not in text
    sources = re.findall(r'<img src="([^"]+)"', text)
    assert len(sources) >= 8
    assert all((page.parent / source).is_file() for source in sources)
    shown = [source for source in sources if "plots_attention_comparison" in source]
    assert len(shown) == 2
    assert text.count("vegaEmbed('#") == len(definitions(root))
