"""The one exception that users see: a sentence that says what is wrong and what to do."""


class AtlasError(Exception):
    """Work cannot go on, for a reason the user can act on.

    The message is one sentence (or two): which file or key, what was expected, what to do. Stage scripts and the
    command line print it without a traceback and exit with code 1.
    """
