"""The notebook runs from top to bottom and says what it shows."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient


@pytest.mark.parametrize("embedded", [False, True])
def test_the_notebook_runs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: bool) -> None:
    """With the embedded model where it is cached, and with the tiny one that stands in for it."""
    if not embedded:
        monkeypatch.setenv("VIT_ATLAS_CACHE", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(root / "examples" / "attention_maps.ipynb", as_version=4)
    assert not [cell for cell in notebook.cells if cell.get("outputs")], "outputs are not kept in git"
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output
    )
    assert "sums to 1.0" in printed or "sums to 0.99" in printed
    assert printed.count("pointing") == 5
