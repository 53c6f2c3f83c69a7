// Snippets below the results of a search, from disk too: Sphinx's search asks for the HTML of each
// page that it found; here it gets the page's name, and then the page's text from SEARCH_TEXTS.
(function () {
  "use strict";

  const root = new URL(document.documentElement.dataset.content_root || "./", location.href).href;
  const ask = window.fetch;

  window.fetch = function (address, ...options) {
    const url = new URL(address, location.href).href;
    const name = url.slice(root.length).replace(/\.html$/, "");
    if (!url.startsWith(root) || !(name in window.SEARCH_TEXTS)) return ask(address, ...options);
    return Promise.resolve({ text: () => Promise.resolve(name) });
  };

  Search.htmlToText = function (name, anchor) {
    const sections = window.SEARCH_TEXTS[name];
    return sections[(anchor || "").slice(1)] || Object.values(sections).join(" ");
  };
})();
