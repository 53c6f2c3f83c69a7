"""How numbers are set on a page, wherever they come from: prose, tables, claims.

Python writes ``-4.195e-06`` and nobody else does. A page has −4.195 × 10⁻⁶, in one piece. Code and
formulas stay as they are.
"""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

_POWER = re.compile(r"(?<![\w.])([-−]?\d+(?:\.\d+)?)e([-+])0*(\d+)(?!\w)")
_MINUS = re.compile(r"(?<![^\s(\[±])-(?=\d)")
# What a line may not break: a number and its unit, a tolerance and its sign.
_KEPT = re.compile(r"(?<=\d) (?=%)|(?<=±) (?=\d)")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
VERBATIM = (nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw)


def set_numbers(text: str) -> str:
    """The text with powers of ten, minus signs, and no break between a number and its unit."""
    powers = _POWER.sub(_as_power, text)
    return _KEPT.sub("\u00a0", _MINUS.sub("−", powers))


def _as_power(number: re.Match[str]) -> str:
    digits, sign, exponent = number.groups()
    raised = f"{sign}{exponent}".lstrip("+").translate(_RAISED)
    return f"{digits}\u00a0×\u00a010{raised}"


class SetNumbers(SphinxPostTransform):
    """Set the numbers of a page when all that is written on it is known."""

    # After references have their texts (10), so that a claim's number is there.
    default_priority = 900

    def run(self, **kwargs: Any) -> None:
        for text in list(self.document.findall(nodes.Text)):
            written = set_numbers(text)
            if written != text and not _inside_verbatim(text):
                text.parent.replace(text, nodes.Text(written))


def _inside_verbatim(node: nodes.Node) -> bool:
    parent = node.parent
    return parent is not None and (isinstance(parent, VERBATIM) or _inside_verbatim(parent))


def setup(app: Sphinx) -> None:
    """Set the numbers of every page."""
    app.add_post_transform(SetNumbers)
