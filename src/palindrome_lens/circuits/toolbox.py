"""What every tool says of one query: to be held against a model whose circuit is known."""

import torch

from palindrome_lens.circuits import (
    attribution,
    estimators,
    limits,
    lines,
    patching,
    scrubbing,
    weights,
)
from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import pattern


def readings(subject: Subject, query: int) -> dict[str, float]:
    """What the tools say of a query, each as a share of what it would be for a copy from the mirror
    past the MLP alone.

    Raises:
        ValueError: the query predicts no mirrored letter.
    """
    task, model, tables, tokens = subject
    mirror, n_other = task.mirror_position(query), len(task.alphabet) - 1
    parts = scrubbing.parts_of(tables, subject.read, query)
    shares = attribution.direct_logit_attribution(
        task, model, attribution.vectors(subject, parts, query), subject.wanted(query)
    )
    follows, _ = patching.patch_paths(subject, query)["past the MLP"]
    strange = limits.answers(subject, limits.wrong_letters(task, query))
    line = lines.walk(model, lines.mirror_value(subject, query))
    truth = line.lead[-1] - line.lead[0]
    stated = scrubbing.hypotheses(task, query)
    own, donor = (
        scrubbing.scrub(subject, query, stated[name]).right
        for name in (scrubbing.FINAL, scrubbing.REVERSE)
    )
    copied = weights.copying(subject, query, torch.zeros_like(tables.bias))
    return {
        "least attention on the mirror": float(
            pattern(tables, subject.read, query)[:, :, mirror].min()
        ),
        "letters copied without the MLP": weights.share_copied(copied),
        "right with the mirror value alone": own,
        "right with all but the mirror value": donor,
        "right after any letters": float((strange.margin > 0).double().mean()),
        "the mirror's share of the lead": float(
            shares["mirror"].mean() / torch.stack(list(shares.values())).sum(dim=0).mean()
        ),
        "answers that follow past the MLP": int(follows) / (n_other * len(tokens)),
        "found by the gradient at the donors' values": estimators.judge(
            line.slope(0.0), truth
        ).mean,
        "found by the gradient at the own value": estimators.judge(line.slope(1.0), truth).mean,
    }
