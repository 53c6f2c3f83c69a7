# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Limits: inputs the model was never shown
#
# ```{opening}
# :builds: 05_mechanism
# :read: 10
# :summary: inputs the model was never shown, which of them the account of the head survives, and where it fails
#
# - say which impossible inputs the account of the head survives, and where it fails
# - tell a failure of looking from a failure of copying
# ```
#
# The account so far: the {term}`head` looks at the mirror *position*, and copies the *letter* that stands there. It makes
# predictions for inputs that no string of the task holds, and for strings that might mislead the head. Here are four
# kinds of them. Nothing is sampled: of each kind, at the positions named, every input there is was tried.

# %% tags=["setup"]
import torch

from claimbook.claims import claim
from claimbook.show import Table
from palindrome_lens import figures, model, notebook, training
from palindrome_lens.circuits import limits, tables
from palindrome_lens.task import Task, letters
from palindrome_lens.tokenizer import decode, encode, vocabulary

notebook.set_up()

# %% tags=["parameters"]
seed = 0

# %% tags=["setup"]
task = Task()
shape = model.ModelConfig(seed=seed)
recipe = training.SOLVING.model_copy(update={"seed": seed})
lens = training.trained(task, shape, recipe).model
early = training.trained(task, shape, training.ORIGINAL.model_copy(update={"seed": seed})).model
table, early_table = tables.tabulate(lens), tables.tabulate(early)
tokens = encode(task, task.strings())

# %% [markdown]
# ## A wrong letter in the mirrored half
#
# Position 5 reads the first letter of the {term}`mirrored half`. Put any letter there; for position 6, put any two. One
# letter in 26 is then the right one by chance, one pair in 676; the rest no string of the task holds. If
# the head looks by position, the answer is still the letter at the {term}`mirror position`. *Forced* means that all
# weight is put on the mirror position: what fails then is not the looking, but what follows it. The model of the original
# recipe is the control.
#
# Each row of the table is a model at one position, with every such prefix. A failure is a prefix on which another
# token is put above the mirror letter.
#
# ```{margin}
# The prefixes are evaluated through the tables of {doc}`04_weights`. These hold for every token at every position, also in
# combinations that no string of the task has.
# ```

# %%
five, six = limits.wrong_letters(task, 5), limits.wrong_letters(task, 6)
# The control at position 6 tries the prefixes whose first letter is the alphabet's first.
from_a = [six[0], six[1][:1], *six[2:]]
solving, original = (lens, table), (early, early_table)
tried = {
    "solving, position 5": limits.answers(*solving, five, 2),
    "solving, position 5, forced": limits.answers(*solving, five, 2, forced=True),
    "solving, position 6": limits.answers(*solving, six, 1),
    "original, position 5": limits.answers(*original, five, 2),
    "original, position 5, forced": limits.answers(*original, five, 2, forced=True),
    "original, position 6, from a": limits.answers(*original, from_a, 1),
}
Table(
    ["model", "prefixes", "failures"],
    [[name, len(r.margin), int((r.margin < 0).sum())] for name, r in tried.items()],
)

# %% [markdown]
# How close did it come? For the same rows, the least {term}`margin`, in nats, with the prefix that attains it, and the
# least weight on the mirror:

# %% tags=["hide-input"]
rows = []
for name, r in tried.items():
    choices = from_a if "from a" in name else six if "6" in name else five
    tightest = decode(task, limits.prefixes(choices, r.margin.argmin().view(1))[0])
    rows.append([name, float(r.margin.min()), f"`{tightest}`", float(r.weight.min())])
Table(["model", "least margin", "on", "least weight of all"], rows)

# %% [markdown]
# The prediction holds without exception for the solving model. It does not hold for the original recipe. There many
# prefixes fail with forced weight too: wherever the head looks, what it hands over does not make the right answer.

# %% tags=["hide-input"]
claim(
    "limits.wrong-5",
    f"With seed {seed} and any letter read at position 5, the model fails to answer the mirror letter on {{value}} prefixes.",
    int((tried["solving, position 5"].margin < 0).sum()),
    checked_on=len(tried["solving, position 5"].margin),
    cases=f"prefixes, {len(tokens):,} of them with the right letter",
    control="the model of the original recipe fails on "
    f"{int((tried['original, position 5'].margin < 0).sum()):,}; with the attention forced, on "
    f"{int((tried['original, position 5, forced'].margin < 0).sum()):,}.",
)

# %% tags=["hide-input"]
claim(
    "limits.wrong-6",
    f"With seed {seed} and any two letters read at positions 5 and 6, the model fails on {{value}} prefixes.",
    int((tried["solving, position 6"].margin < 0).sum()),
    checked_on=len(tried["solving, position 6"].margin),
    cases=f"prefixes, {len(tokens):,} of them with the right letters",
    control=f"of the {limits.count(from_a):,} that begin with a, the model of the original recipe fails on "
    f"{int((tried['original, position 6, from a'].margin < 0).sum()):,}; with this one "
    f"the least weight on the mirror falls to {float(tried['solving, position 6'].weight.min()):.3g}.",
)

# %% [markdown]
# Can a failure be seen in the attention weight, and does it matter whether the letter is right? Only the original recipe
# has failures to ask about. Each row has the prefixes whose weight on the mirror position lies in one interval, first
# those with the right letter at position 5, then those with a wrong one.

# %%
r = tried["original, position 5"]
failed, right = r.margin < 0, torch.zeros(limits.count(five), dtype=torch.bool)
right[limits.places(five, tokens[:, :6])] = True
edges = torch.tensor([0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01], dtype=torch.float64)
rows = []
for name, which in (("right", right), ("wrong", ~right)):
    found = limits.binned(r.weight[which, 0], failed[which], edges)
    counts = zip(edges[:-1], edges[1:], found.cases.tolist(), found.failures.tolist())
    for a, b, n, f in counts:
        share = f"{100 * f / n:.1f} %" if n else "–"
        rows.append([name, f"{a:.1f} to {min(b, 1):.1f}", n, f, share])
Table(["letter", "weight", "prefixes", "failures", "share"], rows)

# %% [markdown]
# It can, in part. After a wrong letter the share of failures grows as the weight falls. After a right one it grows only
# roughly, and low weights are rare. But most failures lie in the last bin of each group, where the head looks as it
# should: the weight does not give them away. And there a wrong letter at the query does no more harm than a right one. It
# does where the weight is low.
#
# ## Repeated letters
#
# A letter that occurs twice stands at two keys. A head that looked for letters could be led to the wrong one. The account
# says that it makes no difference. The patterns are `aaa` for three equal letters to `abc` for three different ones, each
# with the number of its strings. Each row is the least over these strings: of the margin at a query, in nats, or of the
# weight on the mirror.

# %%
names = [limits.equality(row) for row in letters(task, tokens).tolist()]
patterns = sorted(set(names))
alike = {name: torch.tensor([n == name for n in names]) for name in patterns}
margins, weights = {}, {}
for q in (4, 5, 6):
    choices = limits.wrong_letters(task, q)
    true = limits.places(choices, tokens[:, : q + 1])
    r = limits.answers(lens, table, choices, task.mirror_position(q))
    margins[q], weights[q] = r.margin[true], r.weight[true]


def least(values):
    return [float(values[alike[name]].min()) for name in patterns]


columns = [f"{name} ({names.count(name):,})" for name in patterns]
rows = [[f"margin at {q}", *least(margins[q])] for q in margins]
rows += [[f"weight at {q}", *least(weights[q])] for q in weights]
Table(["least", *columns], rows)

# %% [markdown]
# No pattern comes near a failure. Compare the columns with care: there are only 26 strings `aaa`, and a least value over
# fewer strings tends to be larger.
#
# ## Reserved characters in place of letters
#
# Put any {term}`token` in the place of each of the three letters, also `<`, `>` and `|`. The account says that the head
# still looks at the mirror position. What will it copy? The question is put at position 4, whose mirror position is 3.
#
# Each row of the table is what stands at the mirror, with the number of such prefixes. The columns: on how many of them
# it is copied, and on how many with the weight forced there; the least weight on it; and how many different tokens are
# answered.

# %%
choices = limits.any_token(task)
mixed = limits.prefixes(choices, torch.arange(limits.count(choices)))
normal = limits.answers(lens, table, choices, 3)
forced = limits.answers(lens, table, choices, 3, forced=True)
ids = vocabulary(task)
groups = {c: mixed[:, 3] == ids[c] for c in "<>|"}
groups = {"a letter": ~torch.stack(list(groups.values())).any(dim=0), **groups}
Table(
    ["at the mirror", "copied", "copied if forced", "least weight", "tokens answered"],
    [
        [
            f"{name} ({int(at.sum()):,})",
            int((normal.margin[at] > 0).sum()),
            int((forced.margin[at] > 0).sum()),
            float(normal.weight[at].min()),
            len(normal.answer[at].unique()),
        ]
        for name, at in groups.items()
    ],
)

# %% [markdown]
# The head still looks at the mirror position, as the account says. A letter is copied whatever else is there. A reserved
# character never is, forced or not: the copying was learned for letters alone. The account says nothing about which token
# is answered in its place.

# %% tags=["hide-input"]
reserved = ~groups["a letter"]
claim(
    "limits.reserved",
    f"With seed {seed}, a reserved character at the bar, in place of the letter to be copied, is copied on {{value}} prefixes.",
    int((normal.margin[reserved] > 0).sum()),
    checked_on=int(reserved.sum()),
    cases="prefixes",
    control=f"a letter there is copied on {int((normal.margin[~reserved] > 0).sum()):,} of {int((~reserved).sum()):,} "
    "prefixes, with reserved characters elsewhere among them.",
)

# %% [markdown]
# ## After the end
#
# Position 8 reads `>`. The position has an embedding, but no string was long enough to train it. What does the model
# answer there ({numref}`fig-after-end`), and how sure is it? The table has the probability of its first choice, over
# all strings.

# %%
with torch.no_grad():
    after = torch.cat([lens(part)[:, 8].softmax(dim=-1) for part in tokens.split(4096)])
sure, answer = after.max(dim=-1)
often = torch.bincount(answer, minlength=len(ids))
spread = {"least": sure.min(), "median": sure.median(), "most": sure.max()}
Table(
    ["probability of the first choice", "value"],
    [[name, float(value)] for name, value in spread.items()],
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-after-end", "caption": "Most probable token after the end, over all strings; tokens that are answered on none are left out. Most letters are answered on some string, one far more often than the rest."}}
ranked = often.argsort(descending=True, stable=True)[: int((often > 0).sum())].tolist()
characters = list(ids)
figures.bars(
    {"strings": often[ranked].double()},
    labels=[characters[i] for i in ranked],
    x_title="most probable token after the end",
    y_title="strings",
    alt=f"Falling bars of string counts for {len(ranked)} of the {len(ids)} tokens. The highest are "
    + ", ".join(f"{characters[i]} with {int(often[i]):,}" for i in ranked[:3])
    + ".",
)

# %% tags=["hide-input"]
claim(
    "limits.after-end",
    f"With seed {seed}, the model gives its first choice after the end a mean probability of {{value}}.",
    float(sure.mean()),
    checked_on=len(tokens),
    control=f"a guess among the tokens would have {1 / len(ids):.4g}; "
    f"the least is {float(sure.min()):.4g}, and {int((often > 0).sum())} different tokens are answered.",
)

# %% [markdown]
# The model is often sure where it learned nothing. That it is sure is, by itself, no sign that it knows such inputs.
#
# **What could be wrong with this?** The first test may be too easy: a wrong letter changes the query only through one
# embedding. The control shows that it can be failed, at both positions: the model of the original recipe fails, on some
# right letters too. The four kinds of input were chosen by us; others may break the account, and one of those in the
# exercises does. And all numbers are those of one seed.
#
# ## What this chapter claims
#
# ```{claims} limits
# ```
#
# ## Exercises
#
# ```{exercise-start} Recall
# :label: ex-limits-1
# ```
# A model fails on a prefix. With its attention forced to the mirror position it fails as well. What is to blame? And how
# many of the original recipe's failures are of this kind?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-limits-1
# :class: dropdown
# ```
# What follows the looking: the copied vector, the query's own embedding, or the MLP. A failure that forcing repairs is
# one of looking. The first two rows divide the failures by this; the third counts prefixes that fail only when forced.

# %% tags=["solution"]
plain = tried["original, position 5"].margin < 0
forced_too = tried["original, position 5, forced"].margin < 0
Table(
    ["failures of the original recipe", "prefixes"],
    [
        ["repaired by looking: the head's", int((plain & ~forced_too).sum())],
        ["not repaired: of what follows", int((plain & forced_too).sum())],
        ["only when forced", int((~plain & forced_too).sum())],
    ],
)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise-start} Apply
# :label: ex-limits-2
# ```
# At position 5 let any *token* stand, not only a letter. Does the model still answer the mirror letter? Which tokens
# disturb it?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-limits-2
# :class: dropdown
# ```
# `limits.wrong_letters` gives the choices for each position; the last one is replaced. Each row is a reserved character
# read at position 5; the column *forced* counts the failures when the head is made to look at the mirror.

# %% tags=["solution"]
anything = [*limits.wrong_letters(task, 5)[:-1], list(ids.values())]
plainly = limits.answers(lens, table, anything, 2)
with_force = limits.answers(lens, table, anything, 2, forced=True)
last = limits.prefixes(anything, torch.arange(limits.count(anything)))[:, -1]
rows = []
for c in "<>|":
    here = last == ids[c]
    fails = [int((each.margin[here] < 0).sum()) for each in (plainly, with_force)]
    rows.append([f"`{c}`", int(here.sum()), *fails, float(plainly.margin[here].min())])
Table(["read", "prefixes", "failures", "forced", "least margin"], rows)

# %% [markdown]
# With `<` the account fails for the first time, on some prefixes. Forced there are as many, so it is not the looking that
# has to be repaired. In training `<` stands at position 0 alone, where no letter has to be copied.
#
# ```{solution-end}
# ```
#
# ```{exercise-start} Extend
# :label: ex-limits-3
# ```
# Strings of another half-length: after `<abcd|` a model that mirrors would answer `d`. What does the account predict for
# this model, and does it happen? And after `<ab|`?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-limits-3
# :class: dropdown
# ```
# The bar of `<abcd|` stands at position 5. The head looks by position, and query 5 looks at key 2: the account predicts
# the second letter, `b`. The bar of `<ab|` stands at position 3, which in training predicts the bar and copies nothing:
# the account predicts no copying at all. Each row is a half-length, with all prefixes of it.

# %% tags=["solution"]
letter_ids = [ids[c] for c in task.alphabet]
rows = []
for n in (2, 3, 4):
    longer = [[ids["<"]], *[letter_ids] * n, [ids["|"]]]
    copies = [limits.answers(lens, table, longer, key).margin > 0 for key in (n, 2)]
    like = f"`<{task.alphabet[:n]}|`"
    rows.append([like, limits.count(longer), *(int(c.sum()) for c in copies)])
Table(["like", "prefixes", "answers the last letter", "the second letter"], rows)

# %% [markdown]
# The model has learned places, not mirrors. (For two letters the last one is the second.) With four letters the second is
# answered on nearly all prefixes, not on all: there position 4 holds a letter and position 5 the bar, which training
# never showed.
#
# ```{solution-end}
# ```
#
# **Next:** {doc}`07_attribution` asks how far cheaper estimates are from the truth.
