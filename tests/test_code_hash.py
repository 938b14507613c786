"""The import closure and its hash, on a small package made for the purpose and on our own."""

from pathlib import Path

import pytest

from vit_atlas import code_hash
from vit_atlas.code_hash import closure, file_closure


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of four modules: a imports b, b imports the function `f` of sub.c within a function; d stands alone."""
    root = tmp_path / "vit_atlas"
    (root / "sub").mkdir(parents=True)
    (root / "__init__.py").write_text('"""Only words."""\n')
    (root / "sub" / "__init__.py").write_text('"""Words."""\nVALUE = 1\n')
    (root / "a.py").write_text("from vit_atlas.b import g\nimport vit_atlas.errors\n")
    (root / "b.py").write_text("def g():\n    from vit_atlas.sub.c import f\n    return f()\n")
    (root / "sub" / "c.py").write_text("import os\ndef f():\n    return 1\n")
    (root / "d.py").write_text("")
    (root / "errors.py").write_text("import vit_atlas.d\n")
    return root


def test_follows_imports_wherever_they_stand(package: Path) -> None:
    found = closure("vit_atlas.a", package)
    assert list(found) == ["vit_atlas.a", "vit_atlas.b", "vit_atlas.sub", "vit_atlas.sub.c"]
    assert found["vit_atlas.sub.c"] == package / "sub" / "c.py"


def test_a_script_is_left_out_of_its_own_closure(package: Path) -> None:
    (package.parent / "script.py").write_text("from vit_atlas.sub import c\n")
    assert list(file_closure(package.parent / "script.py", package)) == ["vit_atlas.sub", "vit_atlas.sub.c"]


def test_an_unknown_module_is_an_error(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no module vit_atlas\.absent"):
        closure("vit_atlas.absent", package)


def test_hash_changes_with_the_code_behind_a_module_and_with_no_other(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hash_of(module: str) -> str:
        code_hash._imports.cache_clear()
        return code_hash.code_hash(module)

    monkeypatch.setattr(code_hash, "closure", lambda module: closure(module, package))
    before = hash_of("vit_atlas.a")
    (package / "d.py").write_text("changed = True\n")
    (package / "errors.py").write_text("changed = True\n")
    assert hash_of("vit_atlas.a") == before
    (package / "sub" / "c.py").write_text("def f():\n    return 2\n")
    assert hash_of("vit_atlas.a") != before
