"""A dictionary built by hand for the hand-built model: a latent for each letter in each slot."""

import itertools

import torch
from handbuilt import LOUDNESS, HandBuilt

from palindrome_lens.dictionary import effects, letters, rules
from palindrome_lens.task import Task
from palindrome_lens.task import letters as letters_of
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
TOKENS = encode(TINY, TINY.strings())
QUERY = {0: 4, 1: 3}
KEYS = list(itertools.product((0, 1), TINY.alphabet))


class ByHand:
    """Latent 4 · slot + letter writes that letter at the query of the slot; 8 never rests."""

    def __init__(self, built: HandBuilt, share: float = 2.0) -> None:
        self.rest = effects.rest_of(built.model, TOKENS, "blocks.0.hook_resid_post")
        ids = letters_of(TINY, TOKENS)
        has = torch.stack([ids[:, s] == built.ids[c] for s, c in KEYS], dim=1)
        self.latents = LOUDNESS * torch.cat([has, torch.ones(16, 1)], dim=1).double()
        atoms = torch.zeros(9, *self.rest.resid.shape[1:], dtype=torch.float64)
        for j, (slot, letter) in enumerate(KEYS):
            atoms[j, QUERY[slot], built.write[built.ids[letter]]] = share
        self.W_dec = atoms.flatten(start_dim=1)
        self.rules = {j: rules.shortest(TINY, self.latents[:, j] > 0) for j in range(9)}
        self.chosen = letters.letter_latents(TINY, self.rules)
        self.has = has.T
