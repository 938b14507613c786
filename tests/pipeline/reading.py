"""`python reading.py SCRIPT FILE`: run a stage's script without MLflow; FILE gets the paths that it opened to read."""

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

from vit_atlas import tracking

opened: set[str] = set()


def note(event: str, arguments: tuple[Any, ...]) -> None:
    """Keep the path of a file that is opened to read."""
    if event == "open" and not isinstance(arguments[0], int) and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
        opened.add(str(Path(os.fsdecode(arguments[0])).absolute()))


script, target = sys.argv[1:]
tracking.mirror = lambda: None  # type: ignore[assignment, misc]
sys.addaudithook(note)
runpy.run_path(script, run_name="__main__")
Path(target).write_text(json.dumps(sorted(opened)))
