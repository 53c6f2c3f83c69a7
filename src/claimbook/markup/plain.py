"""A chapter's notebook for readers outside the book: its text without directives and roles.

Jupyter shows ``{term}`head``` and ``{opening}`` as they are typed. Here each becomes what the page
shows in its place, in plain Markdown.
"""

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import PurePosixPath
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from sphinx.environment import BuildEnvironment

from claimbook.markup.claim_markup import stated_in

FENCE = re.compile(r"\s*(?P<fence>`{3,}|:{3,})\{(?P<name>[\w:-]+)\}\s*(?P<argument>.*)")
OPTION = re.compile(r":(?P<name>[\w-]+):\s*(?P<value>.*)")
ROLE = re.compile(r"\{(?P<role>[\w:-]+)\}`(?P<body>[^`]+)`")
TITLED = re.compile(r"(?P<text>.+?)\s*<(?P<target>[^<>]+)>", re.DOTALL)
LABEL = re.compile(r"\([\w-]+\)=")
GLUED = "application/papermill.record/text/plain"

Roles = dict[str, Callable[[str], str]]


def plainly(notebook: NotebookNode, roles: Roles) -> NotebookNode:
    """A copy whose text any notebook viewer shows as it is meant; captions follow their figures."""
    result = deepcopy(notebook)
    result.cells = list(_plain_cells(result.cells, roles))
    return result


def roles_of(env: BuildEnvironment, page: str, notebook: NotebookNode) -> Roles:
    """What each role of a page says, by its target."""
    numbers = env.toc_fignumbers.get(page, {}).get("figure", {})
    glued = dict(_glued(notebook))
    works = {one.key: one.formatted_entry.label for one in _citations(env)}

    def cited(keys: str) -> str:
        return "; ".join(works.get(key.strip(), key.strip()) for key in keys.split(","))

    def title(name: str) -> str:
        path = PurePosixPath(name).name
        page = next((one for one in env.titles if PurePosixPath(one).name == path), None)
        return env.titles[page].astext() if page else path

    return {
        "doc": title,
        "numref": lambda name: "Fig. " + ".".join(map(str, numbers.get(name, ["?"]))),
        "glue:text": lambda name: glued.get(name, name),
        "claim": lambda id: stated_in(env)[id].text if id in stated_in(env) else id,
        "cite:p": lambda keys: f"({cited(keys)})",
        "cite:t": cited,
    }


def _citations(env: BuildEnvironment) -> list[Any]:
    domain: Any = env.get_domain("cite") if "cite" in env.domains else None
    return list(domain.citations) if domain else []


def _glued(notebook: NotebookNode) -> Iterator[tuple[str, str]]:
    """The numbers that cells have made available to the text, by name."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            if name and GLUED in output.get("data", {}):
                yield name, output["data"][GLUED].strip("'")


def _plain_cells(cells: list[NotebookNode], roles: Roles) -> Iterator[NotebookNode]:
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = plain(cell.source, roles)
            if cell.source:
                yield cell
            continue
        yield cell
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if caption := figure.get("caption"):
            number = roles["numref"](figure.get("name", ""))
            words = f"**{number}** {_without_roles(caption, roles)}"
            yield new_markdown_cell(words, id=f"{cell.id}-caption")


def plain(text: str, roles: Roles) -> str:
    """Markdown without directives and roles."""
    lines = list(_without_directives(text.split("\n"), roles))
    squeezed = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
    return _without_roles(squeezed, roles)


def _without_roles(text: str, roles: Roles) -> str:
    def said(match: re.Match[str]) -> str:
        titled = TITLED.fullmatch(match["body"])
        if titled:
            return titled["text"]
        return roles.get(match["role"], str)(match["body"])

    return ROLE.sub(said, text)


def _without_directives(lines: list[str], roles: Roles) -> Iterator[str]:
    rest = iter(lines)
    for line in rest:
        opened = FENCE.match(line)
        if opened:
            body = _body(rest, opened["fence"])
            options = dict(_options(body))
            inner = list(_without_directives(body[len(options) :], roles))
            yield from _shown(opened["name"], opened["argument"], options, inner, roles)
        elif not LABEL.fullmatch(line.strip()):
            yield line


def _body(rest: Iterator[str], fence: str) -> list[str]:
    """The lines up to the end of a directive."""
    body = []
    for line in rest:
        if line.strip() == fence:
            break
        body.append(line)
    return body


def _options(body: list[str]) -> Iterator[tuple[str, str]]:
    for line in body:
        option = OPTION.fullmatch(line)
        if option is None:
            return
        yield option["name"], option["value"]


def _shown(
    name: str, argument: str, options: dict[str, str], inner: list[str], roles: Roles
) -> list[str]:
    """What stands in the place of a directive."""
    match name:
        case "opening":
            return _opening(options, inner, roles)
        case "exercise-start":
            return [f"**Exercise ({argument})**", ""]
        case "solution-start":
            return ["**Solution**", ""]
        case "math":
            return ["$$", *inner, "$$"]
        case "margin":
            return [f"> {line}".rstrip() for line in inner]
        case _:
            return inner


def _opening(options: dict[str, str], goals: list[str], roles: Roles) -> list[str]:
    builds = [roles["doc"](name.strip()) for name in options.get("builds", "").split(",") if name]
    facts = {
        "Builds on": ", ".join(builds),
        "You should know": options.get("needs", ""),
        "Time": f"reading {options['read']} min" if "read" in options else "",
    }
    said = [f"*{name}:* {words}  " for name, words in facts.items() if words]
    return ["At the end of this chapter you can", *goals, "", *said]
