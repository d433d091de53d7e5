"""The settings of an installation: where things are and how much a job may take.

Each is an environment variable `DOCMILL_<NAME>`, read once at the start of a command, a worker or a job and
then handed down. What a client asks of a job is an option (`docmill.options`), never a setting.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from docmill.errors import InvalidJobData

PREFIX = "DOCMILL_"
VERIFY_MODES = ("fail", "warn", "off")
#: What the tests and the compose file have for themselves.
_OTHERS = (f"{PREFIX}TEST_", f"{PREFIX}DATABASE_PASSWORD")
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
HOUR, DAY = 3600, 86400


def expanded(path: str) -> Path:
    """A path with the home folder for a `~` at its beginning; a name that only begins so stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (pathlib's raises where there is no such user)


def _data_dir() -> Path:
    # platformdirs costs 20 ms to import; this is its rule for Linux.
    if base := os.environ.get("XDG_DATA_HOME"):
        return Path(base) / "docmill"
    try:
        return Path.home() / ".local" / "share" / "docmill"
    except RuntimeError:  # as for a container's user that has a number only
        raise InvalidJobData(
            "there is no home folder for docmill's data", hint="set DOCMILL_DATA_DIR"
        ) from None


def _setting(default: Any, doc: str, kind: str) -> Any:
    meta = {"doc": doc, "kind": kind}
    if callable(default):
        return field(default_factory=default, metadata=meta)
    return field(default=default, metadata=meta)


@dataclass(frozen=True, slots=True)
class Settings:
    """What an installation sets. Sizes are bytes, times are seconds; both take units (`2 GiB`, `12 h`)."""

    data_dir: Path = _setting(_data_dir, "docmill's own folder: databases, the local cache, logs", "path")
    cache_url: str = _setting("", "the document cache, any fsspec URL; default: DATA_DIR/cache", "text")
    scratch_dir: Path = _setting(
        lambda: Path(tempfile.gettempdir()) / f"docmill-{os.getuid()}",
        "temporary files of running jobs, on this host",
        "path",
    )
    default_user: str = _setting("default", "the userToken of a job that names none", "text")
    document_ttl: float = _setting(7 * DAY, "how long a cached document is kept; 0 keeps it for good", "time")
    job_retention: float = _setting(30 * DAY, "how long a finished job is kept; 0 keeps it for good", "time")
    max_source_bytes: int = _setting(4 * GIB, "the largest source that is loaded", "size")
    max_page_pixels: int = _setting(500_000_000, "the most pixels a page may have", "count")
    max_content_bytes: int = _setting(
        256 * MIB, "the most bytes that the content of a PDF page may be once decoded", "size"
    )
    max_pages: int = _setting(100_000, "the most pages a document may have", "count")
    max_output_bytes: int = _setting(8 * GIB, "the most bytes a conversion may write", "size")
    engine_memory: int = _setting(4 * GIB, "the most memory an engine's process may take", "size")
    engine_cpu_seconds: float = _setting(HOUR, "the most CPU time an engine's process may take", "time")
    engine_wall_seconds: float = _setting(2 * HOUR, "the longest that an engine may run", "time")
    engine_workers: int = _setting(
        lambda: max(1, min(4, len(os.sched_getaffinity(0)))),
        "processes or threads that an engine may use for one document, and documents that a command "
        "converts at once",
        "count",
    )
    verify: str = _setting(
        "fail", "an output that does not match its source: fail the job, warn in its notes, or off", "verify"
    )
    abort_grace: float = _setting(0.5, "how long an aborted engine may tidy up before it is killed", "time")
    contact_timeout: float = _setting(
        60.0,
        "how long a job goes on without contact to the Prefect API; after one and a half times that it is "
        "recovered elsewhere. One value for all workers of a server",
        "time",
    )
    drain_seconds: float = _setting(
        30.0, "how long a worker that is told to stop lets its jobs finish before it hands them back", "time"
    )
    poll_interval: float = _setting(0.5, "how often a worker asks for new jobs", "time")
    default_dpi: float = _setting(
        300.0, "the resolution of rendered pages, and of images that name none", "number"
    )
    work_pool: str = _setting("docmill", "the Prefect work pool that jobs are submitted to", "text")
    allow_non_atomic_publish: bool = _setting(
        False, "publish to stores that can neither rename nor complete an upload at once", "flag"
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings from `DOCMILL_...` variables; raises `InvalidJobData` that names a wrong one."""
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for f in fields(cls):
            text = environ.get(variable(f.name), "").strip()
            if text:
                values[f.name] = _parse(variable(f.name), text, f.metadata["kind"])
        _warn_of_unknown(environ)
        return cls(**values)

    @property
    def cache_location(self) -> str:
        """The document cache's URL or path."""
        return self.cache_url or str(self.data_dir / "cache")


def variable(name: str) -> str:
    """The environment variable of a setting, e.g. `DOCMILL_MAX_PAGE_PIXELS`."""
    return PREFIX + name.upper()


_told: set[str] = set()


def _warn_of_unknown(environ: Mapping[str, str]) -> None:
    """Tell, once, of variables that look like settings and are none: a limit that was mistyped holds nothing.

    Not an error: Kubernetes, for one, sets variables of its own for a service that is named docmill.
    """
    names = [name for name in environ if name.startswith(PREFIX) and name not in _told]
    known = {variable(f.name) for f in fields(Settings)}
    for name in names:
        _told.add(name)
        if name in known or name.startswith(_OTHERS):
            continue
        import difflib
        import logging

        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "the README lists them"
        logging.getLogger(__name__).warning("%s is no setting of docmill (%s)", name, hint)


_UNITS: dict[str, dict[str, float]] = {
    "size": {"": 1, "b": 1, "k": KIB, "kib": KIB, "kb": 1000, "m": MIB, "mib": MIB, "mb": 10**6,
             "g": GIB, "gib": GIB, "gb": 10**9, "tib": GIB << 10, "tb": 10**12},
    "time": {"": 1, "s": 1, "ms": 0.001, "m": 60, "min": 60, "h": HOUR, "d": DAY},
    "count": {"": 1},
    "number": {"": 1},
}  # fmt: skip


def _parse(name: str, text: str, kind: str) -> Any:
    if kind == "text":
        return text
    if kind == "verify":
        if text.lower() in VERIFY_MODES:
            return text.lower()
        raise InvalidJobData(f"{name}={text} is not one of {', '.join(VERIFY_MODES)}")
    if kind == "path":
        return expanded(text).absolute()
    if kind == "flag":
        if text.lower() in {"1", "true", "yes", "on"}:
            return True
        if text.lower() in {"0", "false", "no", "off"}:
            return False
        raise InvalidJobData(f"{name}={text} is neither true nor false")
    match = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([a-zA-Z]*)", text)
    factor = _UNITS[kind].get(match[2].lower()) if match else None
    if match is None or factor is None:
        units = ", ".join(unit for unit in _UNITS[kind] if unit)
        raise InvalidJobData(
            f"{name}={text} is no {kind}", hint=f"a number, with one of {units}" if units else "a number"
        )
    value = float(match[1].replace("_", "")) * factor
    return int(value) if kind in {"size", "count"} else value
