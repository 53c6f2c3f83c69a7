"""All tools on a model whose circuit was put there by hand, and on that model spoilt."""

import pytest
import torch
from handbuilt import HandBuilt
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.subject import Subject, subject
from palindrome_lens.circuits.toolbox import readings
from palindrome_lens.task import Task

OWN_END = "found by the gradient at the own value"
DONOR_END = "found by the gradient at the donors' values"


def exact(seen: dict[str, float]) -> dict[str, float]:
    return {name: share for name, share in seen.items() if name not in (OWN_END, DONOR_END)}


@pytest.mark.parametrize("query", [3, 4])
def test_what_was_built_in_is_seen(handbuilt: HandBuilt, query: int) -> None:
    seen = readings(subject(handbuilt.task, handbuilt.model), query)
    built_in = dict.fromkeys(exact(seen), 1.0) | {"right with all but the mirror value": 0.25}
    assert exact(seen) == pytest.approx(built_in, abs=1e-3)
    assert 0 < seen[OWN_END] < seen[DONOR_END] / 2
    assert seen[DONOR_END] < 1.5


def test_a_head_that_reads_the_next_letter_is_seen_through(handbuilt: HandBuilt) -> None:
    whole = subject(handbuilt.task, handbuilt.model)
    ids = [handbuilt.ids[letter] for letter in handbuilt.task.alphabet]
    values = whole.tables.values.clone()
    values[:, :, ids] = whole.tables.values[:, :, [*ids[1:], ids[0]]]
    spoilt: Subject = whole._replace(tables=whole.tables._replace(values=values))
    seen = readings(spoilt, 3)
    for name in ("letters copied without the MLP", "right with the mirror value alone"):
        assert seen[name] == 0, name
    assert seen["right after any letters"] == 0
    assert seen["least attention on the mirror"] > 0.99, "it still looks there"


def test_fresh_weights_are_told_from_the_circuit(random: TransformerBridge) -> None:
    seen = exact(readings(subject(Task(alphabet="abcd", half_length=2), random), 3))
    assert max(share for name, share in seen.items() if "share of" not in name) < 0.7
    assert torch.tensor(list(seen.values())).isfinite().all()
