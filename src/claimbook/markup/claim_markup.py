"""How pages speak of claims: the ``{claims}`` directive, the roles, and the card.

Every claim has one address, its entry in the table that ``{claims}`` without an argument makes.
The entry leads on to the cell that computed the number.
"""

from collections.abc import Callable
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.roles import XRefRole
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from claimbook import claims
from claimbook.claims import Claim
from claimbook.numbers import written

Parse = Callable[[str], list[nodes.Node]]

LISTED = "claims.json"
AGAIN = Path("book") / "claims_again.json"
ORIGIN = "origin"
"""How Sphinx names the place where a claim was computed."""

logger = logging.getLogger(__name__)


def load(app: Sphinx) -> None:
    """Make the claims known to the pages.

    They are listed in ``claims.json`` where the book was staged by ``make book``, and are read
    from the notebooks themselves where Jupyter Book was called by hand.
    """
    source = Path(app.srcdir)
    listed = source / LISTED
    notebooks = sorted((source / "notebooks").glob("*.ipynb"))
    stated = claims.read(listed) if listed.exists() else claims.collect(notebooks)
    app.env.lens_claims = {stated.id: stated for stated in stated}  # type: ignore[attr-defined]


def stated_in(env: BuildEnvironment) -> dict[str, Claim]:
    """The claims of the book, by id, in the order of the book."""
    return env.lens_claims  # type: ignore[attr-defined]


def claim_card(stated: Claim, parse: Parse, *, entry: bool = False) -> nodes.Element:
    """One claim with what it was checked on.

    Args:
        stated: the claim.
        parse: turns Markdown into nodes, as the page's own text is turned.
        entry: whether this is the claim's entry on the results page, which carries its id as
            anchor; any other card links there.
    """
    card = nodes.container("", classes=["claim-card"])
    if entry:
        card["ids"].append(stated.id)
    card += nodes.container("", *parse(stated.statement), classes=["claim-statement"])
    details = nodes.definition_list("", classes=["claim-details"])
    details += _detail("Checked on", nodes.paragraph("", stated.denominator))
    details += _detail("Tolerance", nodes.paragraph("", tolerance(stated)))
    details += _detail("Control", *parse(stated.control))
    if entry:
        details += _detail("Computed by", nodes.paragraph("", "", _origin(stated)))
    card += details
    card += nodes.paragraph("", "", _address(stated, entry), classes=["claim-address"])
    return card


def tolerance(stated: Claim) -> str:
    """How far a later run may be from the number, in words."""
    if stated.tolerance == 0:
        return "exact"
    if stated.style == "percent":
        return f"± {written(100 * stated.tolerance)} percentage points"
    return f"± {written(stated.tolerance)}"


def _detail(term: str, *definition: nodes.Node) -> nodes.definition_list_item:
    return nodes.definition_list_item("", nodes.term("", term), nodes.definition("", *definition))


def mark_origin(stated: Claim, env: BuildEnvironment) -> nodes.target:
    """The place that an entry leads to: a claim's card in the chapter that computed it."""
    anchor = f"computed-{stated.id.replace('.', '-')}"
    domain: Any = env.get_domain("std")
    domain.note_object(ORIGIN, stated.id, anchor)
    return nodes.target("", "", ids=[anchor])


def _origin(stated: Claim) -> nodes.Element:
    return addnodes.pending_xref(
        "", nodes.inline("", "this code"), refdomain="std", reftype=ORIGIN, reftarget=stated.id,
        refexplicit=True, refwarn=True,
    )  # fmt: skip


def _address(stated: Claim, entry: bool) -> nodes.Element:
    name = nodes.literal("", stated.id)
    if entry:
        return nodes.reference("", "", name, refid=stated.id, internal=True)
    return addnodes.pending_xref(
        "", name, refdomain="std", reftype="claim", reftarget=stated.id, refexplicit=True,
        refwarn=True,
    )  # fmt: skip


class ClaimsDirective(SphinxDirective):
    """``{claims}``: all claims by chapter; ``{claims} data``: those of one chapter."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        stated = list(stated_in(self.env).values())
        if not self.arguments:
            return self._all(stated)
        chapter = self.arguments[0]
        chosen = [claim for claim in stated if claim.chapter == chapter]
        if not chosen:
            chapters = ", ".join(dict.fromkeys(claim.chapter for claim in stated)) or "none"
            logger.warning(
                "no claim of a chapter %r; chapters with claims: %s",
                chapter,
                chapters,
                location=self.get_location(),
            )
        return [self._box(chosen)]

    def _all(self, stated: list[Claim]) -> list[nodes.Node]:
        sections: list[nodes.Node] = []
        for chapter, members in groupby(stated, key=lambda claim: claim.chapter):
            section = nodes.section("", ids=[f"claims-{chapter}"], names=[])
            section += nodes.title("", chapter.capitalize())
            for claim in members:
                section += claim_card(claim, self.parse_text_to_nodes, entry=True)
                self._register(claim)
            sections.append(section)
        return sections

    def _box(self, stated: list[Claim]) -> nodes.Element:
        cards = [claim_card(claim, self.parse_text_to_nodes) for claim in stated]
        return nodes.container("", *cards, classes=["claims-box"])

    def _register(self, stated: Claim) -> None:
        domain: Any = self.env.get_domain("std")
        domain.note_object("claim", stated.id, stated.id, location=self.get_location())


class ClaimRole(XRefRole):
    """``{claim}`chapter.subject```: the number, as the run wrote it, linked to its entry."""

    def process_link(
        self,
        env: BuildEnvironment,
        refnode: nodes.Element,
        has_explicit_title: bool,
        title: str,
        target: str,
    ) -> tuple[str, str]:
        stated = stated_in(env).get(target)
        if stated is None:
            # Said here, with the near ones; the reference itself need not complain again.
            refnode["refwarn"] = False
            _warn_unknown(env, target, self.get_location())
            return title, target
        refnode["refwarn"] = True
        return (title if has_explicit_title else stated.text), target


class ClaimsAgainDirective(SphinxDirective):
    """``{claims-again}``: claims of the book beside those of runs with other parameters."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / AGAIN
        self.env.note_dependency(str(path))
        book = stated_in(self.env)
        lines = ["| stated | in the book | again | control, again |", "| --- | --- | --- | --- |"]
        for repeated in claims.read(path):
            if repeated.id in book:
                control = repeated.control.replace("|", "\\|")
                cells = [
                    repeated.sentence_without_number,
                    f"{{claim}}`{repeated.id}`",
                    repeated.text,
                    control,
                ]
                lines.append(f"| {' | '.join(cells)} |")
        return self.parse_text_to_nodes("\n".join(lines))


class ControlRole(SphinxRole):
    """``{control}`chapter.subject```: "Control:", and that of a claim in the words of the run."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        stated = stated_in(self.env).get(self.text)
        if stated is None:
            _warn_unknown(self.env, self.text, self.get_location())
            return [nodes.inline("", self.text)], []
        words = f"Control: {stated.control.replace('`', '')}"
        return [nodes.inline("", words, classes=["claim-control"])], []


class AgainRole(SphinxRole):
    """``{again}`chapter.subject```: the number of a claim in the runs with other parameters."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        path = Path(self.env.srcdir) / AGAIN
        self.env.note_dependency(str(path))
        repeated = {claim.id: claim for claim in claims.read(path)} if path.exists() else {}
        if self.text not in repeated:
            logger.warning("no claim %r in %s", self.text, AGAIN, location=self.get_location())
            return [nodes.inline("", self.text)], []
        return [nodes.strong("", repeated[self.text].text)], []


def _warn_unknown(env: BuildEnvironment, target: str, location: str) -> None:
    near = get_close_matches(target, stated_in(env), n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else "none is near."
    logger.warning("no claim %r; %s", target, hint, location=location)


def setup(app: Sphinx) -> None:
    """Register the directive, the roles, and claims as something that can be referred to."""
    app.add_crossref_type("claim", "claim", objname="claim", ref_nodeclass=nodes.inline)
    app.add_crossref_type(ORIGIN, ORIGIN, objname="origin of a claim")
    app.add_role_to_domain("std", "claim", ClaimRole(innernodeclass=nodes.strong), override=True)
    app.add_role("control", ControlRole())
    app.add_role("again", AgainRole())
    app.add_directive("claims", ClaimsDirective)
    app.add_directive("claims-again", ClaimsAgainDirective)
    app.connect("builder-inited", load)
