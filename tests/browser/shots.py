"""Pictures of every page of the built book, for people to look at: ``make shots``.

They are written to ``_build/shots/``, one per page and mode (light, dark, phone), full length.
Names choose the pages: ``PYTHONPATH=tests python -m browser.shots attention results``.
"""

import sys
from typing import Any

from browser.visits import BOOK, MODES, UNFOLD, pages, undrawn
from playwright.sync_api import sync_playwright

from claimbook.browser import FLAGS, find, missing

SHOTS = BOOK.parent / "shots"

# What follows the screen when one scrolls would be pictured somewhere, or more than once.
STILL = """
  #pst-skip-link { display: none; }
  .bd-header-article { position: static !important; }
  @media (min-width: 992px) {
    .bd-sidebar-primary, .bd-sidebar-secondary, .latents-list { position: static !important; }
    .bd-sidebar-primary, .bd-sidebar-secondary { max-height: none !important; }
    .latents-list { max-height: 40rem !important; }
  }
"""


def shoot(context: Any, name: str, mode: str) -> None:
    """Picture one page."""
    page = context.new_page()
    page.goto((BOOK / name).as_uri(), wait_until="load")
    page.evaluate(UNFOLD)
    for figure in undrawn(page):
        print(f"{name} ({mode}): not drawn: {figure}")
    page.wait_for_timeout(400)  # what unfolds fades in
    path = SHOTS / f"{name.replace('/', '-')[:-5]}.{mode}.png"
    page.screenshot(path=path, full_page=True, style=STILL)
    page.close()


def main(chosen: list[str]) -> None:
    """Picture the chosen pages, or all of them."""
    if find() is None:
        sys.exit(missing())
    SHOTS.mkdir(parents=True, exist_ok=True)
    names = [name for name in pages() if not chosen or any(part in name for part in chosen)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=list(FLAGS))
        for mode, options in MODES.items():
            context = browser.new_context(**options)
            for name in names:
                shoot(context, name, mode)
        browser.close()
    print(f"{len(names) * len(MODES)} pictures in {SHOTS}")


if __name__ == "__main__":
    main(sys.argv[1:])
