"""What training and analysing cost, as ``make bench`` measured it, beside other packages."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

DATA = Path(__file__).with_suffix(".json")
SLOW_WAY = "HookedTransformer, float32"
"""The loop as it is usually written, which others are held against."""


class Costs(NamedTuple):
    """What was measured, and on what.

    ``rows`` has one row for each contestant in each contest: its settings, and the median,
    ``least`` and ``most`` of its CPU seconds for one step, over the rounds.
    """

    machine: dict[str, Any]
    rows: pd.DataFrame

    def contest(self, name: str) -> pd.DataFrame:
        """The rows of one contest, with the settings that it has.

        Raises:
            KeyError: there is no such contest.
        """
        chosen = self.rows[self.rows.contest == name]
        if chosen.empty:
            raise KeyError(f"There is no contest {name!r}.")
        return chosen.drop(columns="contest").dropna(axis="columns", how="all")


def write(machine: dict[str, Any], contest: str, rows: list[dict[str, Any]]) -> None:
    """Keep one contest in place of its last one; of what another machine measured nothing stays.

    Seconds are kept to four digits, which is more than a machine repeats.
    """
    before = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}
    kept = before["rows"] if before.get("machine") == machine else []
    rounded = [
        {
            "contest": contest,
            **{name: float(f"{x:.4g}") if isinstance(x, float) else x for name, x in row.items()},
        }
        for row in rows
    ]
    rounded = [row for row in kept if row["contest"] != contest] + rounded
    lines = ",\n  ".join(json.dumps(row) for row in rounded)
    text = f'{{\n "machine": {json.dumps(machine)},\n "rows": [\n  {lines}\n ]\n}}\n'
    DATA.write_text(text, encoding="utf-8")


def read() -> Costs:
    """What is committed beside this module."""
    content = json.loads(DATA.read_text(encoding="utf-8"))
    return Costs(content["machine"], pd.DataFrame(content["rows"]))


def training(costs: Costs) -> pd.DataFrame:
    """Steps of one transformer per CPU second, by contestant (row) and batch size (column)."""
    rows = costs.contest("training")
    precision = rows.dtype.fillna("float64")
    together = rows.models.fillna(1).map(lambda n: "" if n == 1 else f", {n:.0f} together")
    rows = rows.assign(
        contestant=rows["name"] + ", " + precision + together,
        rate=rows.models.fillna(1) / rows.seconds,
    )
    return rows.pivot(index="contestant", columns="batch_size", values="rate").sort_values(64)


def autoencoders(costs: Costs) -> pd.DataFrame:
    """Thousand samples per CPU second, by architecture and batch size (rows), package and
    precision (columns)."""
    rows = costs.contest("autoencoders")
    rows = rows.assign(rate=rows.batch_size / rows.seconds / 1000)
    index, columns = ["architecture", "batch_size"], ["name", "dtype"]
    return rows.pivot(index=index, columns=columns, values="rate")


def analyses(costs: Costs) -> pd.DataFrame:
    """For each exhaustive analysis its cases, cases per CPU second, and the share of the
    machine's rate of operations that its matrix products take."""
    rows = costs.contest("analyses").set_index("name")
    rates = rows.flops / rows.seconds
    table = pd.DataFrame(
        {
            "cases": rows.cases.astype(int),
            "rate": rows.cases / rows.seconds,
            "share": rates / rates["matrix product"],
        }
    )
    return table.drop(index="matrix product")


def report(costs: Costs) -> str:
    """The tables, for a terminal."""
    tables = (training(costs), autoencoders(costs), analyses(costs))
    return "\n\n".join(table.to_string(float_format="{:.3g}".format) for table in tables)
