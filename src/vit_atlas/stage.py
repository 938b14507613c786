"""What every stage script shares: how it ends when something is wrong."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import telling_full_disk


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's ``main``; an :class:`AtlasError` becomes one line on stderr and exit code 1, no traceback.

    So does a full disk, whichever library met it. A stage that ends well says how long it took, imports included.
    """
    try:
        with telling_full_disk():
            main()
        if "RANK" not in os.environ:  # Of several processes, the one that started them says it.
            seconds = round(time.time() - psutil.Process().create_time())
            name = Path(main.__code__.co_filename).stem
            sys.stdout.write(f"{name}: {seconds // 60} min {seconds % 60} s\n")
    except AtlasError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
