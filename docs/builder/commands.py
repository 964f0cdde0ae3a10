"""The reference of a program's commands, from what `--help` would say."""

import inspect
import re
from collections.abc import Iterator

import click

from docs.builder.tables import table

_EVERYWHERE = ("--home", "--config", "--json", "--quiet", "--passphrase-file", "--no-color")


def command_page(program: str, group: click.Group) -> str:
    """Return the page of one program.

    Args:
        program: its name on the command line.
        group: its commands.
    """
    context = click.Context(group, info_name=program)
    commands = list(_commands(group, context))
    parts = [
        f"# {program}",
        "Made from the program: `python -m docs.builder --references`. The same is shown by "
        f"`{program} COMMAND --help`.",
        *_description(group),
        "## Options of every command",
        table(("option", "meaning"), _options(commands[0][0], commands[0][1], everywhere=True)),
    ]
    for command, inner in commands:
        parts += [f"## {inner.command_path}", _usage(command, inner), *_description(command)]
        rows = _options(command, inner, everywhere=False)
        if rows:
            parts.append(table(("option", "meaning"), rows))
    return "\n\n".join(parts) + "\n"


def _commands(
    group: click.Group, context: click.Context
) -> Iterator[tuple[click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, inner)
        else:
            yield command, inner


def _usage(command: click.Command, context: click.Context) -> str:
    pieces = " ".join(command.collect_usage_pieces(context))
    return f"```text\n{context.command_path} {pieces}\n```"


def _description(command: click.Command) -> Iterator[str]:
    """Paragraphs; those that click leaves as they are (backspace) are code."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        if paragraph.startswith("\b"):
            code = paragraph.removeprefix("\b").strip("\n")
            yield f"```text\n{code}\n```"
        else:
            yield " ".join(paragraph.split())


def _options(
    command: click.Command, context: click.Context, *, everywhere: bool
) -> list[tuple[str, str]]:
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or isinstance(parameter, click.Argument) or "--help" in parameter.opts:
            continue
        shared = bool(set(_EVERYWHERE) & set(parameter.opts))
        if shared == everywhere:
            rows.append((f"`{record[0]}`", " ".join(record[1].split())))
    return rows
