"""axe-core in an open page: what it finds against WCAG 2.0, 2.1 and 2.2, levels A and AA."""

from importlib.resources import files
from typing import Any

SCRIPT = files("axe_playwright_python").joinpath("axe.min.js")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]

# Finishes what was unfolded and still fades in: half faded in, no text has its contrast. The first
# frame decides what moves, so it is waited for.
SETTLE = """async () => {
  await new Promise(requestAnimationFrame);
  for (const one of document.getAnimations())
    if (one.effect.getComputedTiming().endTime !== Infinity) one.finish();
}"""

# preload: axe would fetch every style sheet, for one experimental rule, and files forbid that.
# The drawings of figures (hidden from assistive technology, each has its words) and formulas make
# two thirds of a page's elements; of letters over a drawing axe reports no fault, only its doubt.
RUN = """async ([tags, rules]) => {
  const wanted = {
    runOnly: { type: "tag", values: tags }, rules, resultTypes: ["violations"], preload: false,
  };
  const page = { include: [["html"]], exclude: [[".main-svg"], ["math"]] };
  const { violations } = await axe.run(page, wanted);
  const say = (id, one) => `axe ${id}: ${one.target}: ${one.failureSummary} ${one.html}`;
  return violations.flatMap(({ id, nodes }) => nodes.map((one) => say(id, one).slice(0, 400)));
}"""

# Goes to each stop of the Tab key and lists those at which nothing shows that one is there.
UNSEEN_FOCUS = """() => {
  const STOPS = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  const opacity = (one) => (one ? getComputedStyle(one).opacity * opacity(one.parentElement) : 1);
  const seen = (one) => {
    const { outlineStyle, outlineWidth } = getComputedStyle(one);
    return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && opacity(one) > 0.5;
  };
  const unseen = [];
  const there = (one) => one.checkVisibility({ visibilityProperty: true });
  // What fades in is looked at when it has; one without an end cannot be finished.
  for (const fading of document.getAnimations())
    if (fading.effect.getComputedTiming().endTime < Infinity) fading.finish();
  for (const one of document.querySelectorAll(STOPS)) {
    if (one.disabled || one.tabIndex < 0 || !there(one)) continue;
    one.focus({ preventScroll: true });
    if (document.activeElement === one && !seen(one))
      unseen.push(`focus is not seen: ${one.outerHTML.slice(0, 100)}`);
  }
  document.activeElement.blur();
  return unseen;
}"""


def violations(page: Any, *, contrast: bool = True) -> list[str]:
    """One sentence for each element that breaks a rule.

    ``contrast``: that rule takes two thirds of the time, and a page that was opened before in the
    same colours may go without.
    """
    page.evaluate(SCRIPT.read_text(encoding="utf-8"))
    rules = {} if contrast else {"color-contrast": {"enabled": False}}
    page.evaluate(SETTLE)
    found: list[str] = page.evaluate(RUN, [TAGS, rules])
    return found


def unseen_focus(page: Any) -> list[str]:
    """The stops of the Tab key at which the focus cannot be seen."""
    page.keyboard.press("Tab")  # from here on the browser shows where the focus is
    page.evaluate(SETTLE)
    found: list[str] = page.evaluate(UNSEEN_FOCUS)
    return found
