"""What a dictionary should find, held against activations that were made by hand."""

import pytest
import torch

from palindrome_lens.sae.reference import reference
from palindrome_lens.task import Task

TINY = Task(alphabet="abcd", half_length=2)


def test_a_reference_of_positions_holds_each_letter_at_the_query_that_predicts_it() -> None:
    x = torch.randn(16, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = reference(TINY, x.reshape(-1, 3), "position")
    for feature, (slot, letter) in enumerate((s, c) for s in range(2) for c in "abcd"):
        query = TINY.mirrored_positions[1 - slot]
        assert TINY.mirror_position(query) == slot + 1
        has = torch.tensor([string[1 + slot] == letter for string in TINY.strings()])
        wanted = x[has, query].mean(dim=0) - x[:, query].mean(dim=0)
        torch.testing.assert_close(found.vectors[feature], wanted)
        labels = found.labels[:, feature].reshape(16, 6)
        assert torch.equal(labels[:, query], has)
        assert int(labels.sum()) == 4


def test_what_has_no_reference_is_refused() -> None:
    x = torch.randn(16, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="There are 16 samples; this reference needs 96"):
        reference(TINY, x, "position")
    x[3, 2] = torch.nan
    with pytest.raises(ValueError, match="1 numbers of the activations are not finite"):
        reference(TINY, x)
