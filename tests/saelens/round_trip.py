"""Our autoencoders read by SAELens, and SAELens's read by us (``make saelens``).

SAELens needs an older TransformerLens than this package, so its half (``saelens/theirs.py``) runs
in an environment of its own. Both exchange files below ``_build/saelens``, each with its writer's
answers on real activations: of all strings, whole and position by position. The result is written
to ``palindrome_lens/sae/exchange.json``. Autoencoders small enough to be written out go into
``specimens.json``, with SAELens's answers; unit tests hold the code against them where SAELens is
not installed.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from saelens.comparison import ANSWERS, BOUND, Answers, compare
from safetensors.torch import load_file, save_file
from torch import Tensor

from palindrome_lens.sae import exchange, leaderboard
from palindrome_lens.sae import training as sae_training
from palindrome_lens.sae.autoencoders import (
    Autoencoder,
    BatchTopK,
    Inputs,
    SAEConfig,
    as_samples,
    init_autoencoder,
)

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "_build" / "saelens"
SPECIMENS = HERE / "specimens.json"
Row = dict[str, Any]
BOUNDS = (1e-12, 1e-9, BOUND)
"""A difference is given as the first of these that it does not exceed: the last digits of a float64
are not the same on every CPU."""
SETTINGS: dict[str, dict[str, Any]] = {
    "relu-l1": {"sparsity_weight": 0.01},
    "gated": {"sparsity_weight": 0.02},
    "topk": {"k": 3},
    "batchtopk": {"k": 3},
    "jumprelu": {"sparsity_weight": 0.01, "threshold": 1.0, "bandwidth": 3.0},
    "matryoshka": {"k": 3},
}
WIDTHS: dict[Inputs, int] = {"string": 128, "position": 32}


def specimen(architecture: str, d_in: int = 3) -> Autoencoder:
    """A small autoencoder for use, whose weights are whole eighths."""
    config = SAEConfig.model_validate({"architecture": architecture, "d_sae": 5, "k": 2})
    autoencoder = init_autoencoder(config, torch.zeros(1, d_in, dtype=torch.float64)).eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in autoencoder.parameters():
            weight.copy_(torch.randint(-8, 9, weight.shape, generator=generator) / 8)
    if isinstance(autoencoder, BatchTopK):
        autoencoder.threshold.fill_(0.375)
    return autoencoder


def specimen_inputs() -> Tensor:
    generator = torch.Generator().manual_seed(8)
    return torch.randint(-16, 17, (12, 3), generator=generator).double() / 8


def answers(autoencoder: Autoencoder, samples: Tensor) -> Answers:
    with torch.no_grad():
        latents = autoencoder.encode(samples)
        return Answers(latents, autoencoder.decode(latents))


def read(folder: Path, samples: Tensor) -> Answers:
    """What we make of a folder."""
    return answers(exchange.load(folder), samples)


def write_ours() -> dict[str, Tensor]:
    """Export every architecture that both know, for each kind of inputs; return these inputs."""
    given = leaderboard.material()
    in_rows = given.x.unflatten(1, (given.tokens.shape[1] - 1, -1))
    by_position = as_samples(in_rows, "position").clone()
    samples = {"string": given.x, "position": by_position, "specimen": specimen_inputs()}
    for architecture, settings in SETTINGS.items():
        autoencoders = {"specimen": specimen(architecture)}
        for inputs, d_sae in WIDTHS.items():
            fields = {"architecture": architecture, "inputs": inputs, "d_sae": d_sae, **settings}
            config = SAEConfig(**fields, normalise=True, steps=300, batch_size=256, lr=6e-3)
            autoencoders[inputs] = sae_training.trained(config, samples[inputs]).autoencoder
        for name, autoencoder in autoencoders.items():
            folder = FOLDER / "ours" / name / architecture
            exchange.export(autoencoder, folder)
            save_file(answers(autoencoder, samples[name])._asdict(), folder / ANSWERS)
    save_file(samples, FOLDER / "samples.safetensors")
    return samples


def ask_saelens(python: str) -> dict[str, Any]:
    """Let SAELens do its half; return its report."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    subprocess.run([python, "-m", "saelens.theirs", str(FOLDER)], env=environment, check=True)
    report: dict[str, Any] = json.loads((FOLDER / "report.json").read_bytes())
    return report


def row(direction: str, folder: Path, samples: dict[str, Tensor], found: dict[str, Any]) -> Row:
    """One line of the table."""
    inputs, d_sae = folder.parent.name, exchange.load(folder).d_sae
    named = {"direction": direction, "inputs": inputs, "name": folder.name}
    apart = {name: bound(found[name]) for name in ("latents_apart", "rebuilt_apart")}
    return {**named, "samples": len(samples[inputs]), "latents": d_sae, **found, **apart}


def bound(difference: float) -> float:
    return next((each for each in BOUNDS if difference <= each), difference)


def came_back(folder: Path) -> bool:
    """Whether SAELens, having read a folder and saved it again, changed no configuration and no
    weight."""
    before, after = exchange.load(folder), exchange.load(folder / "again")
    pairs = zip(before.state_dict().values(), after.state_dict().values(), strict=True)
    return before.config == after.config and all(torch.equal(a, b) for a, b in pairs)


def outward(samples: dict[str, Tensor], report: dict[str, Row]) -> list[Row]:
    """How SAELens read what we wrote."""
    folders = {name: FOLDER / "ours" / name for name in report}
    return [
        row("out", folder, samples, {**report[name], "came_back": came_back(folder)})
        for name, folder in folders.items()
    ]


def inward(samples: dict[str, Tensor]) -> list[Row]:
    """How we read what SAELens wrote."""
    rows = []
    for folder in sorted((FOLDER / "theirs").glob("*/*")):
        read_as = type(exchange.load(folder)).__name__
        found = compare(folder, samples[folder.parent.name], read)._asdict()
        rows.append(row("in", folder, samples, {"read_as": read_as, **found}))
    return rows


def refusal(folder: Path) -> str:
    """What is said about a folder that cannot be read, without the path; empty if it is read."""
    try:
        exchange.load(folder)
    except ValueError as error:
        return str(error).removeprefix(f"{folder / exchange.CONFIG}: ")
    return ""


def problems(rows: list[Row], refused: dict[str, str]) -> list[str]:
    """One sentence for each thing that does not hold."""
    found = [f"{name} was read without an objection." for name, said in refused.items() if not said]
    for each in rows:
        what = f"{each['name']} ({each['direction']}, {each['inputs']})"
        apart = max(each["latents_apart"], each["rebuilt_apart"])
        if apart > BOUND:
            found.append(f"{what}: the two differ by {apart}.")
        if each["active_in_one"]:
            found.append(f"{what}: {each['active_in_one']} latents are active for one of the two.")
        if each["noticed"] < each["faulty"]:
            found.append(f"{what}: {each['faulty'] - each['noticed']} faults went unnoticed.")
        if not each.get("came_back", True):
            found.append(f"{what}: SAELens saved something else than it had read.")
    return found


def specimens() -> dict[str, list[Row]]:
    """The small autoencoders in full, with SAELens's answers, to twelve decimals; and the layouts
    of what is refused."""

    def listed(path: Path) -> dict[str, Any]:
        return {name: _rounded(value.tolist()) for name, value in load_file(path).items()}

    def described(folder: Path, answered: str) -> Row:
        weights = listed(folder / exchange.WEIGHTS)
        return layout(folder) | {"weights": weights} | listed(folder / answered)

    def layout(folder: Path) -> Row:
        described = json.loads((folder / exchange.CONFIG).read_bytes())
        return {"name": folder.name, "layout": described}

    ours = sorted((FOLDER / "ours" / "specimen").iterdir())
    theirs = sorted((FOLDER / "theirs" / "specimen").iterdir())
    return {
        "ours": [described(folder, "theirs.safetensors") for folder in ours],
        "theirs": [described(folder, ANSWERS) for folder in theirs],
        "refused": [layout(folder) for folder in sorted((FOLDER / "refused").iterdir())],
    }


def _rounded(value: Any) -> Any:
    return [_rounded(each) for each in value] if isinstance(value, list) else round(value, 12)


def main(python: str) -> int:
    """Run both halves and write the result; 1, and nothing written, if something does not hold."""
    torch.set_num_threads(1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    samples = write_ours()
    report = ask_saelens(python)
    rows = outward(samples, report["ours"]) + inward(samples)
    refused = {each.name: refusal(each) for each in sorted((FOLDER / "refused").iterdir())}
    for each in rows:
        print(*each.values(), sep="\t")
    if found := problems(rows, refused):
        print(*found, sep="\n")
        return 1
    SPECIMENS.write_text(json.dumps(specimens()) + "\n", encoding="utf-8")
    digest = hashlib.sha256(SPECIMENS.read_bytes()).hexdigest()[:16]
    result = {"versions": report["versions"], "specimens": digest, "refused": refused, "rows": rows}
    exchange.FILE.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {exchange.FILE.name} and {SPECIMENS.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
