"""What of a chapter's text holds whatever its parameters are.

Numbers that follow from the parameters come from the run (``{glue:text}``). A number or a string
that is written out belongs to the values that stand in the notebook: a paragraph, a caption or a
heading with one is left out of a book with other values. So are the exercises.
"""

import re

from nbformat import NotebookNode

NUMBER = re.compile(
    r"\d|\b(two|three|four|five|six|seven|eight|nine|ten|half a|first three|2nd|3rd)\b|`<|ln 26",
    re.IGNORECASE,
)
ROLES = re.compile(r"\{[a-z:]+\}`[^`]*`")
OPTIONS = re.compile(r"^:[a-z]+:.*$", re.MULTILINE)
EXERCISES = "## Exercises"


def without_numbers(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells up to the exercises, without paragraphs and captions that state numbers."""
    kept: list[NotebookNode] = []
    for cell in cells:
        if cell.cell_type != "markdown":
            kept.append(cell)
            _shorten_caption(cell)
            continue
        before, exercises, _ = cell.source.partition(EXERCISES)
        cell.source = "\n\n".join(part for part in _parts(before) if not states_numbers(part))
        kept.append(cell)
        if exercises:
            break
    return kept


def states_numbers(text: str) -> bool:
    """Whether a number, or a string of the task, is written out."""
    return bool(NUMBER.search(OPTIONS.sub("", ROLES.sub("", text))))


def _parts(markdown: str) -> list[str]:
    """Paragraphs, and fenced blocks as one part each."""
    parts: list[str] = []
    is_open = False
    for block in re.split(r"\n\s*\n", markdown.strip()):
        parts[len(parts) :] = [block]
        if is_open:
            parts[-2:] = ["\n\n".join(parts[-2:])]
        is_open ^= len(re.findall(r"^```", block, re.MULTILINE)) % 2 == 1
    return parts


def _shorten_caption(cell: NotebookNode) -> None:
    figure = cell.metadata.get("mystnb", {}).get("figure", {})
    if "caption" in figure:
        sentences = re.split(r"(?<=[.:;]) ", " ".join(figure["caption"].split()))
        kept = [sentence for sentence in sentences if not states_numbers(sentence)]
        figure["caption"] = " ".join(kept) or "The figure of this section."
