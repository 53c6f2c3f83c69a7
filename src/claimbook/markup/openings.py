"""How a chapter opens: the directive ``{opening}``, and what other pages take from it.

What an opening says is kept with its page (``env.metadata``), where Sphinx drops it with the page
and gathers it from parallel readers. How long a notebook ran is measured when it is executed;
``make book`` stages the times, and without them no page mentions any.
"""

import json
from pathlib import Path, PurePosixPath
from typing import ClassVar, NamedTuple

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

TIMES = "times.json"
KEPT_AS = "opening"
GOALS = range(2, 5)
MINUTE = 60

logger = logging.getLogger(__name__)


class Opening(NamedTuple):
    """What a chapter says of itself."""

    summary: str
    """What it is about: one line, in lower case."""
    minutes: int
    """Reading time."""


def opening_of(env: BuildEnvironment, page: str) -> Opening | None:
    """The opening of a page; ``None`` where it has none."""
    kept = env.metadata.get(page, {}).get(KEPT_AS)
    return Opening(*kept) if kept else None


def running_time(env: BuildEnvironment, page: str) -> str | None:
    """How long the notebook of a page ran, in words; ``None`` where that was not measured."""
    measured = Path(env.srcdir) / TIMES
    if not measured.exists():
        return None
    seconds = json.loads(measured.read_bytes()).get(PurePosixPath(page).name)
    return None if seconds is None else duration(seconds)


def page_link(here: str, page: str) -> nodes.Node:
    """A link from the page ``here`` to another page, which bears that page's title."""
    return addnodes.pending_xref(
        "", nodes.inline("", page), refdomain="std", reftype="doc", refdoc=here,
        reftarget=f"/{page}", refexplicit=False, refwarn=True,
    )  # fmt: skip


def duration(seconds: float) -> str:
    """A time as it is written: seconds below two minutes, then minutes."""
    if seconds < 2 * MINUTE:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / MINUTE)} min"


class OpeningDirective(SphinxDirective):
    """``{opening}``: learning goals, what the chapter builds on, and how long it takes."""

    has_content = True
    option_spec: ClassVar = dict.fromkeys(
        ("builds", "needs", "read", "summary"), directives.unchanged
    )

    def run(self) -> list[nodes.Node]:
        goals = self.parse_content_to_nodes()
        for problem in self._problems(goals):
            logger.warning("{opening}: %s", problem, location=self.get_location())
        minutes = self._option("read")
        self.env.metadata[self.env.docname][KEPT_AS] = Opening(
            self._option("summary"), int(minutes) if minutes.isdecimal() else 0
        )
        facts = nodes.definition_list("", classes=["opening-facts"])
        if self._builds():
            facts += self._fact(
                "Builds on", *_joined([self._link(name) for name in self._builds()])
            )
        if needs := self._option("needs"):
            facts += self._fact("You should know", *self.parse_inline(needs)[0])
        facts += self._fact("Time", nodes.Text(self._times(minutes)))
        lead = nodes.paragraph("", "At the end of this chapter you can", classes=["opening-lead"])
        return [nodes.container("", lead, *goals, facts, classes=["opening"])]

    def _problems(self, goals: list[nodes.Node]) -> list[str]:
        """What is missing or wrong, one sentence each."""
        problems = []
        is_list = len(goals) == 1 and isinstance(goals[0], nodes.bullet_list)
        if not is_list or len(goals[0].children) not in GOALS:
            least, most = GOALS[0], GOALS[-1]
            problems.append(f"its body is to be a list of {least} to {most} learning goals")
        minutes = self._option("read")
        if not minutes.isdecimal() or int(minutes) == 0:
            problems.append(f":read: is to be a whole number of minutes, and is {minutes!r}")
        summary = self._option("summary")
        if not summary or "\n" in summary or summary.endswith("."):
            problems.append(f":summary: is to be one line without a full stop, and is {summary!r}")
        unknown = [name for name in self._builds() if self._page(name) is None]
        if unknown:
            problems.append(f":builds: names no chapter: {', '.join(unknown)}")
        return problems

    def _option(self, name: str) -> str:
        return (self.options.get(name) or "").strip()

    def _builds(self) -> list[str]:
        return [name.strip() for name in self._option("builds").split(",") if name.strip()]

    def _page(self, chapter: str) -> str | None:
        """The page of a chapter that is named as its file is."""
        pages = sorted(self.env.found_docs)
        return next((page for page in pages if PurePosixPath(page).name == chapter), None)

    def _link(self, chapter: str) -> nodes.Node:
        page = self._page(chapter)
        return page_link(self.env.docname, page) if page else nodes.literal("", chapter)

    def _times(self, minutes: str) -> str:
        running = running_time(self.env, self.env.docname)
        measured = f", running {running} (measured when this page was built)" if running else ""
        return f"Reading {minutes} min{measured}"

    @staticmethod
    def _fact(term: str, *words: nodes.Node) -> nodes.definition_list_item:
        definition = nodes.definition("", nodes.paragraph("", "", *words))
        return nodes.definition_list_item("", nodes.term("", term), definition)


def _joined(links: list[nodes.Node]) -> list[nodes.Node]:
    """The links with a comma between any two."""
    return [part for link in links for part in (nodes.Text(", "), link)][1:]


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("opening", OpeningDirective)
