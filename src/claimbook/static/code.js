// One switch for all code of the book, in the head of each chapter; what it says is remembered. It is
// off until a reader asks for code: by the switch, or by a way in that is marked "shows-code". A link
// that leads to a cell shows the code of that cell. On paper what computes is always shown.
(function () {
  "use strict";

  const NAME = "code";
  const folds = [...document.querySelectorAll("details.above-input")];
  const toggle = document.querySelector(".code-switch");

  function remember(shown) {
    try {
      localStorage.setItem(NAME, shown ? "shown" : "folded");
    } catch {
      // A browser that keeps nothing for files forgets.
    }
  }

  function remembered() {
    try {
      return localStorage.getItem(NAME) === "shown";
    } catch {
      return false;
    }
  }

  function show(shown) {
    for (const fold of folds) fold.open = shown;
    toggle.setAttribute("aria-checked", String(shown));
  }

  // What the reader looks at stays where it is, though code opens above it.
  function inPlace(action) {
    const [seen] = [...document.querySelectorAll(".bd-article section > *")].filter(
      (one) => one.getBoundingClientRect().bottom > 80);
    const before = seen && seen.getBoundingClientRect().top;
    action();
    if (seen) scrollBy({ top: seen.getBoundingClientRect().top - before, behavior: "instant" });
  }

  function showTarget() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const cell = target && target.closest(".cell");
    const fold = cell && cell.querySelector("details.above-input");
    if (fold) fold.open = true;
    if (target) target.scrollIntoView();
  }

  for (const link of document.querySelectorAll(".shows-code a"))
    link.addEventListener("click", () => remember(true));
  if (!toggle) return;
  if (remembered()) show(true);
  if (location.hash) showTarget();
  addEventListener("hashchange", showTarget);
  toggle.addEventListener("click", () => {
    const shown = toggle.getAttribute("aria-checked") !== "true";
    remember(shown);
    inPlace(() => show(shown));
  });

  const closed = () => folds.filter((one) => !one.open && !one.closest(".tag_hide-input"));
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = closed();
    for (const fold of unfolded) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of unfolded) fold.open = false;
  });
})();
