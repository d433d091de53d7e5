"""Arguments that several commands have. Those of a conversion derive from `docmill.options`."""

from __future__ import annotations

import argparse
import typing
from dataclasses import fields

from docmill.errors import EXIT_CODES, EXIT_DEFECT, EXIT_PIPE, EXIT_USAGE, EXIT_WITH_ERRORS
from docmill.options import OPTION_NAMES, ConvertOptions, Group

STANDARD_STREAM = "-"


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


def add_password(parser: argparse.ArgumentParser, variable: str, file: str) -> None:
    """Add `--password-env` and `--password-file`, of which one may be given, with the help of each."""
    password = parser.add_mutually_exclusive_group()
    password.add_argument("--password-env", metavar="NAME", help=variable)
    password.add_argument("--password-file", metavar="PATH", help=file)


def password_reference(arguments: argparse.Namespace) -> str | None:
    """`--password-env` or `--password-file` as a secret's reference."""
    # Also an empty one, which is refused: it comes of a variable of a script that is not set.
    if arguments.password_env is not None:
        return f"env:{arguments.password_env}"
    return None if arguments.password_file is None else f"file:{arguments.password_file}"


def exit_codes() -> str:
    """The exit codes as a text, from the error table."""
    lines = [
        "exit codes:",
        "    0  done",
        f"  {EXIT_DEFECT:>3}  a defect of docmill",
        f"  {EXIT_USAGE:>3}  wrong usage",
        f"  {EXIT_WITH_ERRORS:>3}  done with errors: a page, or some of several sources, failed; where all",
        "       of them failed, the code is that of the first",
    ]
    for error, code in EXIT_CODES.items():
        if code != EXIT_USAGE:
            lines.append(f"  {code:>3}  {error.code}: {(error.__doc__ or '').splitlines()[0]}")
    lines.append(f"  {EXIT_PIPE:>3}  who read the output went away, as in `docmill formats | head`")
    return "\n".join(lines)
