"""What a job's target means: the output's format, and where the output goes."""

from __future__ import annotations

from pathlib import Path

from docmill.errors import InvalidJobData
from docmill.formats import BY_EXTENSION, JSON, PDF, TEXT, TIFF, ZIP, Target, target_for
from docmill.options import Frames
from docmill.request import ConvertRequest

# Stores whose URIs begin with a bucket's name.
_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs"})
_ONE_FILE = frozenset({PDF, TIFF, TEXT, JSON})


def target_of(request: ConvertRequest) -> Target:
    """The output format: `to` where it is set, else by the target's ending; raises `InvalidJobData`."""
    return target_for(last_name(request.target or ""), request.to)


def destination(request: ConvertRequest, outputs: int = 1) -> str:
    """Where the outputs go: a file's URI or path, or with a slash at its end the folder of several.

    Several outputs for a target that names a file go beside it; their names begin with its stem.
    """
    target = request.target or ""
    return target if outputs == 1 and not is_folder(target) else folder_of(target)


def folder_of(target: str) -> str:
    """The folder that a target's outputs lie in, with a slash at its end."""
    if is_folder(target):
        return target.rstrip("/") + "/"
    return target[: len(target) - len(target.rpartition("/")[2])] or "./"


def is_folder(target: str) -> bool:
    """Whether a target names a folder: it ends with a slash, is one on this host, or a bucket of a store."""
    scheme, separator, rest = target.partition("://")
    if target.endswith("/") or separator:
        return target.endswith("/") or ("/" not in rest and scheme.lower() in _BUCKETS)
    try:
        return Path(target).is_dir()
    except OSError:  # a name that is too long, which publishing tells
        return False


def is_one_file(request: ConvertRequest) -> bool:
    """Whether all pages go into the one file that the target names; raises `InvalidJobData`."""
    holds_all = holds_all_pages(target_of(request))
    return holds_all and request.options.split is None and not is_folder(request.target or "")


def in_folder(folder: str, name: str) -> str:
    """What the file `name` in a folder is called; `folder` is a path or URI with a slash at its end."""
    if folder[:5].lower() == "file:":
        from urllib.parse import quote

        return folder + quote(name, errors="surrogateescape")
    return folder + name


def name_in_folder(request: ConvertRequest, stem: str) -> str | None:
    """The name that the one output gets in the folder that is the target; None where it may be several."""
    target = target_of(request)
    if (
        not is_folder(request.target or "")
        or not holds_all_pages(target)
        or request.options.split is not None
    ):
        return None
    return f"{stem}.{(ZIP if target.archive else target.format).extension}"


def holds_all_pages(target: Target) -> bool:
    """Whether one file of it takes all pages of a document."""
    return target.archive or target.format in _ONE_FILE


def refuse_many_outputs(request: ConvertRequest, page_count: int) -> None:
    """Refuse several files where one has to take all, before the pages are converted."""
    in_cache = request.target is None or request.output_document_id is not None
    if not in_cache and not request.one_file:
        return
    options, target = request.options, target_of(request)
    pages = len(options.page_numbers(page_count))
    in_one = holds_all_pages(target) and (target.archive or options.page_names is None)
    if options.split is not None:
        pages_a_file, others = options.split, ""
    elif in_one or options.frames is Frames.FIRST:
        return
    else:
        pages_a_file, others = 1, f", or for a format that holds all of them: TIFF, PDF or {target.name}+zip"
    if pages > pages_a_file:
        files = -(-pages // pages_a_file)
        raise InvalidJobData(
            f"{pages} pages as {target.format.title} are {files} files and not one"
            + (" document in the cache" if in_cache else ""),
            hint=f"ask for fewer pages{others}",
        )


def refuse_misleading_name(request: ConvertRequest) -> None:
    """Refuse a target that ends as files of another format do: whoever typed it meant one of the two."""
    name = last_name(request.target or "")
    ending = name.rpartition(".")[2].lower() if "." in name and not is_folder(request.target or "") else ""
    named, asked = BY_EXTENSION.get(ending), target_of(request).format
    if named is not None and named not in (asked, ZIP):
        raise InvalidJobData(
            f"'{name}' ends like {named.title}, but {request.to} is asked for",
            hint=f"end it with .{asked.extension}, or leave out --to",
        )


def last_name(uri: str) -> str:
    """The last part of a path, or of a URI without its query, which those of HTTP have."""
    if uri[:5].lower() == "file:":
        from urllib.parse import unquote

        return Path(unquote(uri[5:], errors="surrogateescape")).name
    if "://" not in uri:
        return Path(uri).name
    if uri[:4].lower() == "http":
        uri = uri.split("?", 1)[0]
    return uri.rstrip("/").rsplit("/", 1)[-1]
