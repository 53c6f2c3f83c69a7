"""Scripts, styles and templates that a package brings along."""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

FOLDER = Path(__file__).parents[1]
STYLES = ("icons.css", "book.css", "chapters.css", "access.css", "print.css")
AFTER_THE_THEME = 800
# What the theme copies and no page asks for: maps for whoever debugs its scripts, and its icons, of
# which ``icons.css`` draws the few that are shown.
NEVER_LOADED = ("*.map", "fontawesome.js*", "fa-*.woff2", "fa-*.ttf")


def add(app: Sphinx, *files: Path) -> None:
    """Put files into the book's ``_static``; which pages load them, the caller says."""
    app.connect("config-inited", lambda _, config: _extend(config, "html_static_path", *files))


def _extend(config: Config, name: str, *paths: Path) -> None:
    config[name] = [*config[name], *map(str, paths)]


def drop_what_is_never_loaded(app: Sphinx, exception: Exception | None) -> None:
    """Take out of the book's ``_static`` what no page asks for."""
    for pattern in NEVER_LOADED:
        for path in (Path(app.outdir) / "_static").rglob(pattern):
            path.unlink()


def setup(app: Sphinx) -> None:
    """Bring along what every book has."""
    add(app, *sorted(FOLDER.joinpath("static").iterdir()))
    templates = FOLDER / "templates"
    app.connect("config-inited", lambda _, config: _extend(config, "templates_path", templates))
    for name in STYLES:
        app.add_css_file(name, priority=AFTER_THE_THEME)
    app.connect("build-finished", drop_what_is_never_loaded)
