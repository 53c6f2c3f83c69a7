"""Citing the book and reusing its numbers: ``{citation}``, ``{claims-files}``, and the files.

The book's citation has one source, ``CITATION.cff``.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from docutils import nodes
from pybtex.database import Entry  # type: ignore[import-untyped]
from pybtex.plugin import register_plugin  # type: ignore[import-untyped]
from pybtex.style.formatting.alpha import Style  # type: ignore[import-untyped]
from pybtex.style.labels import BaseLabelStyle  # type: ignore[import-untyped]
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from claimbook.claims import Claim
from claimbook.markup.claim_markup import stated_in
from claimbook.markup.reproduce import DOWNLOADS

CITATION = "CITATION.cff"

logger = logging.getLogger(__name__)


class AuthorYearLabels(BaseLabelStyle):
    """Labels of works as the text cites them: "Bussmann et al., 2024"."""

    def format_labels(self, sorted_entries: Iterable[Entry]) -> Iterator[str]:
        for work in sorted_entries:
            names = ["".join(map(str, person.rich_last_names)) for person in work.persons["author"]]
            if len(names) > 2:
                names = [f"{names[0]} et al."]
            yield f"{' and '.join(names)}, {work.fields['year']}"


class AuthorYear(Style):
    """The style of works that are listed by author and year."""

    default_label_style = AuthorYearLabels


def citation(source: Path) -> dict[str, Any]:
    """What ``CITATION.cff`` says; empty where there is none."""
    path = source / CITATION
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def bibtex(cited: dict[str, Any]) -> str:
    """The entry that ``CITATION.cff`` amounts to."""
    authors = " and ".join(map(_author, cited["authors"]))
    fields = {
        "title": f"{{{cited['title']}}}",
        "author": authors,
        "year": str(cited["date-released"])[:4],
        "version": cited["version"],
        "license": cited.get("license"),
        "url": cited.get("url") or cited.get("repository-code"),
        "doi": cited.get("doi"),
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{cited['type']}{{{cited['title']},", *lines, "}"])


def _author(author: dict[str, str]) -> str:
    """A person as BibTeX divides a name; what is no person in braces, so that it is not divided."""
    if "family-names" in author:
        return f"{author['family-names']}, {author.get('given-names', '')}".rstrip(", ")
    return f"{{{author['name']}}}"


class CitationDirective(SphinxDirective):
    """``{citation}``: how to cite the book, as BibTeX."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(CITATION)
        cited = citation(Path(self.env.srcdir))
        if not cited:
            logger.warning("there is no %s", CITATION, location=self.get_location())
            return []
        entry = bibtex(cited)
        return [nodes.literal_block(entry, entry, language="bibtex")]


class ClaimsFilesDirective(SphinxDirective):
    """``{claims-files}``: links to the files that hold all claims."""

    def run(self) -> list[nodes.Node]:
        up = "../" * self.env.docname.count("/")
        line = nodes.paragraph("", "Download all claims as ")
        for kind, between in (("csv", " or as "), ("json", ".")):
            uri = f"{up}{DOWNLOADS}/claims.{kind}"
            line += nodes.reference("", kind.upper(), refuri=uri, internal=True)
            line += nodes.Text(between)
        return [line]


def write_claims(app: Sphinx, exception: Exception | None) -> None:
    """Write all claims as files, each with the version of the book that states them."""
    if exception or app.builder.format != "html":
        return
    cited = citation(Path(app.srcdir))
    book = {"book": cited.get("title"), "version": cited.get("version")}
    stated = list(stated_in(app.env).values())
    folder = Path(app.outdir) / DOWNLOADS
    folder.mkdir(parents=True, exist_ok=True)
    entries = [entry(claim) for claim in stated]
    text = json.dumps(book | {"claims": entries}, indent=1, ensure_ascii=False)
    (folder / "claims.json").write_text(f"{text}\n", encoding="utf-8")
    _write_csv(folder / "claims.csv", (book | claim for claim in entries))


def entry(stated: Claim) -> dict[str, Any]:
    """A claim with the number in its sentence, as it is read in the book."""
    return {"id": stated.id, "statement": stated.sentence.format(value=stated.text)} | {
        key: value for key, value in stated.model_dump().items() if key not in ("id", "sentence")
    }


def _write_csv(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    rows = list(entries)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def setup(app: Sphinx) -> None:
    """Register the directives, the style of the bibliography, and what writes the files."""
    register_plugin("pybtex.style.formatting", "author_year", AuthorYear)
    app.add_directive("citation", CitationDirective)
    app.add_directive("claims-files", ClaimsFilesDirective)
    app.connect("build-finished", write_claims)
