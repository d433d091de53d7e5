"""Publish what was made: whole or not at all, in two steps with room for a claim between.

`stage` brings the bytes beside the target under a temporary name (on S3: as an uncompleted multipart upload),
`Staged.commit` gives them their name in a moment, `Staged.discard` removes every trace. `publish` is both.

The target of one output is a file's name; with `/` at its end it is a folder, and the output keeps its own
name. Many outputs go into a folder, and a manifest, committed last, lists them: as long as it is not there,
neither is the output. A missing folder is made, with its parents; the folder of a file's name is not.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from docmill.documents.background import Background, GrowingHash, Hashing
from docmill.documents.failures import source_failures
from docmill.documents.manifest import ListedFile, Manifest
from docmill.documents.model import FileSnapshot, PublishedOutput
from docmill.documents.uris import parse_location
from docmill.errors import DestinationExists, InvalidJobData, Phase

TEMPORARY_PREFIX = ".docmill-"
_RUN_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class Staged(ABC):
    """Bytes beside their target. As a context it discards itself, unless it was committed."""

    @abstractmethod
    def commit(self) -> PublishedOutput:
        """Give the bytes their name, in a moment and without a gap for readers.

        Raises `DestinationExists` if something came there meanwhile and must not be replaced, and the other
        `Destination...` errors; then nothing of this run is left.
        """

    @abstractmethod
    def discard(self) -> None:
        """Remove every trace; after `commit` there is none to remove."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


@dataclass(frozen=True, slots=True)
class Output:
    """A file to publish: its name at the target, size and SHA-256."""

    path: Path
    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Order:
    """What to publish and how; `manifest` is its name if the output is of many files, else None."""

    outputs: tuple[Output, ...]
    manifest: str | None
    overwrite: bool
    run_id: str

    @property
    def sha256(self) -> str:
        """Of the single output, or of the lines `<sha256>  <name>`."""
        return self.outputs[0].sha256 if self.manifest is None else self.listed.sha256

    @property
    def size(self) -> int:
        """The bytes of all outputs."""
        return self.listed.size

    @property
    def listed(self) -> Manifest:
        """The outputs as a manifest lists them."""
        files = (ListedFile(output.name, output.size, output.sha256) for output in self.outputs)
        return Manifest(self.run_id, tuple(files))


class Preparation:
    """Outputs that are hashed, and with `sync` brought to the disk, in threads from now on.

    `growing` is the hash of the output that was begun while the output was being written.
    """

    def __init__(self, paths: Sequence[Path], *, sync: bool, growing: GrowingHash | None = None) -> None:
        self._paths = tuple(paths)
        self._hashing: Hashing | GrowingHash
        with source_failures("the output", phase=Phase.PUBLISH):
            if growing and self._paths == (growing.path,):
                growing.complete()
                self._hashing = growing
            else:
                self._hashing = Hashing(self._paths)
        # Beside the hashing, which takes about as long; the outputs are mostly staged by a link.
        self._sync = Background(self._write_back, "docmill-sync") if sync else None

    def is_of(self, paths: Sequence[Path]) -> bool:
        """Whether it is of these files as they are now."""
        with source_failures("the output", phase=Phase.PUBLISH):
            return self._paths == tuple(paths) and self._hashing.snapshots == tuple(
                FileSnapshot.of(path) for path in paths
            )

    def outputs(self) -> tuple[Output, ...]:
        """The files with their sizes and digests, once they are made."""
        with source_failures("the output", phase=Phase.PUBLISH):
            digests = self._hashing.results()
        if self._sync is not None:
            self._sync.wait()
        return tuple(
            Output(path, path.name, snapshot.size, digest)
            for path, snapshot, digest in zip(self._paths, self._hashing.snapshots, digests, strict=True)
        )

    def stop(self) -> None:
        """Give up, where there is nothing to publish."""
        self._hashing.stop()

    def _write_back(self) -> None:
        for path in self._paths:
            # Only a head start: the fsync of what is staged is the one that counts, and tells of errors.
            with suppress(OSError), path.open("rb", buffering=0) as file:
                os.fdatasync(file.fileno())


def prepare(outputs: Sequence[Path], target: str | None, growing: GrowingHash | None = None) -> Preparation:
    """Begin what `stage` needs of `outputs`, which are whole, while they are still being looked at.

    `target` is a path or URI, None for the document cache; `growing` what `follow` began of the one output.
    """
    return Preparation(outputs, sync=target is not None and parse_location(target).is_local, growing=growing)


def follow(output: Path) -> GrowingHash:
    """Hash an output while it is being written from its beginning to its end, for `prepare`."""
    return GrowingHash(output)


def stage(
    outputs: Sequence[Path],
    target: str,
    *,
    overwrite: bool,
    run_id: str,
    document_name: str = "",
    allow_non_atomic: bool = False,
    rerun: bool = False,
    prepared: Preparation | None = None,
) -> Staged:
    """Bring `outputs` beside `target`, a path or URI, for the run `run_id`; `prepared` if they have been.

    More than one get a manifest, which `document_name` names: `<document name>.manifest.json`, or by default
    the first output's name less its number.

    What `run_id` itself has published there before is not written again (`already_there`), as after a crash
    between publishing and saying so. A `rerun` takes back what an attempt of its own that died has staged.
    Raises `InvalidJobData`, `DestinationExists`, `DestinationForbidden`,
    `DestinationFull`, `DestinationUnavailable`.
    """
    location = parse_location(target)
    if prepared is None or not prepared.is_of(outputs):
        prepared = prepare(outputs, target)
    order = _order(prepared.outputs(), document_name, overwrite, run_id)
    if location.is_local:
        from docmill.documents.publish_local import stage_local

        return stage_local(order, location.uri, rerun=rerun)
    from docmill.documents.publish_remote import stage_remote

    return stage_remote(order, location, allow_non_atomic=allow_non_atomic)


def check_target(
    target: str, *, overwrite: bool, run_id: str, rerun: bool = True, allow_non_atomic: bool = False
) -> None:
    """Raise what `stage` would raise at `target`, as far as that can be told before there is an output.

    `target` is as for one output; of a folder only its being writable is looked at. What `run_id` itself has
    published there is no hindrance, where it is a `rerun`. `stage` and `commit` look again: this is to tell
    early, not a promise.
    """
    location = parse_location(target)
    if location.is_local:
        from docmill.documents.publish_local import check_local

        check_local(location.uri, overwrite=overwrite, run_id=run_id, rerun=rerun)
    else:
        from docmill.documents.publish_remote import check_remote

        check_remote(location, overwrite=overwrite, run_id=run_id, allow_non_atomic=allow_non_atomic)


def publish(
    outputs: Sequence[Path],
    target: str,
    *,
    overwrite: bool,
    run_id: str,
    document_name: str = "",
    allow_non_atomic: bool = False,
) -> PublishedOutput:
    """`stage` and `commit`."""
    with stage(
        outputs,
        target,
        overwrite=overwrite,
        run_id=run_id,
        document_name=document_name,
        allow_non_atomic=allow_non_atomic,
    ) as staged:
        return staged.commit()


def sweep_stale(target: str, is_alive: Callable[[str], bool]) -> int:
    """Remove what runs that died left unfinished in the folder `target`; returns how many traces.

    `target` is a folder, or an S3 prefix. `is_alive` gets a run id. What a run left half-way between its
    first file and its manifest is taken back as well.
    """
    location = parse_location(target)
    if location.is_local:
        from docmill.documents.publish_local import sweep_local

        return sweep_local(location.path, is_alive)
    from docmill.documents.publish_remote import sweep_remote

    return sweep_remote(location, is_alive)


def temporary_name(run_id: str) -> str:
    """A name for what is not finished: `.docmill-<run id>-<nonce>`."""
    return f"{TEMPORARY_PREFIX}{run_id}-{os.urandom(4).hex()}"


def run_of(temporary: str) -> str | None:
    """The run id in a `temporary_name`; None for any other name."""
    match = re.fullmatch(rf"{re.escape(TEMPORARY_PREFIX)}(.+)-[0-9a-f]{{8}}", temporary)
    return match[1] if match else None


def already_exists(shown: str) -> DestinationExists:
    """The error that a name is taken, to be raised."""
    return DestinationExists(
        f"'{shown}' exists already",
        hint="choose another name, or give the option overwrite",
        phase=Phase.PUBLISH,
    )


def _order(outputs: tuple[Output, ...], document_name: str, overwrite: bool, run_id: str) -> Order:
    if not outputs:
        raise ValueError("there is nothing to publish")
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(f"run id {run_id!r} does not fit into a file name")
    names = [output.name for output in outputs]
    manifest = None
    if len(outputs) > 1:
        manifest = _manifest_name(names, document_name)
        if len({*names, manifest}) <= len(names):
            raise InvalidJobData("two of the outputs have the same name", phase=Phase.PUBLISH)
    return Order(outputs, manifest, overwrite, run_id)


def _manifest_name(names: Sequence[str], document_name: str) -> str:
    # `scan-0001.png`, `scan-0002.png`: several documents may go into one folder, each with its own list.
    stem = document_name.replace("/", "_") or re.sub(r"[-_. ]*\d*$", "", Path(names[0]).stem)
    return manifest_name(stem)


def manifest_name(stem: str) -> str:
    """What the list of an output of many files is called, by what their names begin with."""
    return f"{stem}.manifest.json" if stem else "manifest.json"
