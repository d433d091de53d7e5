"""The command line's grammar: the whole of it, and the commands that need no Prefect server."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from docmill.cli.arguments import add_convert_options, add_password, exit_codes
from docmill.cli.jobparser import add_job_commands


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

    def print_help(self, file: Any = None) -> None:
        """As argparse does, but where standard output takes nothing, that is an error as with any output."""
        print(self.format_help(), end="", file=file, flush=True)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *values: object) -> None:
        print(self.const, flush=True)
        parser.exit()


class Command(Parser):
    """The parser of one command, which takes options also between SOURCE and TARGET, as people type them."""

    _inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._inside:  # as the call below comes here
            return super().parse_known_args(args, namespace)
        self._inside = True
        try:
            # What follows `--` is no option, which that call forgets: NUL is in no argument.
            end = args.index("--") if "--" in args else len(args)
            plain = [_NO_OPTION + word for word in args[end + 1 :]]
            options, unknown = self.parse_known_intermixed_args([*args[:end], *plain], namespace)
        finally:
            self._inside = False
        if unknown:
            # Here, where the usage that is shown is this command's.
            self.error(f"unrecognized arguments: {' '.join(map(_word, unknown))}")
        for name, value in vars(options).items():
            if isinstance(value, str | list):
                setattr(options, name, _word(value) if isinstance(value, str) else [*map(_word, value)])
        return options, []


_NO_OPTION = "\0"


def _word(word: str) -> str:
    return word.removeprefix(_NO_OPTION)


DESCRIPTION = "Convert documents in batches, as jobs that Prefect runs and shows."


def build_parser(version: str) -> argparse.ArgumentParser:
    """The parser of the whole command line; each command names the module that runs it."""
    parser: argparse.ArgumentParser = Parser(
        prog="docmill",
        description=DESCRIPTION,
        epilog=exit_codes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    told = f"docmill {version}"
    parser.add_argument("--version", action=_Version, nargs=0, const=told, help="show the version")
    parser.set_defaults(command=None, verbose=0)
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", parser_class=Command
    )

    def command(name: str, module: str, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(module=module)
        added.add_argument("-v", "--verbose", action="count", default=0, help="log with tracebacks")
        return added

    _add_convert(command("convert", "convert", "convert documents"))
    _add_info(command("info", "info", "show type, pages, sizes and encoding of documents"))
    _add_formats(command("formats", "formats", "show what converts to what, and what is missing"))
    _add_get(command("get", "get", "write a document of the cache to a file, as it is"))
    add_job_commands(command)
    return parser


def _add_convert(parser: argparse.ArgumentParser) -> None:
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
    add_password(parser, "variable with the password of the source", "file with the password of the source")
    parser.add_argument("--direct", action="store_true", help="run without Prefect, in this process")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each source")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", metavar="FILE", help="path, URI or - for standard input")
    add_password(parser, "variable with the password", "file with the password")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_formats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_get(parser: argparse.ArgumentParser) -> None:
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
