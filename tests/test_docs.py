"""The documentation speaks of what is there: every metric, every page, every link."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


def documented(root: Path) -> dict[str, list[re.Pattern[str]]]:
    """Patterns of the keys in docs/reference/metrics.md, by metrics file."""
    found: dict[str, list[re.Pattern[str]]] = {}
    file = ""
    for line in (root / "docs" / "reference" / "metrics.md").read_text().splitlines():
        if heading := re.match(r"## (metrics/\w+\.json)", line):
            file = heading[1]
            found[file] = []
        elif file and line.startswith("| `"):
            for key in re.findall(r"`([^`]+)`", line.split(" | ")[0]):
                pattern = re.sub(r"<\w+>", r"[\\w-]+", re.escape(key).replace(r"\<", "<").replace(r"\>", ">"))
                found[file].append(re.compile(rf"{pattern}(_low|_high)?"))
    return found


def flat(value: object, name: str = "") -> list[str]:
    if isinstance(value, dict) and value:
        return [key for part, item in value.items() for key in flat(item, f"{name}.{part}" if name else part)]
    return [name]


def test_every_metric_is_documented(root: Path) -> None:
    known = documented(root)
    assert set(yaml.safe_load((root / "dvc.yaml").read_text())["metrics"]) == set(known)
    for path in sorted((root / "metrics").glob("*.json")):
        keys = flat(json.loads(path.read_text()))
        missing = [key for key in keys if not any(p.fullmatch(key) for p in known[f"metrics/{path.name}"])]
        assert not missing or missing in (["rejected", "conversions"], ["rejected"], ["conversions"]), path.name


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_of_the_front_pages_lead_somewhere(root: Path, name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (root / name).read_text())
    local = [link for link in links if "://" not in link]
    assert local
    assert not [link for link in local if not (root / link).exists()]


def test_readme_is_short(root: Path) -> None:
    assert len((root / "README.md").read_text().split()) <= 900


def test_site_builds_without_a_warning(root: Path, tmp_path: Path) -> None:
    """Strict: a broken link, anchor or reference to code is an error."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vit-atlas explain" in (tmp_path / "site" / "reference" / "cli" / "index.html").read_text()
    assert "learning_rate" in (tmp_path / "site" / "reference" / "settings" / "index.html").read_text()
