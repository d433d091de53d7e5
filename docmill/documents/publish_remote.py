"""Publish to stores that are not local: S3 at once, others as far as they can and a setting allows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from docmill.documents.failures import destination_failures
from docmill.documents.local_files import CHUNK
from docmill.documents.model import PublishedOutput
from docmill.documents.publish import Order, Output, Staged, already_exists
from docmill.documents.s3 import SCHEMES
from docmill.documents.uris import DOCUMENT_SCHEME, Location
from docmill.errors import InvalidJobData, Phase

# A file of these shows when it is closed, whole.
_AT_ONCE = frozenset({"memory"})
_READ_ONLY = frozenset({"http", "https", "data", "zip", "tar", DOCUMENT_SCHEME})


def stage_remote(order: Order, location: Location, *, allow_non_atomic: bool) -> Staged:
    """Stage for a store; see `publish.stage`. Refused where a reader could see half of it."""
    _check_scheme(location, allow_non_atomic)
    with destination_failures(location.shown):
        if location.scheme in SCHEMES:
            from docmill.documents.publish_s3 import stage_s3

            return stage_s3(order, location)
        return StagedElsewhere(order, location)


def check_remote(location: Location, *, overwrite: bool, run_id: str, allow_non_atomic: bool) -> None:
    """Look at a target before there is an output; see `publish.check_target`."""
    _check_scheme(location, allow_non_atomic)
    if location.scheme in SCHEMES:
        from docmill.documents.publish_s3 import check_s3

        with destination_failures(location.shown):
            check_s3(location, overwrite=overwrite, run_id=run_id)


def _check_scheme(location: Location, allow_non_atomic: bool) -> None:
    if location.scheme in _READ_ONLY:
        raise InvalidJobData(
            f"nothing can be published to '{location.shown}'",
            hint="name a file, or an object of a store such as s3://bucket/name.pdf",
            phase=Phase.PUBLISH,
        )
    if location.scheme not in SCHEMES | _AT_ONCE and not allow_non_atomic:
        raise InvalidJobData(
            f"'{location.shown}' is in a store where a reader could see half of the output",
            hint="set DOCMILL_ALLOW_NON_ATOMIC_PUBLISH=true to allow it",
            phase=Phase.PUBLISH,
        )


def sweep_remote(location: Location, is_alive: Callable[[str], bool]) -> int:
    """Remove what runs that died left; see `publish.sweep_stale`. Only S3 keeps something unfinished."""
    if location.scheme not in SCHEMES:
        return 0
    from docmill.documents.s3_marker import sweep_s3

    with destination_failures(location.shown):
        return sweep_s3(location, is_alive)


class StagedElsewhere(Staged):
    """Outputs for any store of fsspec's: nothing is written before `commit`, and what fails is removed."""

    def __init__(self, order: Order, location: Location) -> None:
        from docmill.documents.remote import open_filesystem

        self._order, self._shown = order, location.shown
        self._fs, path = open_filesystem(location)
        in_folder = order.manifest is not None or location.uri.endswith("/")
        self._root = path.rstrip("/") if in_folder else path.rpartition("/")[0]
        self._base = location.shown.rstrip("/") if in_folder else location.shown.rpartition("/")[0]
        self._names = [o.name if in_folder else path.rpartition("/")[2] for o in order.outputs]
        self._there = self._is_there()
        if not order.overwrite and not self._there:
            self._check_free()

    def commit(self) -> PublishedOutput:
        if not self._there:
            with destination_failures(self._shown):
                if not self._order.overwrite:
                    self._check_free()
                self._write_all()
        files = tuple(f"{self._base}/{name}" for name in self._names)
        manifest = self._order.manifest and f"{self._base}/{self._order.manifest}"
        return PublishedOutput(
            uri=f"{self._base}/" if manifest else files[0],
            files=files,
            size=self._order.size,
            sha256=self._order.sha256,
            already_there=self._there,
            manifest=manifest,
        )

    def discard(self) -> None:
        """Nothing is there before `commit`, and `commit` tidies up after itself."""

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _is_there(self) -> bool:
        """Whether the very same content is there: what a rerun finds of itself, as there is no run id."""
        manifest = self._order.manifest
        if manifest is not None and not self._fs.exists(self._path(manifest)):
            return False
        return all(map(self._has, self._names, self._order.outputs))

    def _has(self, name: str, output: Output) -> bool:
        import hashlib

        try:
            if self._fs.info(self._path(name))["size"] != output.size:
                return False
            with self._fs.open(self._path(name), "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == output.sha256
        except FileNotFoundError:
            return False

    def _check_free(self) -> None:
        for name in self._names:
            if self._fs.exists(self._path(name)):
                raise already_exists(f"{self._base}/{name}")

    def _write_all(self) -> None:
        written: list[str] = []
        try:
            self._fs.makedirs(self._root, exist_ok=True)
            for name, output in zip(self._names, self._order.outputs, strict=True):
                written.append(name)
                with output.path.open("rb") as source, self._fs.open(self._path(name), "wb") as target:
                    _copy(source, target)
            if self._order.manifest is not None:
                written.append(self._order.manifest)
                self._fs.pipe_file(self._path(self._order.manifest), self._order.listed.to_json())
        except BaseException:
            for name in written:
                with suppress(Exception):
                    self._fs.rm_file(self._path(name))
            raise


def _copy(source: Any, target: Any) -> None:
    try:
        while chunk := source.read(CHUNK):
            target.write(chunk)
    except BaseException:
        with suppress(Exception):
            target.discard()
        raise
