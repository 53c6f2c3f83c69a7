"""Measure what things cost, in pairs, and write it where the chapter reads it.

    python -m benchmarks PYTHON_OF_THE_PEERS [CONTEST ...]

Every contest has several rounds, in each of which every contestant takes its turn; what is kept is
the median over the rounds of each contestant's CPU seconds, on one thread.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from palindrome_lens import costs

HERE = Path(__file__).parent
ROUNDS = 5
BATCHES = (64, 256)
SAE_BATCHES = (256, 1024, 4096)
ARCHITECTURES = ("topk", "relu-l1", "gated", "jumprelu")
MODELS = (1, 4, 8, 32, 128)
HALF_LENGTHS = (3, 4, 8, 16, 32)
ALPHABETS = (5, 26, 100, 500)
ANALYSES = (
    "evaluate the model",
    "read every attention pattern",
    "ablate one component",
    "scrub one query",
    "ablate every latent",
    "clamp every latent",
    "prefixes with wrong letters",
)


class Worker:
    """A process that serves the contestants of one script in one environment."""

    def __init__(self, python: str, script: str) -> None:
        self.process = subprocess.Popen(
            [python, HERE / script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )

    def ask(self, name: str, steps: int, arguments: Mapping[str, Any]) -> dict[str, float]:
        """What the work cost.

        Raises:
            RuntimeError: the contestant failed; what it said stands above.
        """
        assert self.process.stdin and self.process.stdout
        request = {"name": name, "steps": steps, "arguments": arguments}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{name} with {dict(arguments)} stopped.")
        return json.loads(answer)


class Entry(NamedTuple):
    """One contestant of one contest."""

    worker: Worker
    name: str
    steps: int
    arguments: dict[str, Any]


def measured(contest: str, entries: list[Entry]) -> list[dict[str, Any]]:
    """A row for each entry: what it is, and the median of its CPU seconds for one step."""
    seconds: list[list[float]] = [[] for _ in entries]
    more: list[dict[str, float]] = [{} for _ in entries]
    for _ in tqdm(range(ROUNDS), desc=contest):
        for i, (worker, name, steps, arguments) in enumerate(entries):
            answer = worker.ask(name, steps, arguments)
            seconds[i].append(answer.pop("seconds"))
            more[i] = answer
    return [
        {
            "name": entry.name,
            **entry.arguments,
            **more[i],
            "seconds": statistics.median(seconds[i]),
            "least": min(seconds[i]),
            "most": max(seconds[i]),
        }
        for i, entry in enumerate(entries)
    ]


def contests(ours: Worker, theirs: Worker) -> dict[str, list[Entry]]:
    return {
        "training": [
            entry for size in BATCHES for entry in transformers(ours, theirs, size, 6400 // size)
        ],
        "together": [
            Entry(ours, "this book", max(10, 100 // models), {"batch_size": 64, "models": models})
            for models in MODELS
        ],
        "autoencoders": [
            entry
            for architecture in ARCHITECTURES
            for size in SAE_BATCHES
            for entry in autoencoders(ours, theirs, architecture, size)
        ],
        "half-length": [
            Entry(
                ours, "this book", 40, {"batch_size": 64, "models": 1, "half_length": half_length}
            )
            for half_length in HALF_LENGTHS
        ],
        "alphabet": [
            Entry(ours, "this book", 40, {"batch_size": 64, "models": 1, "alphabet": letters})
            for letters in ALPHABETS
        ],
        "analyses": [
            Entry(ours, "matrix product", 10, {"size": 1024}),
            *(Entry(ours, "analysis", 1, {"name": name}) for name in ANALYSES),
        ],
    }


def transformers(ours: Worker, theirs: Worker, batch_size: int, steps: int) -> list[Entry]:
    size = {"batch_size": batch_size}
    return [
        Entry(theirs, "HookedTransformer", steps, size | {"dtype": "float32"}),
        Entry(theirs, "HookedTransformer", steps, size | {"dtype": "float64"}),
        Entry(ours, "TransformerBridge", steps, size | {"dtype": "float32"}),
        Entry(ours, "bare modules", steps, size | {"dtype": "float32"}),
        Entry(ours, "bare modules", steps, size | {"dtype": "float64"}),
        Entry(ours, "this book", steps, size | {"models": 1}),
        Entry(ours, "this book", max(10, steps // 4), size | {"models": 32}),
    ]


def autoencoders(ours: Worker, theirs: Worker, architecture: str, batch_size: int) -> list[Entry]:
    steps = max(4, 8_000 // batch_size)
    sizes = {"architecture": architecture, "d_sae": 512, "k": 8, "batch_size": batch_size}
    peers = ["SAELens", "dictionary_learning", *(["sparsify"] if architecture == "topk" else [])]
    return [
        Entry(ours, "autoencoder of this book", steps, sizes | {"dtype": "float64"}),
        *(
            Entry(theirs, peer, steps, sizes | {"dtype": dtype})
            for peer in peers
            for dtype in ("float64", "float32")
        ),
    ]


def machine(python_of_peers: str) -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    packages = ["sae-lens", "dictionary-learning", "eai-sparsify", "transformer-lens", "torch"]
    ask = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    answer = subprocess.check_output([python_of_peers, "-c", ask, *packages], text=True)
    theirs = dict(zip(packages, answer.split(), strict=True))
    return {
        "processor": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": version("torch").partition("+")[0],
        "transformer-lens": version("transformer-lens"),
        "peers": {name: number.partition("+")[0] for name, number in theirs.items()},
    }


def main(python_of_peers: str, *chosen: str) -> None:
    ours, theirs = Worker(sys.executable, "ours.py"), Worker(python_of_peers, "theirs.py")
    for name, entries in contests(ours, theirs).items():
        if not chosen or name in chosen:
            costs.write(machine(python_of_peers), name, measured(name, entries))
    print(costs.report(costs.read()))


if __name__ == "__main__":
    main(*sys.argv[1:])
