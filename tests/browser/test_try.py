"""The panel in which the trained model runs, in a browser: what it computes, and how it is used.

The page's own program is held against PyTorch on all strings, with everything on and with parts
switched off. PyTorch is given the weights as the page has them, so nothing but the order of sums
may differ; the trained model itself differs by their rounding, which is bounded too.
"""

import itertools
import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from browser.axe import violations
from browser.visits import FAULTS, MODES, leaves
from torch import Tensor

from palindrome_lens import stored, training
from palindrome_lens.circuits.tables import handed_over, tabulate
from palindrome_lens.model import ModelConfig, hooked, init_model
from palindrome_lens.sae.topk import keep_largest
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode

PAGES = ("book/try.html", "notebooks/02_training.html", "notebooks/03_attention.html")
TASK = Task()
STRINGS = TASK.strings()
TOKENS = inputs(encode(TASK, STRINGS))
SAME = 1e-9
"""Two orders of summing the same numbers: absolute, in nats, weights, and activations."""
ROUNDED = 5e-5
"""What rounding the weights to five decimals may change in a probability."""

Off = dict[str, Any]
Parts = dict[str, dict[str, Tensor]]

# Runs the page's program on all strings that begin with a letter. Its numbers come back as doubles,
# one after the other, in base 64: as text they would be many times as long.
RUN = """async ({ first, letters, off }) => {
  const halves = letters.flatMap((b) => letters.map((c) => [first, b, c]));
  const strings = halves.map((half) => `<${half.join("")}|${[...half].reverse().join("")}>`);
  const results = window.palindrome.run(strings, off);
  const encoded = async (name) => {
    const file = new FileReader();
    file.readAsDataURL(new Blob(results.map((one) => Float64Array.from(one[name].flat()))));
    await new Promise((done) => { file.onload = done; });
    return file.result.split(",")[1] || "";
  };
  return Promise.all(["logProbs", "pattern", "latents"].map(encoded));
}"""


class Answers(NamedTuple):
    """What the model says to every string."""

    log_probs: Tensor
    pattern: Tensor
    """The weights of each query on itself and the positions before it, in one row."""
    latents: Tensor


def answers(page: Any, off: Off) -> Answers:
    """Those of the page."""
    letters = list(TASK.alphabet)
    rows = [page.evaluate(RUN, {"first": a, "letters": letters, "off": off}) for a in letters]
    log_probs, pattern, latents = (
        torch.frombuffer(bytearray(b"".join(map(b64decode, column))), dtype=torch.float64)
        if column[0]
        else torch.zeros(0, dtype=torch.float64)
        for column in zip(*rows, strict=True)
    )
    n = len(STRINGS)
    return Answers(
        log_probs.view(n, TASK.n_positions, -1), pattern.view(n, -1), latents.view(n, -1)
    )


class Reference:
    """The same in PyTorch, with TransformerLens's hooks and the weights of the page."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.k = data["dictionary"]["k"]
        self.numbers = data["dictionary"]["latents"]
        parts = {name: unpacked(data[name]) for name in ("model", "means", "dictionary")}
        self.means, self.dictionary = parts["means"], parts["dictionary"]
        native = init_model(ModelConfig(), TASK)
        native.load_state_dict(parts["model"])
        self.model = hooked(native, ModelConfig(), TASK)
        self.tables = tabulate(self.model)

    def attn_out(self, off: Off) -> Tensor:
        """What attention writes while some of it is switched off."""
        keys = list(range(TASK.n_positions)) if off.get("attention") else off.get("keys", [])
        mean = off.get("by", "mean") == "mean"
        if off.get("attention") and not mean:
            return torch.zeros(len(STRINGS), TASK.n_positions, 16, dtype=torch.float64)
        rows = []
        for query in range(TASK.n_positions):
            handed = handed_over(self.tables, TOKENS, query).sum(dim=1)
            for key in keys:
                if key <= query:
                    handed[:, key] = self.means["handed"][query, key] if mean else 0
            rows.append(handed.sum(dim=1) + self.tables.bias)
        return torch.stack(rows, dim=1)

    def encoded(self, written: Tensor) -> Tensor:
        sae = self.dictionary
        before = (written.flatten(1) - sae["b_dec"]) @ sae["W_enc"].T + sae["b_enc"]
        return keep_largest(before, self.k)

    def answers(self, off: Off) -> Answers:
        found: dict[str, Tensor] = {}

        def attention(value: Tensor, hook: Any) -> Tensor:
            return self.attn_out(off) if off.get("attention") or off.get("keys") else value

        def mlp(value: Tensor, hook: Any) -> Tensor:
            if off.get("mlp"):
                mean = off.get("by", "mean") == "mean"
                return self.means["mlp"].expand_as(value) if mean else torch.zeros_like(value)
            found["latents"] = self.encoded(value)
            which = [self.numbers.index(one) for one in off.get("latents", [])]
            lost = found["latents"][:, which] @ self.dictionary["W_dec"][which]
            return value - lost.view_as(value)

        def pattern(value: Tensor, hook: Any) -> None:
            found["pattern"] = value[:, 0]

        hooks: list[tuple[Any, Any]] = [
            ("blocks.0.attn.hook_pattern", pattern),
            ("blocks.0.hook_attn_out", attention),
            ("blocks.0.hook_mlp_out", mlp),
        ]
        with torch.no_grad():
            logits = self.model.run_with_hooks(TOKENS, fwd_hooks=hooks)
        lower = torch.ones(TASK.n_positions, TASK.n_positions, dtype=torch.bool).tril()
        none = torch.zeros(len(STRINGS), 0, dtype=torch.float64)
        return Answers(
            logits.log_softmax(dim=-1), found["pattern"][:, lower], found.get("latents", none)
        )


def unpacked(part: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of one part, read as the page reads them."""
    return {
        name: torch.tensor(one["values"], dtype=torch.float64)
        .div(10 ** part["decimals"])
        .view(one["shape"])
        for name, one in part["tensors"].items()
    }


@pytest.fixture(scope="module")
def reference(book: Path) -> Reference:
    text = (book / "_static" / "weights.js").read_text(encoding="utf-8")
    return Reference(json.loads(text.removeprefix("window.palindromeWeights = ")[:-2]))


Open = Callable[..., Any]


@pytest.fixture(scope="module")
def panel(contexts: dict[str, Any], book: Path) -> Iterator[Any]:
    """The page of the panel, for what changes nothing on it."""
    page = contexts["light"].new_page()
    page.goto((book / PAGES[0]).as_uri())
    yield page
    page.close()


@pytest.fixture
def opened(contexts: dict[str, Any], book: Path) -> Iterator[Open]:
    """Opens a page with the panel from disk; no request may leave, no script may fail."""
    pages: list[tuple[Any, list[str]]] = []

    def _open(name: str = PAGES[0], mode: str = "light") -> Any:
        page = contexts[mode].new_page()
        faults: list[str] = []
        page.on("request", lambda it: faults.append(it.url) if leaves(it.url) else None)
        page.on("pageerror", lambda it: faults.append(str(it)))
        page.goto((book / name).as_uri())
        pages.append((page, faults))
        return page

    yield _open
    for page, faults in pages:
        page.close()
        assert faults == []


KEYS = range(TASK.n_positions)
SWITCHED: dict[str, Off] = {
    "nothing": {},
    "attention, mean": {"attention": True, "by": "mean"},
    "attention, zero": {"attention": True, "by": "zero"},
    "MLP, mean": {"mlp": True, "by": "mean"},
    "MLP, zero": {"mlp": True, "by": "zero"},
    **{f"key {key}": {"keys": [key]} for key in KEYS},
    "keys 1 and 3, zero": {"keys": [1, 3], "by": "zero"},
}


def differences(page: Any, reference: Reference, off: Off) -> None:
    """Hold the page against PyTorch on every string."""
    mine, theirs = answers(page, off), reference.answers(off)
    for one, other in zip(mine, theirs, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=0, atol=SAME)
    assert torch.equal(mine.log_probs.argmax(dim=-1), theirs.log_probs.argmax(dim=-1))
    assert torch.equal(mine.latents > 0, theirs.latents > 0)


@pytest.mark.parametrize("name", SWITCHED)
def test_the_page_computes_what_pytorch_does(panel: Any, reference: Reference, name: str) -> None:
    differences(panel, reference, SWITCHED[name])


@pytest.mark.parametrize("n", [1, 3])
def test_without_latents_too(panel: Any, reference: Reference, n: int) -> None:
    """The latent that fires most often, and the three that do."""
    counts = (reference.answers({}).latents > 0).sum(dim=0)
    chosen = [reference.numbers[j] for j in counts.topk(n).indices.tolist()]
    off = {"latents": chosen}
    assert not torch.equal(reference.answers(off).log_probs, reference.answers({}).log_probs)
    differences(panel, reference, off)


def test_it_is_the_trained_model(reference: Reference) -> None:
    """Only rounded: the answers are the same, the probabilities nearly."""
    trained = stored.trained(TASK, ModelConfig(), training.SOLVING).model
    with torch.no_grad():
        wanted = trained(TOKENS).log_softmax(dim=-1)
    rounded = reference.answers({}).log_probs
    assert float((rounded.exp() - wanted.exp()).abs().max()) < ROUNDED
    determined = slice(TASK.half_length, None)
    assert torch.equal(rounded.argmax(-1)[:, determined], wanted.argmax(-1)[:, determined])


# How it is used.

TOP = """() => [...document.querySelectorAll(".tryit-columns > li > ol > li:first-child code")]
  .map((one) => one.textContent).join("")"""


def top(page: Any) -> str:
    """The most probable next characters that are shown, position by position."""
    shown: str = page.evaluate(TOP)
    return shown


def said(page: Any) -> str:
    """What stands in the live region."""
    text: str = page.inner_text("#tryit-answer")
    return text


@pytest.mark.parametrize("name", PAGES)
def test_the_panel_answers_where_it_stands(opened: Open, name: str) -> None:
    page = opened(name)
    page.fill("#tryit-text", "<xyz|")
    assert top(page)[3:] == "|z"
    page.click("button:text-is('Let the model continue')")
    assert page.input_value("#tryit-text") == "<xyz|zyx>"
    assert top(page)[3:] == "|zyx>"
    assert "5 of 5 determined characters are right." in said(page)


WRONG = {
    "": "There is nothing to read",
    "abc": "A string begins with <, not with “a”.",
    "<aBc|": "“B” at position 2 is a capital letter",
    "<aé": "The model does not know “é” at position 2",
    "<a b": "The model does not know a space at position 2",
    "<a1": "The model does not know “1” at position 2",
    "<abccba>": "The bar is missing: after 3 letters comes |, and position 4 holds “c”.",
    "<ab|ba>": "Position 3 holds “|”; positions 1 to 3 hold letters.",
    "<abc|cb>": "Position 7 holds “>”; positions 5 to 7 hold letters.",
    "<abc|cbaa": "A string ends with >; position 8 holds “a”.",
    "<abcd|dcba>": "These are 11 characters; a whole string has 9",
}


def test_wrong_input_is_answered_in_words(opened: Open) -> None:
    page = opened()
    assert page.get_attribute("#tryit-answer", "role") == "status"
    for text, words in WRONG.items():
        page.fill("#tryit-text", text)
        assert words in said(page), text
        assert page.get_attribute("#tryit-text", "aria-invalid") == "true"
        assert not page.is_visible(".tryit-columns")
    for text in itertools.accumulate("<abc|cba>"):
        page.fill("#tryit-text", text)
        assert page.get_attribute("#tryit-text", "aria-invalid") == "false", text
        assert page.locator(".tryit-columns > li > button").count() == min(len(text), 8)


def test_a_false_mirror_is_answered_and_named(opened: Open) -> None:
    page = opened()
    page.fill("#tryit-text", "<abc|xba>")
    assert "“x” at position 5 is not the letter at position 3" in said(page)
    assert len(top(page)) == 8


def test_what_is_switched_off_changes_what_is_shown(opened: Open) -> None:
    page = opened()
    assert top(page)[3:] == "|cba>"
    page.click("text='attention'")
    assert "Without attention" in said(page) and "with everything on, 5." in said(page)
    assert top(page)[4:7] != "cba" and top(page)[3] + top(page)[7] == "|>"
    by_mean = page.inner_text(".tryit-columns")
    page.check("text=zero")
    assert page.inner_text(".tryit-columns") != by_mean
    page.click("text=Switch everything on")
    assert top(page)[3:] == "|cba>"
    page.click("button[aria-label='what is read at position 3']")
    assert top(page)[4] != "c" and top(page)[5:] == "ba>"
    page.click("text=Switch everything on")
    page.click("text='the MLP'")
    assert "the MLP is off" in page.inner_text(".tryit-body")


def test_latents_fire_are_linked_and_can_be_switched_off(
    opened: Open,
    reference: Reference,
    book: Path,
) -> None:
    page = opened("notebooks/03_attention.html")
    row = reference.answers({}).latents[STRINGS.index("<abc|cba>")]
    firing = sorted(row.nonzero()[:, 0].tolist(), key=lambda j: -float(row[j]))
    numbers = [str(reference.numbers[j]) for j in firing]
    shown = page.locator(".tryit-latent button").all_inner_texts()
    assert [one.split()[0] for one in shown] == numbers
    assert [one.split()[-1] for one in shown] == [f"{float(row[j]):.2f}" for j in firing]
    before = page.inner_text(".tryit-columns")
    page.click(f".tryit-latent button[data-latent='{numbers[0]}']")
    assert f"Without latent {numbers[0]}" in said(page)
    assert page.inner_text(".tryit-columns") != before
    page.click(f".tryit-latent a[href$='#latent-{numbers[0]}']")
    page.wait_for_selector(f".latents-detail h2:has-text('Latent {numbers[0]} ')")


def test_the_panel_needs_no_mouse(opened: Open) -> None:
    page = opened()
    page.focus("#tryit-text")
    page.keyboard.press("Control+A")
    page.keyboard.type("<q")
    page.keyboard.press("Enter")
    text = page.input_value("#tryit-text")
    assert text.startswith("<q") and text[1:4] == text[7:4:-1]
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        if reached[-1] == "what is read at position 3":
            break
    assert "position 4, |" in reached
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid", "the focus can be seen"
    page.keyboard.press("Space")
    assert "Without position 3" in said(page)
    page.focus("button[aria-label='position 4, |']")
    page.keyboard.press("Enter")
    assert "Position 4 reads" in said(page) and "wrong" in said(page)
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "position 4, |"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PAGES)
def test_the_panel_fits_and_is_accessible(opened: Open, name: str, mode: str) -> None:
    page = opened(name, mode)
    page.click("text=All attention weights")
    page.click("text='attention'")
    assert page.evaluate(FAULTS) == []
    assert violations(page, contrast=mode != "phone") == []


def test_other_pages_do_not_carry_the_weights(book: Path) -> None:
    holding = {
        path.relative_to(book).as_posix()
        for path in book.rglob("*.html")
        if "weights.js" in path.read_text(encoding="utf-8")
    }
    assert holding == set(PAGES)


def test_without_scripts_the_panel_says_where_to_read_on(browser: Any, book: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((book / PAGES[0]).as_uri())
    assert "the browser must run scripts" in page.inner_text(".tryit")
    page.click(".tryit a[href*='03_attention']")
    assert page.url.endswith("03_attention.html")
    context.close()
