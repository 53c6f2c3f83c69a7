"""How far apart runs of the original autoencoder end: five seeds, against five of the TopK one.

Prints, for each number of the chapter on the dictionary, the least and greatest over the seeds, and
the ratio of the two architectures' spreads. The original's recipe amplifies rounding errors, so
that two CPUs are as different as two seeds: the intervals in the chapter come from here.
"""

import torch

from palindrome_lens.dictionary.reading import usual_numbers
from palindrome_lens.model import ModelConfig
from palindrome_lens.sae.autoencoders import ORIGINAL_SAE, TOPK_SAE, SAEConfig
from palindrome_lens.sae.training import flat_activations, train
from palindrome_lens.stored import trained
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode
from palindrome_lens.training import SOLVING, make_split

SEEDS = 5


def measure(config: SAEConfig) -> dict[str, float]:
    task = Task()
    model = trained(task, ModelConfig(), SOLVING).model
    tokens = encode(task, task.strings())
    seen = encode(task, make_split(task, SOLVING).train)
    data = flat_activations(model, seen, config.hook)
    autoencoder = train(config, data).autoencoder
    x = flat_activations(model, tokens, config.hook)
    usual = usual_numbers(model, tokens, x, autoencoder)
    return {
        "explained variance": usual.explained_variance,
        "L0": usual.l0,
        "above 0 per string": usual.above,
        "live latents": usual.live,
        "positive mean": usual.positive_mean,
        "recovered (mean)": usual.recovered_from_mean,
    }


def main() -> None:
    torch.set_num_threads(1)
    spreads = []
    for config in (ORIGINAL_SAE, TOPK_SAE):
        runs = [measure(config.model_copy(update={"seed": seed})) for seed in range(SEEDS)]
        print(config.architecture)
        for name in runs[0]:
            values = [run[name] for run in runs]
            print(f"  {name:20} {min(values):.6g} to {max(values):.6g}")
        variances = [run["explained variance"] for run in runs]
        spreads.append(max(variances) - min(variances))
    print(f"spread of explained variance, original / TopK: {spreads[0] / spreads[1]:.3g}")


if __name__ == "__main__":
    main()
