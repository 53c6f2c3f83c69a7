"""A visit to a page of the built book: is everything drawn, and what is wrong with it?"""

from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from browser.axe import unseen_focus, violations

BOOK = Path(__file__).parents[2] / "_build" / "html"
MODES: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}
DRAWN_WITHIN_MS = 30_000

# Code is folded as details, solutions of exercises by a class.
UNFOLD = """() => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  for (const one of document.querySelectorAll(".toggle-hidden"))
    one.classList.remove("toggle-hidden");
}"""

# Lists the figures that are not drawn. A Plotly figure is drawn when its SVG has a size and a trace
# in it has one; axes alone do not count. A widget is drawn when what was rendered has a size.
UNDRAWN = """() => {
  const sized = (element, least) => {
    const box = element.getBoundingClientRect();
    return box.width > least && box.height > least;
  };
  const marked = (element) => {
    const box = element.getBoundingClientRect();
    return box.width + box.height > 1;
  };
  const TRACES = ".mlayer path, .mlayer image, .gl-container canvas, .pielayer path";
  const plotly = (figure) => {
    const svg = figure.querySelector("svg.main-svg");
    return svg && sized(svg, 100) && [...figure.querySelectorAll(TRACES)].some(marked);
  };
  const widget = (figure) => {
    const root = figure.querySelector(".figure-canvas");
    return root && [...root.querySelectorAll("*")].some((element) => sized(element, 20));
  };
  const label = (figure) => figure.getAttribute("aria-label") || figure.outerHTML.slice(0, 80);
  const missing = (selector, drawn) =>
    [...document.querySelectorAll(selector)].filter((one) => !drawn(one)).map(label);
  return [...missing(".plotly-figure", plotly), ...missing(".circuitsvis-figure", widget)];
}"""

# A figure is drawn when it comes near the screen.
SCROLL = """() => document
  .querySelector(":is(.plotly-figure, .circuitsvis-figure):not([data-drawn])")?.scrollIntoView()"""

# What else a page can get wrong, as one sentence each.
FAULTS = """() => {
  const faults = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const figures = all(".plotly-figure, .circuitsvis-figure");
  const specs = all('.plotly-figure > script[type="application/json"], ' +
                    '.circuitsvis-figure > script[type="application/json"]');
  if (figures.length !== specs.length)
    faults.push(`${figures.length} figures but ${specs.length} specifications`);
  for (const figure of figures)
    if (!(figure.getAttribute("aria-label") || "").trim())
      faults.push("a figure has no aria-label");
  for (const formula of all(".math")) {
    const math = formula.querySelector("math");
    if (!math || math.getBoundingClientRect().width === 0)
      faults.push(`a formula is not set: ${formula.textContent.slice(0, 60)}`);
  }
  for (const figure of all(".plotly-figure")) {
    const boxes = [...figure.querySelectorAll(".heatmap-label text")]
      .map((one) => one.getBoundingClientRect());
    const touch = (a, b) =>
      Math.abs(a.top - b.top) < 2 && a.left < b.left && b.left < a.right;
    if (boxes.some((a) => boxes.some((b) => touch(a, b))))
      faults.push("numbers in the cells of a figure touch");
  }
  const root = document.documentElement;
  if (root.scrollWidth > window.innerWidth) {
    const wide = all("body *").filter((one) => {
      const right = one.getBoundingClientRect().right;
      return right > window.innerWidth + 1 && right <= root.scrollWidth + 1;
    });
    const names = wide.slice(0, 3).map((one) => `<${one.localName} class="${one.className}">`);
    faults.push(`${root.scrollWidth} px on a screen of ${window.innerWidth}: ${names.join(" ")}`);
  }
  return faults;
}"""


def pages() -> list[str]:
    """Every HTML page of the built book, as paths below it, but the one that only sends on."""
    found = sorted(path.relative_to(BOOK).as_posix() for path in BOOK.rglob("*.html"))
    return [name for name in found if name != "index.html" and not name.startswith("_static/")]


def leaves(url: str) -> bool:
    """Whether a request goes to anywhere but the book itself."""
    parts = urlsplit(url)
    return parts.scheme not in {"file", "data", "blob"} and parts.hostname != "127.0.0.1"


def problems(context: Any, url: str, *, folded: bool = False) -> list[str]:
    """Open a page and list everything that is wrong with it.

    ``folded``: look for what keeps readers out before what is folded is unfolded, not after, and
    for all but contrast: a phone has the colours of the light theme, which were looked at.
    """
    page = context.new_page()
    found: list[str] = []

    def note(wrong: bool, what: str) -> None:
        if wrong:
            found.append(what)

    page.on("request", lambda it: note(leaves(it.url), f"request to {it.url}"))
    page.on("requestfailed", lambda it: note(True, f"could not load {it.url}"))
    page.on("response", lambda it: note(it.status >= 400, f"{it.status} for {it.url}"))
    page.on("console", lambda it: note(it.type == "error", f"console: {it.text}"))
    page.on("pageerror", lambda it: note(True, f"script error: {it}"))
    try:
        page.goto(url, wait_until="load")
        if folded:
            undrawn(page)
            found += violations(page, contrast=False)
        page.evaluate(UNFOLD)
        found += [f"not drawn: {figure}" for figure in undrawn(page)]
        found += page.evaluate(FAULTS)
        if not folded:
            found += violations(page)
        found += unseen_focus(page)
    finally:
        page.close()
    return found


def undrawn(page: Any) -> list[str]:
    """The figures that are still not drawn after a fair time, with each brought onto the screen."""
    from playwright.sync_api import TimeoutError as TooLate

    with suppress(TooLate):
        page.wait_for_function(
            f"() => {{ ({SCROLL})(); return ({UNDRAWN})().length === 0; }}", timeout=DRAWN_WITHIN_MS
        )
    left: list[str] = page.evaluate(UNDRAWN)
    return left
