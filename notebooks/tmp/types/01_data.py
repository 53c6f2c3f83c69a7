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
# # The data: strings with a mirror
#
# ```{opening}
# :needs: what a probability and a logarithm are
# :read: 10
# :summary: which characters can be predicted, and the least loss that any model can reach
#
# - say which characters of `<abc|cba>` can be predicted, and from where
# - compute how low the loss of any model can go, before a model has been trained
# - say what a held-out string does test, and what it does not
# ```
#
# The strings of this book look like `<abc|cba>`: three letters, a bar, the same letters backwards, between two
# brackets. A model reads a string from left to right and at each position predicts the next character. What makes
# these strings worth a book is their number. There are few enough to look at *all* of them.

# %% tags=["setup"]
from claimbook.claims import claim
from claimbook.show import Table, say
from palindrome_lens import figures, notebook, task, tokenizer

notebook.set_up()

# %% [markdown]
# The {term}`alphabet` and the number of letters before the bar, the {term}`half-length`, belong to the task. The text of
# this page speaks of 26 letters and half-length 3; the exercises try others.

# %% tags=["parameters"]
alphabet = "abcdefghijklmnopqrstuvwxyz"
half_length = 3
test_fraction = 0.1
seed = 0

# %% [markdown]
# ## Which strings are there?
#
# `task.Task` holds the two parameters and everything that follows from them.

# %%
strings_of = task.Task(alphabet=alphabet, half_length=half_length)
strings = strings_of.strings()
strings[:4] + strings[-2:]

# %% [markdown]
# The three letters are chosen freely, also three times the same one, so there are as many strings as there are ways to
# choose them: 26 · 26 · 26.

# %% tags=["hide-input"]
claim(
    "data.strings",
    "There are {value} strings of half-length 3 over 26 letters, all different.",
    len(set(strings)),
    checked_on=len(strings),
    control=f"counted as a set: a list with two of the {len(strings):,} the same has {len(set(strings[1:] + strings[1:2])):,}.",
)

# %% [markdown]
# What is too large to enumerate is sampled, without repeats. Half-length 8 has 26⁸ strings, about 209 thousand
# million; ten of them:

# %%
longer = task.Task(half_length=8)
longer.sample(10, seed=seed)

# %% [markdown]
# ## What can be predicted?
#
# Number the characters that the model reads from 0. This number is the {term}`position`, and the character that comes
# next is its {term}`target`. Positions 0, 1 and 2 are {term}`free <free position>`: the target is any of 26 letters, all
# equally likely whatever came before. The other five are {term}`determined <determined position>`. The target of position
# 3 is the bar, that of 7 is `>`, and those of 4, 5 and 6 are letters that have been seen already.
#
# To copy the right letter, position 4 needs what stands at position 3, position 5 what stands at 2, position 6 what
# stands at 1. These are their {term}`mirror positions <mirror position>`. The table goes through the eight positions of
# one string, `<abc|cba>`.

# %% tags=["hide-input"]
rows = []
for position in range(strings_of.n_positions):
    mirrored = position in strings_of.mirrored_positions
    example = strings_of.string("abc")
    rows.append(
        [
            position,
            f"`{example[position]}`",
            f"`{example[position + 1]}`",
            "free letter" if position in strings_of.free_positions else "determined",
            strings_of.mirror_position(position) if mirrored else "–",
        ]
    )
Table(["position", "reads", "target", "the target is", "mirror position"], rows)

# %% [markdown]
# ## How low can the loss go?
#
# The loss is the mean over positions of the {term}`cross-entropy`: minus the natural logarithm of the probability that
# the model gave to the character that came. Its unit is the {term}`nat`. A free letter cannot cost less than $\ln 26$ on
# average, because nothing hints at it. A determined character can cost 0. With $h$ free letters among $2h + 2$
# predictions over an alphabet of $n$ letters the least possible mean loss, the {term}`floor <floor of the loss>`, is
#
# ```{math}
# :label: floor
# L_{\min} = \frac{h \ln n}{2h + 2}, \qquad \text{here} \quad \frac{3 \ln 26}{8} .
# ```
#
# The formula is an argument. Counting is a check. For every prefix of every string, count which characters follow it.
# On average no model can predict better than with these frequencies, and their mean cross-entropy is the floor, found
# without the argument. The table has the floor by either way.
#
# ```{margin}
# What is counted is the *conditional entropy* of the next character, given all before it. A model's cross-entropy is this
# entropy plus what its predictions are off by, and that part is never negative.
# ```

# %%
from collections import Counter
from math import log

floor = strings_of.floor()
prefixes = Counter(s[: p + 1] for s in strings for p in range(len(s) - 1))
followed = Counter(s[: p + 2] for s in strings for p in range(len(s) - 1))
counted = -sum(n * log(n / prefixes[text[:-1]]) for text, n in followed.items()) / sum(
    prefixes.values()
)
Table(["how", "floor (nats)"], [["formula", floor], ["counting", counted]])

# %% tags=["hide-input"]
claim(
    "data.floor",
    "No model can have a mean loss below {value} nats on all strings.",
    floor,
    checked_on=len(strings),
    control=f"counting what follows each of the {len(prefixes):,} prefixes gives {counted:.4g} nats.",
)

# %% [markdown]
# Two more levels help to read a loss curve later. A model that knows nothing gives every character of the vocabulary
# the same probability. A model that has learned the layout (which positions hold letters, where the bar and the
# brackets are) but not the mirror pays $\ln 26$ for six letters instead of three: twice the floor. The table has these
# two and the floor.

# %%
n_vocabulary = len(tokenizer.vocabulary(strings_of))
uniform = log(n_vocabulary)
no_mirror = 2 * floor
say(uniform=uniform, no_mirror=no_mirror, floor=floor)
Table(
    ["a model that …", "loss (nats)"],
    [
        ["knows nothing", uniform],
        ["knows the layout, has not seen the mirror", no_mirror],
        ["knows all", floor],
    ],
)

# %% [markdown]
# The last test loss that the original notebook, from which this book grew, printed is 2.28. It had no level to compare
# it with. By the table that is less than {glue:text}`no-mirror`: the model would have learned the layout and a little of
# the mirror. The next chapter shows that for the notebook's own test strings these levels do not hold.
#
# ## From characters to numbers
#
# A model reads numbers. Each character is one {term}`token` with its own id: `<` is 0, `>` is 1, the letters follow, `|`
# is last. The {term}`tokenizer` is an ordinary fast tokenizer of the `tokenizers` library, so that the model can carry it
# and every tool that expects one works.

# %%
tokens = tokenizer.make_tokenizer(strings_of)
tokens("<abc|cba>")["input_ids"]

# %% [markdown]
# The next table shows what it makes of two strings in a row, as the original notebook did, one row for each token. The
# first column says where the token sits, the third how the character is stored (its byte in hexadecimal).

# %%
mapping = tokenizer.token_mapping(strings_of, "<abc|cba><bdd|ddb>")
Table(
    ["position", "id", "bytes", "token", "Unicode name"],
    [[m.position, m.id, m.bytes, f"`{m.string}`", m.name] for m in mapping],
)

# %% [markdown]
# A character that is not in the vocabulary is refused, with its place, instead of becoming an "unknown" token that
# would fail much later.

# %%
try:
    tokens("<aBc|")
except ValueError as error:
    print(error)

# %% [markdown]
# The model reads all tokens but the last and must predict all but the first. Input and target of one string:

# %%
encoded = tokenizer.encode(strings_of, strings)
one = encoded[[730]]
print("input ", tokenizer.decode(strings_of, task.inputs(one)[0]))
print("target", tokenizer.decode(strings_of, task.targets(one)[0]))

# %% [markdown]
# ## What is held out
#
# One string in ten is kept for testing. There are two ways to {term}`split`. The original took the last tenth in product
# order (`aaa`, `aab`, … `zzz`). The other way is to shuffle first.

# %%
splits = {
    "ordered": task.split(strings_of, "ordered", test_fraction, seed=seed),
    "random": task.split(strings_of, "random", test_fraction, seed=seed),
}
for kind, (train, test) in splits.items():
    sizes = f"{len(train):,} train, {len(test):,} test"
    print(f"{kind:8} {sizes}; first test strings:", *test[:3])

# %% [markdown]
# The difference matters. {numref}`fig-first-letters` counts the first letters of the *training* strings.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-first-letters", "caption": "First letters of the training strings. The ordered split never shows the model a string that begins with y or z, and only some that begin with x; all test strings begin with one of these three."}}
first = {
    kind: [Counter(s[1] for s in train)[c] for c in alphabet] for kind, (train, _) in splits.items()
}
figures.bars(
    {f"{kind} split": counts for kind, counts in first.items()},
    labels=list(alphabet),
    x_title="first letter",
    y_title="training strings",
    alt="Two bars of training strings for each of 26 first letters. Random split: "
    f"{min(first['random'])} to {max(first['random'])} for every letter. Ordered split: "
    f"{first['ordered'][0]} each for {alphabet[0]} to {alphabet[-4]}, "
    + ", ".join(f"{n} for {c}" for c, n in zip(alphabet[-3:], first["ordered"][-3:]))
    + ".",
).update_xaxes(dtick=1, tickangle=0)

# %% tags=["hide-input"]
begin_late = {
    kind: [sum(s[1] in "xyz" for s in part) for part in (split.train, split.test)]
    for kind, split in splits.items()
}
claim(
    "data.ordered-test-first-letters",
    f"In the ordered split {begin_late['ordered'][1]:,} of the {len(splits['ordered'].test):,} test strings begin with x, y or z; "
    "so do {value} of the training strings.",
    begin_late["ordered"][0],
    checked_on=len(strings),
    control=f"in the random split {begin_late['random'][1]:,} of the test strings do, and {begin_late['random'][0]:,} of the training strings.",
)

# %% [markdown]
# A model trained on the ordered split has seen no string that begins with y or z. It has no reason to expect one: most
# test strings must surprise it at position 0, and no amount of learning about the mirror can help. The next chapter
# measures how much this costs.
#
# **What could be wrong with this?** Train and test could overlap, and then a test loss would say little. They do not. For
# each split, the table counts the strings that are in both parts and those that are in neither.

# %%
Table(
    ["split", "in both", "in neither"],
    [
        [kind, len(set(train) & set(test)), len(set(strings) - set(train) - set(test))]
        for kind, (train, test) in splits.items()
    ],
)

# %% [markdown]
# A subtler point: even a random split holds out only *combinations*. Every letter has been seen in every {term}`slot`.
# That a model solves such a test set shows that it did more than memorise whole strings; it does not show that it would
# copy a letter that it has never seen in a slot. The last exercise asks how much of a test string is new.
#
# ## What this chapter claims
#
# ```{claims} data
# ```
#
# ## Exercises
#
# ```{exercise-start} Recall
# :label: ex-data-1
# ```
# A friend's model has a loss of 0 at position 1, on all strings. What do you tell the friend?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-data-1
# :class: dropdown
# ```
# That something is wrong with the test. The target of position 1 is the second letter, which nothing before it
# determines. Over all strings nobody can pay less than $\ln 26$ there. A loss of 0 means that the model was shown the
# answer.
#
# ```{solution-end}
# ```
#
# ```{exercise-start} Apply
# :label: ex-data-2
# ```
# The half-length grows from 3 to 4, and on. Where does the floor of the loss go? And how many strings of half-length 5
# are there over the alphabet `01`, and what is their floor?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-data-2
# :class: dropdown
# ```
# For long strings nearly half of all predictions are free, and the floor approaches ½ ln 26. Each row of the table is a
# half-length, over 26 letters unless it says otherwise.

# %% tags=["solution"]
rows = [[h, 26**h, task.Task(half_length=h).floor()] for h in (3, 4, 8, 11)]
rows += [["without end", "–", log(26) / 2]]
bits = task.Task(alphabet="01", half_length=5)
rows += [["5, over 01", len(bits.strings()), bits.floor()]]
Table(["half-length", "strings", "floor (nats)"], rows)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise-start} Extend
# :label: ex-data-3
# ```
# A model knows the layout, and that the mirrored half holds the same letters as the first, but not in which order. It
# gives every order that can be told apart the same probability. What does it pay for the three mirrored letters, on all
# strings? How far is that from a guess, and from knowing all?
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-data-3
# :class: dropdown
# ```
# Three different letters can stand in 6 orders, which costs ln 6 in all. Two equal letters leave 3 orders, three equal
# ones 1. The table has one string of each kind, the mean over all, and what a guess costs.

# %% tags=["solution"]
from math import factorial, prod

cost = {s: log(6 / prod(map(factorial, Counter(s[1:4]).values()))) for s in strings}
Table(
    ["letters", "nats for the mirrored half"],
    [[f"as in `{s}`", cost[s]] for s in ("<abc|cba>", "<aab|baa>", "<aaa|aaa>")]
    + [["mean over all strings", sum(cost.values()) / len(cost)], ["a guess", 3 * log(26)]],
)

# %% [markdown]
# To know all costs nothing. To know *which* letters come is worth far more than to know their order. A low loss on the
# mirrored half is no evidence that the order was learned until it is well below this mean.
#
# ```{solution-end}
# ```
#
# ```{exercise-start} Extend
# :label: ex-data-4
# ```
# How new is a test string of the random split? Count the training strings that differ from it in one letter, and the
# share of test strings whose first two letters begin some training string.
# ```{exercise-end}
# ```
#
# ```{solution-start} ex-data-4
# :class: dropdown
# ```
# Each string has 3 · 25 neighbours that differ in one letter, and nine tenths of all strings are for training. The first
# two rows count the neighbours of a test string that are, the last two the test strings.

# %% tags=["solution"]
train, test = splits["random"]
places = [{(i, s[1:4][:i] + s[1:4][i + 1 :]) for i in range(3)} for s in test]
pairs_left = Counter((i, s[1:4][:i] + s[1:4][i + 1 :]) for s in train for i in range(3))
near = [sum(pairs_left[each] for each in of_one) for of_one in places]
begins = {s[:3] for s in train}
Table(
    ["", "value"],
    [
        ["fewest training neighbours of a test string", min(near)],
        ["mean", sum(near) / len(near)],
        [
            "test strings whose first two letters begin a training string",
            sum(s[:3] in begins for s in test),
        ],
        ["of", len(test)],
    ],
)

# %% [markdown]
# A model could go far by memory of such neighbours, without having learned to copy. That is why the chapters on attention
# change what the model reads, and do not stop at a test set.
#
# ```{solution-end}
# ```
#
# **Next:** {doc}`02_training` lets a model loose on these strings, twice.
