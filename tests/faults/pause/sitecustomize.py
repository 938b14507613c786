"""On the path of a real command, this stops it where it opens a file whose name ends with $PAUSE_AT.

It says so by making the file $PAUSED, and waits to be killed.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any


def heard(event: str, args: tuple[Any, ...]) -> None:
    """Stop at the file."""
    if event == "open" and str(args[0]).endswith(os.environ["PAUSE_AT"]):
        Path(os.environ["PAUSED"]).touch()
        signal.pause()


if "PAUSE_AT" in os.environ:
    sys.addaudithook(heard)
