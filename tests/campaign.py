"""Notebooks with drawn parameters: a sentence at once, or a run that ends well.

``python tests/campaign.py --minutes 30 01_data 04_weights`` draws for half an hour, from values
that are small or at the end of a range. A line for each run that was not refused; what fails is
shown with its values, and ends the campaign. That whatever is drawn is taken or refused in one
sentence, ``tests/test_chapters.py`` tests of every notebook, without running any.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import variants
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from claimbook import parameters
from palindrome_lens.config import ConfigError
from palindrome_lens.parameters import Hook

LETTERS = "abcdefghijklmnopqrstuvwxyzäöüßøåéñçж0123456789ABCDEFGH"
SEEDS = st.integers(0, 2**31 - 1)
DRAWN: dict[str, st.SearchStrategy[Any]] = {
    "alphabet": st.text(LETTERS, min_size=1, max_size=48).map(lambda s: "".join(dict.fromkeys(s))),
    "half_length": st.integers(0, 9),
    "d_model": st.integers(2, 40),
    "n_heads": st.integers(0, 4),
    "seed": SEEDS,
    "seeds": st.lists(SEEDS, max_size=2),
    "steps": st.integers(0, 60),
    "batch_size": st.sampled_from([1, 4, 64, 256, 600]),
    "lr": st.floats(0, 0.1),
    "weight_decay": st.floats(0, 1),
    "test_fraction": st.floats(0, 1),
    "draws": st.integers(0, 4),
    "random_sets": st.integers(0, 3),
    "hook": st.sampled_from(Hook.__args__),  # type: ignore[attr-defined]
    "d_sae": st.integers(8, 70),
    "k": st.integers(0, 20),
    "n_images": st.integers(250, 400),
    "iterations": st.integers(0, 4),
    "n_seeds": st.integers(0, 2),
}


def campaign(names: Sequence[str], minutes: float) -> int:
    """Draw and run until the time is over; how many ran."""
    end, ran = time.monotonic() + 60 * minutes, 0

    @settings(
        max_examples=100_000,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(name=st.sampled_from(names), data=st.data())
    def one(name: str, data: st.DataObject) -> None:
        nonlocal ran
        if time.monotonic() > end:
            return
        standing = parameters.standing(variants.PROJECT.source(name))
        known = sorted(standing.keys() & DRAWN.keys())
        changed = data.draw(st.sets(st.sampled_from(known), min_size=1, max_size=4))
        small = {key: value for key, value in variants.SMALL.items() if key in standing}
        values = small | {field: data.draw(DRAWN[field]) for field in sorted(changed)}
        try:
            variants.record_of(name).of(standing | values)
        except ConfigError as error:
            assert "\n" not in str(error)
            return
        result = variants.attempt(name, str({key: values[key] for key in changed}), values)
        ran += 1
        print(result.row(), flush=True)
        assert result.verdict == "ok", values

    with variants.warm_kernels(names):
        one()
    return ran


def main() -> None:
    """Run a campaign, and say how many runs there were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="+", help="a notebook")
    parser.add_argument("--minutes", type=float, default=5)
    arguments = parser.parse_args()
    ran = campaign(variants.PROJECT.chosen(arguments.name), arguments.minutes)
    print(f"{ran} runs, all to their end", file=sys.stderr)


if __name__ == "__main__":
    main()
