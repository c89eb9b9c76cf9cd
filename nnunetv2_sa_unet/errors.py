"""The one exception for input that cannot be used."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Input of the user that cannot be used.

    The message is one line (one line an item where several things are wrong) that names the file and the
    field, what was found, what was expected and what to do. The command line prints it without a traceback.
    """
