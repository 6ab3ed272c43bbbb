"""Errors that a person can act on."""


class UserError(Exception):
    """Something the user can put right: printed as one line, exit code 2, no traceback (see `--debug`).

    The message says what is wrong and what would be right.
    """
