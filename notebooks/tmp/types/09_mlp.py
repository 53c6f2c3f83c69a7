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
# # The MLP, opened: many parts, hardly any of them needed
#
# ```{opening}
# :builds: 08_circuits
# :needs: least squares
# :read: 15
# :summary: what the MLP adds to a linear map, what its neurons read and write, and which sets of them suffice
#
# - say how much of the MLP's work a linear map can do, and what only the ReLU does
# - say what a neuron reads and writes, and why that does not make it a part of the circuit
# - find sets of neurons that suffice, and say why none of them is *the* circuit
# ```
#
# The MLP writes at least {claim}`attribution.mlp-share` of the {term}`lead` of an answer, in the worst of five models
# ({doc}`07_attribution`). So far it was one node, kept or replaced as
# a whole. {doc}`08_circuits` says that no circuit without this node is right on every string. That is a statement at
# one *grain*: it says nothing about the 64 neurons inside. Here they are taken one by one, in pairs, and in sets, in
# five models of different seeds.

# %% tags=["setup"]
import math
import random
from itertools import combinations
from typing import Any

import torch

from claimbook.claims import claim
from claimbook.show import Table, say
from palindrome_lens import figures, notebook, training
from palindrome_lens.circuits import mlp
from palindrome_lens.circuits.subject import solved, subject
from palindrome_lens.model import ModelConfig
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode, vocabulary

notebook.set_up()

# %% tags=["parameters"]
seeds = [0, 1, 2, 3, 4]
many_seeds = list(range(10))
orders = 4
draws = 8
deals = 3

# %% tags=["setup"]
task = Task()
tokens = encode(task, task.strings())
queries = list(task.mirrored_positions)
solvers = solved(task, seeds)
models = {seed: solver.model for seed, solver in solvers.items()}
model_shape = ModelConfig()
n_answers = len(queries) * len(tokens)
n_neurons = model_shape.d_mlp


def sites_of(solver, stream="whole"):
    """The MLP at each query that predicts a mirrored letter."""
    return [mlp.site(solver, q, stream) for q in queries]


sites = {seed: sites_of(solver) for seed, solver in solvers.items()}


# %% [markdown]
# ## How much of it is linear?
#
# The MLP reads 16 numbers and writes 16. Take its place by an affine map of the same numbers: a matrix and a constant,
# fitted by least squares to what the MLP writes on all strings, one map for each query. A map like this has no neurons
# and no ReLU. Each row of the table is a model: how much of the MLP's variance the map explains, the share of right
# answers with the map, with one map for all three queries, and with a constant (the mean) in place of a map.
#
# A map of 16 numbers has much room for 26 letters, so that being right may show little. The last two columns have the
# {term}`control`: the map must write for each letter what the MLP writes for *another* one, the letters dealt out anew
# {glue:text}`deals` times. If the map were right only because there is room, it would be right here as well.

# %%
def share_right(results):
    return float(torch.stack([r.right for r in results]).double().mean())


maps, shared, constant = {}, {}, {}
for seed, lens in models.items():
    maps[seed] = [mlp.affine(lens, [place]) for place in sites[seed]]
    shared[seed] = share_right(mlp.affine(lens, sites[seed]).answers)
    nothing = torch.zeros(n_neurons, dtype=torch.bool)
    constant[seed] = share_right([mlp.answers(lens, place, nothing) for place in sites[seed]])
say(deals=deals)
letters_dealt = [random.Random(i).sample(range(26), 26) for i in range(deals)]
senseless = {
    seed: [
        mlp.affine(lens, [mlp.dealt(task, place, q, order)])
        for place, q in zip(sites[seed], queries)
        for order in letters_dealt
    ]
    for seed, lens in models.items()
}
own_map = {seed: share_right([fit.answers[0] for fit in maps[seed]]) for seed in seeds}
explained, by_room, right_by_room = {}, {}, {}
for seed in seeds:
    explained[seed] = sum(fit.explained for fit in maps[seed]) / len(queries)
    by_room[seed] = sum(fit.explained for fit in senseless[seed]) / len(senseless[seed])
    right_by_room[seed] = share_right([fit.answers[0] for fit in senseless[seed]])
rows = []
for seed in seeds:
    shares = [own_map[seed], shared[seed], constant[seed], right_by_room[seed]]
    explains = [explained[seed], by_room[seed]]
    rows.append([str(seed), *explains, *(f"{100 * share:.2f} %" for share in shares)])
say(
    explained_least=min(explained.values()),
    explained_most=max(explained.values()),
    room_least=min(by_room.values()),
    room_most=max(by_room.values()),
    right_room_least=f"{100 * min(right_by_room.values()):.0f} %",
    right_room_most=f"{100 * max(right_by_room.values()):.0f} %",
)
headings = ["map", "letters dealt", "map per query", "one map", "constant", "dealt, per query"]
Table(
    ["seed", *(f"{h}: variance" for h in headings[:2]), *(f"{h}: right" for h in headings[2:])],
    rows,
)

# %% [markdown]
# A map for each query explains {glue:text}`explained-least` to {glue:text}`explained-most` of what the MLP writes, and
# nearly every answer stays right. With the letters dealt out, a map explains {glue:text}`room-least` to
# {glue:text}`room-most` and is right in {glue:text}`right-room-least` to {glue:text}`right-room-most` of the cases. So
# part of the translation is linear, more than the room of 16 dimensions gives by itself; and being right alone shows
# less than it seems to. What the map misses a model needs to be *sure* of its answers. Loss and least {term}`margin`,
# with the MLP and with the maps:

# %%
rows, least_margins, dearer = [], {}, []
for seed, lens in models.items():
    every = torch.ones(n_neurons, dtype=torch.bool)
    whole = [mlp.answers(lens, place, every) for place in sites[seed]]
    by_map = [fit.answers[0] for fit in maps[seed]]
    ends = [min(float(r.margin.min()) for r in results) for results in (whole, by_map)]
    losses = [sum(float(r.loss.mean()) for r in rs) / len(rs) for rs in (whole, by_map)]
    least_margins[seed] = ends
    dearer.append(losses[1] / losses[0])
    rows.append([str(seed), *losses, *ends])
say(dearer_least=f"{min(dearer):.0f}", dearer_most=f"{max(dearer):.0f}")
Table(["seed", "loss, MLP", "loss, map", "least margin, MLP", "least margin, map"], rows)

# %% [markdown]
# With the maps the loss is {glue:text}`dearer-least` to {glue:text}`dearer-most` times as large, and still small; the
# least margin is mostly gone. So the MLP is a translator, and a part of its work is linear: it turns the code in which
# the head hands over a letter into the code that the {term}`unembedding` reads. The bend of its neurons, the ReLU,
# makes the answers sure.

# %% tags=["hide-input"]
claim(
    "mlp.affine",
    f"With an affine map of the same input in place of the MLP, one for each query, at least {{value}} of the answers stay right "
    f"in each of {len(seeds)} models, and all of them in {sum(share == 1 for share in own_map.values())}.",
    min(own_map.values()),
    checked_on=n_answers * len(seeds),
    cases="(model, string, query) triples",
    control=f"with the letters dealt out anew, so that the map must write another letter's output, {100 * min(right_by_room.values()):.3g} to "
    f"{100 * max(right_by_room.values()):.3g} % are right; with a constant in its place {100 * min(constant.values()):.3g} to {100 * max(constant.values()):.3g} % stay right. The "
    f"least margin with the map is {min(m for _, m in least_margins.values()):.2g} to {max(m for _, m in least_margins.values()):.2g} nats, "
    f"with the MLP {min(m for m, _ in least_margins.values()):.2g} to {max(m for m, _ in least_margins.values()):.2g}.",
    style="percent",
)

# %% [markdown]
# ## Is it needed?
#
# An MLP that could be replaced by a map might as well be left out: attention has a matrix of its own, and the
# unembedding another. So models *without* an MLP were trained, ten of the book's width, and as many that are narrower,
# where a code for 26 letters has less room; between them, models with 8 to 64 neurons. All were trained for 500 steps of
# 64 strings. Each row of the table is a shape: how many
# of its models solve every string, and how many strings the worst of them solves. {numref}`fig-mlp-needed` has the
# shares.

# %% tags=["setup"]
brief = training.SOLVING.model_copy(update={"steps": 500, "batch_size": 64, "evaluate_every": 500})
shapes: dict[str, tuple[list[int], dict[str, Any]]] = {
    "attention alone, width 16": (many_seeds, {"attn_only": True}),
    "MLP of 8, width 16": (seeds, {"d_mlp": 8}),
    "MLP of 16, width 16": (seeds, {"d_mlp": 16}),
    "MLP of 32, width 16": (seeds, {"d_mlp": 32}),
    "MLP of 64, width 16": (many_seeds, {}),
    "attention alone, width 8": (many_seeds, {"d_model": 8, "attn_only": True}),
    "MLP of 4, width 8": (many_seeds, {"d_model": 8, "d_mlp": 4}),
    "MLP of 16, width 8": (seeds, {"d_model": 8, "d_mlp": 16}),
}
trained_as = {}
for name, (numbers, shape) in shapes.items():
    configs = [ModelConfig(**shape, seed=seed) for seed in numbers]
    recipes = [brief.model_copy(update={"seed": seed}) for seed in numbers]
    trained_as[name] = [r.model for r in training.trained_together(task, configs, recipes)]

# %%
solved = {
    name: [int(training.evaluate(lens, tokens).solved(task).sum()) for lens in group]
    for name, group in trained_as.items()
}
complete = {name: sum(n == len(tokens) for n in counts) for name, counts in solved.items()}
Table(
    ["shape", "models", "solve every string", "the worst solves"],
    [[name, len(counts), complete[name], min(counts)] for name, counts in solved.items()],
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-mlp-needed", "caption": "Share of the models of each shape that solve every string. Without an MLP most models of the book's width do, and fewer narrow ones."}}
figures.bars(
    {"right": [100 * complete[name] / len(solved[name]) for name in shapes]},
    labels=list(shapes),
    x_title="",
    y_title="models that solve every string (%)",
    alt="A bar for each shape, the share of its models that solve every string. "
    + "; ".join(f"{name}: {complete[name]} of {len(solved[name])}" for name in shapes)
    + ".",
)

# %% [markdown]
# Most models of the book's width solve the task without an MLP. So the task does not *need* one, and a model that has
# one *uses* it. {glue:text}`stalled` of {glue:text}`many` seeds stall without an MLP, and {glue:text}`stalled-with` with one. That is
# too few to say that an MLP helps to find a solution: if each failure fell on one of the two shapes by luck, all would
# fall on the same shape in {glue:text}`by-luck` % of the cases. With 8 dimensions more models fail in the 500 steps given.

# %% tags=["hide-input"]
attention_only = "attention alone, width 16"
stalled, stalled_with = (
    len(many_seeds) - complete[n] for n in (attention_only, "MLP of 64, width 16")
)
fallen = stalled + stalled_with
say(
    stalled=stalled,
    stalled_with=stalled_with,
    many=len(many_seeds),
    by_luck=f"{200 * math.comb(len(many_seeds), fallen) / math.comb(2 * len(many_seeds), fallen):.0f}",
)
claim(
    "mlp.not-needed",
    f"Of {len(many_seeds)} models of the book's width that were trained without an MLP, {{value}} solve every string.",
    complete[attention_only],
    checked_on=len(many_seeds) * len(tokens),
    cases="(model, string) pairs",
    control=f"with an MLP {complete['MLP of 64, width 16']} of {len(many_seeds)} do. With 8 dimensions in place of 16 it is "
    f"{complete['attention alone, width 8']} of {len(many_seeds)} without an MLP, and {complete['MLP of 4, width 8']} with one of four neurons.",
)

# %% [markdown]
# ## What a neuron reads and writes
#
# A neuron is on where its ReLU is above 0. {numref}`fig-mlp-supports` shows on which letters each neuron of the first
# model is on, at the bar, where the query itself is the same in every string.

# %%
shares_on = {
    seed: [mlp.supports(solvers[seed], place, q) for place, q in zip(sites[seed], queries)]
    for seed in seeds
}
rows = []
for seed in seeds:
    used = [(s > 0).any(dim=0) for s in shares_on[seed]]
    decided = [
        f"{int(((s == 0) | (s == 1)).all(dim=0)[on].sum())} of {int(on.sum())}"
        for s, on in zip(shares_on[seed], used)
    ]
    breadth = (shares_on[seed][0] == 1).sum(dim=0)
    rows.append([str(seed), *decided, float(breadth[breadth > 0].double().median())])
headings = [f"decided by the letter at {q}" for q in queries]
Table(["seed", *headings, f"letters on at {queries[0]}, median"], rows)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-mlp-supports", "caption": "On which mirrored letters each neuron is on at the bar, in the first model. Neurons in the order of how many letters switch them on. A cell between 0 and 1 would be a neuron that other letters switch too."}}
shown = shares_on[seeds[0]][0]
by_breadth = shown.sum(dim=0).argsort(stable=True)
figures.heatmap(
    shown[:, by_breadth],
    rows=list(task.alphabet),
    columns=[str(n) for n in by_breadth.tolist()],
    x_title="neuron",
    y_title="mirrored letter",
    height=520,
    alt=f"Heat map of 26 letters by {shown.shape[1]} neurons, nearly every cell 0 or 1. "
    f"{int((shown == 0).all(dim=0).sum())} neurons are never on; the others are on for "
    f"{int(shown.sum(dim=0)[shown.sum(dim=0) > 0].min())} to {int(shown.sum(dim=0).max())} letters.",
)

# %% [markdown]
# The table counts, of the neurons that are ever on at a query, those that the mirrored letter alone switches. At the
# bar nearly all are such neurons, and must be: what stands at the query is the same there, and hardly anything else is
# read. The finding is that several letters switch a neuron, not one. At the two later queries hardly any neuron depends
# on the mirrored letter alone; there another letter stands at the query itself. Neurons do not stand for letters.
#
# What does a neuron write? Its row of weights, behind the last LayerNorm, raises some logits and lowers others. If it
# served the letters that switch it on, it would raise theirs. Here is the share of neurons at the bar whose most raised
# letter is one that switches the neuron on, and, as a {term}`control`, the same with the rows moved on from neuron to
# neuron, in all 63 ways.

# %%
letter_ids = [vocabulary(task)[letter] for letter in task.alphabet]
serving, by_chance = {}, {}
for seed, lens in models.items():
    writes = sites[seed][0].writes
    centred = (writes - writes.mean(dim=1, keepdim=True)) * lens.ln_final.weight.detach()
    # (neuron,): the letter whose logit each neuron raises most
    raised = (centred @ lens.unembed.weight.detach()[letter_ids].T).argmax(dim=1)
    is_on = shares_on[seed][0] == 1
    used = is_on.any(dim=0)
    serving[seed] = float(is_on[raised, torch.arange(len(raised))][used].double().mean())
    dealt = torch.stack(
        [is_on[raised.roll(shift)[used], used.nonzero()[:, 0]] for shift in range(1, 64)]
    )
    by_chance[seed] = float(dealt.double().mean())
Table(
    ["seed", "the letter raised most is one that it reads", "rows moved on"],
    [[str(s), f"{100 * serving[s]:.0f} %", f"{100 * by_chance[s]:.0f} %"] for s in seeds],
)

# %% [markdown]
# ## Taking neurons away
#
# A neuron that is taken away writes its mean over all strings. First each alone, then every pair, on every string at
# all three queries.

# %%
pairs = list(combinations(range(n_neurons), 2))
rows, lost_alone, lost_pairs = [], {}, {}
for seed, lens in models.items():
    alone = mlp.lost_without(lens, sites[seed], [[n] for n in range(n_neurons)])
    in_pairs = mlp.lost_without(lens, sites[seed], pairs)
    lost_alone[seed], lost_pairs[seed] = int((alone > 0).sum()), int((in_pairs > 0).sum())
    rows.append([str(seed), lost_alone[seed], lost_pairs[seed], int(in_pairs.max())])
Table(["seed", "neurons that cost answers", "pairs that do", "answers lost, worst pair"], rows)

# %% tags=["hide-input"]
claim(
    "mlp.single",
    f"Of {n_neurons} neurons in each of {len(seeds)} models, {{value}} cost an answer when they are taken away alone.",
    sum(lost_alone.values()),
    checked_on=n_neurons * n_answers * len(seeds),
    cases="(model, neuron, string, query) cases",
    control=f"of {len(pairs):,} pairs {min(lost_pairs.values())} to {max(lost_pairs.values())} cost answers; without all {n_neurons} neurons "
    f"{100 - 100 * max(constant.values()):.3g} to {100 - 100 * min(constant.values()):.3g} % of the answers are lost.",
)

# %% [markdown]
# No single neuron decides an answer, and hardly any pair does. How many may go? {numref}`fig-mlp-random` keeps so many
# neurons, drawn at random, and counts the right answers.

# %% tags=["setup"]
sizes = [0, 8, 16, 24, 32, 40, 48, 56, 64]
kept_share = {
    seed: torch.stack([mlp.kept_right(lens, sites[seed], size, draws) for size in sizes])
    for seed, lens in models.items()
}
# (model, size): the mean over the draws, in percent
by_size = 100 * torch.stack([share.mean(dim=1) for share in kept_share.values()])
least, most = by_size.amin(dim=0), by_size.amax(dim=0)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-mlp-random", "caption": "Right answers by how many neurons are kept, drawn at random, the others at their mean. A point is the mean of the models, its bar goes from the worst model to the best."}}
figures.points(
    {"neurons": (sizes, by_size.mean(dim=0).tolist(), least.tolist(), most.tolist())},
    x_title="neurons kept, drawn at random",
    y_title="right answers (%)",
    alt="Rising points with bars, over 0 to 64 neurons kept. "
    + "; ".join(
        f"with {size} kept {low:.1f} to {high:.1f} % are right"
        for size, low, high in zip(sizes[::2], least[::2], most[::2])
    )
    + ".",
)

# %% [markdown]
# The answers fade and do not break: half of the neurons, drawn at random, keep most of them.
#
# ## Sets that suffice
#
# Now in the circuit of {doc}`08_circuits`: the key at the mirror position is the string's own, everything else that
# attention reads is its mean, and of the MLP some neurons are kept. Go through the neurons in a random order and take
# each away unless an answer is then lost. What is left is enough for every answer on every string, and no neuron of it
# can go. {glue:text}`orders` orders give {glue:text}`orders` sets. The table has their sizes, how many neurons two of
# them share, and all of them, and how many random sets of these sizes would share.

# %%
say(orders=orders)
circuit = {seed: sites_of(solver, "mirror") for seed, solver in solvers.items()}
enough = {}
for seed, lens in models.items():
    shuffled = [random.Random(i).sample(range(n_neurons), n_neurons) for i in range(orders)]
    enough[seed] = torch.stack([mlp.reduced(lens, circuit[seed], order) for order in shuffled])
rows, common, by_luck, in_pairs_shared = [], {}, {}, {}
found_sizes = torch.stack([sets.sum(dim=1) for sets in enough.values()])
say(fewest=int(found_sizes.min()), most=int(found_sizes.max()), draws=draws)
for seed, sets in enough.items():
    common[seed] = int(sets.all(dim=0).sum())
    by_luck[seed] = n_neurons * float((sets.double().mean(dim=1)).prod())
    in_pairs_shared[seed] = [int((a & b).sum()) for a, b in combinations(sets, 2)]
    by_pair = f"{min(in_pairs_shared[seed])} to {max(in_pairs_shared[seed])}"
    sets_sizes = ", ".join(str(int(size)) for size in sets.sum(dim=1))
    rows.append([str(seed), sets_sizes, by_pair, common[seed], f"{by_luck[seed]:.1f}"])
say(common_least=min(common.values()), common_most=max(common.values()))
Table(["seed", "sizes of the sets", "in two sets", "in all", "in all, by luck"], rows)

# %% [markdown]
# Each order leaves another set, of {glue:text}`fewest` to {glue:text}`most` of the 64 neurons. The sets of a model
# share {glue:text}`common-least` to {glue:text}`common-most` neurons, in most models more than luck would have it. So
# {doc}`08_circuits` found one circuit because the MLP was one node there. At the grain of neurons there are many. Small
# sets are not easily found by luck: the next table has the best of {glue:text}`draws` random sets as large as the
# smallest that an order left.

# %%
same_size = {}
for seed, lens in models.items():
    smallest = int(enough[seed].sum(dim=1).min())
    same_size[seed] = float(mlp.kept_right(lens, circuit[seed], smallest, draws).max())
Table(
    ["seed", "smallest set found", "best of random sets of that size"],
    [[str(s), int(enough[s].sum(dim=1).min()), f"{100 * same_size[s]:.1f} % right"] for s in seeds],
)

# %% tags=["hide-input"]
claim(
    "mlp.suffice",
    f"The key at the mirror position and at most {{value}} of the {n_neurons} neurons keep every answer: {orders} such sets for each of "
    f"{len(seeds)} models, the smallest of {int(found_sizes.min())}.",
    int(found_sizes.max()),
    checked_on=orders * n_answers * len(seeds),
    cases="(set, string, query) cases",
    control=f"of {draws} random sets of the smallest size, the best keeps {100 * min(same_size.values()):.3g} to "
    f"{100 * max(same_size.values()):.3g} % of the answers, by model.",
)

# %% tags=["hide-input"]
claim(
    "mlp.shared",
    f"At most {{value}} neurons are in all {orders} of the sets that were found for a model, in any of {len(seeds)} models.",
    max(common.values()),
    checked_on=orders * len(seeds),
    cases="sets of neurons",
    control="sets of these sizes, drawn at random, would share "
    f"{min(by_luck.values()):.2g} to {max(by_luck.values()):.2g} on average; the sets of a model together use "
    f"{min(int(s.any(dim=0).sum()) for s in enough.values())} to {max(int(s.any(dim=0).sum()) for s in enough.values())} neurons.",
)

# %% [markdown]
# ### All minimal sets, without a search
#
# There are 2⁶⁴ sets of 64 neurons, too many to try. There are 65,536 sets of 16 neurons, and they can all be tried. The
# models of width 8 with 16 neurons are asked: which sets keep every answer on every string, and lose one as soon as
# another neuron goes? Nothing is left to a search: each set is refused by a string that it gets wrong, or accepted
# after all strings were tried. Where the mirror key does not suffice even with all neurons, a model is left out.

# %%
rows, every_minimal = [], {}
for seed, lens in zip(seeds, trained_as["MLP of 16, width 8"]):
    places = sites_of(subject(task, lens), "mirror")
    with_all = [mlp.answers(lens, p, torch.ones(16, dtype=torch.bool)) for p in places]
    if share_right(with_all) < 1:
        rows.append([str(seed), "–", "–", "the mirror alone does not suffice"])
        continue
    sets = torch.stack(mlp.minimal_sets(lens, places))
    every_minimal[seed] = sets
    ends = [int(sets.sum(dim=1).min()), int(sets.sum(dim=1).max())]
    rows.append([str(seed), len(sets), f"{ends[0]} to {ends[1]}", int(sets.all(dim=0).sum())])
Table(["seed", "minimal sets", "neurons in each", "neurons in all of them"], rows)

# %% tags=["hide-input"]
counts = [len(sets) for sets in every_minimal.values()]
in_every = [int(sets.all(dim=0).sum()) for sets in every_minimal.values()]
claim(
    "mlp.minimal",
    f"In {len(counts)} models with 16 neurons, {min(counts)} to {max(counts)} of the 65,536 sets keep every answer and are minimal; "
    "at most {value} neurons are in all of a model's minimal sets.",
    max(in_every),
    checked_on=len(counts) * 2**16,
    cases="(model, set of neurons) pairs",
    control=f"a model with one circuit would have one minimal set, and all of its neurons would be in it; the smallest here has "
    f"{min(int(s.sum(dim=1).min()) for s in every_minimal.values())} neurons, the largest {max(int(s.sum(dim=1).max()) for s in every_minimal.values())}.",
)

# %% [markdown]
# **What could be wrong with this?** A neuron at its mean is not gone; with zeros in place of means the sets may be
# others. The sets of the 64 neurons were found by {glue:text}`orders` orders each: smaller ones may exist, and only for
# the models with 16 neurons is the list complete. One set served all three queries; a set for one query alone can be
# smaller (an exercise). And "right" is a low demand: with a small set every answer is right and few are sure.
#
# ## What this chapter claims
#
# ```{claims} mlp
# ```
#
# ## Exercises
#
# ```{exercise-start} Recall
# :label: ex-mlp-1
# ```
# No neuron costs an answer when it is taken away alone. Does it follow that no neuron does anything?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-mlp-1
# :class: dropdown
# ```
# No. Others make up for it, and the margin pays. The table has, for the first model, the least margin at the bar with all
# neurons, and without the neuron whose absence lowers it most.

# %% tags=["solution"]
lens, place = models[seeds[0]], sites[seeds[0]][0]
margins = []
for neuron in range(n_neurons):
    kept = torch.ones(n_neurons, dtype=torch.bool)
    kept[neuron] = False
    margins.append(float(mlp.answers(lens, place, kept).margin.min()))
everything = float(mlp.answers(lens, place, torch.ones(n_neurons, dtype=torch.bool)).margin.min())
Table(
    ["", "least margin (nats)"],
    [["all neurons", everything], [f"without neuron {margins.index(min(margins))}", min(margins)]],
)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise-start} Apply
# :label: ex-mlp-2
# ```
# The sets above serve three queries at once. How small is a set for one query alone?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-mlp-2
# :class: dropdown
# ```
# `mlp.reduced` takes any list of sites. A set for one query need not be smaller: what a greedy order leaves is minimal,
# not smallest. For the first model and its first order:

# %% tags=["solution"]
order = random.Random(0).sample(range(n_neurons), n_neurons)
for_one = [int(mlp.reduced(lens, [p], order).sum()) for p in circuit[seeds[0]]]
Table(
    ["for", "neurons"],
    [[f"query {q}", size] for q, size in zip(queries, for_one)]
    + [["all three", int(enough[seeds[0]][0].sum())]],
)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise-start} Extend
# :label: ex-mlp-3
# ```
# Random orders leave sets of different sizes. Does an order that takes the least useful neurons away first leave fewer?
# Order the neurons by how much they move what the MLP writes.
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-mlp-3
# :class: dropdown
# ```
# The size of a neuron's part is its spread over the strings times the length of its row. Compare with the random orders
# of the same model: in few models does this order leave fewer neurons than any random one.

# %% tags=["solution"]
rows = []
for seed, lens in models.items():
    parts = [p.moved.std(dim=0) * p.writes.norm(dim=1) for p in circuit[seed]]
    smallest_first = torch.stack(parts).sum(dim=0).argsort(stable=True).tolist()
    left = int(mlp.reduced(lens, circuit[seed], smallest_first).sum())
    others = enough[seed].sum(dim=1)
    rows.append([str(seed), left, f"{int(others.min())} to {int(others.max())}"])
Table(["seed", "smallest parts first", "random orders"], rows)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise-start} Recall
# :label: ex-mlp-4
# ```
# A paper reports "the 22 neurons that implement the mechanism", found by one greedy search. What would you ask for?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-mlp-4
# :class: dropdown
# ```
# The sets that other orders find, how many neurons they share, and how a random set of 22 does. If the sets differ, the
# 22 are *a* sufficient set and not a mechanism.
#
# ```{solution-end}
# ```
#
# **Next:** {doc}`10_emergence` asks how the circuit came about.
