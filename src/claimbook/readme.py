"""The README's findings: their words are written by hand, their numbers by the run."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from claimbook.claims import Claim, ClaimsError
from claimbook.pictures import Picture

TABLE = re.compile(r"(<!-- claims:.*?-->\n)(.*?)(<!-- /claims -->)", re.DOTALL)
ROW = re.compile(r"^\| (?P<words>[^|]+) \| `(?P<id>[a-z]+\.[a-z0-9-]+)` \|.*$", re.MULTILINE)


def filled(text: str, claims: Iterable[Claim], pictures: Mapping[str, Picture]) -> str:
    """The README with the number, the denominator and the control of each claim in its table.

    The words of a picture, for readers who cannot see it, follow the claims as the picture does.

    Args:
        pictures: those that are drawn from the claims, by their path.

    Raises:
        ClaimsError: a row names a claim that is not stated, or there is no table.
    """
    stated = {claim.id: claim for claim in claims}

    def row(match: re.Match[str]) -> str:
        if match["id"] not in stated:
            raise ClaimsError(f"README.md names the claim {match['id']!r}, which is not stated.")
        claim = stated[match["id"]]
        values = [claim.text, claim.denominator, claim.control.replace("|", "\\|")]
        cells = [match["words"], f"`{claim.id}`", *values]
        return f"| {' | '.join(cells)} |"

    table = TABLE.search(text)
    if table is None:
        raise ClaimsError("README.md has no table of claims.")
    text = text[: table.start(2)] + ROW.sub(row, table[2]) + text[table.end(2) :]
    for path, picture in pictures.items():
        shown = re.compile(rf"!\[[^\]]*\]\({re.escape(path)}\)")
        text = shown.sub(f"![{picture.alternative}]({path})", text)
    return text


def fill(claims: Iterable[Claim], pictures: Mapping[str, Picture], path: Path) -> None:
    """Write the numbers of the claims into a README, where there is one with a table."""
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    if TABLE.search(text):
        path.write_text(filled(text, claims, pictures), encoding="utf-8")
