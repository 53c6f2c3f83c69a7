"""The compiled model does its task, and by the circuit that was put into it."""

import pytest

from palindrome_lens.circuits.patterns import mirror_attention, patterns
from palindrome_lens.compiled import compile_reversal
from palindrome_lens.evaluation import evaluate
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode


@pytest.mark.parametrize(("alphabet", "half_length"), [("abcd", 2), ("zyx", 4), ("ab", 1)])
def test_it_writes_every_string_backwards(alphabet: str, half_length: int) -> None:
    task = Task(alphabet=alphabet, half_length=half_length)
    compiled = compile_reversal(task)
    tokens = encode(task, task.strings())
    assert evaluate(compiled.model, tokens).solved(task).all()
    looks = mirror_attention(task, patterns(compiled.model, tokens)[:, 0])
    assert min(look.least for look in looks) > 0.99
