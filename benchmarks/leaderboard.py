"""What the leaderboard costs: CPU seconds to train and score one autoencoder of each contestant.

Each is trained anew, at its middle level and at both widths, on one thread. Prints a table, and
what the whole sweep then costs: CPU seconds, which another load on the machine changes little.
"""

import os
import tempfile
import time

import torch

from palindrome_lens.sae import contestants, leaderboard
from palindrome_lens.sae.contestants import CONTESTANTS, Run


def main() -> None:
    torch.set_num_threads(1)
    leaderboard.material()
    total = 0.0
    with tempfile.TemporaryDirectory() as empty:
        os.environ["PALINDROME_LENS_STORE"] = empty
        for name, contestant in CONTESTANTS.items():
            level = contestant.levels[len(contestant.levels) // 2]
            costs = [seconds(Run(name, level, d_sae, 0)) for d_sae in contestants.WIDTHS]
            total += sum(costs) * len(contestant.levels) * len(contestants.SEEDS)
            print(f"{name:20s}", *(f"{cost:6.1f} s" for cost in costs), flush=True)
    runs = len(contestants.grid())
    print(f"{runs} runs: {total:,.0f} CPU seconds, {total / 120:.0f} minutes on two cores")


def seconds(run: Run) -> float:
    """CPU seconds to train and score a run that the store does not hold."""
    start = time.process_time()
    leaderboard.scored(run)
    return time.process_time() - start


if __name__ == "__main__":
    main()
