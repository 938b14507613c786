import subprocess
import sys

import vit_atlas


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; sys.stderr.write(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in done.stderr.split()}


HEAVY = {"torch", "transformers", "torchvision", "mlflow", "sklearn", "matplotlib", "onnx"}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not HEAVY & modules_after("import vit_atlas, vit_atlas.settings, vit_atlas.io.files")


def test_help_loads_nothing_heavy() -> None:
    lines = ["import sys", "sys.argv = ['vit-atlas', '--help']", "from vit_atlas.cli import app", "try: app()"]
    assert not HEAVY & modules_after("\n".join([*lines, "except SystemExit: pass"]))


def test_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    assert version("vit-atlas") == vit_atlas.__version__
