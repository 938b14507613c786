"""requirements.lock: what `make setup` installs."""

from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

DEBIAN_12 = "3.11.2"
LOCK = Path(__file__).parent.parent / "requirements.lock"


def test_locked_packages_install_on_debians_python() -> None:
    """A lock made with a newer Python 3.11 can name releases that the Python of Debian 12 refuses."""
    lines = [line.split(" \\")[0] for line in LOCK.read_text(encoding="utf-8").splitlines()]
    locked = [Requirement(line) for line in lines if line and not line.startswith((" ", "#"))]
    assert len(locked) > 100
    asked = {item.name: distribution(item.name).metadata.get("Requires-Python") or "" for item in locked}
    assert {name: asks for name, asks in asked.items() if not SpecifierSet(asks).contains(DEBIAN_12)} == {}
