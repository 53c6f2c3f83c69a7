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
# # All circuits: every subset of the model, on every string
#
# ```{opening}
# :builds: 05_mechanism
# :read: 15
# :summary: every circuit there is at one grain, and whether the smallest one that works is the only one
#
# - say which parts of the model suffice for the answer, at which grain no other choice of parts does, and below which grain many do
# - say what it means for a circuit to be faithful, minimal and complete, and measure each
# - say what of this depends on the ablation
# ```
#
# A {term}`circuit` is usually found by a search: remove a part, see whether the answer survives, go on. Such a search
# finds one circuit, and cannot say whether there is another. This model is small enough to try them all. At one query the
# nodes are the embedding (`direct`), what each key position hands over (`key 0`, `key 1`, …), and the `mlp`. A node
# outside the circuit writes its mean over all strings ({term}`mean ablation`). The MLP, where it is kept, reads the
# ablated {term}`residual stream`. A key's attention weight is always that of the whole model, and attention's bias always
# stays.
#
# These nodes are the *grain* of the chapter. The MLP is one node here, and so is everything that a key hands over. What
# is said to be necessary or unique is so among sets of these nodes. {doc}`09_mlp` goes below this grain, into the
# neurons, and finds many circuits where this chapter finds one.
#
# {doc}`05_mechanism` predicts the result: the key at the mirror position, and perhaps the MLP, which that chapter never
# took away.

# %% tags=["setup"]
import torch

from claimbook.claims import claim
from claimbook.show import Table, say
from palindrome_lens import figures, model, notebook, training
from palindrome_lens.circuits import mlp, subsets, weights
from palindrome_lens.circuits.subject import solved, subject
from palindrome_lens.circuits.scrubbing import recovered
from palindrome_lens.compiled import compile_reversal
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import encode

notebook.set_up()

# %% tags=["parameters"]
seed = 0
seeds = [0, 1, 2, 3, 4]
graded = 0.99

# %% tags=["setup"]
task = Task()
lens = training.trained(
    task, model.ModelConfig(seed=seed), training.SOLVING.model_copy(update={"seed": seed})
).model
tokens = encode(task, task.strings())
solver = subject(task, lens)
queries = list(task.mirrored_positions)
mirror = {q: f"key {task.mirror_position(q)}" for q in queries}
found = {q: subsets.enumerate_circuits(solver, q) for q in queries}
total = sum(len(c.right) for c in found.values())
# At the bar `direct` is a constant: with or without it, a circuit is the same.
twins = len(found[queries[0]].right) // 2

# %% [markdown]
# ## Which circuits are faithful?
#
# A circuit is *faithful* if it does what the model does. We ask it in two ways. The strict one: the argmax is right on
# every string, as the model's is. The graded one: it recovers at least {glue:text}`graded` of the loss, where 0 is the
# circuit without any node and 1 the model. A faithful circuit is *minimal* if no proper subset of it is faithful.
#
# At the bar `direct` is the same in every string, so that a circuit with it and one without it are the same circuit. Of
# the {glue:text}`total` circuits {glue:text}`different` are different. Each row of the table is a query and a
# criterion: how many of all circuits are faithful by it, and which of these are minimal.

# %%
say(graded=f"{100 * graded:g} %", total=total, different=total - twins)


def regained(c):
    none, *_, whole = c.loss.tolist()
    return torch.tensor([recovered(loss, none, whole) for loss in c.loss.tolist()])


strict = {q: c.right == len(tokens) for q, c in found.items()}
share = {q: regained(c) for q, c in found.items()}
rows = []
for q, c in found.items():
    for name, faithful in (("argmax", strict[q]), ("loss", share[q] >= graded)):
        names = "; ".join(" + ".join(c.names(each)) for each in subsets.minimal(faithful))
        rows.append([q, name, f"{int(faithful.sum())} of {len(c.right)}", names])
Table(["query", "criterion", "faithful", "minimal"], rows)

# %% [markdown]
# There is one minimal circuit at each query, and both criteria find the same one: the key at the mirror position and
# the MLP. It is what the mechanism predicts, and the MLP, taken as one node, is in it. Every other faithful circuit
# contains it, and everything that contains it is faithful: no node, and no set of nodes, can be added that breaks the
# answer. {numref}`fig-circuits` shows how far the others are from it.
#
# So far this is one model. The same enumeration for models of other seeds: the table has, for each, how many of its
# circuits are right on every string, and how many break the rule "right on every string exactly if the mirror key and
# the MLP are in it". The last column has the strings that are right at the best query when the MLP alone is missing: a
# circuit without the mirror key cannot know the letter, so this is the part that could have come out otherwise.

# %%
both = {q: c.holding(mirror[q]) & c.holding("mlp") for q, c in found.items()}
rows, broken, without_mlp = [], {}, {}
for number, other in solved(task, seeds).items():
    verdicts = {q: subsets.faithful_circuits(other, q) for q in queries}
    broken[number] = sum(int((verdicts[q] != both[q]).sum()) for q in queries)
    no_neuron = torch.zeros(other.model.cfg.d_mlp, dtype=torch.bool)
    sites = [mlp.site(other, q) for q in queries]
    without_mlp[number] = max(
        int(mlp.answers(other.model, s, no_neuron).right.sum()) for s in sites
    )
    faithful = sum(int(verdict.sum()) for verdict in verdicts.values())
    rows.append([str(number), faithful, broken[number], without_mlp[number]])
Table(["seed", f"faithful, of {total}", "break the rule", "right with all but the MLP"], rows)

# %% tags=["hide-input"]
claim(
    "circuits.unique",
    f"At this grain, with keys and the MLP as nodes, a circuit is right on every string exactly if it holds the key at the mirror "
    f"position and the MLP: {{value}} of the {total} circuits break this rule in any of {len(seeds)} models.",
    sum(broken.values()),
    checked_on=(total - twins) * len(seeds),
    cases=f"(model, different circuit) pairs, each on {len(tokens):,} strings",
    control="with every key and without the MLP, a model is right at its best query on "
    f"{min(without_mlp.values()):,} to {max(without_mlp.values()):,} strings of {len(tokens):,}; in the compiled model, which does without its "
    "MLP, the rule is broken (circuits.compiled).",
)

# %% mystnb={"figure": {"name": "fig-circuits", "caption": "Right answers of every circuit, all three queries together, grouped by whether it holds the key at the mirror position, the MLP, both or neither. Within each group the circuits go from the worst to the best. Top line: both. Middle line: the mirror key without the MLP; its step lies between queries. Bottom: two lines on each other, near one in 26, without the mirror key, whether they hold the MLP or not."}} tags=["hide-input"]
kinds = {
    "both": lambda m, p: m & p,
    "mirror key, no MLP": lambda m, p: m & ~p,
    "MLP, no mirror key": lambda m, p: ~m & p,
    "neither": lambda m, p: ~m & ~p,
}
groups = {
    name: torch.cat(
        [c.right[of_kind(c.holding(mirror[q]), c.holding("mlp"))] for q, c in found.items()]
    )
    for name, of_kind in kinds.items()
}
figures.lines(
    {name: 100 * right.sort().values / len(tokens) for name, right in groups.items()},
    x_title="circuit, from worst to best",
    y_title="right answers (%)",
    alt=f"Right answers over {len(groups['both'])} circuits in each of four groups, sorted; with both nodes a flat line at the top. "
    + "; ".join(
        f"{name}: from {100 * int(r.min()) / len(tokens):.1f} to {100 * int(r.max()) / len(tokens):.1f} %"
        for name, r in groups.items()
    ),
)

# %% [markdown]
# ## What each of the two nodes does
#
# *Minimality* {cite:p}`wang2023` asks of each node whether it matters somewhere: the largest change that taking it away
# makes, whatever else of the circuit is gone. *Completeness* asks the opposite: is anything outside the circuit a
# stand-in? Remove the same nodes K from the circuit and from the model. If the circuit is complete, both fail alike.
#
# For each node of the minimal circuit at each query, its minimality, as a number of right answers:

# %%
least = {q: subsets.minimal(strict[q])[0] for q in queries}
rows = []
for q, c in found.items():
    for bit, change in subsets.minimality(c.right.double(), least[q]).items():
        rows.append([q, c.nodes[bit], f"{change:,.0f}"])
Table(["query", "node", "minimality (strings)"], rows)

# %% [markdown]
# And for the circuit at each query, its incompleteness: the largest difference between circuit and model over all K,
# first in right answers, then in the loss, with the K that attains it. A plus says that the circuit does better.

# %%
rows = []
for q, c in found.items():
    gap, removed = subsets.incompleteness(c.right.double(), least[q])
    rows.append([q, f"{gap:+,.0f} strings", " + ".join(c.names(removed))])
    gap, removed = subsets.incompleteness(share[q], least[q])
    rows.append([q, f"{100 * gap:+.2f} % of the loss", " + ".join(c.names(removed))])
say(circuit_seed=seed)
Table(["query", "incompleteness", "at K ="], rows)

# %% [markdown]
# In this model both nodes are needed: without the mirror key the circuit falls to one answer in 26, which is forced,
# since nothing else reads the letter. The finding is the MLP's half. With the mirror key alone, and the MLP at its
# mean, it keeps about a quarter or a third of the answers, about as many as the whole model without its MLP
# ({doc}`03_attention`). So this head does not write every answer by itself. It writes the letter in a code that the
# unembedding alone reads badly, and the MLP turns it into the answer. That this *model* needs its MLP does not say that
# the *task* does: models trained without one solve it too ({doc}`09_mlp`).
#
# With seed {glue:text}`circuit-seed` the circuit is complete for the answers: whichever of its two nodes are taken away,
# the model without them is right about as often as the circuit without them, within a small part of the strings. In the loss the gap is larger at the two later queries, with
# both nodes gone, and it is a plus: the model without them pays *more* than the empty circuit. So what the other nodes
# write is no stand-in. It makes the model surer of its wrong answers, and hardly changes how often it is right. By the
# loss the circuit is not quite complete.

# %% tags=["hide-input"]
gaps = {q: abs(subsets.incompleteness(c.right.double(), least[q])[0]) for q, c in found.items()}
without = {q: int(c.right[(1 << len(c.nodes)) - 1 - least[q]]) for q, c in found.items()}
claim(
    "circuits.complete",
    f"With seed {seed}, whichever of its nodes are removed from both, the circuit and the model differ on the number of right answers by "
    "at most {value} strings.",
    int(max(gaps.values())),
    checked_on=sum(2 ** len(c.names(least[q])) for q, c in found.items()) * 2 * len(tokens),
    cases="circuits on strings",
    control="a stand-in would answer when both nodes are gone; the model is then right on "
    + ", ".join(f"{n:,}" for n in without.values())
    + f" strings, and a guess on {len(tokens) // len(task.alphabet):,}.",
)


# %% [markdown]
# ## Does it depend on the ablation?
#
# A mean can hold a constant that the answer needs, and give it away for nothing. {term}`Zero ablation <zero ablation>`
# gives away nothing. Here is the same enumeration with it, and being right on every string as the criterion. The last
# column says how much of the loss the minimal circuit recovers.

# %%
def enumerated(ablation):
    return {q: subsets.enumerate_circuits(solver, q, ablation) for q in queries}


zero = enumerated("zero")
rows = []
for q, c in zero.items():
    faithful = c.right == len(tokens)
    smallest = subsets.minimal(faithful)
    back = float(regained(c)[smallest].min())
    named = "; ".join(" + ".join(c.names(s)) for s in smallest)
    rows.append([q, int(faithful.sum()), named, f"{100 * back:.2f} %"])
Table(["query", "faithful", "minimal", "recovered"], rows)

# %% tags=["hide-input"]
lost = {q: strict[q] & (zero[q].right != len(tokens)) for q in queries}
gained = sum(int((~strict[q] & (zero[q].right == len(tokens))).sum()) for q in queries)
first = queries[0]
spared = int((lost[first] & ~zero[first].holding("direct")).sum())
pair = int(zero[first].right[least[first]])
claim(
    "circuits.zero",
    f"With seed {seed} and zero in place of the mean, {{value}} circuits are no longer faithful.",
    sum(int(each.sum()) for each in lost.values()),
    checked_on=total,
    cases=f"circuits, each on {len(tokens):,} strings",
    control=f"{spared} of them are circuits at query {first} without `direct`; the mirror key and the MLP alone are right "
    f"on {pair:,} strings there. Faithful with zeros but not with means are {gained}.",
)

# %% [markdown]
# At two queries the circuit is the same. At the bar a third node is needed: `direct`, the embedding of the bar itself. It
# is a constant, and so the mean ablation gave it away for nothing. It says nothing about the letters, but without it the
# MLP misreads many of them. We had not expected this: {doc}`05_mechanism` could not see it either, because it took
# `direct` from another string, where the same bar stands.
#
# Both ablations put in values that no string has. A *donor* is another string, drawn at random, and each node outside the
# circuit writes what it writes there ({term}`resample ablation`): not nothing, but what suits another string.
#
# ```{margin}
# All nodes of a string share one donor. The donors are a random order of all strings, so that each string is one once.
# ```
#
# All circuits once more, each string with its donor. The table has, for each query, the right answers of the best circuit
# with the mirror key and without the MLP, under each ablation.

# %%
donor = enumerated("donor")
rows = []
for q in queries:
    headed = found[q].holding(mirror[q]) & ~found[q].holding("mlp")
    best = [int(c[q].right[headed].max()) for c in (found, zero, donor)]
    rows.append([q, *best])
Table(["query", "mean", "zero", "donor"], rows)

# %% tags=["hide-input"]
claim(
    "circuits.donors",
    f"With seed {seed} and a donor's values in place of the mean, {{value}} circuits break the rule that the mirror key and the MLP are needed "
    "and enough.",
    sum(int(((c.right == len(tokens)) != both[q]).sum()) for q, c in donor.items()),
    checked_on=total - twins,
    cases=f"different circuits, each on {len(tokens):,} pairs of a string and its donor",
    control="circuits without one of the two are right on at most "
    f"{max(int(c.right[~both[q]].max()) for q, c in donor.items()):,} strings; a guess is right on "
    f"{len(tokens) // len(task.alphabet):,}.",
)

# %% [markdown]
# So the answer to "is the circuit unique, at this grain?" is yes for each ablation. Mean and donors agree on it; zeros
# disagree at one query about what a circuit may take for granted. That the MLP is needed does not depend on the
# ablation. How many answers the head gives without it does: with the mean a quarter or a third, with zeros hardly any,
# and with a donor's MLP about as many as a guess, for that MLP writes the donor's letter.
#
# ## A model whose circuit is known
#
# Would these tools notice a circuit without the MLP? Tracr {cite:p}`lindner2023` compiles a program, list reversal for one, into
# the weights of a transformer, so that the circuit is known before anybody looks. Here is such a model, compiled by
# hand for strings of half-length 2 over the same 26 letters: its head has a score of 12 on the mirror position and 0
# elsewhere, it writes the letter in the code that the unembedding reads, and its four neurons serve the bar and the end
# alone. The tools should say that the mirror key suffices without the MLP, and that no neuron is needed for a letter.

# %%
known_task = Task(half_length=2)
compiled = compile_reversal(known_task)
known_circuit = subject(known_task, compiled.model)
n_known = known_task.size
rows = []
for q in known_task.mirrored_positions:
    c = subsets.enumerate_circuits(known_circuit, q)
    names = "; ".join(" + ".join(c.names(s)) for s in subsets.minimal(c.right == n_known))
    lead = float(weights.advantage(known_circuit, q).min())
    place = mlp.site(known_circuit, q)
    no_neuron = mlp.answers(compiled.model, place, torch.zeros(len(place.mean), dtype=torch.bool))
    rows.append([q, known_task.mirror_position(q), lead, names, int(no_neuron.right.sum())])
Table(
    ["query", "mirror", "least lead of its score", "minimal circuits", "right without neurons"],
    rows,
)

# %% tags=["hide-input"]
claim(
    "circuits.compiled",
    "In a model compiled by hand, whose circuit is known, the enumeration names exactly that circuit, the mirror key without the MLP, at {value} of 2 "
    "queries.",
    sum(row[3] == f"key {row[1]}" for row in rows),
    checked_on=sum(2 ** (q + 3) for q in known_task.mirrored_positions),
    cases=f"circuits, each on {n_known:,} strings",
    control=f"the same tool finds the mirror key with the MLP in the trained models, at {len(queries)} of {len(queries)} queries.",
)

# %% [markdown]
# They say so. So the tools do not name the MLP wherever there is one. Whether they would list two circuits, where a
# model has two, was not tried.
#
# **What could be wrong with this?** A node that hands over a mean is not gone, and an ablated residual stream may be one
# that the model never meets. The ablations err in different ways: what all of them call needed, we take to be needed.
#
# One donor for each string is a sample, if one without a single exception. The nodes are coarse: a key is its weight
# times its value, and no part of the MLP was tried alone. *One* circuit here is many in a finer graph, as {doc}`09_mlp`
# shows. Each query was judged alone. The rule was checked in five models; what follows the figure is about one of them.
#
# ## What this chapter claims
#
# ```{claims} circuits
# ```
#
# ## Exercises
#
# ```{exercise-start} Recall
# :label: ex-circuits-1
# ```
# A model needs node 1 or node 2, and either will do. How many minimal circuits are there, and are they complete?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-circuits-1
# :class: dropdown
# ```
# Two, and neither is complete: take node 1 from the first circuit and from the model, and only the circuit fails. With
# the circuits ∅, {1}, {2} and {1, 2}, in this order:

# %% tags=["solution"]
faithful = torch.tensor([False, True, True, True])
rows = []
for circuit in subsets.minimal(faithful):
    gap, removed = subsets.incompleteness(faithful.double(), circuit)
    rows.append([circuit, f"{gap:+.0f}", removed])
Table(["minimal: node", "incompleteness", "at K ="], rows)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise-start} Apply
# :label: ex-circuits-2
# ```
# The graded criterion asks for 99 % of the loss. Try other thresholds. When does a smaller circuit become faithful, and
# when does the circuit of this chapter no longer do?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-circuits-2
# :class: dropdown
# ```
# The shares of the loss are known for all circuits; only the threshold changes. Each row is a threshold and a query,
# with the number of minimal circuits and the first two of them.

# %% tags=["solution"]
rows = []
for least_share in (0.5, 0.8, 0.99, 0.9999):
    for q in queries:
        smallest = subsets.minimal(share[q] >= least_share)
        named = "; ".join(" + ".join(found[q].names(s)) for s in smallest[:2])
        rows.append([f"{100 * least_share:g} %", q, len(smallest), named])
Table(["threshold", "query", "minimal circuits", "the first two"], rows)

# %% [markdown]
# Neither happens at these thresholds. From half of the loss to nearly all of it the same circuit is the only minimal one:
# between them the threshold makes no difference.
#
# ```{solution-end}
# ```
#
# ```{exercise-start} Extend
# :label: ex-circuits-3
# ```
# Is it the same circuit in the half-trained model of the original recipe? It is not right on every string, so ask for
# circuits that are right at least as often as 99 % of the model's own right answers. Take query 6, where it errs most.
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-circuits-3
# :class: dropdown
# ```
# The last circuit in the list holds every node: it is the model. Each row is a minimal circuit, with the strings on
# which it and the model are right.

# %% tags=["solution"]
original = training.ORIGINAL.model_copy(update={"seed": seed})
early = training.trained(task, model.ModelConfig(seed=seed), original).model
c = subsets.enumerate_circuits(subject(task, early), 6)
faithful = c.right >= 0.99 * int(c.right[-1])
Table(
    ["minimal circuit", "right", "the model"],
    [
        [" + ".join(c.names(s)), int(c.right[s]), int(c.right[-1])]
        for s in subsets.minimal(faithful)
    ],
)

# %% [markdown]
# It is the same one, and alone it is right *more* often than the whole model. What the other nodes write there, beyond
# its mean, does harm.
#
# ```{solution-end}
# ```
#
# ```{exercise-start} Recall
# :label: ex-circuits-4
# ```
# At query 4, `direct` may be in a circuit or not, and nothing changes under mean ablation. Why? And why must a minimal
# circuit be compared with all its proper subsets, not only with those that lack one node?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-circuits-4
# :class: dropdown
# ```
# The bar stands there in every string, so the mean of `direct` is `direct`.
#
# Adding a node can break a circuit. Then a set can be faithful with no faithful subset one node smaller, and yet with a
# smaller one that is.
#
# ```{solution-end}
# ```
#
# **Next:** {doc}`09_mlp` opens the one node that is not a key: the MLP.
