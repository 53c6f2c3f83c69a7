"""The numbers that the book states, each with what it was checked on.

A notebook states a claim by ending a cell with ``claim(...)``. The stored output then carries the
claim as JSON, from which the results page, the boxes that close the chapters, and the test
against the committed reference are all made: a number is written once, by the run that found it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from claimbook import mime
from claimbook.errors import ClaimbookError
from claimbook.numbers import rounded, written

FORMS = {"number": "", "count": ",.0f", "percent": "%"}
"""The form in which the value of a claim is written, by the style that is stored."""
STYLES = {None: "number", ",": "count", "%": "percent"}
"""The style that is stored, by what stands in ``{value:…}``."""


class ClaimsError(ClaimbookError):
    """Two claims share an id, or one that is needed is not stated."""


class Claim(BaseModel):
    """One statement of the book.

    Attributes:
        id: ``chapter.subject``, in lower case with hyphens; unique in the book.
        sentence: the statement, with ``{value}`` where the number stands.
        value: the number, as computed.
        tolerance: largest difference from the committed reference that still counts as the same
            number, in the units of ``value``; 0 for a count.
        checked_on: how many cases the number was computed over.
        cases: what these cases are, in the plural ("strings", "weights").
        control: what was done to see whether the number could be an artefact.
        style: how the value is written: "number" (4 significant digits), "count" or "percent".
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z]+\.[a-z0-9-]+$")
    sentence: str = Field(pattern=r"\{value\}")
    value: float | int
    tolerance: float | int = Field(ge=0)
    checked_on: int = Field(gt=0)
    cases: str = "strings"
    control: str = Field(min_length=1)
    style: str = Field(default="number", pattern="^(number|count|percent)$")

    @property
    def chapter(self) -> str:
        return self.id.split(".")[0]

    @property
    def text(self) -> str:
        """The value as it is written in the book."""
        return written(self.value, FORMS[self.style])

    @property
    def statement(self) -> str:
        """The sentence with its number in place."""
        return self.sentence.replace("{value}", f"**{self.text}**")

    @property
    def sentence_without_number(self) -> str:
        """The sentence with dots in the place of its number."""
        return self.sentence.replace("{value}", "…")

    @property
    def denominator(self) -> str:
        return f"{self.checked_on:,} {self.cases}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        fields = self.model_dump()
        fields["value"] = rounded(self.value)
        card = f"{self.statement}\n\n*Checked on {self.denominator}. Control: {self.control}*"
        return {mime.CLAIM: fields, "text/markdown": card, "text/plain": self.statement}


class Cases(NamedTuple):
    """What a number was computed over: how many cases, and what they are, in the plural."""

    total: int
    name: str = "strings"


PLACE = re.compile(r"\{value(?::([,%]))?\}")
"""Where the number stands in a sentence, with the form in which it is written."""


def claim(
    id: str,
    sentence: str,
    value: float | int,
    *,
    on: Cases | int,
    control: str,
    tolerance: float | None = None,
) -> Claim:
    """State a claim; shown as the last value of a cell it becomes part of the book.

    Args:
        sentence: with ``{value}`` where the number stands, ``{value:%}`` for a percentage and
            ``{value:,}`` for a count. It may run over several lines, and ``control`` too.
        on: the cases that the number was computed over; a bare number counts strings.
        tolerance: 0 for an integer and one part in a thousand of the value for anything else,
            unless it is given.

    Raises:
        ValidationError: the id is not of the form ``chapter.subject``, the sentence lacks
            ``{value}``, or the control is empty.
    """
    if tolerance is None:
        tolerance = abs(value) * 1e-3 if isinstance(value, float) else 0
    place = PLACE.search(sentence)
    cases = Cases(on) if isinstance(on, int) else on
    return Claim(
        id=id,
        sentence=PLACE.sub("{value}", " ".join(sentence.split())),
        value=value,
        tolerance=rounded(tolerance),
        checked_on=cases.total,
        cases=cases.name,
        control=" ".join(control.split()),
        style=STYLES[place[1] if place else None],
    )


def collect(notebooks: Iterable[Path]) -> list[Claim]:
    """The claims stored in executed notebooks, in the order of the book.

    Raises:
        ClaimsError: two claims share an id.
    """
    claims_by_id: dict[str, Claim] = {}
    for path in notebooks:
        for stated in of_cells(json.loads(path.read_text(encoding="utf-8"))["cells"]):
            if stated.id in claims_by_id:
                raise ClaimsError(
                    f"The claim {stated.id!r} is stated twice; the second time in {path.name}."
                )
            claims_by_id[stated.id] = stated
    return list(claims_by_id.values())


def of_cells(cells: Iterable[Mapping[str, Any]]) -> Iterator[Claim]:
    """The claims that the cells of an executed notebook show."""
    for cell in cells:
        for output in cell.get("outputs", []):
            if mime.CLAIM in output.get("data", {}):
                yield Claim(**output["data"][mime.CLAIM])


def write(claims: Iterable[Claim], path: Path) -> None:
    """Write claims as a JSON list, one claim an entry."""
    entries = [stated.model_dump() for stated in claims]
    path.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> list[Claim]:
    """Read what :func:`write` wrote."""
    return [Claim(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
