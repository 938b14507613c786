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


SLOW = ("test_families.py", "test_lora.py", "test_processes.py", "test_examples.py")
"""Files elsewhere that train every family of models, start several processes or a notebook."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a folder in one process of pytest-xdist: session fixtures are made once, ports do not clash.

    The longest folders come first, so that the processes end at about the same time. They, SLOW and what needs a
    browser are marked `slow`, which `make check` leaves to `make test`.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_place(item)))
        if _place(item) in LONGEST or item.path.name in SLOW or "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")
    items.sort(key=lambda item: LONGEST.index(_place(item)) if _place(item) in LONGEST else len(LONGEST))


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
