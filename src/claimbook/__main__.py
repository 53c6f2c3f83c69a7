"""The command line: ``python -m claimbook --help``."""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from claimbook import outputs, pairs
from claimbook.errors import ClaimbookError
from claimbook.progress import say
from claimbook.project import NotebookError, Project, replace_with
from claimbook.surroundings import begin_without, shielded
from claimbook.turns import turn

INTERRUPTED = 130


def build(project: Project, arguments: argparse.Namespace) -> None:
    """Execute what is stale, then build the book."""
    if arguments.parameters:
        from claimbook import variant

        book = variant.build(project, arguments.parameters)
        say(f"Open {(book / 'index.html').as_uri()}")
        return
    # Imported here: checking pairs before each commit should not wait for Sphinx and papermill.
    from claimbook.build import build
    from claimbook.execute import execute

    executed = execute(project)
    say("Building the book ...")
    book = build(project.root, executed)
    say(f"Open {(book / 'index.html').as_uri()}")


def execute(project: Project, arguments: argparse.Namespace) -> None:
    """Execute what is stale."""
    from claimbook.execute import execute

    execute(project, arguments.name, everything=arguments.all)


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Run one notebook with other parameters; its reference outputs stay."""
    from claimbook import parameters, stored_form
    from claimbook.execute import run

    (name,) = project.chosen([arguments.name])
    values = parameters.typed(project.source(name), arguments.parameter)
    # Relative to where the command was typed.
    output = arguments.output or project.variants / f"{name}.ipynb"
    replace_with(output, stored_form.to_bytes(run(project, name, values=values)))
    say(f"Wrote {output}")


def refresh(project: Project, arguments: argparse.Namespace) -> None:
    """Execute what is stale, and rewrite the reference outputs and the list of claims."""
    from claimbook.execute import refresh

    refresh(project, arguments.name, everything=arguments.all)


def again(project: Project, arguments: argparse.Namespace) -> None:
    """Run chapters with other seeds, and write what they claim beside the pages."""
    from claimbook.again import again

    again(project, arguments.name, {"seeds": arguments.seeds})


def profile(project: Project, arguments: argparse.Namespace) -> None:
    """Run notebooks, and say which cells and functions cost most; nothing is written."""
    from claimbook.profiling import report

    report(project, arguments.name)


def pdf(project: Project, _: argparse.Namespace) -> None:
    """Print the built book as one PDF."""
    from claimbook.paper import print_book

    say("Printing the book ...")
    printed = print_book(project.root, project.root / "_build" / "html")
    say(f"Open {printed.as_uri()}")


def links(project: Project, _: argparse.Namespace) -> None:
    """Check the addresses that the book links to; needs a network."""
    from claimbook.build import check_links

    check_links(project.root, [project.reference(name) for name in project.names()])


def check_pairs(project: Project, _: argparse.Namespace) -> None:
    """Check that both halves of each notebook say the same."""
    _report(pairs.problems(project))


def check_outputs(project: Project, _: argparse.Namespace) -> None:
    """Check that each committed notebook stores what nbval compares with."""
    _report(outputs.problems(project))
    for name, number in outputs.counts(project).items():
        say(f"{name}: {number} cells have an output to compare with")


def check_same(project: Project, _: argparse.Namespace) -> None:
    """Execute every notebook that did not run here, and hold it against what is committed."""
    from claimbook.execute import execute

    execute(project, committed=False)
    _report(outputs.departures(project))
    say(f"{len(project.names())} notebooks ran as they are committed, byte for byte")


COMMANDS = {
    "build": build,
    "execute": execute,
    "run": run,
    "refresh": refresh,
    "again": again,
    "profile": profile,
    "pdf": pdf,
    "links": links,
    "pairs": check_pairs,
    "outputs": check_outputs,
    "same": check_same,
}
IN_TURN = (build, execute, refresh, check_same, pdf, links)
"""Those that write into ``_build`` what another of them would read."""


def _report(problems: list[str]) -> None:
    if problems:
        raise NotebookError("\n".join(problems))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m claimbook",
        description="Execute the notebooks, build the book, and check what is committed.",
    )
    parser.add_argument(
        "--root", type=Path, default=Path.cwd(), help="the checkout (default: the current folder)"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        if command in (execute, refresh, profile):
            sub.add_argument(
                "name", nargs="*", help="a notebook, such as 02_training (default: every notebook)"
            )
        if command in (execute, refresh):
            sub.add_argument("--all", action="store_true", help="also what is up to date")
        if command is build:
            sub.add_argument(
                "--parameters",
                type=Path,
                metavar="FILE.yaml",
                help="other values, for a book of its own in _build/variants/FILE",
            )
        if command is run:
            sub.add_argument("name", help="a notebook, such as 02_training")
            sub.add_argument(
                *("-p", "--parameter"),
                nargs=2,
                action="append",
                default=[],
                metavar=("NAME", "VALUE"),
                help="one of its parameters, and the value that it has in this run",
            )
            sub.add_argument(
                "--output", type=Path, help="what to write (default: _build/variants/NAME.ipynb)"
            )
        if command is again:
            sub.add_argument("name", nargs="+", help="a notebook with the parameter seeds")
            sub.add_argument("--seeds", nargs="+", type=int, required=True)
    return parser


def main(words: list[str] | None = None) -> int:
    """Run one command; the exit status is 1 when something is wrong with a notebook or the book."""
    arguments = _parser().parse_args(words)
    project = Project(arguments.root.resolve())
    try:
        if not project.names():
            raise NotebookError(f"There are no notebooks in {project.notebooks}.")
        _run(project, arguments)
        sys.stdout.flush()
    except ClaimbookError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    except OSError as error:
        print(_in_words(error), file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; what was finished is kept.", file=sys.stderr, flush=True)
        return INTERRUPTED
    return 0


def _run(project: Project, arguments: argparse.Namespace) -> None:
    command = COMMANDS[arguments.command]
    alone = turn(project.root, arguments.command) if command in IN_TURN else nullcontext()
    with shielded(project.root), alone:
        command(project, arguments)


def _in_words(error: OSError) -> str:
    """What the operating system refused; an error without a file or reason is none of its."""
    if error.strerror is None:
        raise error
    return f"{error.strerror}: {error.filename}" if error.filename else f"{error.strerror}."


if __name__ == "__main__":
    begin_without()
    sys.exit(main())
