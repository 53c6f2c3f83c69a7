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
# # Attribution, audited: what the estimators get wrong
#
# ```{opening}
# :builds: 05_mechanism
# :needs: gradients; rank correlation
# :read: 25
# :summary: which cheap estimates of a part's effect are right, which are not, why LayerNorm decides it, and along which path the letter travels
#
# - say what each way to measure a part's effect asks
# - say at which end of a swap a gradient is taken, and what that decides here
# - follow the letter along the paths to the answer, position by position
# ```
#
# That a part writes the right answer is not evidence that the answer depends on it. Evidence is an intervention: change
# the part, and see what happens. But change it to what?
#
# - {term}`Zero ablation <zero ablation>` asks what happens without it, with a value that the model may never have met.
# - {term}`Mean ablation <mean ablation>` keeps what is the same on all strings, and puts in an average that may occur
#   nowhere.
# - {term}`Resample ablation <resample ablation>` puts in what another string would have had, and averages the outcome
#   over these donors.
#
# On a large model donors are drawn, or the effect is estimated by a gradient. Here every donor is tried, and the
# estimates can be checked. What was found: a gradient taken at the string's own value misses the largest effect there
# is, and the reason is the last {term}`LayerNorm`: with its scale held, or in models trained without it, the same
# gradient finds the effect. Taken at the donors' values and averaged over all donors, it has the right sign. Neither
# end gives the size; points between them do.

# %% tags=["setup"]
import torch
from scipy.stats import spearmanr

from claimbook.claims import claim
from claimbook.show import Table, say
from palindrome_lens import anova, figures, model, notebook, training
from palindrome_lens.circuits import attribution, estimators, scrubbing, tables
from palindrome_lens.circuits.subject import solved, subject
from palindrome_lens.task import Task, inputs, targets
from palindrome_lens.tokenizer import encode

notebook.set_up()

# %% tags=["parameters"]
seed = 0
seeds = [0, 1, 2, 3, 4]

# %% tags=["setup"]
task = Task()
solvers = solved(task, seeds)
solver = solved(task, [seed])[seed]
lens = solver.model
strings = task.strings()
tokens = encode(task, strings)
weights = solver.tables
queries = list(task.mirrored_positions)
second = queries[1]
n_cases = len(queries) * len(tokens)

# %% [markdown]
# ## Who writes the answer
#
# The measure is the {term}`lead`: the target's {term}`logit` minus the mean logit of the other letters. With the final
# LayerNorm's scale frozen at its own value for each string, the lead is a sum {cite:p}`elhage2021`: the embedding
# at the query (`direct`), the weighted value from the mirror position (`mirror`), those from all other keys together
# (`others`), attention's bias, the MLP, and a constant. This is {term}`direct logit attribution`. The table has what each
# part adds to the lead, and at its foot the lead, as means over all strings, in nats, in the model of one seed.

# %%
share_of, parts_at, added_at, sums = {}, {}, {}, 0
for q in queries:
    parts_at[q] = scrubbing.parts_of(weights, inputs(tokens), q)
    added_at[q] = attribution.vectors(solver, parts_at[q], q)
    wanted = targets(tokens)[:, q]
    shares = attribution.direct_logit_attribution(task, lens, added_at[q], wanted)
    with torch.no_grad():
        lead = attribution.lead(task, lens(inputs(tokens))[:, q], wanted)
    sums += int(((torch.stack(list(shares.values())).sum(dim=0) - lead).abs() < 1e-9).sum())
    share_of[q] = {name: float(share.mean()) for name, share in shares.items()}
    share_of[q]["lead"] = float(lead.mean())
listed = []
for name in share_of[queries[0]]:
    listed.append([name, *(f"{share_of[q][name]:z.2f}" for q in queries)])
Table(["part", *[f"query {q}" for q in queries]], listed)

# %% tags=["hide-input"]
say(sums=sums, cases=n_cases)

# %% [markdown]
# A sanity check of the code: the shares add up to the lead of the running model, to nine decimals, in {glue:text}`sums`
# of {glue:text}`cases` (string, query) pairs. They must, because the lead is linear in them.
#
# In this model nine tenths of the lead are written by the MLP, and about one tenth comes from the mirror value directly.
# Nothing else counts on average. In other models the two share it otherwise. The next table has the shares of the mean
# lead over all three queries, for each seed, and last for a model with fresh weights.

# %%
config = model.ModelConfig(seed=seed)
named_models = {str(s): other for s, other in solvers.items()}
fresh_model = model.hooked(model.init_model(config, task), config, task)
named_models["fresh weights"] = subject(task, fresh_model)
written_by, lead_of = {}, {}
for name, other in named_models.items():
    by_part = dict.fromkeys(("mirror", "mlp", "direct", "others"), 0.0)
    total = 0.0
    for q in queries:
        parts = scrubbing.parts_of(other.tables, other.read, q)
        added = attribution.vectors(other, parts, q)
        wanted = other.wanted(q)
        by_query = attribution.direct_logit_attribution(task, other.model, added, wanted)
        total += float(sum(by_query.values()).mean())
        for part in by_part:
            by_part[part] += float(by_query[part].mean())
    lead_of[name] = total / len(queries)
    written_by[name] = {part: value / total for part, value in by_part.items()}
Table(
    ["seed", "mean lead", *written_by["fresh weights"]],
    [
        [name, lead_of[name], *(f"{100 * v:z.1f} %" for v in written_by[name].values())]
        for name in named_models
    ],
)

# %% tags=["hide-input"]
mlp_shares = [written_by[str(s)]["mlp"] for s in seeds]
claim(
    "attribution.mlp-share",
    f"In each of {len(seeds)} models the MLP writes at least {{value}} of the mean lead.",
    min(mlp_shares),
    checked_on=len(seeds) * n_cases,
    cases="(model, string, query) triples",
    control=f"at most {100 * max(mlp_shares):.3g} %, and the mirror value directly {100 * min(written_by[str(s)]['mirror'] for s in seeds):.3g} to "
    f"{100 * max(written_by[str(s)]['mirror'] for s in seeds):.3g} %. With fresh weights the mean lead is {lead_of['fresh weights']:.2g} nats, "
    f"against {min(lead_of[str(s)] for s in seeds):.3g} and more.",
    style="percent",
)

# %% [markdown]
# Nor does any single key but the mirror count: the next table has, for each query of the first model, what the mirror
# key writes, and the key with the largest contribution of all others, in nats.

# %% tags=["hide-input"]
rows = []
for q in queries:
    weighted = torch.einsum("shk, shkd -> ksd", parts_at[q].weights, parts_at[q].values)
    apart = {k: v for k, v in added_at[q].items() if k not in ("mirror", "others")}
    keys = {f"key {k}": value for k, value in enumerate(weighted)}
    per_key = attribution.direct_logit_attribution(task, lens, apart | keys, targets(tokens)[:, q])
    writes = {name: float(per_key[name].mean()) for name in keys}
    at_mirror = f"key {task.mirror_position(q)}"
    largest = max(writes.keys() - {at_mirror}, key=lambda name: abs(writes[name]))
    rows.append([q, at_mirror, f"{writes[at_mirror]:.2f}", largest, f"{writes[largest]:.4f}"])
Table(["query", "mirror", "it writes", "largest other", "it writes"], rows)

# %% [markdown]
# The {term}`logit lens` applies the last LayerNorm and the unembedding earlier: before attention, after it, and at the
# end. Each row is a position whose target is determined, with the share of strings on which the lens has the right first
# choice.

# %%
stages = [f"blocks.0.hook_resid_{stage}" for stage in ("pre", "mid", "post")]
cache = model.activations(lens, inputs(tokens), stages)
rows = []
for p in range(task.half_length, task.n_positions):
    with torch.no_grad():
        scaled = [lens.ln_final(cache[stage][:, p]) for stage in stages]
        answers = [lens.unembed(stream).argmax(dim=-1) for stream in scaled]
    right = [float((a == targets(tokens)[:, p]).double().mean()) for a in answers]
    rows.append([p, *(f"{100 * r:.4g} %" for r in right)])
Table(["position", "before attention", "after it", "at the end"], rows)

# %% [markdown]
# The bar and the end need no letter, and the lens finds them before attention; after it, it loses the bar again on many
# strings. At the mirrored queries it is right before attention as often as a guess, or less. After it the lens is nearly
# never right there, although the letter has arrived:
# {doc}`05_mechanism` swaps it there, and the answer follows. It is hardly written in the code that the unembedding reads;
# the MLP translates it.
#
# Part of the lens's failure is its own: it leaves out even what the MLP adds on every string. {doc}`08_circuits` puts in
# that mean, and then a part of the answers is right. Here the lens says when the answer is spelled out, not when it is
# known.
#
# ## The truth, and four quick estimates
#
# The truth is the mean drop in lead over all donors of one part, the string's own attention weights held: each letter at
# the mirror position (`mirror`), each letter of the embedding (`direct`). The MLP's donors are the outputs that it would
# have, had the mirror value been read from each letter. The string's own letter is among its donors, one of 26, and loses
# nothing.
#
# Four estimates stand beside it, still in one model: *zero* and *mean* ablation, the *gradient* at the string's own value
# times the distance from the mean donor, and *dla*, direct logit attribution. At query 4 the embedding is the bar's in
# every string, and has no effect to audit. Each row of the table is a part at a query; the numbers are means over all
# strings, in nats of lead.

# %%
cases = [(q, part) for q in queries for part in ("direct", "mirror", "mlp")][1:]
effects_of = {(q, part): attribution.audit(solver, q, part) for q, part in cases}
rows = []
for (q, part), effects in effects_of.items():
    rows.append([f"{part} {q}", *(f"{float(values.mean()):z.3f}" for values in effects)])
Table(["part, query", "truth", *attribution.Effects._fields[1:]], rows)

# %% [markdown]
# That both ablations have the right mean for the mirror value is no merit of theirs. What they put in does not know the letter to be copied,
# and the lead of any fixed answer, averaged over all letters that could be wanted, is 0. So their means must be near the
# mean lead, and so must the truth. What an estimate knows shows in how it ranks the strings. For the same parts, the
# {term}`rank correlation` of each estimate with the truth, over the strings:

# %%
quick = attribution.Effects._fields[1:]
signs, ranks = {}, {}
for (q, part), effects in effects_of.items():
    for name in quick:
        value, truth = getattr(effects, name), effects.resample
        ranks[q, part, name] = float(spearmanr(value, truth).statistic)
        signs[q, part, name] = float(((value > 0) != (truth > 0)).double().mean())
rows = []
for q, part in cases:
    rows.append([f"{part} {q}", *(f"{ranks[q, part, n]:z.2f}" for n in quick)])
Table(["part, query", *quick], rows)

# %% [markdown]
# And how often is the sign right? The share of strings on which it is wrong:

# %% tags=["hide-input"]
Table(
    ["part, query", *quick],
    [[f"{part} {q}", *(f"{100 * signs[q, part, n]:.0f} %" for n in quick)] for q, part in cases],
)

# %% [markdown]
# For the mirror value alone, the largest error of each estimate at each query, as a share of that string's truth:

# %% tags=["hide-input"]
rows = []
for q in queries:
    truth, errors = effects_of[q, "mirror"].resample, [str(q)]
    for name in quick:
        away = (getattr(effects_of[q, "mirror"], name) - truth).abs()
        at = int(away.argmax())
        errors.append(f"{100 * float(away[at] / truth[at]):.0f} %")
    rows.append([*errors])
Table(["query", *quick], rows)

# %% [markdown]
# The gradient at the own value misses the two parts that matter, the mirror value and the MLP: its mean is about zero
# where the truth is the whole lead. For `direct`, a small part, it ranks the strings well, but has the wrong sign on
# half of them. Direct logit attribution fails the other way. It counts only what the value writes itself, a tenth of
# its effect. For the MLP itself it is good.
#
# ## Which end
#
# A gradient times a difference of two values is the slope of the lead along the straight line between them. So the
# gradient methods differ in *where on this line* they take the slope. Neel Nanda's {term}`attribution patching`
# {cite:p}`nanda2023` patches a value of the clean run into the corrupted one, and takes the gradient in the corrupted
# run: at the donor's value. Edge attribution patching {cite:p}`syed2023` and AtP* {cite:p}`kramar2024` patch the other
# way, and take it in the clean run: at the string's own value. {term}`Integrated gradients <integrated gradients>`
# {cite:p}`sundararajan2017` average over many points. {numref}`fig-line` has the whole line for the mirror value.

# %%
inside = [i / 16 for i in range(1, 16)]
one_value = estimators.mirror_value(solver, second)
fine = estimators.walk(lens, one_value, inside)
x, on_line = fine.points, fine.lead.mean(dim=1)
slopes = {"donor end": float(fine.slope(0.0).mean()), "own end": float(fine.slope(1.0).mean())}
gain = float(on_line[-1] - on_line[0])
say(donor_slope=slopes["donor end"], own_slope=slopes["own end"], gain=gain)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-line", "caption": "The lead at query 5 as the value at the mirror moves in a straight line from a donor's (0) to the string's own (1), as the mean over all strings and all 26 donors, in the model of one seed. Where a tangent meets the other end is what the gradient there predicts."}}
donor_tangent = on_line[0] + slopes["donor end"] * x
own_tangent = on_line[-1] - slopes["own end"] * (1 - x)
figures.lines(
    {"lead": on_line, "donor end": donor_tangent, "own end": own_tangent},
    x=x,
    x_title="place on the line from the donor's value to the own one",
    y_title="lead (nats)",
    alt=f"The lead rises in an S from {float(on_line[0]):.2f} to {float(on_line[-1]):.2f} nats, most of "
    f"it between a quarter and three quarters of the way. The tangent at the donor's end rises by "
    f"{slopes['donor end']:.2f} nats over the whole way; the one at the own end is level, and changes by "
    f"{slopes['own end']:.3f} nats.",
)

# %% [markdown]
# The lead gains {glue:text}`gain` nats on the way. The slope at the donor's end promises {glue:text}`donor-slope` of
# them, about half; the slope at the own end {glue:text}`own-slope`. The curve is steep in the middle and flat where the
# string's own letter has arrived: the answer is as firm as it can be, and a small step changes nothing. The sign of a
# slope that is nearly zero says nothing.
#
# ### A bench of estimators
#
# ```{margin}
# TransformerLens has an attribution patching of its own. It averages over pairs and does not split attention by key, so
# the few lines are written here.
# ```
#
# The estimators were run on the models of all seeds, on every string at every query, with all donors: a trained
# transformer, then its mirror values, then the slopes at a few points.

# %%
bench, held, reached, shrunk = {}, {}, {}, []
for s, other in solvers.items():
    transformer = other.model
    for q in queries:
        value = estimators.mirror_value(other, q)
        between = (0.25, 0.5, 0.75) if q == second else ()
        bench[s, q] = estimators.measure(transformer, value, between)
        reached[s, q] = estimators.reached(transformer, value)
        at_own = estimators.last_scale(transformer, value.rest + value.own)
        at_mean = estimators.last_scale(transformer, value.rest + value.donors.mean(dim=1))
        shrunk.append(float(at_mean.mean() / at_own.mean()))
        for scales in ((), ("ln2",), ("ln_final",), estimators.NORMS):
            held[s, q, scales] = estimators.held_gradient(transformer, value, scales)
say(shrunk_least=round(min(shrunk), 2), shrunk_most=round(max(shrunk), 2))

# %% tags=["hide-input"]
pairs = len(tokens) * (len(task.alphabet) - 1)
small = [float(result.estimates["own end"].abs().median()) for result in bench.values()]
large = [float(result.truth.mean()) for result in bench.values()]
say(small_least=round(min(small), 2), small_most=round(max(small), 2))
say(large_least=round(min(large), 1), large_most=round(max(large), 1))


# %% [markdown]
# - *own end*, *donor end*, *both ends*: the gradient there, times own minus donor, averaged over the donors.
# - *mean donor*: one gradient, at the mean of the donors' values, which no letter has.
# - *one point* and *two points*: integrated gradients by the midpoint rule, at ½, or at ¼ and ¾; both at query 5 alone.
# - *paths apart*: AtP* adds two things to the gradient at the own end. Its repair for queries and keys has nothing to do
#   here, where weights are held. Its other, GradDrop, keeps effects on two paths from cancelling: the absolute slopes
#   through the MLP and past it are added. Such a score has no sign.
# - *zero*, *mean*, *dla*: as above; the means of the first two are right by construction.
#
# Each row is an estimator. Its columns are the share of strings with the wrong sign; the rank correlation with the
# truth; the mean estimate as a share of the mean truth; and the cost in forward passes for each string, a backward pass
# counted as two. Ranges are over all seeds and queries.

# %%
def of_pairs(place):
    per_seed = [sum(int(bench[s, q].line.wrong[place]) for q in queries) for s in seeds]
    return [count / pairs / len(queries) for count in per_seed]


judged = {}
for name in estimators.ESTIMATORS:
    results = [result for result in bench.values() if name in result.estimates]
    verdicts = [estimators.judge(result.estimates[name], result.truth) for result in results]
    judged[name] = list(zip(*verdicts))
single = of_pairs(0)
say(single_least=f"{100 * min(single):.1f} %", single_most=f"{100 * max(single):.1f} %")
own_wrong_signs, _, own_shares = judged["own end"]
say(
    own_wrong_least=f"{100 * min(own_wrong_signs):.0f}",
    own_wrong_most=f"{100 * max(own_wrong_signs):.0f}",
    own_most=f"{100 * max(map(abs, own_shares)):.1f}",
)


# %% tags=["hide-input"]
def span(values, digits=2, unit=""):
    low, high = (f"{value:z.{digits}f}" for value in (min(values), max(values)))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def percent(values, digits=1):
    return span([100 * value for value in values], digits, " %")


rows = []
for name, passes in estimators.ESTIMATORS.items():
    wrong, ranked, means = judged[name]
    sign = "–" if name == "paths apart" else percent(wrong, 2)
    rows.append([name, sign, span(ranked), span(means), passes(len(task.alphabet) - 1)])
rows.append(["(the truth)", "0 %", "1", "1", len(task.alphabet)])
Table(["estimator", "wrong sign", "rank correlation", "mean", "passes"], rows)

# %% [markdown]
# At the own end the estimate is next to nothing. Its sign is wrong on about as many strings as it is right
# ({glue:text}`own-wrong-least` to {glue:text}`own-wrong-most` %, by model and query), and its mean is within
# {glue:text}`own-most` % of the effect of zero. The estimate is small: by model and query the median estimate is {glue:text}`small-least` to {glue:text}`small-most` nats in size,
# where the mean truth is {glue:text}`large-least` to {glue:text}`large-most`. At the donor's end, averaged over all
# donors, the sign is right on every string. But the estimate there is about half of the truth, and it hardly ranks the
# strings. With a single donor, as the method is used, the sign is wrong in {glue:text}`single-least` to
# {glue:text}`single-most` of the (string, donor) pairs. Both ends together find half of what the donor's end finds,
# since the other half is about zero. In the middle of the line the slope is too steep. Two points find nearly all of
# the mean, and rank better than any other gradient here; more points must end at the truth, because the slopes of a
# line add up to its rise.
#
# Direct logit attribution finds a fifth of the effect at most, and its ranks go either way from one model to the next.
#
# The gradient at the mean donor is another thing than the mean gradient at the donors: it is two to three and a third
# times the truth. Where all letters are averaged, little is left: the last LayerNorm divides by
# {glue:text}`shrunk-least` to {glue:text}`shrunk-most` of what it divides by at the own value, which makes a step that
# much larger.
#
# GradDrop changes little, because nothing cancels here: both paths are flat at the same end.
#
# In the last column the truth, at 26 passes, is cheaper than every gradient that is averaged over donors. Gradients pay
# where one backward pass serves many parts, and donors are few: one value with all its donors is the case they were
# *not* made for. Nanda himself warns that the approximation is poor for large parts of the residual stream, and this
# value carries the whole answer.

# %% tags=["hide-input"]
own_wrong, _, own_means = judged["own end"]
donor_wrong, donor_ranks, donor_means = judged["donor end"]
least_truth = min(float(result.truth.min()) for result in bench.values())
claim(
    "attribution.clean-gradient",
    "Over five models, the gradient at the string's own value finds {value} of the mean effect of the value at the mirror.",
    sum(own_means) / len(own_means),
    checked_on=len(seeds) * n_cases,
    cases="(model, string, query) triples",
    control=f"from {percent(own_means)} by model and query, with the wrong sign in {percent(own_wrong)} of the strings. "
    f"At the donors' values the same gradient finds {percent(donor_means)}, with the wrong sign in {percent(donor_wrong, 2)}. "
    f"The true effect is nowhere below {least_truth:.3g} nats.",
    style="percent",
)

# %% tags=["hide-input"]
claim(
    "attribution.corrupted-gradient",
    "Over five models, the gradient at the donors' values, averaged over all donors, gives this effect the wrong sign in "
    "{value} of the cases.",
    sum(donor_wrong) / len(donor_wrong),
    checked_on=len(seeds) * n_cases,
    cases="(model, string, query) triples",
    control=f"with a single donor instead of all it is wrong in {percent(of_pairs(0))} of the pairs, by model; at the own end in "
    f"{percent(of_pairs(-1))}. It finds {percent(donor_means)} of the mean effect, with a rank correlation of {span(donor_ranks)}.",
    style="percent",
)

# %% [markdown]
# How many points does it take? For one model at query 5, the midpoint rule with more and more points, and last the
# trapezoidal rule over all 17 points of {numref}`fig-line`, both ends among them: the mean as a share of the truth, the
# rank correlation, and the largest error on any string.

# %%
exact, rows = fine.lead[-1] - fine.lead[0], []
rules = {str(n): fine.slope(*estimators.midpoints(n)) for n in (1, 2, 4, 8)}
rules["17"] = (15 * fine.slope(*inside) + fine.slope(0.0, 1.0)) / 16
for n, estimate in rules.items():
    verdict = estimators.judge(estimate, exact)
    most_off = float(((estimate - exact) / exact).abs().max())
    needed = 3 * int(n) * (len(task.alphabet) - 1)
    rows.append([n, verdict.mean, f"{verdict.rank:.3f}", f"{100 * most_off:.1f} %", needed])
Table(["points", "mean", "rank correlation", "largest error", "passes"], rows)

# %% tags=["hide-input"]
_, two_ranks, two_means = judged["two points"]
_, one_ranks, one_means = judged["one point"]
claim(
    "attribution.integrated",
    "Over five models, integrated gradients with two points find {value} of the mean effect of the value at the mirror.",
    sum(two_means) / len(two_means),
    checked_on=len(seeds) * len(tokens),
    cases="(model, string) pairs at query 5",
    control=f"by model {percent(two_means)}, with a rank correlation of {span(two_ranks)}. One point in the middle finds "
    f"{percent(one_means)} of it, the two ends together {percent(judged['both ends'][2])}.",
    style="percent",
)

# %% [markdown]
# ### Why one end is flat
#
# The last LayerNorm is the suspect. What it hands on has a fixed length. So the lead has a ceiling, which a string
# reaches where its stream points exactly to the wanted letter. The share of the ceiling that it has is, up to a small
# constant, the cosine of the angle between the two; and near the top of a cosine the slope is small. At the other end
# of the line the stream points to the *donor's* letter, and that is no top of the lead for the string's own.

# %%
fresh = [
    model.hooked(model.init_model(config, task), config, task)
    for config in (model.ModelConfig(seed=s) for s in seeds)
]
untrained = []
for transformer in fresh:
    value = estimators.mirror_value(subject(task, transformer), second)
    untrained.append(float(estimators.reached(transformer, value).mean()))
near = [float(torch.stack([reached[s, q].mean() for q in queries]).mean()) for s in seeds]
least_near = min(float(share.min()) for share in reached.values())
Table(
    ["seed", "lead, as a share of its ceiling", "the same with fresh weights, query 5"],
    [[s, f"{a:.3f}", f"{b:z.3f}"] for s, a, b in zip(seeds, near, untrained)],
)

# %% tags=["hide-input"]
claim(
    "attribution.ceiling",
    "With the string's own letter in place, the lead is at {value} of the largest that the last LayerNorm allows.",
    sum(near) / len(near),
    checked_on=len(seeds) * n_cases,
    cases="(model, string, query) triples",
    control=f"by model {percent(near)}, and nowhere below {100 * least_near:.1f} %; with fresh weights {percent(untrained)}.",
    style="percent",
)

# %% [markdown]
# Nearness to the ceiling is not all of it. The half-trained model of the original recipe is further from it, and at
# query {glue:text}`flat-query` its slope is as good as flat too. Each row of the table is one of its queries.

# %%
original = training.ORIGINAL.model_copy(update={"seed": seed})
half_trained = training.trained(task, model.ModelConfig(seed=seed), original).model
half_subject = subject(task, half_trained)
rows, own_share_at = [], {}
for q in queries:
    value = estimators.mirror_value(half_subject, q)
    walked = estimators.walk(half_trained, value)
    verdict = estimators.judge(walked.slope(1.0), walked.lead[-1] - walked.lead[0])
    own_share_at[q] = verdict.mean
    share_reached = float(estimators.reached(half_trained, value).mean())
    rows.append([q, f"{share_reached:.3f}", f"{verdict.mean:z.3f}", f"{100 * verdict.wrong:.1f} %"])
say(flat_query=min(own_share_at, key=lambda q: abs(own_share_at[q])))
Table(["query", "share of the ceiling", "own end finds", "wrong sign"], rows)

# %% [markdown]
# So the line to the own value ends where the slope is small, and in which place exactly is a matter of the model. That
# LayerNorm is the reason can be tested: train models of the same recipe *without* any LayerNorm. They have no ceiling, and only
# the bends of the MLP are left on the line.

# %%
plain = {}
for s, other in solved(task, seeds, normalization_type=None).items():
    for q in queries:
        value = estimators.mirror_value(other, q)
        between = (0.25, 0.5, 0.75) if q == second else ()
        plain[s, q] = estimators.walk(other.model, value, between)
plain_lead = float(torch.stack([walked.lead[-1].mean() for walked in plain.values()]).mean())
say(times_as_large=round(plain_lead / (sum(large) / len(large)), 1))
rows, plain_verdicts = [], {}
for place, name in ((1.0, "own end"), (0.0, "donor end")):
    verdicts = [estimators.judge(w.slope(place), w.lead[-1] - w.lead[0]) for w in plain.values()]
    plain_verdicts[name] = wrong, ranked, means = list(zip(*verdicts))
    rows.append([name, percent(wrong, 2), span(ranked), span(means)])
say(
    plain_wrong=f"{100 * max(plain_verdicts['own end'][0]):.2f}",
    plain_least=f"{100 * min(plain_verdicts['own end'][2]):.0f}",
)
Table(["without LayerNorm", "wrong sign", "rank correlation", "mean"], rows)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-slopes", "caption": "The slope along the line from a donor's value (0) to the string's own (1) at query 5, as a share of the whole rise; a straight line would have 1 everywhere. Points are means over the models of all seeds, bars reach from the least to the largest of them."}}
series, at_ends = {}, {}
of_models = {
    "with LayerNorm": [bench[s, second].line for s in seeds],
    "without LayerNorm": [plain[s, second] for s in seeds],
}
for name, walked in of_models.items():
    profile = torch.stack(
        [(w.through + w.past).mean(dim=1) / (w.lead[-1] - w.lead[0]).mean() for w in walked]
    )
    columns = (profile.mean(dim=0), profile.amin(dim=0), profile.amax(dim=0))
    middle, low, high = (column.tolist() for column in columns)
    series[name] = (walked[0].points.tolist(), middle, low, high)
    at_ends[name] = [float(v) for v in profile.mean(dim=0)]
figures.points(
    series,
    x_title="place on the line from the donor's value to the own one",
    y_title="slope, as a share of the rise",
    alt="Five points for each kind of model, from the donor's end to the own one. With LayerNorm the slope is "
    + ", ".join(f"{v:z.2f}" for v in at_ends["with LayerNorm"])
    + ": a hill that ends at zero. Without it, "
    + ", ".join(f"{v:z.2f}" for v in at_ends["without LayerNorm"])
    + ": nearly level.",
)

# %% [markdown]
# Without LayerNorm the line is nearly straight ({numref}`fig-slopes`). The gradient at the own end has the wrong sign on
# {glue:text}`plain-wrong` % of the strings at most and finds {glue:text}`plain-least` % of the effect and more, though
# it ranks the strings less well than the gradient at the donor's end.

# %% tags=["hide-input"]
plain_wrong, plain_ranks, plain_means = plain_verdicts["own end"]
claim(
    "attribution.without-layer-norm",
    "In five models without LayerNorm, the gradient at the string's own value finds {value} of the mean effect of the "
    "value at the mirror.",
    sum(plain_means) / len(plain_means),
    checked_on=len(seeds) * n_cases,
    cases="(model, string, query) triples",
    control=f"from {percent(plain_means)} by model and query, with the wrong sign in {percent(plain_wrong, 2)} of the strings. "
    f"With LayerNorm it finds {percent(own_means)}, with the wrong sign in {percent(own_wrong)}.",
    style="percent",
)

# %% [markdown]
# ### Which LayerNorm
#
# There is one before the MLP (`ln2`) and one before the unembedding (`ln_final`). *Hold* the scale of one: let it keep
# the string's own value, and let the gradient take it for a constant. Each row of the table holds other scales and has
# the mean effect that the gradient at the own end then finds, as a share of the truth, the share of strings on which
# its sign is wrong, and the rank correlation with the truth, over all seeds and queries.

# %%
held_verdicts, rows = {}, []
for scales in ((), ("ln2",), ("ln_final",), estimators.NORMS):
    verdicts = [estimators.judge(held[s, q, scales], bench[s, q].truth) for s, q in bench]
    held_verdicts[scales] = wrong, ranked, means = list(zip(*verdicts))
    name = " and ".join(scales) or "none"
    rows.append([name, span(means), percent(wrong), span(ranked)])
Table(["scale held", "mean", "wrong sign", "rank correlation"], rows)

# %% [markdown]
# First of all it is the last one, as the ceiling would have it. With the scale before the MLP held alone, hardly
# anything changes: what the MLP then adds in length, the last LayerNorm would divide out again. With the last one held
# alone, about half the effect is back; with both, all of it and a little more, and the sign is right.

# %% tags=["hide-input"]
held_wrong, held_ranks, held_means = held_verdicts[estimators.NORMS]
claim(
    "attribution.scales-held",
    "Over five models, with the scales of both LayerNorms held, the gradient at the string's own value finds {value} "
    "of the mean effect of the value at the mirror.",
    sum(held_means) / len(held_means),
    checked_on=len(seeds) * n_cases,
    cases="(model, string, query) triples",
    control=f"from {percent(held_means)} by model and query, with the wrong sign in {100 * max(held_wrong):.4g} % of the strings at "
    f"most. Held alone, the one before the MLP brings {percent(held_verdicts[('ln2',)][2])} and the last one "
    f"{percent(held_verdicts[('ln_final',)][2])}.",
    style="percent",
)

# %% [markdown]
# ### The two edges
#
# {term}`Edge attribution patching <edge attribution patching>` {cite:p}`syed2023` scores the edges of the graph instead
# of its nodes: here the edge from the mirror value to the MLP (`through`), and the edge past the MLP to the logits
# (`past`). The truth of an edge is {term}`path patching`: the donor's value on this path alone. With integrated
# gradients the method is called EAP-IG {cite:p}`hanna2024`; its authors move all embeddings at once, here only the
# value moves. Each row is an edge and where the slope is taken; ranges are over all seeds and queries, for *one point*
# over all seeds at query 5.

# %%
edge_verdicts, rows = {}, []
for edge in ("through", "past"):
    true_mean = [float(result.paths[edge].mean()) for result in bench.values()]
    rows.append([f"{edge}: truth (nats)", "", "", span(true_mean)])
    for name, point in (("own end", 1.0), ("donor end", 0.0), ("one point", 0.5)):
        verdicts = []
        for result in bench.values():
            points = result.line.points.tolist()
            if point in points:
                score = getattr(result.line, edge)[points.index(point)]
                verdicts.append(estimators.judge(score, result.paths[edge]))
        edge_verdicts[edge, name] = wrong, ranked, means = list(zip(*verdicts))
        shown = percent(wrong), span(ranked), span(means)
        rows.append([f"{edge}: {name}", *shown])
Table(["edge, slope at", "wrong sign", "rank correlation", "mean"], rows)

# %% [markdown]
# The edges repeat what the node showed: at the own end both scores are near zero. At the donor's end the larger edge
# has its sign, and two fifths to a half of its size. The small edge past the MLP has a mean nearer to its truth there.

# %% tags=["hide-input"]
edge_wrong, edge_ranks, edge_means = edge_verdicts["through", "own end"]
claim(
    "attribution.edges",
    "Over five models, the edge score taken at the string's own value finds {value} of the mean effect of the edge from the "
    "mirror value to the MLP.",
    sum(edge_means) / len(edge_means),
    checked_on=len(seeds) * n_cases,
    cases="(model, string, query) triples",
    control=f"from {percent(edge_means)} by model and query, with the wrong sign in {percent(edge_wrong)} of the strings. At the "
    f"donors' values it finds {percent(edge_verdicts['through', 'donor end'][2])}, with the wrong sign in "
    f"{percent(edge_verdicts['through', 'donor end'][0])}.",
    style="percent",
)

# %% tags=["hide-input"]
mlp_rank = [ranks[q, "mlp", "dla"] for q in queries]
dla_ranks = judged["dla"][1]
claim(
    "attribution.dla-ranks",
    "Over five models, the rank correlation of direct logit attribution with the true effect of the value at the mirror lies "
    f"between {min(dla_ranks):.2f} and {{value}}.",
    max(dla_ranks),
    checked_on=len(seeds) * n_cases,
    cases="(model, string, query) triples",
    control=f"with the true effect of the MLP, in the model of seed {seed}, it is at least {min(mlp_rank):.3f}.",
)

# %% [markdown]
# ### What the ablations put in
#
# The ablations disagree too. Their means agree by construction, as was said above; their single strings do not. Mean
# ablation of the mirror value is off by most of the lead on some strings at all three queries. A loss of nearly twice the
# lead means that the model, given an average letter, decides against the right one almost as firmly as it had decided for
# it.
#
# For the embedding at the query, zero ablation reports an effect that resampling does not find: it takes away what all
# strings share, which no donor does.

# %% tags=["hide-input"]
worst_strings = []
for (s, _query), result in bench.items():
    difference = (result.estimates["mean"] - result.truth).abs()
    place = int(difference.argmax())
    worst_strings.append((float(difference[place]), s, strings[place], float(result.truth[place])))
by_model = [max(row[0] for row in worst_strings if row[1] == s) for s in seeds]
furthest = max(worst_strings)
typical = [float((r.estimates["mean"] - r.truth).abs().median()) for r in bench.values()]
claim(
    "attribution.ablations",
    f"Mean and resample ablation of the mirror value differ by up to {{value}} nats of lead, on `{furthest[2]}` in the model of "
    f"seed {furthest[1]}.",
    furthest[0],
    checked_on=len(seeds) * n_cases,
    cases="(model, string, query) triples",
    control=f"the largest difference is {span(by_model)} nats by model, where resampling costs this string {furthest[3]:.3g}; "
    f"the median difference is {span(typical)}. The means of both agree by construction.",
)

# %% [markdown]
# ## Swap it, and the answer must follow
#
# An *interchange intervention* takes one part from a second string. Every ordered pair that differs in one letter is
# tried, so that every string meets every replacement of every letter. If the letter is the mirrored one, the answer
# should become the second string's; if it is another, it should stay ({numref}`fig-interchange`).

# %% tags=["setup"]
patched = {q: attribution.patch(solver, q) for q in queries}
follow, stay = {}, {}
for q, outcomes in patched.items():
    slot = task.slot_of(q)
    other = [s for s in range(task.half_length) if s != slot]
    for name, outcome in outcomes.items():
        follow[name, q] = float(outcome[slot, :, 0].double().mean())
        stay[name, q] = int(outcome[other][:, :, 1].sum())

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-interchange", "caption": "Share of the pairs in which the answer follows the second string, by the part taken from it. Only the mirror value and the MLP carry the letter; direct and others cannot, for they do not read it."}}
parts = list(patched[queries[0]])
figures.heatmap(
    torch.tensor([[follow[name, q] for q in queries] for name in parts]),
    rows=parts,
    columns=[str(q) for q in queries],
    x_title="query",
    y_title="taken from the second string",
    alt="Heat map of the share of answers that follow the second string, 5 parts by 3 queries. "
    + "; ".join(
        f"{name}: {min(follow[name, q] for q in queries):.3f} to {max(follow[name, q] for q in queries):.3f}"
        for name in parts
    ),
    show_values=True,
)

# %% tags=["hide-input"]
pairs = len(tokens) * (len(task.alphabet) - 1)
claim(
    "attribution.follows",
    f"With seed {seed} and the mirror value of a string that differs in the mirrored letter, the answer follows in {{value}} of the cases.",
    sum(follow["mirror", q] for q in queries) / len(queries),
    checked_on=pairs * len(queries),
    cases="(ordered pair of strings, query) cases",
    control="of the pairs that differ in another letter, the values of all other keys change "
    f"{sum(stay['others', q] for q in queries)} answers of {2 * pairs * len(queries):,}.",
    tolerance=0,
    style="percent",
)

# %% [markdown]
# The zeros of `direct` and `others` are no finding: neither depends on the mirrored letter, so they are the same in both
# strings. The zero of `pattern` is a finding. `direct` and `others` could change the answer only where *another* letter
# differs.
# Each row of the table is a part taken from the second string. The first two columns of numbers count pairs that differ
# in the mirrored letter, the last one pairs that differ in another; the last row has all pairs there are.

# %%
rows = []
for name in parts:
    same_slot = [patched[q][name][task.slot_of(q)] for q in queries]
    moved = sum(int(o[:, 1].sum()) for o in same_slot)
    third = sum(int((o[:, 1] & ~o[:, 0]).sum()) for o in same_slot)
    rows.append([name, moved, third, sum(stay[name, q] for q in queries)])
every_pair = pairs * len(queries)
rows.append(["(all pairs)", every_pair, every_pair, 2 * every_pair])
Table(["taken", "answer changed", "to a third letter", "changed by another letter"], rows)

# %% [markdown]
# The output of the MLP changes every answer too, but in a few cases to a third letter: the rest of the stream
# still speaks, and not for the letter of the second string.
#
# ### Position by position
#
# The same pairs, and this time the whole {term}`residual stream` before attention is taken from the second string, at
# one position ({term}`activation patching`). The position then asks, is looked at and is read as in the second string.
# Two strings that differ in one letter differ at two positions, once on each side of the bar; at all others there is
# nothing to patch. Each row of the table is a query and a position patched, with as many pairs as there are strings
# times 25 other letters.

# %%
rows = []
for q in queries:
    outcome = attribution.patch_embeddings(solver, q)
    followed, changed = outcome.tolist()
    slots = range(task.half_length)
    places = [(p, slot) for slot in slots for p in (slot + 1, task.n_positions - 1 - slot)]
    for position, slot in sorted(place for place in places if place[0] <= q):
        mark = " (mirror)" if position == task.mirror_position(q) else ""
        hit = f"{100 * followed[slot][position] / pairs:.4g} %" if mark else "–"
        rows.append([q, f"{position}{mark}", hit, changed[slot][position]])
Table(["query", "patched at", "follows", "answers changed"], rows)

# %% [markdown]
# At the mirror position every answer follows. At
# every other position, the query's own among them, none changes. After attention only the query itself is left to patch,
# and that is the table before this one.
#
# ### Path by path
#
# The letter of the mirror value can reach the unembedding on two paths: through the MLP, and past it.
# {term}`Path patching` {cite:p}`goldowskydill2023` puts the second string's value on one path and leaves the string's
# own on the other. Each row puts the second letter on one path or on both; the columns say which letter is answered, as
# shares of all pairs at all queries.

# %%
paths = {q: attribution.patch_paths(solver, q) for q in queries}
totals = {
    path: torch.stack([paths[q][path] for q in queries]).sum(dim=0).tolist()
    for path in attribution.PATHS
}
Table(
    ["path of the second letter", "follows", "stays", "a third letter"],
    [
        [path, *(f"{100 * n / every_pair:.3f} %" for n in (f, s, every_pair - f - s))]
        for path, (f, s) in totals.items()
    ],
)

# %% tags=["hide-input"]
claim(
    "attribution.path",
    f"With seed {seed}, another letter on the path through the MLP and the string's own on the path past it, the answer follows the "
    "MLP's in {value} of the cases.",
    totals["through the MLP"][0] / every_pair,
    checked_on=every_pair,
    cases="(ordered pair of strings, query) cases",
    control="with the other letter on the path past the MLP alone, it follows in "
    f"{100 * totals['past the MLP'][0] / every_pair:.4g} % and stays in {100 * totals['past the MLP'][1] / every_pair:.4g} %.",
    style="percent",
)

# %% [markdown]
# The two paths can be told apart, and the one through the MLP decides in nearly all cases; in the rest a third letter
# wins.
#
# **What could be wrong with this?** The bench has one value, the one that carries the letter, in one kind of model; of
# small parts, or of deeper models, it says nothing, and a gradient may do well there. The corrupted run of the
# published method is a whole other string; here only the value at the mirror is the donor's, and the attention weights
# stay the string's own. The lead is not the probability; a measure that saturates, as the probability does, should be
# flatter still at the own end, and was not tried. That LayerNorm is the reason rests on two interventions, holding its
# scales and training without it; the models without it also have leads {glue:text}`times-as-large` times as large. The
# interchanges of this last part were run in the model of one seed. The MLP's donors are its answers to other mirror
# letters, not to all other strings.
#
# ## What this chapter claims
#
# ```{claims} attribution
# ```
#
# ## Exercises
#
# ```{exercise-start} Recall
# :label: ex-attribution-1
# ```
# Without looking at the table: at which end is the slope of the lead flat, and why does training without LayerNorm change
# that? And why does the embedding have no effect at query 4?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-attribution-1
# :class: dropdown
# ```
# At the string's own value. The last LayerNorm fixes the length of what is unembedded, so that the lead has a largest
# value, and along the line to the own value it levels off. Without LayerNorm the lead can always grow.
#
# At query 4 the bar stands in every string, so that every donor brings what was there before.
#
# ```{solution-end}
# ```
#
# ```{exercise-start} Apply
# :label: ex-attribution-2
# ```
# The mean effect of mean ablation is right by construction, and its effect on a string can be wrong by nearly the whole
# lead. Which strings are these? Group the error at query 6 by the mirrored letter.
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-attribution-2
# :class: dropdown
# ```
# Errors of both signs cancel. If the model takes the mean for particular letters, strings with these letters lose little,
# and the others pay too much. The three letters with the least error and the three with the largest:

# %% tags=["solution"]
effects = effects_of[6, "mirror"]
error = anova.by_slot(task, effects.mean - effects.resample)
by_letter = error.mean(dim=(1, 2))
order = by_letter.argsort().tolist()
Table(
    ["1st letter", "mean error (nats)", "least", "most"],
    [
        [task.alphabet[i], *map(float, (by_letter[i], error[i].min(), error[i].max()))]
        for i in (*order[:3], *order[-3:])
    ],
)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise-start} Extend
# :label: ex-attribution-3
# ```
# On which letters does the true effect of the mirror value depend? Divide its variance over the strings exactly.
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-attribution-3
# :class: dropdown
# ```
# The values of the mirror position depend on the mirrored letter, the weights on all three. The rows divide the variance
# of the effect: what each letter alone explains, and what is left for their interactions.

# %% tags=["solution"]
exact_of = {q: anova.by_slot(task, effects_of[q, "mirror"].resample) for q in queries}
divided = {q: anova.decompose(effect, task.half_length) for q, effect in exact_of.items()}
names = {(s,): f"the {place} letter" for s, place in enumerate(("1st", "2nd", "3rd"))}
rows = [
    [name, *(f"{100 * divided[q].shares()[axes]:.1f} %" for q in queries)]
    for axes, name in names.items()
]
left = [1 - sum(divided[q].shares()[axes] for axes in names) for q in queries]
Table(
    ["variance of the effect from", *[f"query {q}" for q in queries]],
    [*rows, ["interactions", *(f"{100 * part:.1f} %" for part in left)]],
)

# %% [markdown]
# At query 4 all of it is the letter to be copied: some letters lead by more than others, whatever stands beside them.
# At queries 5 and 6, where another letter stands at the query, that is four fifths, and nearly all the rest are
# interactions.
#
# ```{solution-end}
# ```
#
# **Next:** {doc}`08_circuits` tries every circuit, and {doc}`13_dictionary` takes the MLP's output apart.
