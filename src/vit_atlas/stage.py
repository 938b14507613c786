"""What every stage script shares: how it ends when something is wrong."""

import sys
from collections.abc import Callable

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import telling_full_disk


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's ``main``; an :class:`AtlasError` becomes one line on stderr and exit code 1, no traceback.

    So does a full disk, whichever library met it.
    """
    try:
        with telling_full_disk():
            main()
    except AtlasError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
