"""Every notebook with other parameters (``make variants``).

Each setting runs to its end, or the notebook says in one sentence why it cannot. One line for each:
notebook, setting, seconds, how many claims were stated, and on how many cases together. Chosen
notebooks and settings: ``python tests/variants.py 03_attention --only "two heads"``.
"""

import argparse
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from claimbook import claims, execute, parameters, stale, warm
from claimbook.project import NotebookError, Project
from claimbook.provenance import Library
from palindrome_lens import chapters
from palindrome_lens.config import ConfigError
from palindrome_lens.parameters import Parameters

PROJECT = Project(Path(__file__).parents[1])
FORTY = "abcdefghijklmnopqrstuvwxyzäöüßøåéñçж0123"
SMALL: dict[str, Any] = {
    "seeds": [0, 1],
    "many_seeds": [0, 1, 2],
    "transformers": [0, 1],
    "draws": 4,
    "random_sets": 2,
    "orders": 2,
    "deals": 1,
    "original_steps": 200,
    "n_seeds": 2,
}
"""Less of what is repeated, so that all settings of all notebooks take minutes and not hours."""
SETTINGS: dict[str, dict[str, Any]] = {
    "small": {},
    "half-length 2": {"half_length": 2},
    "half-length 4, five letters": {"half_length": 4, "alphabet": "abcdö"},
    "half-length 2, forty letters": {"half_length": 2, "alphabet": FORTY},
    "two heads": {"n_heads": 2},
    "d_model 32": {"d_model": 32},
    "half-length 4, ten letters, two heads": {
        "half_length": 4,
        "alphabet": "abcdefghij",
        "n_heads": 2,
    },
    "another seed": {"seed": 7, "seeds": [7, 3]},
    "few steps": {"steps": 10},
    "another hook": {"hook": "blocks.0.hook_resid_post"},
    "another width": {"d_sae": 48, "k": 5},
    "fewer images": {"n_images": 300, "iterations": 3},
    "yet another seed": {"seed": 3, "seeds": [8], "many_seeds": [8, 9]},
    "a large seed": {"seed": 1_000_003},
    "more images": {"n_images": 600, "iterations": 2},
    "other samples": {"probed_again": 0, "sampled_seeds": 1},
    "one seed": {"seeds": [4], "many_seeds": [4], "n_seeds": 1, "sampled_seeds": 2},
    "one query": {"checked_again": [17]},
    "another query": {"checked_again": [10]},
    "two queries": {"checked_again": [16, 17]},
    "small batches": {"sae_batch": 256},
    "large batches": {"sae_batch": 4096},
    "single precision": {"peers_precision": "float32"},
    "a lower bar": {"least_explained": 0.9, "graded": 0.9},
}


SHORT: dict[str, dict[str, Any]] = {
    "01_data": {"half_length": 2},
    "02_training": {"half_length": 2, "steps": 300, "seeds": [0]},
    "03_attention": {"half_length": 2, "seeds": [0]},
    "04_weights": {"half_length": 2},
    "05_mechanism": {"half_length": 2, "seeds": [0], "draws": 2, "random_sets": 1},
    "12_atoms": {"n_images": 256, "iterations": 1, "n_seeds": 1},
    "19_exchange": {"d_sae": 16, "k": 2, "steps": 5},
    "20_proof": {"checked_again": [17]},
    "21_costs": {"sae_batch": 256},
}
"""One small run of those notebooks that can be small; the others need the models of the book."""
REFUSED = {"half_length": 2}


class Result(NamedTuple):
    """How one notebook went with one setting."""

    name: str
    setting: str
    verdict: str
    """``ok``, the sentence of refusal, or what failed."""
    seconds: float
    n_claims: int = 0
    cases: int = 0

    @property
    def failed(self) -> bool:
        return self.verdict.startswith("FAILED")

    def row(self) -> str:
        return (
            f"{self.name:17} {self.setting:38} {self.seconds:5.0f} s {self.n_claims:3} claims "
            f"{self.cases:14,} cases  {self.verdict}"
        )


def values_of(name: str, setting: str) -> dict[str, Any] | None:
    """What of a setting concerns a notebook; ``None`` where nothing but the usual small values."""
    standing = parameters.standing(PROJECT.source(name))
    own = {key: value for key, value in SETTINGS[setting].items() if key in standing}
    if not own and setting != "small":
        return None
    return {key: value for key, value in SMALL.items() if key in standing} | own


def taken(name: str, setting: str) -> bool:
    """Whether a setting concerns a notebook, and its record takes it."""
    values = values_of(name, setting)
    standing = parameters.standing(PROJECT.source(name))
    try:
        return values is not None and bool(record_of(name).of(standing | values))
    except ConfigError:
        return False


def record_of(name: str) -> type[Parameters]:
    """The record that a notebook makes of its parameters."""
    text = PROJECT.source(name).read_text(encoding="utf-8")
    (record,) = re.findall(r"= chapters\.(\w+)\.of\(globals\(\)\)", text)
    found: type[Parameters] = getattr(chapters, record)
    return found


def attempt(name: str, setting: str, values: dict[str, Any]) -> Result:
    """Run a notebook with these values."""
    started = time.monotonic()
    try:
        ran = execute.run(PROJECT, name, alone=False, values=values)
    except execute.Refused as refused:
        return Result(name, setting, f"refused: {refused}", time.monotonic() - started)
    except NotebookError as error:
        return Result(name, setting, f"FAILED: {error}", time.monotonic() - started)
    stated = list(claims.of_cells(ran.cells))
    cases = sum(claim.checked_on for claim in stated)
    return Result(name, setting, "ok", time.monotonic() - started, len(stated), cases)


@contextmanager
def warm_kernels(names: Sequence[str]) -> Iterator[None]:
    """Kernels start with what these notebooks import."""
    library = Library.of(PROJECT.packages)
    imported = [stale.imported(stale.text(PROJECT, name), library.graph.modules) for name in names]
    with warm.kernels(library.reached(set().union(*imported))) as door:
        warm.use(door)
        try:
            yield
        finally:
            warm.use(None)


def main(words: Sequence[str] | None = None) -> int:
    """Print a line for each notebook and setting; 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help="a notebook (default: every notebook)")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    arguments = parser.parse_args(words)
    names = PROJECT.chosen(arguments.name)
    results = []
    with warm_kernels(names):
        for name in names:
            for setting in arguments.only:
                if (values := values_of(name, setting)) is not None:
                    results.append(attempt(name, setting, values))
                    print(results[-1].row(), flush=True)
    failures = [result for result in results if result.failed]
    print(f"{len(results)} runs, {len(failures)} failed")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
