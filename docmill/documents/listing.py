"""Find many sources: folders and patterns, on this host or in any fsspec store."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from docmill.documents.failures import source_failures
from docmill.documents.remote import changed_at, open_filesystem
from docmill.documents.uris import Location, parse_location
from docmill.errors import DocmillError, InvalidJobData, SourceNotFound

#: Stores without folders to look into; a `?` in such a URI begins a query.
_WITHOUT_FOLDERS = frozenset({"http", "https", "docmill", "data"})


@dataclass(frozen=True, slots=True)
class FoundSource:
    """A source, its path below the folder in which the search began, and when it was changed last, in seconds
    since 1970; None where the store does not say. `failure` says that it cannot be looked at: that it is a
    folder of which nobody knows what it holds, or in one."""

    uri: str
    relative: PurePosixPath
    modified: float | None = None
    failure: DocmillError | None = None


def find_sources(patterns: Sequence[str]) -> list[FoundSource]:
    """What these paths and URIs name, each once, in order.

    A folder stands for the files in it; `*`, `?`, `[...]` and `**` (folders of any depth) match as in a
    shell; hidden files are left out. What is neither a folder nor a pattern is taken as it is, there or not.
    A local folder on a pattern's way that cannot be searched is among them, with its `failure`. Raises the
    `Source...` errors of what else is searched.
    """
    found: dict[str, FoundSource] = {}
    for pattern in patterns:
        location = parse_location(pattern)
        with source_failures(location.shown):
            for source in _search(pattern, location):
                found.setdefault(source.uri, source)
    return list(found.values())


def output_paths(sources: Sequence[FoundSource], extension: str) -> list[PurePosixPath]:
    """Where each output goes below the target folder: as its source lies, with the new ending.

    Sources that differ in their ending only keep it in the name: `scan.tif.pdf` and `scan.png.pdf`.
    """
    plain = [source.relative.with_suffix(f".{extension}") for source in sources]
    uses = Counter(plain)
    return [
        path if uses[path] == 1 else source.relative.with_name(f"{source.relative.name}.{extension}")
        for source, path in zip(sources, plain, strict=True)
    ]


def modified(uri: str) -> float | None:
    """When a document was changed last, in seconds since 1970; None where it is not there or nobody knows.

    Raises the `Source...` errors of its store, but for `SourceNotFound`.
    """
    location = parse_location(uri)
    try:
        with source_failures(location.shown):
            if location.is_local:
                return location.path.stat().st_mtime
            files, path = open_filesystem(location)
            return changed_at(files.info(path))
    except SourceNotFound:
        return None


def _search(pattern: str, location: Location) -> Iterator[FoundSource]:
    if location.is_local:
        return _search_local(location.path, is_folder=pattern.endswith("/"))
    if location.scheme in _WITHOUT_FOLDERS:
        return iter([FoundSource(pattern, PurePosixPath(location.name or "document"))])
    return _search_store(pattern, location)


def _search_local(path: Path, *, is_folder: bool) -> Iterator[FoundSource]:
    text = str(path)
    folders: set[Path] = set()
    if path.is_dir() or is_folder:
        root, files = path, sorted(path.iterdir())
    elif glob.has_magic(text) and not path.exists():
        root = Path(_fixed_part(text) or ".")
        folders, files = _matches(root, PurePosixPath(text[len(_fixed_part(text)) :]))
    else:
        yield FoundSource(text, PurePosixPath(path.name), path.stat().st_mtime if path.exists() else None)
        return
    for each in (*folders, *files):
        relative = PurePosixPath(each.relative_to(root))
        if any(part.startswith(".") for part in relative.parts):
            continue
        try:
            with source_failures(str(each)):
                if each in folders:
                    os.scandir(f"{each}/.").close()  # what lists its names and finds what they name
                elif each.is_file():
                    yield FoundSource(str(each), relative, each.stat().st_mtime)
        except DocmillError as error:
            yield FoundSource(str(each), relative, failure=error)


def _matches(root: Path, pattern: PurePosixPath) -> tuple[set[Path], list[Path]]:
    """The folders that a pattern leads through, of which `Path.glob` passes over in silence what it cannot
    search, and what it matches."""
    if pattern.name == "**":  # also of the files in those folders, which Python 3.11 leaves out
        pattern /= "*"
    ways = [way for way in pattern.parents if way.name]
    try:
        folders = {root, *(path for way in ways for path in root.glob(f"{way}/"))}
        return folders, sorted(path for path in root.glob(str(pattern)) if path not in folders)
    except ValueError as error:
        raise InvalidJobData(f"'{pattern}' is no pattern: {error}") from None


def _search_store(pattern: str, location: Location) -> Iterator[FoundSource]:
    files, path = open_filesystem(location)
    if glob.has_magic(path):
        found = files.glob(path, detail=True)
        root = _fixed_part(path)
        entries = [found[name] for name in sorted(found)]
    elif pattern.endswith("/") or files.isdir(path):
        root, entries = path, sorted(files.ls(path, detail=True), key=lambda entry: str(entry["name"]))
    else:
        yield FoundSource(pattern, PurePosixPath(location.name))
        return
    for entry in entries:
        name = str(entry["name"])
        if entry.get("type") == "file" and not PurePosixPath(name).name.startswith("."):
            relative = PurePosixPath(name[len(root) :].lstrip("/"))
            yield FoundSource(files.unstrip_protocol(name), relative, changed_at(entry))


def _fixed_part(pattern: str) -> str:
    """The folder above the first wildcard, with its slash: `in/` of `in/**/a*.tif`."""
    wildcard = next(i for i, character in enumerate(pattern) if character in "*?[")
    return pattern[: pattern.rfind("/", 0, wildcard) + 1]
