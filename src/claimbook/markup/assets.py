"""Scripts, styles and templates that a package brings along."""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

FOLDER = Path(__file__).parents[1]
STYLES = ("book.css", "chapters.css", "access.css", "print.css")
AFTER_THE_THEME = 800


def add(app: Sphinx, *files: Path) -> None:
    """Put files into the book's ``_static``; which pages load them, the caller says."""
    app.connect("config-inited", lambda _, config: _extend(config, "html_static_path", *files))


def _extend(config: Config, name: str, *paths: Path) -> None:
    config[name] = [*config[name], *map(str, paths)]


def setup(app: Sphinx) -> None:
    """Bring along what every book has."""
    add(app, *sorted(FOLDER.joinpath("static").iterdir()))
    templates = FOLDER / "templates"
    app.connect("config-inited", lambda _, config: _extend(config, "templates_path", templates))
    for name in STYLES:
        app.add_css_file(name, priority=AFTER_THE_THEME)
