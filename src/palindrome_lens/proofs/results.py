"""``make proof``: trains, searches, checks, and writes everything that the chapter reads.

Beside this file, in ``proved``, stand for each model its weights, its certificate, and what was
found, as JSON.
"""

import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from palindrome_lens.proofs import checker
from palindrome_lens.proofs.checker import Leaf
from palindrome_lens.proofs.files import exported
from palindrome_lens.proofs.margins import lowest, margins
from palindrome_lens.proofs.models import TASK, Kind, few_letter_strings, trained
from palindrome_lens.proofs.search import search
from palindrome_lens.tokenizer import encode

FOLDER = Path(__file__).with_name("proved")
MODELS: tuple[tuple[Kind, int], ...] = (("uniform", 3), ("repaired", 3))
TESTED = 120_000
"""Uniform strings on which each model is tested, beside a sixth as many of few letters."""
VERDICTS = ("right", "wrong", "open")


def by_query(leaves: list[Leaf]) -> list[dict[str, Any]]:
    """What was proved at each query: numbers of leaves and strings, and the least right leaf.

    ``F`` and ``margin`` (nats) are the least that the checker certifies on a leaf that is right.
    """
    rows = []
    for query in sorted({leaf.query for leaf in leaves}):
        own = [leaf for leaf in leaves if leaf.query == query]
        row: dict[str, Any] = {"query": query, "leaves": len(own)}
        for name in VERDICTS:
            row[name] = sum(checker.size(leaf.box) for leaf in own if leaf.verdict.name == name)
        right = [leaf.verdict for leaf in own if leaf.verdict.name == "right"]
        row["F"] = min((float(verdict.F) for verdict in right), default=None)
        row["margin"] = min((float(verdict.margin) for verdict in right), default=None)
        rows.append(row)
    return rows


def proved(kind: Kind, seed: int) -> dict[str, Any]:
    """Train a model, search and check its proof, write weights and certificate; what was found."""
    torch.set_num_threads(1)
    model, name = trained(kind, seed), f"{kind}-{seed}"
    weights = exported(model, TASK)
    began = time.process_time()
    certified = search(weights)
    searched = time.process_time()
    with np.errstate(all="ignore"):
        leaves = checker.check(weights, certified.certificate)
    checked = time.process_time()
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.safetensors").write_bytes(weights)
    (FOLDER / f"{name}.json").write_bytes(certified.certificate)
    return {
        "kind": kind,
        "seed": seed,
        "tried": certified.tried,
        "search_seconds": round(searched - began, 1),
        "check_seconds": round(checked - searched, 1),
        "wrong_strings": checker.wrong_strings(leaves),
        "wrong_boxes": [leaf.box for leaf in leaves if leaf.verdict.name == "wrong"],
        "queries": by_query(leaves),
        "lowest": [low._asdict() for low in lowest(model, TASK)],
        **tested(model, seed),
    }


def tested(model: torch.nn.Module, seed: int) -> dict[str, Any]:
    """What tests on samples say: how many strings are wrong, and the least margin in nats."""
    uniform = margins(model, TASK, encode(TASK, TASK.sample(TESTED, seed + 1000)))
    few = encode(TASK, few_letter_strings(TASK, TESTED // 6, seed + 1000))
    return {
        "tested": TESTED,
        "tested_wrong": int((uniform <= 0).any(dim=1).sum()),
        "tested_margin": float(uniform.min()),
        "few_tested": len(few),
        "few_wrong": int((margins(model, TASK, few) <= 0).any(dim=1).sum()),
    }


def as_lines(results: list[dict[str, Any]]) -> str:
    """JSON with a line for each model."""
    return "[\n" + ",\n".join(map(json.dumps, results)) + "\n]\n"


def read() -> list[dict[str, Any]]:
    """What ``make proof`` wrote about each model."""
    results: list[dict[str, Any]] = json.loads((FOLDER / "results.json").read_bytes())
    return results


def files(kind: Kind, seed: int) -> tuple[bytes, bytes]:
    """Weights and certificate of a model."""
    path = FOLDER / f"{kind}-{seed}"
    return path.with_suffix(".safetensors").read_bytes(), path.with_suffix(".json").read_bytes()


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.starmap(proved, MODELS, chunksize=1)
    (FOLDER / "results.json").write_text(as_lines(results), encoding="utf-8")
    print(f"wrote {len(results)} proofs to {FOLDER.name}")
