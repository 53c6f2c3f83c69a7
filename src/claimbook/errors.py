"""What a person at the terminal can mend."""


class ClaimbookError(ValueError):
    """The message says what is wrong, and with what; no traceback is needed to mend it."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the sentence alone."""
        return [str(self)]
