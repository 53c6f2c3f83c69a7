"""The tables of rooms in CONTRIBUTING.md are the layers that import-linter holds."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NOT_CODE = {"static", "templates"}


def rooms(package: str) -> list[str]:
    """The rooms in a package's table, in its order."""
    table = TEXT.split(f"`src/{package}/` is the ")[1].split("\n\n")[1]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    return [name for cell in cells for name in re.findall(r"`(\w+)(?:\.py|/)`", cell)]


def layers(package: str) -> list[set[str]]:
    """The layers of a package, from the lowest."""
    (contract,) = (c for c in CONTRACTS if c.get("containers") == [package])
    return [set(layer.split(" | ")) for layer in reversed(contract["layers"])]


@pytest.mark.parametrize("package", ["palindrome_lens", "claimbook"])
def test_the_table_of_rooms_is_that_of_the_layers(package: str) -> None:
    left = [room for room in rooms(package) if room not in NOT_CODE]
    for layer in layers(package):
        if layer == {"__main__"}:
            continue
        assert set(left[: len(layer)]) == layer
        left = left[len(layer) :]
    assert left == []


@pytest.mark.parametrize("package", ["palindrome_lens", "claimbook"])
def test_every_room_is_there(package: str) -> None:
    folder = ROOT / "src" / package
    there = {path.stem for path in folder.iterdir() if not path.name.startswith("__")}
    assert set(rooms(package)) == there
