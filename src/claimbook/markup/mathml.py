"""Formulas as MathML, which browsers set themselves: no script, no fonts to ship, no network.

The conversion is that of docutils. It raises on a command it does not know, and a formula that
cannot be written is a warning, which the build treats as an error.
"""

import re
from html import escape
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

logger = logging.getLogger(__name__)

# Environments that only say "display this": the block is displayed, and numbered, anyway.
_DISPLAY = re.compile(r"\\(begin|end)\{(equation|align|gather|multline)\*?\}")
# Commands for which docutils knows only another name.
_SYNONYMS = {r"\dots": r"\ldots", r"\texttt": r"\mathtt", r"\lvert": r"|", r"\rvert": r"|"}
# Brackets that grow only after \left or \right; as operators browsers would always let them grow.
_FIXED = {
    "lVert": "‖", "rVert": "‖", "Vert": "‖", "|": "‖", "lfloor": "⌊", "rfloor": "⌋",
    "lceil": "⌈", "rceil": "⌉", "langle": "⟨", "rangle": "⟩",
}  # fmt: skip
_BRACKET = re.compile(
    r"(?<!\\left)(?<!\\right)\\(\||(?:[lr]?Vert|[lr](?:floor|ceil|angle))(?![a-zA-Z]))"
)
_COMMAND = re.compile(r"\\[a-zA-Z]+")
# docutils sets the subscript of an accented letter below it, not beside it, unless the letter and
# its accent stand in a group with something else, if only an empty group.
_ACCENT = re.compile(r"\\(?:hat|bar|tilde|vec|dot|ddot|widehat|widetilde|overline)(?![a-zA-Z])\s*")
# Browsers set no space around a function name; TeX sets a thin one, but none before a bracket.
_BEFORE_FUNCTION = re.compile(r"(?<=[0-9A-Za-z}])\s*(?=\\(?:log|ln|exp)(?![a-zA-Z]))")
_AFTER_FUNCTION = re.compile(
    r"(\\(?:log|ln|exp)(?![a-zA-Z])(?:_(?:\{[^{}]*\}|\w))?)\s*(?=[0-9A-Za-z]|\\(?!left|[,;!| ]))"
)


def to_mathml(tex: str, *, block: bool = False) -> str:
    """A formula in LaTeX as MathML, with the LaTeX as its alternative text.

    Raises:
        MathError: the formula uses something that cannot be converted.
    """
    shown = _DISPLAY.sub("", tex).strip()
    spelled = _COMMAND.sub(lambda command: _SYNONYMS.get(command[0], command[0]), shown)
    fixed = _BRACKET.sub(lambda bracket: rf"\text{{{_FIXED[bracket[1]]}}}", spelled)
    spaced = _AFTER_FUNCTION.sub(r"\1\\, ", _BEFORE_FUNCTION.sub(r"\\, ", fixed))
    markup: str = tex2mathml(_grouped_accents(spaced), as_block=block)
    return markup.replace("<math ", f'<math alttext="{escape(tex.strip(), quote=True)}" ', 1)


def _grouped_accents(tex: str) -> str:
    accent = _ACCENT.search(tex)
    if accent is None:
        return tex
    end = _end_of_argument(tex, accent.end())
    argument = _grouped_accents(tex[accent.end() : end])
    return f"{tex[: accent.start()]}{{{accent[0]}{argument}{{}}}}{_grouped_accents(tex[end:])}"


def _end_of_argument(tex: str, start: int) -> int:
    """Where the argument that begins at ``start`` ends: a group, a command, or one character."""
    command = _COMMAND.match(tex, start)
    if command:
        return command.end()
    depth = 0
    for index in range(start, len(tex)):
        if tex[index] in "{}" and tex[index - 1] != "\\":
            depth += 1 if tex[index] == "{" else -1
        if depth == 0:
            return index + 1
    return len(tex)


def visit_inline(writer: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    writer.body.append(writer.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    writer.body.append(_converted(node, block=False) + "</span>")
    raise nodes.SkipNode


def visit_block(writer: Any, node: nodes.math_block) -> None:
    """Write a displayed formula, with its number where it has one."""
    writer.body.append(writer.starttag(node, "div", CLASS="math notranslate nohighlight"))
    # A long formula scrolls on a phone: the keyboard must reach it too.
    writer.body.append(f'<div class="formula" tabindex="0">{_converted(node, block=True)}</div>')
    if node["number"]:
        number = get_node_equation_number(writer, node)
        writer.body.append(f'<span class="eqno">({number})')
        writer.add_permalink_ref(node, "Link to this equation")
        writer.body.append("</span>")
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def _converted(node: nodes.Element, *, block: bool) -> str:
    try:
        return to_mathml(node.astext(), block=block)
    except MathError as error:
        logger.warning(
            "the formula %r cannot be written as MathML: %s",
            node.astext(),
            error,
            location=node,
            type="claimbook",
            subtype="math",
        )
        return f"<code>{escape(node.astext())}</code>"
