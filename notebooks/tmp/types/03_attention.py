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
# # Attention: where the model looks
#
# ```{opening}
# :builds: 02_training
# :needs: what attention is (queries, keys, values)
# :read: 15
# :summary: where the model looks, on its worst string too, and what remains without its parts
#
# - read an attention pattern
# - say how strongly the model attends to the mirror position on its worst string
# - say what remains when attention or the MLP is taken away, and why that depends on how
# ```
#
# To write `c` after `<abc|`, something must carry the `c` from position 3 to position 4. In a transformer only attention
# moves information between positions. This chapter looks at where the trained model's one {term}`head` attends, first on
# one string, then on all.

# %% tags=["setup"]
import circuitsvis as cv
import torch

from claimbook.claims import claim
from claimbook.show import Described, Table, say
from palindrome_lens import figures, model, notebook, training
from palindrome_lens.circuits import interventions
from palindrome_lens.circuits.patterns import distinct_contexts, mirror_attention, patterns
from palindrome_lens.circuits.tables import handed_over, tabulate
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode
from palindrome_lens.pages.tryit.weights import Weights

notebook.set_up()

# %% tags=["parameters"]
example = "<abc|cba>"
seed = 0
seeds = [0, 1, 2, 3, 4]

# %% [markdown]
# The model is the one of the last chapter: found on disk, or trained here in a few seconds if it is not there.

# %%
task = Task(half_length=(len(example) - 3) // 2)
lens = training.trained(
    task, model.ModelConfig(seed=seed), training.SOLVING.model_copy(update={"seed": seed})
).model
strings = task.strings()
tokens = encode(task, strings)
lens.to_str_tokens("<abc|")

# %% [markdown]
# ## One string
#
# How probable was each character of the string, in the model's opinion? In {numref}`fig-log-probs`, the stronger the
# red, the more probable. Point at a character to see the alternatives. The first three letters are guesses; from the bar
# on the model is sure.

# %% mystnb={"figure": {"name": "fig-log-probs", "caption": "Log-probability of each token of one string. The beginning token has no prediction and is not shown."}}
one = encode(task, [example])
with torch.no_grad():
    log_probs = lens(one)[0].log_softmax(dim=-1)
given = log_probs[:-1].gather(1, one[0, 1:, None])[:, 0]
widget = cv.logits.token_log_probs(
    one[0], log_probs, to_string=lambda i: lens.tokenizer.decode([i])
)
Described(
    widget,
    f"The tokens of {example} in colour, by the probability that the model gave to each: "
    + ", ".join(f"{c} {p:.2f}" for c, p in zip(example[1:], given.exp())),
)

# %% [markdown]
# And where does the head look ({numref}`fig-one-pattern`)? Each row of the {term}`attention pattern` is a {term}`query`:
# a position that gathers information. Each column is a {term}`key`: a position that can be looked at, never one to the
# right. A row sums to 1. The widget writes nothing beside its rows and columns: from the top they are the queries 0 to 7,
# from the left the keys 0 to 7. It calls the query "destination" and the key "source"; "Head 0" is the only head.

# %% mystnb={"figure": {"name": "fig-one-pattern", "caption": "The attention pattern on one string. Rows are queries, 0 at the top; columns are keys, 0 at the left. Rows 4 to 6, which must copy a letter, attend to where that letter stands."}}
pattern = patterns(lens, one)[0]
widget = cv.attention.attention_patterns(tokens=list(example[:-1]), attention=pattern)
seen = [
    f"query {q} to key {task.mirror_position(q)} with weight {pattern[0, q, task.mirror_position(q)]:.2f}"
    for q in task.mirrored_positions
]
Described(widget, f"Attention pattern of one head on {example}: " + ", ".join(seen))

# %% [markdown]
# ## What the model computed on the way
#
# Everything between tokens and {term}`logits <logit>` can be caught at named {term}`hooks <hook>` {cite:p}`nanda2022`.
# The original notebook listed 21 names. The table has the shape of what passes through each of them on one string. The
# first number counts strings; then comes the position, but in `attn_scores` and `pattern` the head, the query and the
# key.

# %%
_, cache = lens.run_with_cache(inputs(one))
shapes = {name: tuple(cache[name].shape) for name in model.ORIGINAL_HOOKS}
Table(["hook", "shape"], [[f"`{name}`", size] for name, size in shapes.items()])

# %% [markdown]
# A name that does not exist is answered with its neighbours:

# %%
try:
    model.activations(lens, inputs(one), ["blocks.0.hook_mlp"])
except ValueError as error:
    print(error)

# %% [markdown]
# ## All strings: the mean pattern
#
# One string is an anecdote. {numref}`fig-mean-pattern` is the mean over all of them.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-mean-pattern", "caption": "The mean attention pattern over all 17,576 strings. The anti-diagonal from (4, 3) to (6, 1) is the mirror. Rows 0 to 2 have nothing to copy and rest on the first token. No query can look at a later key."}}
attention = patterns(lens, tokens)[:, 0]
names = (
    [f"{p} {c}" for p, c in enumerate(["<", "1st", "2nd", "3rd", "|", "3rd", "2nd", "1st"])]
    if task.half_length == 3
    else [str(p) for p in range(task.n_positions)]
)
mean = attention.mean(dim=0)
allowed = torch.ones_like(mean, dtype=torch.bool).tril()
figures.heatmap(
    mean.where(allowed, torch.nan),
    rows=names,
    columns=names,
    x_title="key",
    y_title="query",
    show_values=True,
    alt="Heat map of mean attention, 8 queries by 8 keys. The darkest key of each query: "
    + ", ".join(f"{q} to {int(row.argmax())} with {row.max():.2f}" for q, row in enumerate(mean)),
)

# %% [markdown]
# A mean can hide exceptions. If the head attended elsewhere on one string in a hundred, the picture would look the same.
# With all strings at hand the exception can be looked for. For each of the three queries the table has the mean weight on
# its mirror position, the least, the string on which the least occurs, and how many different contexts (strings up to the
# query) there are.

# %%
mirrors = mirror_attention(task, attention)
rows = []
for m in mirrors:
    contexts = distinct_contexts(tokens, m.query)
    worst = f"`{strings[m.least_index]}`"
    rows.append([f"{m.query} → {m.key}", m.mean, m.least, worst, contexts])
Table(["query → mirror", "mean", "least", "on", "contexts"], rows)

# %% [markdown]
# Attention is causal, so position 4 has seen three letters and the bar, and the contexts that can differ there are as
# many as there are strings. Later positions have seen more characters, but no more *different* contexts: the
# {term}`mirrored half` adds nothing new. {doc}`04_weights` has the whole distribution, for every query and key.
#
# All of this is one trained model. The next table has the least weight on the mirror position over all strings for five
# of them, each from another seed, and for two that should fail: the model of the original recipe, and one with fresh
# weights. The last column is the mean weight over the three queries.

# %%
shape = model.ModelConfig(seed=seed)
early = training.trained(task, shape, training.ORIGINAL.model_copy(update={"seed": seed})).model
fresh = model.hooked(model.init_model(shape, task), shape, task)
trained_models = dict(zip(seeds, training.solving(task, seeds)))
others = {"original recipe": early, "fresh weights": fresh}
weights = {
    name: mirror_attention(task, patterns(lens, tokens)[:, 0])
    for name, lens in [*trained_models.items(), *others.items()]
}
means = {name: sum(m.mean for m in by_query) / len(by_query) for name, by_query in weights.items()}
Table(
    ["seed", *(f"least, {m.query} → {m.key}" for m in mirrors), "mean"],
    [[str(n), *(m.least for m in weights[n]), means[n]] for n in weights],
)


# %% tags=["hide-input"]
def least_weight(place):
    """The claim about the least weight at one query, over all models."""
    query, key = mirrors[place].query, mirrors[place].key
    least = {number: weights[number][place].least for number in seeds}
    return claim(
        f"attention.least-{query}",
        f"On every string position {query} attends to its mirror position {key} with a weight of at least {{value}}, in each of "
        f"{len(seeds)} models.",
        min(least.values()),
        checked_on=len(tokens) * len(seeds),
        cases=f"strings in {len(seeds)} models",
        control=f"by model the least is {min(least.values()):.3g} to {max(least.values()):.3g}. With the original recipe it is "
        f"{weights['original recipe'][place].least:.3g}, with fresh weights {weights['fresh weights'][place].least:.3g}.",
    )


least_weight(0)

# %% tags=["hide-input"]
least_weight(1)

# %% tags=["hide-input"]
least_weight(2)

# %% tags=["hide-input"]
claim(
    "attention.mean",
    f"The mean weight on the mirror position is at least {{value}} in each of {len(seeds)} models.",
    min(means[number] for number in seeds),
    checked_on=len(mirrors) * len(tokens) * len(seeds),
    cases=f"(string, position) pairs in {len(seeds)} models",
    control=f"the largest is {max(means[number] for number in seeds):.4g}. Fresh weights give {means['fresh weights']:.3g}, uniform attention "
    f"{sum(1 / (m.query + 1) for m in mirrors) / len(mirrors):.4g}.",
)

# %% [markdown]
# The least does not say how many strings come near it. {numref}`fig-weights` does, for the first model.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-weights", "caption": "How often each weight on the mirror position occurs, over all strings, on a logarithmic scale. Position 4 lies in the last bins; positions 5 and 6 have a tail of strings with less."}}
edges = torch.linspace(0.8, 1.0, 41)
counts = {f"{m.query} → {m.key}": torch.histogram(m.weights, edges.double()).hist for m in mirrors}
figures.lines(
    {name: torch.where(c > 0, c, torch.nan) for name, c in counts.items()},
    x=(edges[:-1] + edges[1:]) / 2,
    x_title="weight on the mirror position",
    y_title="strings",
    log_y=True,
    alt="Three curves of counts against the weight on the mirror position, from 0.8 to 1, all rising "
    "towards 1. Share of strings above 0.95: "
    + "; ".join(
        f"{m.query} → {m.key}: {100 * float((m.weights > 0.95).double().mean()):.0f} %"
        for m in mirrors
    ),
)

# %% [markdown]
# ## Taking parts away
#
# That a head attends to a place does not prove that the answer comes from there. So take the head away and see what
# remains. {term}`Mean ablation <mean ablation>` replaces its output by the mean over all strings, position by position:
# the model gets a value of the usual kind that says nothing about the string at hand.
# {term}`Zero ablation <zero ablation>` replaces it by zeros. The {term}`MLP` is treated likewise.
#
# Each row of the table is the model with one part replaced in one of these ways, the last row the model as it is. "Right
# at 4" is the share of strings with the right letter at position 4; "solved" counts the strings without an error from the
# bar on.

# %% tags=["setup"]
parts = {"attention": "blocks.0.hook_attn_out", "MLP": "blocks.0.hook_mlp_out"}
how = {"mean": interventions.mean_ablate, "zero": interventions.zero_ablate}
ablated = {(part, by): how[by](lens, tokens, parts[part]) for part in parts for by in how}
ablated["nothing", "–"] = training.evaluate(lens, tokens)
mirrored = list(task.mirrored_positions)

# %%
say(no_mirror=2 * task.floor())
rows = []
for (part, by), result in ablated.items():
    right = result.correct[:, mirrored].double().mean(dim=0).tolist()
    name = f"{part}, by {by}" if by in how else part
    rows.append(
        [
            name,
            result.mean_loss,
            *(f"{100 * r:.1f} %" for r in right),
            int(result.solved(task).sum()),
        ]
    )
Table(["removed", "loss (nats)", *[f"right at {p}" for p in mirrored], "solved"], rows)


# %% [markdown]
# Without attention the model is right on one mirrored letter in 26. That number is no finding: an answer that does not
# depend on the mirror position is right on exactly one string in 26, whatever it is. The finding is in the rows of the
# MLP: with an MLP that knows nothing of the string, this model is right on about a quarter of the letters. How does
# that depend on the seed? Each row of the table is one, with the MLP at its mean and at zero.

# %%
def share_right(result):
    return float(result.correct[:, mirrored].double().mean())


no_attention = ablated["attention", "mean"]
no_mlp = {
    by: {n: share_right(how[by](lens, tokens, parts["MLP"])) for n, lens in trained_models.items()}
    for by in how
}
Table(
    ["seed", *(f"MLP, by {by}" for by in how)],
    [[str(n), *(f"{100 * no_mlp[by][n]:.2f} %" for by in how)] for n in seeds],
)

# %% tags=["hide-input"]
claim(
    "attention.mlp",
    f"With the MLP at its mean at most {{value}} of the mirrored letters are right, in each of {len(seeds)} models.",
    max(no_mlp["mean"].values()),
    checked_on=len(mirrored) * len(tokens) * len(seeds),
    cases=f"mirrored letters in {len(seeds)} models",
    control=f"in the worst it is {100 * min(no_mlp['mean'].values()):.3g} %; with zeros in place of the mean at most "
    f"{100 * max(no_mlp['zero'].values()):.3g} %. That a model uses its MLP does not say that the task needs one (mlp.not-needed).",
    style="percent",
)

# %% [markdown]
# We expected the MLP to matter less: attention carries the letter, and the path straight from the head to the output
# might suffice. In these models it does not. They write the letter in a code that their unembedding reads badly, and the
# MLP translates it. Whether the *task* needs that is another question: {doc}`09_mlp` trains models without an MLP, and
# most of them solve it.
#
# The same can be done by hand, on one string. The panel needs the means, of what the MLP writes and of what each key
# hands to each query: its weight times its value, after the output matrix. The next cell stores them with this page, and
# answers with how many numbers it stored.

# %%
n = task.n_positions
handed = torch.zeros(n, n, lens.cfg.d_model, dtype=torch.float64)
table = tabulate(lens)
for query in range(n):
    each = handed_over(table, inputs(tokens), query).sum(dim=1)
    handed[query, : query + 1] = each.mean(dim=0)
written = model.activations(lens, inputs(tokens), [parts["MLP"]])[parts["MLP"]]
Weights("means", {"handed": handed, "mlp": written.mean(dim=0)}, decimals=5)

# %% [markdown]
# Switch off attention, the MLP, or what is read at one position, and see what the model answers. The panel's last group,
# its {term}`latents <latent>`, comes from {doc}`18_latents`: they are numbers into which what the MLP writes is taken
# apart there, and this chapter makes no use of them.
#
# ```{tryit}
# :start: <abc|cba>
# ```
#
# **What could be wrong with this?** Three things. First, the ablations disagree, and neither is the truth: in loss zeros
# cost more for the MLP, and the mean does for attention. Both put in values unlike those that the final {term}`LayerNorm`
# and the unembedding received in training. And without attention the model does not guess, it is wrong with confidence:
# it pays more than the {glue:text}`no-mirror` nats of a guess.
#
# Second, that all is lost without the head does not show that it is enough to fetch *one* letter. For that one has to
# swap what is read at the mirror position alone, and see the answer follow ({doc}`05_mechanism`,
# {doc}`07_attribution`).
#
# Third, the figures of this page show one trained model. The claims hold for five, and the numbers differ between them.
#
# ## How sure is the model?
#
# The {term}`margin` of a prediction is the logit of the right token minus the best other.

# %% tags=["hide-input"]
margins = {
    number: float(interventions.margins(lens, tokens)[:, task.half_length :].min())
    for number, lens in trained_models.items()
}
early_margin = float(interventions.margins(early, tokens)[:, task.half_length :].min())
claim(
    "attention.least-margin",
    f"The smallest margin of a determined character, over all strings of {len(seeds)} models, is {{value}} nats.",
    min(margins.values()),
    checked_on=(task.n_positions - task.half_length) * len(tokens) * len(seeds),
    cases=f"determined characters in {len(seeds)} models",
    control=f"by model it is {min(margins.values()):.3g} to {max(margins.values()):.3g}; with the original recipe {early_margin:.3g}, a wrong answer.",
)

# %% [markdown]
# ## What this chapter claims
#
# ```{claims} attention
# ```
#
# ## Exercises
#
# ```{exercise-start} Recall
# :label: ex-attention-1
# ```
# The mean weight of query 5 on its mirror position is 0.98. Someone concludes that the head attends there on 98 % of all
# strings. What is wrong?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-attention-1
# :class: dropdown
# ```
# A mean of weights is no share of strings. All strings could have weight 0.98, or 98 in 100 the weight 1 and the others
# 0. Counting the
# strings above some weights tells these apart, here for each query:

# %% tags=["solution"]
cuts = (0.5, 0.9, 0.98)
Table(
    ["query", "mean", *[f"> {c}" for c in cuts], "least"],
    [[m.query, m.mean, *[int((m.weights > c).sum()) for c in cuts], m.least] for m in mirrors],
)


# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise-start} Apply
# :label: ex-attention-2
# ```
# Ablate attention at query position 5 alone: write an `edit` for `interventions.evaluate_with` that replaces only that
# position by its mean. Which characters go wrong?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-attention-2
# :class: dropdown
# ```
# Only the letter predicted at position 5. The table counts right answers over all strings, for each determined position.

# %% tags=["solution"]
def edit(value):
    changed = value.clone()
    changed[:, 5] = value[:, 5].mean(dim=0)
    return changed


one_gone = interventions.evaluate_with(lens, tokens, parts["attention"], edit)
right = one_gone.correct.sum(dim=0).tolist()
Table(
    ["position", "right answers"],
    [[p, right[p]] for p in range(task.half_length, task.n_positions)],
)

# %% [markdown]
# In a model with one layer nothing that happens at one position after attention reaches another. (The mean is taken
# within each batch that the model reads, 4,096 strings. It hardly differs from the mean over all.)
#
# ```{solution-end}
# ```
#
# ```{exercise-start} Extend
# :label: ex-attention-3
# ```
# With its attention replaced by the mean, the model is right on exactly one mirrored letter in 26. Does it always answer
# the same letter?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-attention-3
# :class: dropdown
# ```
# Look at which letters it ever gets right, at each position. At position 4 nothing is left that differs between strings:
# the bar is read, and attention says the same each time. One row for each of the three positions:

# %% tags=["solution"]
Table(
    ["position", "letters that it ever gets right", "answers right"],
    [
        [
            p,
            len({s[p + 1] for s, ok in zip(strings, no_attention.correct[:, p]) if ok}),
            int(no_attention.correct[:, p].sum()),
        ]
        for p in mirrored
    ],
)

# %% [markdown]
# One letter at position 4. At 5 and 6 the answer may depend on the letter read there, which says nothing of the letter
# wanted: whatever the rule, as long as it answers a letter, it is right on one string in 26.
#
# ```{solution-end}
# ```
#
# ```{exercise-start} Recall
# :label: ex-attention-4
# ```
# In row 0 of {numref}`fig-mean-pattern` all weight is on one cell. Why?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-attention-4
# :class: dropdown
# ```
# Position 0 sees only itself, and the weights of a row sum to 1.
#
# ```{solution-end}
# ```
#
# **Next:** {doc}`04_weights` opens the head: why it looks there, and what it fetches.
