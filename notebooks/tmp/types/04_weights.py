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
# # Weights: why it looks there, and what it fetches
#
# ```{opening}
# :builds: 03_attention
# :needs: matrices and singular values; variance
# :read: 25
# :summary: why the head looks where it looks, and what it fetches, read off the weights as exact tables
#
# - say what counts as an explanation of this model
# - read its attention scores and its copying off the weights, and say in which directions they lie
# - say which letters move the attention, and by how much
# ```
#
# The last chapter watched the model. This one opens it.
#
# ## What counts as an explanation
#
# A *mechanism* says what is computed where, and by which weights. In a model of one layer there are few places to look.
# The *direct path* carries a token's own embedding to the output. The {term}`head` adds to it, and has two parts
# {cite:p}`elhage2021`: the {term}`QK circuit` decides where it looks (queries against keys), the {term}`OV circuit` what
# it fetches (values, and where they are written). The {term}`MLP` then works on the sum, and a {term}`LayerNorm` stands
# before each part.
#
# A mechanism is believed here on three conditions.
#
# 1. It is tested by *intervention*: what it calls irrelevant is replaced, and the answer must stay; what it calls the
#    cause is replaced, and the answer must follow.
# 2. It says *how much* it explains: the share of strings with the model's own answer, and the share of the loss
#    recovered.
# 3. It has survived the strongest attempts to *break* it that we could carry out on all strings.
#
# This chapter reads the weights. {doc}`05_mechanism` and {doc}`08_circuits` intervene, {doc}`06_limits` tries to break
# what is left, {doc}`07_attribution` checks cheaper evidence, and {doc}`10_emergence` says how it came about.

# %% tags=["setup"]
import torch

from claimbook.claims import claim
from claimbook.show import Table, say
from palindrome_lens import anova, figures, model, notebook, training
from palindrome_lens.circuits import tables, weights
from palindrome_lens.circuits.subject import subject
from palindrome_lens.circuits.patterns import distinct_contexts, patterns
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode

notebook.set_up()

# %% tags=["parameters"]
seed = 0

# %% [markdown]
# The model is again the one of {doc}`02_training`. The table has the three queries that must copy a letter, and where
# each letter stands.

# %%
task = Task()
shape = model.ModelConfig(seed=seed)
recipe = training.SOLVING.model_copy(update={"seed": seed})
lens = training.trained(task, shape, recipe).model
strings = task.strings()
tokens = encode(task, strings)
mirrored = list(task.mirrored_positions)
names = ["0 <", "1 1st", "2 2nd", "3 3rd", "4 |", "5 3rd", "6 2nd", "7 1st"]
Table(["query", "its mirror position"], [[q, task.mirror_position(q)] for q in mirrored])

# %% [markdown]
# ## One layer is a set of tables
#
# In larger models LayerNorm is a nuisance: it mixes all directions, and weights can be read only approximately. Here it
# is none. Before attention the {term}`residual stream` at a position depends on the position and on the one token that
# stands there, nothing else. So does everything that the head computes from it: query, key, value. The score between two
# positions is then a table with four indices (query position and token, key position and token), and what a position
# hands over when attended to is a table with two. LayerNorm is included, and nothing is approximated.
#
# Is that true? Then the tables alone, followed through softmax, MLP and unembedding, must give the model's logits.

# %% tags=["setup"]
solver = subject(task, lens)
table = solver.tables
with torch.no_grad():
    logits = lens(inputs(tokens))


def agreeing(table):
    """How many of the model's logits follow from a table, to within 1e-10."""
    agreed = 0
    for q in range(task.n_positions):
        fetched = tables.handed_over(table, inputs(tokens), q).sum(dim=(1, 2)) + table.bias
        followed = tables.finish(lens, table.embedded[q, tokens[:, q]] + fetched)
        agreed += int(((followed - logits[:, q]).abs() < 1e-10).sum())
    return agreed


off = table.values.clone()
off[0, 1, tokens[:, 1].unique()[0]] *= 1 + 1e-6

# %% tags=["hide-input"]
claim(
    "weights.tables-exact",
    f"With seed {seed}, {{value}} logits that follow from the tables agree with the model's to within 1e-10: all there are.",
    agreeing(table),
    checked_on=logits.numel(),
    cases="logits",
    control="with one entry of the tables, what a letter at position 1 hands over, off by one part in a million, "
    f"{logits.numel() - agreeing(table._replace(values=off)):,} disagree.",
)

# %% [markdown]
# ## Where it looks: the QK circuit
#
# Average the table of scores over the tokens that can stand at its two positions, and a matrix of positions remains
# ({numref}`fig-position-scores`). It is the part of the score that no letter can change.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-position-scores", "caption": "The position-position term of every attention score. In rows 4, 5 and 6 the mirror position stands out; the rows above have other favourites."}}
by_position = weights.position_scores(table, tokens)
figures.heatmap(
    by_position,
    rows=names,
    columns=names,
    x_title="key",
    y_title="query",
    diverging=True,
    show_values=True,
    alt="Heat map of mean scores, 8 queries by 8 keys, the lower triangle filled. "
    + "; ".join(
        f"query {q}: {by_position[q, task.mirror_position(q)]:.1f} at its mirror {task.mirror_position(q)}, "
        f"at most {by_position[q, [k for k in range(q + 1) if k != task.mirror_position(q)]].max():.1f} elsewhere"
        for q in mirrored
    ),
)

# %% [markdown]
# The positions alone choose the mirror. The letters blur that choice. How much? Each entry of the matrix was an average
# over up to 26 × 26 pairs of tokens, and an {term}`analysis of variance` splits what was averaged away: an effect of the
# query's token, of the key's token, and of the pair. The table has a row for each query that must copy and each key that
# it can look at.

# %% tags=["hide-input"]
rows = []
for q in mirrored:
    for key in range(1, q + 1):
        terms = weights.score_terms(table, tokens, q, key)
        mark = " (mirror)" if key == task.mirror_position(q) else ""
        rows.append([f"{q} → {key}{mark}", *terms])
Table(["query → key", "positions", "± query", "± key", "± pair"], rows)

# %% [markdown]
# The column *positions* is what the positions alone contribute, the last three are standard deviations of the effects of
# the query's token, the key's token and the pair. Where a query looks at itself there is one token, and its effect stands
# under the key. The token at the key moves its score by most of a unit, the one at the query by about as much. The pair
# moves it by far less: the head looks by place, and hardly compares letters.
#
# We expected the query's token to be harmless: a shift that is the same for every key of a row cancels in the softmax.
# Is it the same? Take the mean over the keys away and see what remains. For queries 5 and 6 (at 4 there is but one
# token) the table has the standard deviation of the query token's effect, and of what is left of it.

# %%
rows = []
for q in mirrored[1:]:
    here = weights.tokens_at(tokens, q)
    effects = torch.stack(
        [
            table.scores[0, q][here][:, key][:, weights.tokens_at(tokens, key)].mean(dim=1)
            for key in range(q)
        ],
        dim=1,
    )
    effects -= effects.mean(dim=0)
    left = effects - effects.mean(dim=1, keepdim=True)
    rows.append([q, *[float(v.std(dim=0, correction=0).mean()) for v in (effects, left)]])
Table(["query", "± query token", "does not cancel"], rows)

# %% [markdown]
# Most of it does not cancel. What stands at positions 5 and 6 shifts the attention nearly as much as what stands at the
# keys, and the position term has to be large enough to outvote both.
#
# The mean of the mirror is far above the others, but a mean can hide exceptions. {numref}`fig-advantage` is the whole
# distribution: on each string, how far the mirror's score lies above the best of the other keys.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-advantage", "caption": "How far the score of the mirror position lies above the best other score, over all strings. No string is near 0, where another position would win."}}
ahead = {q: weights.advantage(solver, q) for q in mirrored}
edges = torch.linspace(0, 12, 49, dtype=torch.float64)
figures.lines(
    {
        f"{q} → {task.mirror_position(q)}": torch.histogram(values, edges).hist
        for q, values in ahead.items()
    },
    x=(edges[:-1] + edges[1:]) / 2,
    x_title="score of the mirror minus the best other",
    y_title="strings",
    alt="Three humps of string counts over the score difference, none reaching 0. "
    + "; ".join(
        f"query {q}: from {float(v.min()):.2f} over a median of {float(v.median()):.2f} to {float(v.max()):.2f}"
        for q, v in ahead.items()
    ),
)

# %% tags=["hide-input"]
untrained = subject(task, model.hooked(model.init_model(shape, task), shape, task))
control = torch.cat([weights.advantage(untrained, q) for q in mirrored])
least = min(mirrored, key=lambda q: float(ahead[q].min()))
claim(
    "weights.least-advantage",
    f"With seed {seed}, the mirror position has the largest score on every string at each of the three queries; the nearest rival is "
    f"{{value}} below it, at query {least} of `{strings[int((ahead[least] == ahead[least].min()).nonzero()[0])]}`.",
    float(ahead[least].min()),
    checked_on=len(mirrored) * len(tokens),
    cases="(string, position) pairs",
    control=f"before training the mirror loses to another position on {int((control < 0).sum()):,} of these pairs.",
)

# %% [markdown]
# To be ahead by 2 means that the best rival gets e⁻², about a seventh, of the mirror's weight. Several rivals share what
# the mirror lacks, so the least weight of the last chapter is smaller still, and on another string.
#
# ### In which directions
#
# Which of the weights do this? Queries and keys have 16 dimensions, so the whole table of scores is a sum of at most 16
# *directions*: a number for each query times a number for each key. They are its singular vectors.
#
# ```{margin}
# One row for each token that can stand at queries 4, 5 and 6 (1 + 26 + 26), one column for each that can stand at keys 0
# to 6. The mean of a row is taken out: the softmax does not see it.
# ```
#
# Each row of the table is one direction, the strongest first. *Share of the scores* is its part of the sum of all squared
# scores. The other two columns say how much of the variance of its numbers the position explains, on the side of the
# queries and on that of the keys; the rest is the token's.

# %%
found = weights.directions(table, tokens, mirrored)
before = weights.directions(untrained.tables, tokens, mirrored)
after_three, before_three = (
    f"{100 * sum(d.share for d in three[:3]):.4g} %" for three in (found, before)
)
say(before_three=before_three, after_three=after_three)
Table(
    [
        "direction",
        "share of the scores",
        "by position, over queries",
        "by position, over keys",
    ],
    [
        [i + 1, *(f"{100 * part:.1f} %" for part in (d.share, d.by_query, d.by_key))]
        for i, d in enumerate(found[:5])
    ],
)

# %% [markdown]
# Three directions hold nearly all of the squared scores. They do so before training as well ({glue:text}`before-three`,
# and {glue:text}`after-three` after it), so that is no finding about what was learned. What was learned is what a
# direction stands for. {numref}`fig-directions` shows what each of the three adds to the scores, averaged over the
# tokens at query and key.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-directions", "caption": "What each of the three leading directions adds to the scores, averaged over tokens. Rows go by direction and query, columns by key. Direction 1 sends query 6 to key 1, direction 2 query 5 to key 2, direction 3 query 4 to key 3."}}
adds = torch.cat([torch.outer(d.query, d.key) for d in found[:3]])
figures.heatmap(
    adds,
    rows=[f"{i + 1}: query {q}" for i in range(3) for q in mirrored],
    columns=[str(k) for k in range(max(mirrored) + 1)],
    x_title="key",
    y_title="direction: query",
    diverging=True,
    alt="Heat map of 3 directions times 3 queries by 7 keys. The largest addition of each direction: "
    + "; ".join(
        f"direction {i + 1}, query {mirrored[int(cell) // 7]} to key {int(cell) % 7}, {adds[3 * i : 3 * i + 3].max():.1f}"
        for i, cell in enumerate(adds[3 * i : 3 * i + 3].argmax() for i in range(3))
    ),
)

# %% [markdown]
# Each direction belongs to one pair of a query and its mirror position. The first two do so almost purely. The third is
# weaker and less pure: on the side of the queries, position explains less than half of its variance. It is weaker at
# least in part because query 4 has one token, the bar, where queries 5 and 6 have 26.

# %% tags=["hide-input"]
entries = sum(len(weights.tokens_at(tokens, q)) for q in mirrored) * sum(
    len(weights.tokens_at(tokens, k)) for k in range(max(mirrored) + 1)
)
claim(
    "weights.direction-by-position",
    f"With seed {seed}, position explains {{value}} of the variance of the strongest direction of the scores over the keys; the rest is the letters'.",
    found[0].by_key,
    checked_on=entries,
    cases="entries of the table of scores",
    control=f"before training it explains {100 * before[0].by_key:.4g} %. Over the queries it now explains "
    f"{', '.join(f'{100 * d.by_query:.4g}' for d in found[:3])} % of the three strongest directions, before training "
    f"{', '.join(f'{100 * d.by_query:.4g}' for d in before[:3])} %.",
    style="percent",
)

# %% [markdown]
# ## What it fetches: the OV circuit
#
# Now suppose the head looks at the mirror position and nowhere else. Does the letter it reads there come out? Set
# attention to 1 on the mirror, let each of the 26 letters be read there, for each token that can stand at the query,
# and follow the table through MLP, LayerNorm and unembedding: 26 logits for each case ({numref}`fig-copying`).

# %% tags=["setup"]
name = "blocks.0.hook_mlp_out"
mlp_out = model.activations(lens, inputs(tokens), [name])[name].mean(dim=0)
whole = {q: weights.copying(solver, q) for q in mirrored}
without = {q: weights.copying(solver, q, mlp_out[q]) for q in mirrored}
cases = sum(logits.shape[0] * logits.shape[1] for logits in whole.values())

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-copying", "caption": "The copying table at position 5, logit of each letter written by letter read, averaged over the 26 tokens at the query. The diagonal stands above all else; some pairs of letters, off it, are alike or opposed."}}
letters = list(task.alphabet)
copied = whole[mirrored[1]].mean(dim=0)
figures.heatmap(
    copied,
    rows=letters,
    columns=letters,
    x_title="letter written",
    y_title="letter read",
    diverging=True,
    height=560,
    alt="Heat map of logits, 26 letters read by 26 written. The diagonal is dark, "
    f"{float(copied.diagonal().min()):.1f} to {float(copied.diagonal().max()):.1f}; all other cells are at most "
    f"{float((copied - 1e9 * torch.eye(26)).max()):.1f}.",
)

# %% [markdown]
# The same at all three positions, in numbers. A case is a token at the query and a letter read; *copied* is the share of
# cases in which the letter read has the largest logit. The last two columns are the mean logit of that letter, and the
# least lead that it ever has over the best other.

# %%
rows = []
for q, logits in whole.items():
    own = logits.diagonal(dim1=1, dim2=2)
    best_other = (logits - 1e9 * torch.eye(len(letters))).amax(dim=2)
    rows.append(
        [
            f"{q} → {task.mirror_position(q)}",
            own.numel(),
            f"{100 * weights.share_copied(logits):.4g} %",
            float(own.mean()),
            float((own - best_other).min()),
        ]
    )
Table(["query → mirror", "cases", "copied", "mean logit", "least lead"], rows)

# %% tags=["hide-input"]
claim(
    "weights.copies",
    f"With seed {seed} and attention on the mirror position alone, the letter read has the largest logit in {{value}} of the (query "
    "token, letter) cases.",
    sum(weights.share_copied(one) * one.shape[0] * one.shape[1] for one in whole.values()) / cases,
    checked_on=cases,
    cases="(position, query token, letter) cases",
    control="with the MLP's output replaced by its mean over all strings, the share is "
    f"{100 * sum(weights.share_copied(one) * one.shape[0] * one.shape[1] for one in without.values()) / cases:.4g} %.",
    tolerance=0,
    style="percent",
)

# %% [markdown]
# The control is a finding. (It is not the number of {doc}`03_attention`: there attention is the model's own and every
# string counts once; here all weight is on the mirror position and every case counts once.) The path straight from the
# head to the unembedding copies about a quarter of the letters. The head carries the letter, but in a code that the
# unembedding does not read well; the MLP translates.
#
# What does that code look like? For each of the three mirror positions, take the 26 vectors that the head fetches there,
# less their mean. The table has their first ten singular values: the lengths of the code along its own axes.

# %%
codes = {m: table.values[0, m, weights.tokens_at(tokens, m)] for m in (1, 2, 3)}
centred = {m: code - code.mean(dim=0) for m, code in codes.items()}
strengths = {m: torch.linalg.svdvals(code) for m, code in centred.items()}
Table(
    ["direction", *[f"read at {m}" for m in strengths]],
    [[i + 1, *[float(values[i]) for values in strengths.values()]] for i in range(10)],
)

# %% [markdown]
# The letters cannot be written one per direction: there are 26 letters and 16 dimensions, and by the tenth direction
# hardly anything is left. Is it the same code wherever the letter was read? The first three rows of the table compare the
# vectors of one letter at two positions, over the 26 letters; the last, as a control, those of different letters.

# %%
alike = {
    (a, b): torch.nn.functional.cosine_similarity(centred[a], centred[b])
    for a, b in ((1, 2), (1, 3), (2, 3))
}
unlike = torch.nn.functional.cosine_similarity(centred[1].roll(1, dims=0), centred[2])
Table(
    ["positions", "mean cosine", "least cosine"],
    [[f"{a} and {b}", float(v.mean()), float(v.min())] for (a, b), v in alike.items()]
    + [["1 and 2, each letter against its neighbour", float(unlike.mean()), float(unlike.min())]],
)

# %% tags=["hide-input"]
claim(
    "weights.one-code",
    f"With seed {seed}, a letter is handed over in the same code from each of the three mirror positions: the least cosine between two of "
    "its vectors is {value}.",
    min(float(v.min()) for v in alike.values()),
    checked_on=sum(len(v) for v in alike.values()),
    cases="pairs of fetched vectors",
    control=f"between each letter at position 1 and its neighbour in the alphabet at 2 the mean is {float(unlike.mean()):.4g}.",
)

# %% [markdown]
# ### What the directions of the code mean
#
# How many of these directions does the answer need? Keep only the leading ones, of all three positions together, with the
# mean that each position has over the letters, and let everything behind them run as it is. Each row of the table keeps
# one direction more, and has the share of cases in which the letter read is copied.

# %%
copied_with = {}
for rank in range(11):
    cut = weights.fewer_directions(solver, rank)
    each = [weights.copying(cut, q) for q in mirrored]
    right = sum(weights.share_copied(one) * one.shape[0] * one.shape[1] for one in each)
    copied_with[rank] = right / cases
needed = min(rank for rank, share in copied_with.items() if share == 1)
Table(
    ["directions", "copied"],
    [[rank, f"{100 * share:.4g} %"] for rank, share in copied_with.items()],
)

# %% tags=["hide-input"]
claim(
    "weights.code-directions",
    f"With seed {seed}, the leading {{value}} directions of what the head fetches are enough to copy every letter in every case.",
    needed,
    checked_on=cases,
    cases="(position, query token, letter) cases",
    control=f"with {needed - 1} of them {100 * copied_with[needed - 1]:.4g} % are copied, with none "
    f"{100 * copied_with[0]:.4g} %, which is one letter in 26.",
)

# %% [markdown]
# And do they stand for anything? The letters, sorted along the first three:

# %% tags=["hide-input"]
together = torch.stack(list(centred.values())).mean(dim=0)
_, strength, axes = torch.linalg.svd(together)
along = together @ axes.T
along = along * along.gather(0, along.abs().argmax(dim=0, keepdim=True)).sign()
say(first_strength=float(strength[0]), second_strength=float(strength[1]))
Table(
    ["direction", "letters from one end to the other"],
    [[i + 1, " ".join(letters[j] for j in along[:, i].argsort())] for i in range(3)],
)

# %% [markdown]
# We see no order in them, and there is no reason for one: to the task all letters are alike. The first two directions are
# nearly equally strong (singular values {glue:text}`first-strength` for the first, {glue:text}`second-strength` for the
# second), so a slight change of the model could turn them into each other. The directions of the QK circuit have a
# meaning, one for each pair of positions.
# A direction of the code has none by itself that we can see; what counts is that together they keep 26 letters apart. The
# last exercise puts this to a test.
#
# ## What LayerNorm does
#
# LayerNorm divides by the standard deviation of the residual stream. If that number varied a lot between strings, a
# table that ignores it would mislead. The tables above do not ignore it. How much was there to ignore? Each row of the
# next table is a LayerNorm at a position, with the least and the most that it divides by, over all strings, and their
# ratio.

# %%
scales = {
    "before attention": ("blocks.0.ln1.hook_scale", range(1, 7)),
    "before the MLP": ("blocks.0.ln2.hook_scale", mirrored),
    "before the logits": ("ln_final.hook_scale", mirrored),
}
cache = model.activations(lens, inputs(tokens), [hook for hook, _ in scales.values()])
rows = []
for name, (hook, positions) in scales.items():
    for p in positions:
        scale = cache[hook][:, p].flatten()
        ratio = float(scale.max() / scale.min())
        rows.append([name, p, float(scale.min()), float(scale.max()), ratio])
Table(["LayerNorm", "position", "least", "most", "ratio"], rows)

# %% [markdown]
# The scale before attention is that of one token at one position, so it has one value at the bar and 26 elsewhere. The
# last two vary twofold and more from string to string. A reading of the weights that assumes one fixed scale is wrong by
# up to such a factor when it compares two strings.
#
# ## Which letters move the attention?
#
# The weight on the mirror position is a function of three letters. Its variance over all strings splits without a
# remainder into the effect of each letter, of pairs, and of all three. These are the rows of the table; each column sums
# to 100 %.

# %%
shares = {}
for q in mirrored:
    weight = tables.pattern(table, inputs(tokens), q)[:, 0, task.mirror_position(q)]
    shares[q] = anova.decompose(anova.by_slot(task, weight), task.half_length).shares()
place = {0: "1st", 1: "2nd", 2: "3rd"}
labels = [" × ".join(place[axis] for axis in axes) for axes in shares[mirrored[0]]]
Table(
    ["letters", *[f"share at {q}" for q in mirrored]],
    [
        [label, *[f"{100 * shares[q][axes]:.2f} %" for q in mirrored]]
        for label, axes in zip(labels, shares[q])
    ],
)

# %% [markdown]
# ```{margin}
# This is the decomposition of Hoeffding and Sobol. With every combination of letters at hand it is arithmetic, and nothing is
# estimated.
# ```
#
# At position 4 the letter to be copied is the 3rd, at 5 the 2nd, at 6 the 1st. Each query has one letter of the three
# that hardly counts. The other two are those that stand at the mirror and at its strongest rival among the letters; at 5
# and 6 this rival letter is also the one read at the query. A letter that raises the score of its key helps where it
# should be copied and harms where it should not. That reading fits the table; it is not tested here.
#
# ## Every query, every key
#
# The mirror is one cell in each row of the pattern. {numref}`fig-distribution` has the distribution of all cells over all
# strings: five stops, from the least weight that a key ever gets to the most.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-distribution", "caption": "The weight of every query on every key, over all strings. The slider goes from the least over the quantiles to the most. At the mirror the least is high; at every other key of rows 4 to 6 the most is low."}}
attention = patterns(lens, tokens)[:, 0]
stops = {"least": 0.0, "1 %": 0.01, "median": 0.5, "99 %": 0.99, "most": 1.0}
allowed = torch.ones_like(attention[0], dtype=torch.bool).tril()
spread = {name: attention.quantile(q, dim=0).where(allowed, torch.nan) for name, q in stops.items()}
off_mirror = {q: [k for k in range(q + 1) if k != task.mirror_position(q)] for q in mirrored}
figures.slider(
    spread,
    rows=names,
    columns=names,
    slider_title="weight:",
    x_title="key",
    y_title="query",
    alt="Heat map of attention with a slider from the least weight over all strings to the most. "
    + "; ".join(
        f"query {q}: at least {spread['least'][q, task.mirror_position(q)]:.2f} on its mirror, "
        f"at most {spread['most'][q, keys].max():.2f} on any other key"
        for q, keys in off_mirror.items()
    ),
)

# %% [markdown]
# The next table names, for each query, the key that it looks at most, the mean and the least weight on that key, and the
# string on which the least occurs.

# %% tags=["hide-input"]
rows = []
for q in range(task.n_positions):
    row = tables.pattern(table, inputs(tokens), q)[:, 0]
    top = int(row.mean(dim=0).argmax())
    worst = f"`{strings[int(row[:, top].argmin())]}`"
    contexts = distinct_contexts(tokens, q)
    rows.append(
        [f"{q} → {top}", float(row[:, top].mean()), float(row[:, top].min()), worst, contexts]
    )
Table(["query → key", "mean", "least", "on", "contexts"], rows)

# %% [markdown]
# The last column counts the contexts that differ; it is the true denominator of each row. Positions 0 to 2 look at `<` on
# every string: they have nothing to copy, and an attention row must sum to 1, so it rests there. Positions 3 and 7
# predict the bar and the end, which need no letter, and their weights vary widely from string to string.

# %% tags=["hide-input"]
rest = max(shares[q][axes] for q in mirrored for axes in shares[q] if len(axes) == task.half_length)
claim(
    "weights.no-triples",
    f"With seed {seed}, interactions of all three letters contribute at most {{value}} of the variance of the weight on a mirror position.",
    rest,
    checked_on=len(mirrored) * len(tokens),
    cases="(string, position) pairs",
    control="the largest single effect contributes "
    f"{100 * max(share for q in mirrored for axes, share in shares[q].items() if len(axes) == 1):.4g} %.",
    style="percent",
)

# %% [markdown]
# **What could be wrong with this?** The tables are exact, but averages taken from them are choices: the position term and
# the directions count all pairs of tokens, also pairs at two positions that in a string always hold the same letter.
# Claims therefore rest on the strings themselves wherever they say "on every string".
#
# The copying table puts attention on one position; the model never quite does. Whether the rest of the attention matters
# is not answered by a table, only by replacing it, string by string. And this is one trained model.
#
# ## What this chapter claims
#
# ```{claims} weights
# ```
#
# ## Exercises
#
# ```{exercise-start} Recall
# :label: ex-weights-1
# ```
# In the table of scores the column "± query" is 0 for every key that query 4 looks at. Why? And why is the table exact in
# the first layer, and would not be in a second?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-weights-1
# :class: dropdown
# ```
# The query at position 4 is always the bar: with one token there is nothing to vary. The same holds for the key at
# position 4.
#
# The first layer's queries and keys depend on one token at one position each. Behind it, the residual stream at a
# position depends on everything before that position, and the table would need an index for each of these tokens.
#
# ```{solution-end}
# ```
#
# ```{exercise-start} Apply
# :label: ex-weights-2
# ```
# In an untrained model, how large a share of letters would you expect to be copied by accident? Check it with
# `weights.copying` and `model.init_model`, for a few seeds.
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-weights-2
# :class: dropdown
# ```
# About one in 26, if chance alone decides. The share of cases copied, for four seeds:

# %% tags=["solution"]
rows = []
for other in range(4):
    chosen = shape.model_copy(update={"seed": other})
    fresh = model.hooked(model.init_model(chosen, task), chosen, task)
    each = [weights.copying(subject(task, fresh), q) for q in mirrored]
    right = sum(weights.share_copied(one) * one.shape[0] * one.shape[1] for one in each)
    rows.append([other, f"{100 * right / cases:.2f} %"])
Table(["seed", "copied"], [*rows, ["one in 26", f"{100 / 26:.2f} %"]])

# %% [markdown]
# The seeds scatter around it.
#
# ```{solution-end}
# ```
#
# ```{exercise-start} Extend
# :label: ex-weights-3
# ```
# Is it part of the solution which letters have similar codes, or an accident of the seed? Train with another seed, and
# compare the cosines between all pairs of letters, once between two positions of one model and once between the two
# models.
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-weights-3
# :class: dropdown
# ```
# If letters that are alike in one model are alike in the other, the correlation is near 1. If it is an accident, it is
# near 0. The first row compares two positions of one model, the second two models.

# %% tags=["solution"]
chosen = shape.model_copy(update={"seed": seed + 1})
recipe = training.SOLVING.model_copy(update={"seed": seed + 1})
again = training.trained(task, chosen, recipe).model
fetched = tables.tabulate(again).values[0, 1, weights.tokens_at(tokens, 1)]
pairs = torch.triu_indices(26, 26, offset=1).unbind()


def cosines(code):
    unit = torch.nn.functional.normalize(code - code.mean(dim=0), dim=1)
    return (unit @ unit.T)[pairs]


def correlation(a, b):
    return float(torch.corrcoef(torch.stack([cosines(a), cosines(b)]))[0, 1])


Table(
    ["codes compared", "correlation over 325 pairs of letters"],
    [
        ["position 1 and position 3, same model", correlation(codes[1], codes[3])],
        ["position 1, two seeds", correlation(codes[1], fetched)],
    ],
)

# %% [markdown]
# Which letters are neighbours is an accident, to judge by these two models. That there are 26 codes which can be told
# apart is not: without them not every letter could be copied.
#
# ```{solution-end}
# ```
#
# **Next:** {doc}`05_mechanism` replaces everything else, string by string.
