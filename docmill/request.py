"""A conversion as it is asked for and as it came out: JSON-safe both ways, for the flow and for programs."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from docmill.errors import InvalidJobData
from docmill.options import ConvertOptions, in_form, refuse_plain_secret

_FILE_NAME = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]+")
# A file's name has 255 at most, and an ending, a page's number or a temporary name is added to this one.
_NAME_BYTES = 200


def _described(description: str, **default: Any) -> Any:
    return field(metadata=in_form(description), **default)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertRequest:
    """What one job converts, and into what."""

    sources: tuple[str, ...] = _described(
        "what to convert: paths as the worker sees them, URIs, or documents of the cache (`docmill://ID`); "
        "several become one PDF"
    )
    target: str | None = _described(
        "where the output goes: a path or URI; not set: a new document in the cache", default=None
    )
    to: str | None = _described(
        "the output's format, e.g. `pdf`, `tiff-g4` or `png+zip` (`docmill formats` lists them); not set: by "
        "the target's ending",
        default=None,
    )
    options: ConvertOptions = _described("what else is asked for", default_factory=ConvertOptions)
    overwrite: bool = _described("replace what is at the target", default=False)
    document_name: str | None = _described(
        "the name of the output in the cache, and of its files; not set: by the source", default=None
    )
    output_document_id: str | None = _described(
        "the id under which the output is kept in the cache, beside a target too; not set: a new one where "
        "there is no target",
        default=None,
    )
    one_file: bool = _described("refuse an output of several files", default=False)
    password: str | None = _described(
        "where the password of the sources is: `env:NAME`, `file:PATH` or `block:NAME`, never the secret "
        "itself",
        default=None,
    )

    def __post_init__(self) -> None:
        sources: object = self.sources  # of a program without types it may be a single name
        if isinstance(sources, str) or not sources:
            raise InvalidJobData("the job names no source", hint="sources is a list of URIs or paths")
        refuse_plain_secret("password", self.password)
        if self.target is not None:
            refuse_empty_target(self.target)
        # Output files are named by it: `../x` would name one outside of the job's own folder.
        if self.document_name is not None and not _is_file_name(self.document_name):
            raise InvalidJobData(
                f"the document name {self.document_name!r} is no name of a file",
                hint=f"1 to {_NAME_BYTES} bytes of UTF-8, no slash or control character, "
                "no dot at the beginning",
            )

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON-safe values."""
        return asdict(self)

    def to_parameters(self) -> dict[str, Any]:
        """What was set, as JSON-safe values that `from_dict` reads: what a person sees of a flow run."""
        return _set(self) | {"sources": list(self.sources), "options": _set(self.options)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ConvertRequest:
        """The request that `to_dict` wrote."""
        return cls(
            **data
            | {"sources": tuple(data["sources"]), "options": ConvertOptions(**(data.get("options") or {}))}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOutcome:
    """What a finished job made. `failures` has an entry for each page left out (`on_error=resume`)."""

    output_uri: str
    output_files: tuple[str, ...]
    output_document_id: str | None
    input_document_id: str
    page_count: int
    output_bytes: int
    route: str
    seconds: float
    failures: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The outcome as JSON-safe values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ConvertOutcome:
        """The outcome that `to_dict` wrote."""
        tuples = {key: tuple(data.get(key, ())) for key in ("output_files", "failures", "notes")}
        return cls(**data | tuples)


def refuse_empty_target(target: str) -> None:
    """Raise `InvalidJobData` for a form's field that was left blank, or a shell's variable that was not set.

    As a path it would be the folder in which this process happens to run; with a slash at its end, the root.
    """
    if not target.strip():
        raise InvalidJobData("the target is empty", hint="give a path or a URI")


def _is_file_name(text: str) -> bool:
    return bool(_FILE_NAME.fullmatch(text)) and len(text.encode(errors="replace")) <= _NAME_BYTES


def _set(record: ConvertRequest | ConvertOptions) -> dict[str, Any]:
    """The fields of a record that are not as they are by default."""
    values = {each.name: (getattr(record, each.name), each.default) for each in fields(record)}
    return {name: value for name, (value, default) in values.items() if value != default}
