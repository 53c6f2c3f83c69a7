"""What every notebook does first."""

import os

import torch

from claimbook import show


def set_up() -> None:
    """Prepare a notebook: figures as plain JSON, one thread.

    One thread is as fast as two for models of this size; ``PALINDROME_LENS_THREADS`` asks for
    another number.
    """
    torch.set_num_threads(int(os.environ.get("PALINDROME_LENS_THREADS", "1")))
    show.set_up()
