"""Pictures that are drawn from the claims, each by a function that ``pyproject.toml`` names.

[tool.claimbook.pictures]
"book/throws.svg" = "coin.pages:throws"
"""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from claimbook.claims import Claim
from claimbook.errors import ClaimbookError


class PictureError(ClaimbookError):
    """There is no such function to draw a picture."""


class Picture(NamedTuple):
    """A picture, and what is to be seen on it in words."""

    svg: str
    alternative: str


Draw = Callable[[Iterable[Claim]], Picture | None]
"""What draws a picture; ``None`` where a claim that it needs is not stated."""


def drawn(functions: Mapping[str, str], claims: Iterable[Claim]) -> dict[str, Picture]:
    """The pictures that can be drawn, by their path in the checkout.

    Raises:
        PictureError: there is no such function.
    """
    stated = list(claims)
    pictures = {path: _function(name)(stated) for path, name in functions.items()}
    return {path: picture for path, picture in pictures.items() if picture}


def write(functions: Mapping[str, str], claims: Iterable[Claim], root: Path) -> None:
    """Draw all pictures below a folder."""
    for path, picture in drawn(functions, claims).items():
        (root / path).write_text(picture.svg, encoding="utf-8")


def _function(name: str) -> Draw:
    module, _, function = name.partition(":")
    try:
        draw: Draw = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise PictureError(f"pyproject.toml names {name!r} to draw a picture: {error}.") from error
    return draw
