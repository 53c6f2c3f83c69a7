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
# # Mechanism: a hypothesis that must survive every swap
#
# ```{opening}
# :builds: 04_weights
# :read: 15
# :summary: whether the letter at the mirror position alone explains the answers, and which short rule the weights implement
#
# - state as a hypothesis which letters the answer depends on
# - test it by swapping everything else, with every donor that it allows
# - write the model's rule in one line, and say which weights implement which part of it
# ```
#
# The last chapter read the weights: the head looks at the {term}`mirror position`, and fetches the letter that stands
# there. Is that all the answer depends on? A hypothesis that says so must survive every swap of what it calls irrelevant.
#
# The answer at a {term}`query` is split into four nodes:
#
# - `direct`, the embedding at the query;
# - `pattern`, its attention weights;
# - `mirror`, the value read at the mirror position;
# - `others`, the values read at all other keys.
#
# Causal scrubbing {cite:p}`chan2022` takes everything that a hypothesis calls irrelevant from another string, the
# *donor*, as {term}`resample ablation` does for one part. The method usually samples donors. Here all of them are
# enumerated.

# %% tags=["setup"]
import math
from typing import Any

import torch

from claimbook.claims import claim
from claimbook.show import Table, say
from palindrome_lens import figures, model, notebook, training
from palindrome_lens.circuits import scrubbing, tables, weights
from palindrome_lens.circuits.subject import solved, subject
from palindrome_lens.circuits.scrubbing import NODES, Group, recovered
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode

notebook.set_up()

# %% tags=["parameters"]
seed = 0
seeds = [0, 1, 2, 3, 4]
draws = 128

# %% tags=["setup"]
task = Task()
lens = training.trained(
    task, model.ModelConfig(seed=seed), training.SOLVING.model_copy(update={"seed": seed})
).model
tokens = encode(task, task.strings())
solver = subject(task, lens)

# %% [markdown]
# ## The ladder
#
# Each hypothesis says what a donor must share with the string. From naive to final:
#
# - *nothing matters*: all four nodes come from one donor, any string;
# - *the letter beside*: the donor shares the letter beside the mirrored one;
# - *all but the mirrored letter*: the donor shares the two other letters;
# - *the value at the mirror*: `mirror` stays the string's own, and the other three nodes come from one donor, any string;
# - *everything*: the model itself.
#
# {term}`Loss recovered` is 0 % for the first and 100 % for the last. {numref}`fig-ladder` has the loss itself.

# %% tags=["setup"]
every = frozenset(range(task.half_length))
none: frozenset[int] = frozenset()


def ladder(target):
    beside = frozenset([(target + 1) % task.half_length])
    rest = Group(("direct", "pattern", "others"), none)
    return {
        "nothing matters": [Group(NODES, none)],
        "the letter beside": [Group(NODES, beside)],
        "all but the mirrored letter": [Group(NODES, every - {target})],
        "the value at the mirror": [Group(("mirror",), every), rest],
        "everything (the model)": [Group(NODES, every)],
    }


found = {
    q: {
        name: scrubbing.scrub(solver, q, hypothesis)
        for name, hypothesis in ladder(task.slot_of(q)).items()
    }
    for q in task.mirrored_positions
}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-ladder", "caption": "Loss under each hypothesis, at the three queries. Only the last two rungs, the mirror value alone and the whole model, bring it down."}}
names = list(ladder(0))
figures.bars(
    {f"query {q}": [r.loss for r in rungs.values()] for q, rungs in found.items()},
    labels=names,
    x_title="",
    y_title="loss (nats)",
    alt="Three bars of loss, one for each query, for five hypotheses; the last two are too low to see. "
    + "; ".join(
        f"{name}: {min(r[name].loss for r in found.values()):.3g} to "
        f"{max(r[name].loss for r in found.values()):.3g} nats"
        for name in names
    ),
)


# %% [markdown]
# The table has the same in numbers, one row for each hypothesis in the order of the ladder: the loss recovered, the
# share of right answers, and the loss of the worst string, in nats. Each number is the worst of the three queries.

# %%
def back(rungs, name):
    random, whole = rungs["nothing matters"].loss, rungs["everything (the model)"].loss
    return 100 * round(recovered(rungs[name].loss, random, whole), 5) + 0.0


rows = []
for name in names:
    each = [rungs[name] for rungs in found.values()]
    least = min(back(rungs, name) for rungs in found.values())
    right = min(100 * r.right for r in each)
    rows.append([name, f"{least:.3f} %", f"{right:.4g} %", max(r.worst for r in each)])
Table(["what matters", "recovered", "right", "worst loss"], rows)

# %% [markdown]
# In the last column the loss of a string is its mean over the donors. The mean evens out what single donors do. So the
# worst string can fare a little better under the fourth hypothesis than in the model itself, where nothing is averaged.
#
# The final hypothesis is the fourth: the answer is the letter read at the mirror position. Which string the weights, the
# other values and the embedding come from makes almost no difference. We expected to need the pattern or the direct
# path of the same string; neither is needed. The first three hypotheses do not know the letter and must be right once
# in 26, no more; the fourth is the one that could have failed.
#
# ```{margin}
# With "nothing matters" the donor's letter is answered with confidence, and wrongly in 25 of 26 cases. That is why the loss is
# far above the ln 26 of a guess.
# ```

# %% tags=["setup"]
final = [rungs["the value at the mirror"] for rungs in found.values()]

# %% tags=["hide-input"]
turned = [Group(("mirror",), none), Group(("direct", "pattern", "others"), every)]
turned_loss = {q: scrubbing.scrub(solver, q, turned).loss for q in found}
excess = max(
    r["the value at the mirror"].loss - r["everything (the model)"].loss for r in found.values()
)
claim(
    "mechanism.excess",
    f"With seed {seed} and all else from any one donor, the mean loss at a query is at most {{value}} nats above the model's own.",
    excess,
    checked_on=sum(r.cases for r in final),
    cases="combinations of own and donor letters",
    control="the other way round, with the value at the mirror from a donor and all else kept, it is at least "
    f"{min(turned_loss[q] - r['everything (the model)'].loss for q, r in found.items()):.4g} nats above.",
)

# %% [markdown]
# ### A donor for each node
#
# The three swapped nodes shared one donor, so that they always fitted each other. The strict form of the hypothesis
# swaps each by itself: weights from one string, other values from a second, embedding from a third. At a query that
# makes up to 26⁷ combinations, eight billion. These, and those of one exercise, are drawn and not enumerated: for every
# string, {glue:text}`draws` independent triples of donors. The table has one row for each query: how many cases were
# drawn, how many answers were wrong, how far the mean loss lies above the model's own, and the loss of the worst
# string.

# %%
swapped = [node for node in NODES if node != "mirror"]
apart = [Group(("mirror",), every), *(Group((node,), none) for node in swapped)]
drawn = {q: scrubbing.scrub_drawn(solver, q, apart, draws) for q in task.mirrored_positions}
rows = []
for q, r in drawn.items():
    above = r.loss - found[q]["everything (the model)"].loss
    rows.append([q, r.cases, round((1 - r.right) * r.cases), above, r.worst])
Table(["query", "cases", "wrong", "loss above the model's", "worst loss"], rows)

# %% tags=["hide-input"]
tried = sum(r.cases for r in drawn.values())
failed = sum(round((1 - r.right) * r.cases) for r in drawn.values())
claim(
    "mechanism.apart",
    f"With seed {seed} and a donor of its own for each of the three other nodes, {{value}} answers are wrong.",
    failed,
    checked_on=tried,
    cases="drawn combinations of a string and three donors",
    control="this is a sample: with no failure in it the share of failures among all combinations is below "
    f"{-math.log(0.05) / tried:.2g} at 95 % confidence. The mean loss is at most "
    f"{max(r.loss - found[q]['everything (the model)'].loss for q, r in drawn.items()):.2g} nats above the model's.",
)

# %% [markdown]
# ## From the model to its rule
#
# If that is the mechanism, the model can be replaced by something shorter, one step at a time:
#
# - *hard pattern*: attention looks at the mirror position and nowhere else;
# - *one code*: what it fetches there is looked up as the sum of two vectors, one for the letter, the same at all three
#   positions, and one for the position;
# - *one letter table*: the position's vector is left out too: what is fetched is one vector for each letter, wherever it
#   stands;
# - *MLP table*: *one code*, and what the MLP writes is looked up too, one row for each letter at each query;
# - *answer table*: no network at all: one row of log-probabilities for each letter at each query, the mean over the
#   strings that share it.
#
# The last of these is a lookup table with 78 rows, not a program: it says what is answered and not how. The rule
# comes after it.
#
# Each row of the table is one of these steps, the first the model itself. *Same* counts the strings with the model's
# most probable character at all three queries. The {term}`margin` is how far the right letter's {term}`logit` lies
# above the best other. The table has the least margin of each step on any string, and how far a step's margin is from
# the model's at most. Nearness in probability would ask no more than being right and sure: the model gives the right
# letter nearly all of it.

# %%
queries = task.mirrored_positions
written = [scrubbing.simplified(solver, q) for q in queries]


def margins(step):
    """The margin of the right letter, for each string and query."""
    by_query = []
    for q, log_probs in zip(queries, (w[step] for w in written)):
        right = log_probs.gather(1, tokens[:, [q + 1]])
        rival = log_probs.scatter(1, tokens[:, [q + 1]], -torch.inf).amax(dim=1, keepdim=True)
        by_query.append(right - rival)
    return torch.cat(by_query, dim=1)


agree, margin_off, least_margin, rows = {}, {}, {}, []
for step in scrubbing.STEPS:
    agree[step] = int(
        scrubbing.agreeing([w["model"] for w in written], [w[step] for w in written]).sum()
    )
    least_margin[step] = float(margins(step).min())
    margin_off[step] = float((margins(step) - margins("model")).abs().max())
    off = "0" if step == "model" else f"{margin_off[step]:.2f}"
    rows.append([step, agree[step], f"{least_margin[step]:.2f}", off])
say(
    draws=draws,
    margin_off=f"{margin_off['answer table']:.2f}",
    margin_least=f"{least_margin['model']:.1f}",
)
Table(["step", "same", "least margin", "margin off by, at most"], rows)

# %% [markdown]
# The hard pattern and the answer table agree with the model everywhere. So does one code for all three positions, as
# {doc}`04_weights` suggests: the fetched vectors of a letter point the same way, once the mean over the letters is
# taken away. The MLP table serves as well. In margin the steps are not the model: the answer table is off by up to
# {glue:text}`margin-off` nats, where the model's least margin is {glue:text}`margin-least`. So what the rest of the
# string adds moves how sure an answer is, and never which.
#
# The mean over the letters is different at each position, and it matters. The one letter table, which averages it over
# the positions too, fails on hundreds of strings.

# %% tags=["hide-input"]
claim(
    "mechanism.lookup",
    f"With seed {seed}, a lookup table with one row for each mirrored letter at each query gives the model's answers at all three queries on "
    "{value} strings.",
    agree["answer table"],
    checked_on=len(tokens),
    control=f"one table of values for all positions, without the mean of each position, does so on {agree['one letter table']:,}. The answer "
    f"table's margins are off by up to {margin_off['answer table']:.2g} nats; the model's least margin is {least_margin['model']:.2g}.",
)


# %% [markdown]
# ### The rule, and the weights that implement it
#
# The table has 78 rows because it does not know what they have in common. The rule does. It has one line. (That it is
# right on every string is a check of this code: the strings were made by it.)

# %%
def answer(string, position):
    """The character that follows a position of the mirrored half."""
    return string[2 * task.half_length + 1 - position]


strings = task.strings()
obeyed = sum(answer(s, q) == s[q + 1] for s in strings for q in task.mirrored_positions)
Table(["", "answers"], [["the rule is right on", obeyed], ["of", len(strings) * 3]])

# %% [markdown]
# The rule has two parts, and each is found in other weights. The *result* of the subtraction
# `2 * half_length + 1 - position` is stored in the scores, one best key for each of three queries: that key must win on
# every string. No weights subtract, and for longer strings these would say nothing. The indexing `string[...]` is done
# by the value, the MLP and the unembedding together: what is read at the key must come out as the same letter. Both can
# be checked on the tables of {doc}`04_weights` alone, without running a string. For each model: the least lead of the
# mirror key's score over the next one, and the share of (letter at the query, letter at the mirror) cases that are
# copied when all weight is on the mirror key. Then what the two amount to: the strings on which the model with all
# weight on the mirror key, the hard pattern, gives its own answers. The last two rows are the half-trained model of the
# original recipe and a model with fresh weights.

# %%
config = model.ModelConfig(seed=seed)
fresh = model.hooked(model.init_model(config, task), config, task)
solvers = solved(task, seeds)
original = training.ORIGINAL.model_copy(update={"seed": seed})
early = training.trained(task, config, original).model
others = {"original recipe": subject(task, early), "fresh weights": subject(task, fresh)}
rows, least_leads, copied_shares, hard_same = [], [], [], []
for name, other in {**solvers, **others}.items():
    steps = [scrubbing.simplified(other, q) for q in queries]
    hard = [[step[kind] for step in steps] for kind in ("model", "hard pattern")]
    hard_same.append(int(scrubbing.agreeing(*hard).sum()))
    leads = [weights.advantage(other, q) for q in queries]
    copied = [weights.share_copied(weights.copying(other, q)) for q in queries]
    least_leads.append(min(float(lead.min()) for lead in leads))
    copied_shares.append(min(copied))
    rows.append([str(name), least_leads[-1], f"{100 * copied_shares[-1]:.4g} %", hard_same[-1]])
Table(["seed", "least lead", "copied, worst query", "hard pattern agrees"], rows)

# %% tags=["hide-input"]
holds = [lead > 0 and share == 1 for lead, share in zip(least_leads, copied_shares)]
claim(
    "mechanism.rule",
    f"Both parts of the rule, the key at 2h + 1 − p winning at each of the three queries and the letter there being copied, are in the weights without exception in {{value}} of {len(seeds)} "
    "models.",
    sum(holds[: len(seeds)]),
    checked_on=len(seeds) * len(queries) * len(tokens),
    cases="(model, string, query) triples for the scores, and 1,378 cases for each model for the copying",
    control=f"the half-trained model of the original recipe leads by {least_leads[-2]:.2g} and copies {100 * copied_shares[-2]:.3g} %, fresh "
    f"weights by {least_leads[-1]:.3g} and {100 * copied_shares[-1]:.3g} %; the {len(seeds)} trained ones by {min(least_leads[: len(seeds)]):.3g} and more. With all "
    f"attention on the mirror they give their own answers on {min(hard_same[: len(seeds)]):,} strings.",
)

# %% [markdown]
# ## Other seeds
#
# The ladder, too, was climbed in one trained model. Another seed starts from other weights and sees other batches.
# Three of the rungs and the lookup table are tried on five models, and on one with fresh weights. Each row of the table
# is a model: the least attention weight on a mirror position, over all strings; under the fourth hypothesis, the share
# of right answers and the loss recovered at the worst query; and the strings on which the lookup table gives the
# model's answers. The last row says what a model is like that has learned nothing; it answers few letters with or
# without a swap. The reverse of the hypothesis, where the value at the mirror alone comes from a donor, was tried as
# well: its numbers are the control of the claim.

# %% tags=["setup"]
rungs_again = ("nothing matters", "the value at the mirror", "everything (the model)")


def scrubbed(candidate):
    """The three rungs at each query."""
    return {
        q: {
            name: scrubbing.scrub(candidate, q, ladder(task.slot_of(q))[name])
            for name in rungs_again
        }
        for q in queries
    }


# %% tags=["setup"]
def surviving(candidate):
    """The share of own answers that survive when the mirror value alone is a donor's."""
    return max(scrubbing.scrub(candidate, q, turned).right for q in queries)


# %% tags=["setup"]
def looked_up(candidate):
    """The least weight on a mirror position, and on how many strings the lookup table agrees."""
    at_mirror = [
        tables.pattern(candidate.tables, candidate.read, q)[:, :, task.mirror_position(q)]
        for q in queries
    ]
    steps = [scrubbing.simplified(candidate, q) for q in queries]
    same = scrubbing.agreeing(*([step[n] for step in steps] for n in ("model", "answer table")))
    return min(float(weight.min()) for weight in at_mirror), int(same.sum())


# %%
by_model: dict[Any, Any] = {**solvers, "fresh weights": subject(task, fresh)}
rungs_of = {name: scrubbed(candidate) for name, candidate in by_model.items()}
looked = {name: looked_up(candidate) for name, candidate in by_model.items()}
survive = {number: surviving(other) for number, other in solvers.items()}
kept_right = {
    name: min(rungs["the value at the mirror"].right for rungs in by_query.values())
    for name, by_query in rungs_of.items()
}
rows = []
for name, by_query in rungs_of.items():
    least = min(back(rungs, "the value at the mirror") for rungs in by_query.values())
    recovered_share = f"{least:.3f} %" if name != "fresh weights" else "–"
    rows.append(
        [
            str(name),
            looked[name][0],
            f"{100 * kept_right[name]:.4g} %",
            recovered_share,
            looked[name][1],
        ]
    )
Table(["seed", "least weight on a mirror", "right", "recovered", "table agrees"], rows)

# %% tags=["hide-input"]
cases = [r["the value at the mirror"] for s in seeds for r in rungs_of[s].values()]
claim(
    "mechanism.right",
    f"With the value at the mirror position kept, and all else from any one donor, {{value}} of the answers are right in the worst of {len(seeds)} "
    "models.",
    min(kept_right[number] for number in seeds),
    checked_on=sum(r.cases for r in cases),
    cases="(model, own letter, donor letters) combinations",
    control="the other way round, with the value at the mirror from a donor and all else kept, at most "
    f"{100 * max(survive.values()):.4g} % keep their answer, of which {100 / len(task.alphabet):.4g} % are donors with the same letter.",
    tolerance=0,
    style="percent",
)

# %% [markdown]
# In these five models the mechanism is what the training finds, not what one seed found. How sharply the head looks
# differs between them.
#
# **What could be wrong with this?** A swap might succeed because nothing can fail it. That the third rung is right once
# in 26 is forced: it does not know the letter. What could have failed is the fourth rung, and its reverse: when the
# value at the mirror alone is swapped, the answer must go ({doc}`07_attribution` follows it).
#
# The final rung is enumerated with one donor for three nodes. With a donor for each, the combinations were sampled, and
# a sample can miss what is rare. It was drawn for one seed. And five seeds of one shape and one recipe are not all
# models: a wider one, or one with two heads, may share the work otherwise. The lookup table and the rule say *what* is
# computed at the grain of letters. They do not say that the parts of the MLP have a meaning of their own. The ladder
# has no rung below the MLP, because below it there is no single hypothesis: the value at the mirror and
# {claim}`mlp.suffice` neurons or fewer keep every answer, but many sets of neurons do ({doc}`09_mlp`).
#
# ## What this chapter claims
#
# ```{claims} mechanism
# ```
#
# ## Exercises
#
# ```{exercise-start} Recall
# :label: ex-mechanism-1
# ```
# Why are four letters enumerated for the fourth hypothesis, not six? And which slots does `direct` depend on at query 4?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-mechanism-1
# :class: dropdown
# ```
# The loss depends on the string's mirrored letter alone, and on the three letters of the donor: 26⁴ cases at each query.
# At query 4 `direct` depends on no slot: the bar stands there in every string.
#
# ```{solution-end}
# ```
#
# ```{exercise-start} Apply
# :label: ex-mechanism-2
# ```
# Add a rung to the ladder: the attention weights are the string's own, and so is nothing else. What does it recover, and
# why?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-mechanism-2
# :class: dropdown
# ```
# `pattern` keeps all its letters, and the other three nodes come from one donor. Three own letters and three of the donor
# make 26⁶ cases, so eight donors are drawn for each string. The table has the one new rung.

# %% tags=["solution"]
looks = [Group(("pattern",), every), Group(("direct", "mirror", "others"), none)]
r = scrubbing.scrub_drawn(solver, 4, looks, draws=8)
random, whole = found[4]["nothing matters"].loss, found[4]["everything (the model)"].loss
share = round(recovered(r.loss, random, whole), 3) + 0.0
Table(
    ["what matters", "recovered", "right", "cases"],
    [["the weights", f"{100 * share:.1f} %", f"{100 * r.right:.4g} %", r.cases]],
)

# %% [markdown]
# Nothing, at query 4. The weights say where to look, and they say nearly the same on every string: they do not carry the
# letter.
#
# ```{solution-end}
# ```
#
# ```{exercise-start} Extend
# :label: ex-mechanism-3
# ```
# The half-trained model of the original recipe: is it the same mechanism, only weaker? Scrub it under the final
# hypothesis.
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-mechanism-3
# :class: dropdown
# ```
# The same enumeration with the other model's tables: the loss recovered, and the share of right answers under the final
# hypothesis and in the whole model, at each query.

# %% tags=["solution"]
half_trained = subject(task, early)
rows = []
for q in task.mirrored_positions:
    rungs = {
        name: scrubbing.scrub(half_trained, q, hypothesis)
        for name, hypothesis in ladder(task.slot_of(q)).items()
        if name in ("nothing matters", "the value at the mirror", "everything (the model)")
    }
    kept = [rungs[name].right for name in ("the value at the mirror", "everything (the model)")]
    least = back(rungs, "the value at the mirror")
    rows.append([q, f"{least:.1f} %", *(f"{100 * part:.1f} %" for part in kept)])
Table(["query", "recovered", "right, scrubbed", "right, whole"], rows)

# %% [markdown]
# By this test its answers come from the same place already: the letter at the mirror. The half-trained model is wrong on
# more strings, and scrubbing adds hardly any to them.
#
# ```{solution-end}
# ```
#
# **Next:** {doc}`06_limits` gives the model strings that it was never shown.
