"""The one exception that users see: a sentence that says what is wrong and what to do."""

from collections.abc import Iterable


class AtlasError(Exception):
    """Work cannot go on, for a reason the user can act on.

    The message is one sentence (or two): which file or key, what was expected, what to do. Stage scripts and the
    command line print it without a traceback and exit with code 1.
    """

    def __init__(self, message: str) -> None:
        """Keep the message as one line, whatever the names in it hold."""
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Show line ends and other control characters, which a file's name may have, as escapes."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def some(names: Iterable[str], shown: int = 3) -> str:
    """The first few of many names, in their order of letters, for a sentence."""
    ordered = sorted(names)
    return ", ".join(ordered[:shown]) + (", ..." if len(ordered) > shown else "")
