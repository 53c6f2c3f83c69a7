// Shows the definition of a term where it is met: while the mouse rests on it or on the definition,
// or while it has the focus of the keyboard; Escape puts it away. A tap goes to the glossary.
(function () {
  "use strict";

  const GAP = 6; // px between term and definition
  const PATIENCE = 250; // ms; so the mouse can rest a moment, and can go over to the definition
  const box = document.createElement("div");
  box.id = "definition";
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  document.body.append(box);
  let shown = null;
  let timer = 0;

  function show(link) {
    clearTimeout(timer);
    if (shown === link) return;
    hide();
    box.innerHTML = window.DEFINITIONS[idOf(link)];
    box.hidden = false;
    const term = link.getClientRects()[0];
    const { clientWidth, clientHeight } = document.documentElement;
    const left = Math.max(GAP, Math.min(term.left, clientWidth - box.offsetWidth - GAP));
    const below = term.bottom + GAP + box.offsetHeight <= clientHeight;
    const top = below ? term.bottom + GAP : Math.max(GAP, term.top - GAP - box.offsetHeight);
    box.style.left = left + scrollX + "px";
    box.style.top = top + scrollY + "px";
    link.setAttribute("aria-describedby", box.id);
    shown = link;
  }

  function hide() {
    clearTimeout(timer);
    if (shown) shown.removeAttribute("aria-describedby");
    shown = null;
    box.hidden = true;
  }

  function later(action) {
    clearTimeout(timer);
    timer = setTimeout(action, PATIENCE);
  }

  function idOf(link) {
    return decodeURIComponent(link.hash.slice(1));
  }

  const byMouse = (action) => (event) => event.pointerType === "mouse" && action();
  for (const link of document.querySelectorAll('.bd-article a[href*="#term-"]')) {
    if (!window.DEFINITIONS[idOf(link)]) continue;
    link.addEventListener("pointerenter", byMouse(() => later(() => show(link))));
    link.addEventListener("pointerleave", byMouse(() => later(hide)));
    link.addEventListener("focus", () => link.matches(":focus-visible") && show(link));
    link.addEventListener("blur", hide);
  }
  box.addEventListener("pointerenter", () => clearTimeout(timer));
  box.addEventListener("pointerleave", () => later(hide));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });
})();
