"""Cutting cells into leaves until each is proved right or wrong, with the checker's own bound.

What comes out is a certificate, in which the checker believes nothing.
"""

import numpy as np

from palindrome_lens.proofs import checker
from palindrome_lens.proofs.checker import Ball, Cell, Model


def halves(table: Ball, box: list[int]) -> tuple[list[int], list[int]]:
    N, D = table.mid[..., :-1], table.mid[..., -1:]
    centre = table.mid[0, 0] + sum(
        table.mid[s + 1, checker.letters_of(m)].mean(0) for s, m in enumerate(box)
    )
    moved = N - D * (centre[:-1] / centre[-1])
    best = None
    for slot, mask in enumerate(box):
        letters = np.array(checker.letters_of(mask))
        if len(letters) == 1:
            continue
        away = moved[slot + 1, letters] - moved[slot + 1, letters].mean(0)
        _, width, direction = np.linalg.svd(away, full_matrices=False)
        along = away @ direction[0]
        spread = along.max() - along.min()
        if best is None or spread > best[0]:
            # the widest gap
            order = np.sort(along)
            gap = np.diff(order).argmax()
            best = spread, slot, letters[along <= order[gap]], letters[along > order[gap]]
    _, slot, left, right = best

    def put(letters):
        return [sum(1 << int(l) for l in letters) if s == slot else m for s, m in enumerate(box)]

    return put(left), put(right)


def leaves(model, table, cell, limit=100000):
    stack, done, n = [cell.root], [], 0
    while stack and n < limit:
        box = stack.pop()
        v = checker.judge(model, checker.select(table, box), cell.target)
        n += 1
        if v.name == "open" and checker.size(box) > 1:
            stack += halves(table, box)
        else:
            done.append((box, v))
    return done, stack, n
