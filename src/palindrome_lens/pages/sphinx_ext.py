"""The Sphinx extension of what this book alone shows: latents, and the model in the page."""

from typing import Any

from sphinx.application import Sphinx

from palindrome_lens.pages.latents import directive as latents
from palindrome_lens.pages.tryit import directive as tryit


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both pages with Sphinx."""
    latents.setup(app)
    tryit.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
