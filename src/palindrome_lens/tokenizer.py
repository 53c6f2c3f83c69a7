"""Characters to ids and back, as a Hugging Face fast tokenizer that the model carries.

The ids are those of the original notebook: ``<`` 0, ``>`` 1, then the letters, ``|`` last.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from tokenizers.decoders import Fuse
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerFast

from palindrome_lens.task import BAR, BEGIN, END, Task


def vocabulary(task: Task) -> dict[str, int]:
    """Character to id."""
    return {character: i for i, character in enumerate([BEGIN, END, *task.alphabet, BAR])}


class CharacterTokenizer(PreTrainedTokenizerFast):
    """A fast tokenizer that refuses what it cannot represent."""

    def _encode_plus(
        self, text: Any, text_pair: Any = None, *args: Any, **kwargs: Any
    ) -> BatchEncoding:
        for text_part in _texts([text, text_pair]):
            check_characters(text_part, self.get_vocab())
        return super()._encode_plus(text, text_pair, *args, **kwargs)


def _texts(given: Any) -> Iterator[str]:
    """Every text in what a tokenizer accepts: one, a batch, pairs."""
    if isinstance(given, str):
        yield given
    else:
        for part in given or ():
            yield from _texts(part)


def make_tokenizer(task: Task) -> PreTrainedTokenizerFast:
    """One token per character; ``<`` is the beginning-of-sequence token and ``>`` the end.

    ``tokenizer(text)`` raises ``ValueError`` for a character outside the vocabulary.
    """
    backend = Tokenizer(models.WordLevel(vocabulary(task), unk_token=BAR))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    backend.decoder = Fuse()
    return CharacterTokenizer(
        tokenizer_object=backend,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=END,
        clean_up_tokenization_spaces=False,
        model_max_length=task.n_positions + 1,
    )


def check_characters(text: str, vocab: Iterable[str]) -> None:
    """Raise ``ValueError`` for the first character outside the vocabulary, naming its position."""
    for position, character in enumerate(text):
        if character not in vocab:
            raise ValueError(
                f"{text!r} has {character!r} at position {position}; "
                f"the tokenizer knows {''.join(sorted(vocab))!r}."
            )


def encode(task: Task, strings: Sequence[str]) -> Int64[Tensor, "strings length"]:
    """The ids of strings of one length.

    Raises:
        ValueError: a character outside the vocabulary (named with its position), a string that
            is longer than the context, or strings of different lengths.
    """
    longest = task.n_positions + 1
    for text in strings:
        if len(text) > longest:
            raise ValueError(
                f"{text!r} has {len(text)} characters; strings of half-length {task.half_length} "
                f"have at most {longest}."
            )
        if len(text) != len(strings[0]):
            raise ValueError(
                f"{text!r} has {len(text)} characters and the first string {len(strings[0])}; "
                "encode one length at a time."
            )
    ids = vocabulary(task)
    text = "".join(strings)
    if not set(text) <= ids.keys():
        for string in strings:
            check_characters(string, ids)
    # Not by the tokenizer, which takes a second for all strings; a test compares the two.
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    characters, places = np.unique(codes, return_inverse=True)
    looked_up = np.array([ids[chr(code)] for code in characters], dtype=np.int64)
    width = len(strings[0]) if strings else longest
    return torch.from_numpy(looked_up[places].reshape(len(strings), width))


def decode(task: Task, tokens: Int64[Tensor, "length"]) -> str:
    """The string of a row of ids."""
    characters = list(vocabulary(task))
    return "".join(characters[token] for token in tokens.tolist())


class TokenMapping(NamedTuple):
    """What one token of an input is."""

    position: int
    id: int
    bytes: str
    """UTF-8, in hexadecimal."""
    string: str
    name: str
    """Its Unicode name."""


def token_mapping(task: Task, text: str) -> list[TokenMapping]:
    """For each token of an input: where it sits, its id, bytes, string, and Unicode name.

    Raises:
        ValueError: a character outside the vocabulary. The length is free.
    """
    ids = vocabulary(task)
    check_characters(text, ids)
    return [
        TokenMapping(i, ids[c], c.encode().hex(" ").upper(), c, unicodedata.name(c, "(unnamed)"))
        for i, c in enumerate(text)
    ]
