"""What every notebook does first."""

import os

import torch

from claimbook import show
from palindrome_lens.config import ConfigError

THREADS = "PALINDROME_LENS_THREADS"
MOST_THREADS = 1024


def set_up() -> None:
    """Prepare a notebook: figures as plain JSON, one thread.

    One thread is as fast as two for models of this size; ``PALINDROME_LENS_THREADS`` asks for
    another number.

    Raises:
        ConfigError: what it asks for is no whole number from 1 on.
    """
    wanted = os.environ.get(THREADS, "1")
    if not (wanted.isascii() and wanted.isdecimal() and 0 < int(wanted) <= MOST_THREADS):
        raise ConfigError(
            f"{THREADS} is {wanted!r}; it must be a whole number from 1 to {MOST_THREADS}."
        )
    torch.set_num_threads(int(wanted))
    show.set_up()
