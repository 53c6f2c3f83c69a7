"""The program of the panel computes what PyTorch does, whatever the shape of the model.

On the book's own model and on all strings it is held in a browser (``tests/browser/test_try.py``);
here models of other shapes run in Node, where there is one.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from palindrome_lens.circuits.patterns import mean_handed_over, patterns
from palindrome_lens.circuits.subject import subject
from palindrome_lens.model import ModelConfig, activations, hooked, init_model
from palindrome_lens.pages.tryit import weights
from palindrome_lens.pages.tryit.directive import FOLDER, PROGRAM
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import vocabulary

NODE = shutil.which("node")
MLP = "blocks.0.hook_mlp_out"
DECIMALS = 9
RUN = """
globalThis.window = globalThis;
const [data, program, strings] = process.argv.slice(1);
const { readFileSync } = require("fs");
window.palindromeWeights = JSON.parse(readFileSync(data, "utf-8"));
eval(readFileSync(program, "utf-8"));
const parts = ({ logProbs, pattern, latents }) => ({ logProbs, pattern, latents });
const off = { mlp: true, keys: [1] };
console.log(JSON.stringify(JSON.parse(strings).map((text) =>
  [parts(window.palindrome.forward(text)), parts(window.palindrome.forward(text, off))])));
"""


def exported(task: Task, config: ModelConfig, folder: Path) -> tuple[Any, Path]:
    """A model that was never trained, as a subject and as the file of its numbers."""
    tested = subject(task, hooked(init_model(config, task), config, task))
    lens = tested.model
    named = {n.replace("_original_component.", ""): w for n, w in lens.named_parameters()}
    mean = activations(lens, tested.read, [MLP])[MLP].mean(dim=0)
    means = {"handed": mean_handed_over(tested), "mlp": mean}
    several = {"n_heads": config.n_heads} if config.n_heads > 1 else {}
    characters = "".join(vocabulary(task))
    settings = {"characters": characters, "half_length": task.half_length, **several}
    stored = [
        weights.Weights("model", named, DECIMALS, eps=lens.cfg.eps, **settings),
        weights.Weights("means", means, DECIMALS),
    ]
    data = {part.name: weights.as_lists(part._repr_mimebundle_()[weights.MIME]) for part in stored}
    path = folder / "weights.json"
    path.write_text(json.dumps({**data, "rules": {}}), encoding="utf-8")
    return tested, path


@pytest.mark.skipif(NODE is None, reason="there is no Node to run the program in")
@pytest.mark.parametrize(
    ("task", "shape"),
    [
        (Task(alphabet="abcd", half_length=1), {}),
        (Task(alphabet="aäж7", half_length=2), {"n_heads": 2, "d_model": 8}),
        (Task(alphabet="xyz", half_length=4), {"n_heads": 3, "d_head": 5, "d_mlp": 7}),
    ],
)
def test_models_of_other_shapes(task: Task, shape: dict[str, int], tmp_path: Path) -> None:
    assert NODE is not None
    tested, data = exported(task, ModelConfig(seed=3, **shape), tmp_path)  # type: ignore[arg-type]
    chosen = list(range(0, task.size, max(1, task.size // 20)))
    strings = [task.strings()[i][:-1] for i in chosen]
    command = [NODE, "-e", RUN, str(data), str(FOLDER / PROGRAM), json.dumps(strings)]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    answers = json.loads(ran.stdout)
    with torch.no_grad():
        log_probs = tested.model(tested.read[chosen]).log_softmax(dim=-1)
    looked = patterns(tested.model, tested.tokens[chosen]).mean(dim=1)
    for i, (whole, without) in enumerate(answers):
        rows = [looked[i, q, : q + 1] for q in range(task.n_positions)]
        found = [weight for row in whole["pattern"] for weight in row]
        assert torch.allclose(_numbers(whole["logProbs"]), log_probs[i], atol=1e-5)
        assert torch.allclose(_numbers(found), torch.cat(rows), atol=1e-5)
        assert whole["latents"] == []
        assert not torch.allclose(_numbers(without["logProbs"]), log_probs[i], atol=1e-3)


def _numbers(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)
