"""What the book makes of the cards of latents, without scripts."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from palindrome_lens.pages.latents import directive as latents
from palindrome_lens.pages.latents import schema

ALIVE = {
    "latent": 0,
    "atom": "100 -50",
    "histogram": "0 4",
    "strongest": [{"letters": "abc", "activation": 1.5, "lost": "100 0"}],
    "rule": "<b>··",
    "support": 1234,
    "precision": 0.5,
    "reference": "a··",
    "similar_cosine": 0.25,
    "effects": {"ablated": {"on_flips": 676}, "at its mean": {"wrote": 0}},
    "partner": None,
}
DEAD = {"latent": 1, "atom": "0 100", "support": 0, "reference": "·b·"}


def stored(*latents: dict[str, Any]) -> Any:
    return {"positions": 6, "cards": list(latents)}


def cells(html: str) -> list[dict[str, str]]:
    rows = re.findall(r'<tr id="latent-\d+">(.*?)</tr>', html)
    found = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    return [dict(zip(latents.COLUMNS, row, strict=True)) for row in found]


def test_without_scripts_there_is_a_table_with_every_latent() -> None:
    alive, dead = cells(latents.browser_html(stored(ALIVE, DEAD)))
    assert alive["latent"] == '<a href="#latent-0">0</a>'
    assert (alive["rule"], alive["fires on"]) == ("&lt;b&gt;··", "1,234")
    assert (alive["answers lost when off"], alive["writes its letter at its mean"]) == ("676", "0")
    assert alive["cosine with another latent"] == "0.25"
    assert alive["interaction with another latent"] == latents.NONE
    assert (dead["rule"], dead["fires on"]) == (latents.NONE, "0")
    assert dead["cosine with another latent"] == latents.NONE


def test_the_data_stand_in_the_page_and_cannot_end_their_element() -> None:
    html = latents.browser_html(stored(ALIVE | {"rule": "</script>"}))
    inside = html.split('<script type="application/json">')[1].split("</script>")[0]
    assert json.loads(inside)["cards"][0]["rule"] == "</script>"


def test_the_script_is_given_lists_of_numbers() -> None:
    html = latents.browser_html(stored(ALIVE, DEAD))
    data = json.loads(html.split('<script type="application/json">')[1].split("</script>")[0])
    alive, dead = data["cards"]
    assert (data["positions"], alive["atom"], alive["histogram"]) == (6, [100, -50], [0, 4])
    assert alive["strongest"][0]["lost"] == [100, 0]
    assert dead["atom"] == [0, 100] and "histogram" not in dead


def test_every_row_has_an_address_of_its_own() -> None:
    html = latents.browser_html(stored(ALIVE, DEAD))
    assert re.findall(r'id="(latent-\d+)"', html) == ["latent-0", "latent-1"]


def notebook(path: Path, *kept: Any) -> None:
    outputs = [{"data": {schema.MIME: stored(card)}} for card in kept]
    cell = {"cell_type": "code", "outputs": [{"name": "stdout"}, *outputs]}
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown"}, cell]}), encoding="utf-8")


def test_the_cards_are_those_of_the_last_notebook_that_has_some(tmp_path: Path) -> None:
    notebook(tmp_path / "01_first.ipynb", ALIVE)
    notebook(tmp_path / "02_second.ipynb", DEAD)
    notebook(tmp_path / "03_third.ipynb")
    assert latents.stored_in(tmp_path.glob("*.ipynb")) == stored(DEAD)
    assert latents.stored_in([])["cards"] == []


def test_in_its_notebook_the_cards_are_a_sentence() -> None:
    content = {"cards": [ALIVE, DEAD]}
    data: Any = SimpleNamespace(mime_type=schema.MIME, content=content)
    renderer: Any = None
    (sentence,) = latents.LatentsNote.handle_mime(renderer, data, False) or []
    assert sentence.astext() == "2 latents, each with a card of its own."
    other: Any = SimpleNamespace(mime_type="text/plain", content="")
    assert latents.LatentsNote.handle_mime(renderer, other, False) is None
