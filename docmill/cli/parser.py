"""The command line's grammar. The options of a conversion derive from `docmill.options.ConvertOptions`."""

from __future__ import annotations

import argparse
import typing
from dataclasses import fields
from functools import partial
from typing import NoReturn

from docmill.cli.jobparser import add_job_commands
from docmill.errors import EXIT_CODES, EXIT_DEFECT, EXIT_PIPE, EXIT_USAGE, EXIT_WITH_ERRORS
from docmill.options import OPTION_NAMES, ConvertOptions, Group


class UsageError(Exception):
    """A command line that cannot be understood: what is wrong, of which command, and how that is called."""

    def __init__(self, message: str, command: str, usage: str) -> None:
        super().__init__(message)
        self.command = command
        self.usage = usage


class Parser(argparse.ArgumentParser):
    """A parser that leaves to its caller how wrong usage is told."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, self.prog, self.format_usage())


DESCRIPTION = "Convert documents in batches, as jobs that Prefect runs and shows."


def build_parser(version: str) -> argparse.ArgumentParser:
    """The parser of the whole command line; each command names the module that runs it."""
    parser: argparse.ArgumentParser = Parser(
        prog="docmill",
        description=DESCRIPTION,
        epilog=exit_codes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"docmill {version}")
    parser.set_defaults(command=None, verbose=0)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_convert(commands)
    _add_info(commands)
    _add_formats(commands)
    _add_get(commands)
    add_job_commands(partial(_command, commands), add_convert_options, exit_codes())
    return parser


def exit_codes() -> str:
    """The exit codes as a text, from the error table."""
    lines = [
        "exit codes:",
        "    0  done",
        f"  {EXIT_DEFECT:>3}  a defect of docmill",
        f"  {EXIT_USAGE:>3}  wrong usage",
        f"  {EXIT_WITH_ERRORS:>3}  done with errors: a page, or some of several sources, failed",
    ]
    for error, code in EXIT_CODES.items():
        if code != EXIT_USAGE:
            lines.append(f"  {code:>3}  {error.code}: {(error.__doc__ or '').splitlines()[0]}")
    lines.append(f"  {EXIT_PIPE:>3}  who read the output went away, as in `docmill formats | head`")
    return "\n".join(lines)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, module: str, help: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(module=module)
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log with tracebacks")
    return parser


def _add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "convert", "convert", "convert documents")
    parser.epilog = exit_codes()
    parser.usage = "%(prog)s [OPTION ...] SOURCE [SOURCE ...] TARGET"
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="path, URI (file:, http:, https:, s3:, memory:), docmill://ID, or - for standard input",
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="path or URI; a folder for several sources, or a PDF of them all; - for standard output",
    )
    add_convert_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace what is at TARGET")
    password = parser.add_mutually_exclusive_group()
    password.add_argument("--password-env", metavar="NAME", help="variable with the password of the source")
    password.add_argument("--password-file", metavar="PATH", help="file with the password of the source")
    parser.add_argument("--direct", action="store_true", help="run without Prefect, in this process")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each source")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")


def _add_info(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "info", "info", "show type, pages, sizes and encoding of documents")
    parser.add_argument("sources", nargs="+", metavar="FILE", help="path, URI or - for standard input")
    password = parser.add_mutually_exclusive_group()
    password.add_argument("--password-env", metavar="NAME", help="variable with the password")
    password.add_argument("--password-file", metavar="PATH", help="file with the password")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_formats(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "formats", "formats", "show what converts to what, and what is missing")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_get(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "get", "get", "write a document of the cache to a file, as it is")
    parser.add_argument("document", metavar="DOCUMENT", help="docmill://ID, or the ID alone")
    parser.add_argument(
        "target",
        nargs="?",
        default="./",
        metavar="TARGET",
        help="path, URI or folder (default: here); -: output",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is at TARGET")
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_convert_options(parser: argparse.ArgumentParser) -> None:
    """Add `--to`, and an argument for each option of `ConvertOptions`, in its group, from its declaration."""
    parser.add_argument(
        "--to",
        metavar="FORMAT",
        help="output format, e.g. pdf, tiff-g4 or png+zip (see `docmill formats`); default: TARGET's ending",
    )
    hints = typing.get_type_hints(ConvertOptions)
    groups = {group: parser.add_argument_group(group.value) for group in Group}
    for option in fields(ConvertOptions):
        group = groups[option.metadata["group"]]
        flag = "--" + option.name.replace("_", "-")
        hint = hints[option.name]
        kind = next((t for t in typing.get_args(hint) if t is not type(None)), hint)
        help = option.metadata["description"]
        if kind is bool:
            group.add_argument(flag, action="store_true", default=option.default, help=help)
            continue
        if option.default is not None:
            help += f" (default: {option.default})"
        choices = option.metadata["choices"] or None
        group.add_argument(
            flag,
            type=str if choices else kind,
            choices=choices and [str(choice) for choice in choices],
            default=option.default,
            metavar=None if choices else option.metadata["metavar"] or option.name.upper(),
            help=help.replace("%", "%%"),
        )


def convert_options(arguments: argparse.Namespace) -> ConvertOptions:
    """The options that the command line sets; raises `InvalidJobData`."""
    return ConvertOptions(**{name: getattr(arguments, name) for name in OPTION_NAMES})


def password_reference(arguments: argparse.Namespace) -> str | None:
    """`--password-env` or `--password-file` as a secret's reference."""
    # Also an empty one, which is refused: it comes of a variable of a script that is not set.
    if arguments.password_env is not None:
        return f"env:{arguments.password_env}"
    return None if arguments.password_file is None else f"file:{arguments.password_file}"
