"""Which of the package's modules stand behind a piece of code, and the hash of them all.

One function of the import graph serves every promise that starts with "the same code": the deps in dvc.yaml, and the
keys of checkpoints, cached features and remembered findings. Imports count wherever they stand, at the top of a module
or inside a function.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "vit_atlas"
ROOT = Path(__file__).resolve().parent

NEUTRAL = (
    "vit_atlas",
    "vit_atlas.code_hash",
    "vit_atlas.errors",
    "vit_atlas.figures.style",
    "vit_atlas.io.files",
    "vit_atlas.paths",
    "vit_atlas.settings",
    "vit_atlas.stage",
    "vit_atlas.tracking",
)
"""Modules, and packages with all below them, that change no result: how errors are worded, how a file is written
(not what is in it), which places dvc.yaml names itself, values that dvc.yaml lists as params, how a stage ends, the
look of all figures, and the mirror of results in MLflow. `vit_atlas` is its ``__init__`` alone."""


def closure(module: str, root: Path = ROOT) -> dict[str, Path]:
    """Find ``module`` and all modules of the package that it imports, directly or not, less the :data:`NEUTRAL` ones.

    Args:
        module: dotted name, such as ``vit_atlas.finetune.run``.
        root: folder of the package.

    Returns:
        Dotted name -> file, sorted. A package's ``__init__`` counts where it holds code besides its docstring.

    Raises:
        ModuleNotFoundError: there is no such module in the package.
    """
    path = module_path(module, root)
    if path is None:
        raise ModuleNotFoundError(f"the package has no module {module}")
    return dict(sorted({module: path, **file_closure(path, root)}.items()))


def file_closure(script: Path, root: Path = ROOT) -> dict[str, Path]:
    """Find all modules of the package behind a file, as :func:`closure` does; the file itself is left out."""
    found: dict[str, Path] = {}
    waiting = [script]
    while waiting:
        for module in _imports(waiting.pop(), root):
            path = module_path(module, root)
            if path is None or module in found or _neutral(module):
                continue
            waiting.append(path)
            if path.name != "__init__.py" or _holds_code(path):
                found[module] = path
    return dict(sorted(found.items()))


def code_hash(*modules: str) -> str:
    """Hash the code behind ``modules``: equal as long as no file in their :func:`closure` changes.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    files = {name: path for module in modules for name, path in closure(module).items()}
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def module_path(module: str, root: Path = ROOT) -> Path | None:
    """Find the file of a dotted name; None where the package has no such module (it may be a function's name)."""
    base = root.parent.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _neutral(module: str) -> bool:
    return any(module == name or (name != PACKAGE and module.startswith(f"{name}.")) for name in NEUTRAL)


@cache
def _imports(path: Path, root: Path) -> frozenset[str]:
    """Every dotted name of the package that a file imports, and the packages on the way to it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    own = {name for name in names if name.split(".")[0] == PACKAGE}
    # Importing a.b.c runs the __init__ of a and of a.b first.
    return frozenset(".".join(name.split(".")[:end]) for name in own for end in range(1, name.count(".") + 2))


def _holds_code(path: Path) -> bool:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)
