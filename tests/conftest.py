"""Shared by all tests: where the real photos are, and quiet, reproducible libraries."""

import os
from pathlib import Path

import pytest

from tests.tiny_settings import params_text
from vit_atlas import settings

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Several test processes share the cores, and networks this small are fastest with one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]


def _folder(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable, ROOT.parent / "shared" / default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"{variable} is not set and {default} is not beside the repository: no such folder as {folder}")
    return folder


LONGEST = ("pipeline", "faults", "tracking", "reproduce")
"""Folders whose tests run the pipeline, the longest first."""


SLOW = {
    "attention": "contrast pictures study unread_class_token",
    "captioning": "catr dataset describe published run",
    "comparison": "results seeds",
    "data": "any_folder dirty junk pixels prepare stickers",
    "evaluation": "evaluate",
    "explain": "explain figure help serve",
    "figures": "captions style",
    "finetune": "cache lora run",
    "interventions": "interventions",
    "models": "embedded families hub_protocol loading",
    "repeats": "finetuning",
    "report": "page",
    "safety": "names",
    "": "api docs examples export export_onnx imports presets",
    "training": "processes",
}
"""Elsewhere, by folder, files whose tests take more than some three seconds together (test_*.py)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a folder in one process of pytest-xdist: session fixtures are made once, ports do not clash.

    The longest folders come first, so that the processes end at about the same time. They, SLOW and what needs a
    browser are marked `slow`, which `make check` leaves to `make test`.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_place(item)))
        if _place(item) in LONGEST or _is_slow(item.path) or "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")
    items.sort(key=lambda item: LONGEST.index(_place(item)) if _place(item) in LONGEST else len(LONGEST))


def _is_slow(path: Path) -> bool:
    """Whether SLOW names the file."""
    folder = path.parent.relative_to(ROOT / "tests").as_posix().removeprefix(".")
    return path.stem.removeprefix("test_") in SLOW.get(folder, "").split()


def _place(item: pytest.Item) -> str:
    """The folder below tests/, or the file."""
    return item.path.relative_to(ROOT / "tests").parts[0]


@pytest.fixture(autouse=True, scope="session")
def tests_own_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Commands outside a project find settings of the tests' own, whatever params.yaml of this repository says."""
    settings.INSTALLED = tmp_path_factory.mktemp("settings") / "params.yaml"
    settings.INSTALLED.write_text(params_text())


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos (pets-mini, flickr8k); the test is skipped where it is missing."""
    return _folder("VIT_ATLAS_REAL_DATA", "data")


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of reference vectors; the test is skipped where it is missing."""
    return _folder("VIT_ATLAS_VECTORS", "vectors")
