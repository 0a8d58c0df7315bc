"""Writes the help of every command: python -m edge_app.reference > docs/commands.md."""

from collections.abc import Iterator

import click

from edge_app.cli import leukoscope

WIDTH = 100
HEAD = """\
# The commands

What `leukoscope COMMAND --help` says, for every command. Made from the code by
`python -m edge_app.reference > docs/commands.md`.
"""


def markdown() -> str:
    """Return the page with the help of every command, in the order in which `leukoscope --help` lists them."""
    return "\n".join([HEAD, *_sections(leukoscope, "leukoscope")])


def _sections(command: click.Command, name: str) -> Iterator[str]:
    """Yield the section of a command and of all below it."""
    context = click.Context(
        command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH, help_option_names=["-h", "--help"]
    )
    yield f"## {name}\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            if (found := command.get_command(context, each)) is not None and not found.hidden:
                yield from _sections(found, f"{name} {each}")


if __name__ == "__main__":
    click.echo(markdown(), nl=False)
