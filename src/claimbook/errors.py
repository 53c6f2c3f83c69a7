"""What a person at the terminal can mend."""


class ClaimbookError(ValueError):
    """The message says what is wrong, and with what; no traceback is needed to mend it."""
