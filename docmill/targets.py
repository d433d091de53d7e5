"""What a job's target means: the output's format, and where the output goes."""

from __future__ import annotations

from pathlib import Path

from docmill.formats import Target, target_for
from docmill.request import ConvertRequest


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
    """Whether a target names a folder: it ends with a slash, or is one on this host."""
    return target.endswith("/") or ("://" not in target and Path(target).is_dir())


def last_name(uri: str) -> str:
    return uri.split("?", 1)[0].rstrip("/").rsplit("/", 1)[-1] if "://" in uri else Path(uri).name
