"""Code of a chapter, folded: a switch in the head of the page shows all of it (``code.js``).

myst-nb folds the cells tagged ``hide-input``. Here the others are folded the same way, for whoever
reads for the argument. On paper they are shown, as their authors meant them to be.
"""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

SCRIPT = "code.js"
IN_A_SOLUTION = "tag_solution"


class FoldCode(SphinxPostTransform):
    """Marks every cell that shows its code as one to be folded."""

    # Before myst-nb folds what is marked (199).
    default_priority = 190
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for cell in self.document.findall(nodes.container):
            # A solution is folded as a whole.
            if cell.get("nb_element") != "cell_code" or IN_A_SOLUTION in cell["classes"]:
                continue
            if not cell.get("hide_mode"):
                cell["hide_mode"] = "input"
                cell["prompt_show"] = self.config.nb_code_prompt_show
                cell["prompt_hide"] = self.config.nb_code_prompt_hide


def mark(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Tell the template of the head whether the page has code to show."""
    context["has_code"] = 'above-input"' in context.get("body", "")


def setup(app: Sphinx) -> None:
    """Register what folds, and the switch."""
    app.add_post_transform(FoldCode)
    app.add_js_file(SCRIPT, loading_method="defer")
    app.connect("html-page-context", mark)
