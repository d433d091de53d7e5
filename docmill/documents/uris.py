"""URIs and paths of documents: what a source or target names, and how it is called in messages."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from docmill.documents.secrets import has_secret, redact_uri
from docmill.errors import InvalidJobData
from docmill.settings import expanded

DOCUMENT_SCHEME = "docmill"
MAX_DOCUMENT_ID = 256
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a document is.

    `scheme` is lower-case, "file" for local paths; `uri` is what a store opens and may hold secrets if it
    came from a reference; `shown` is what messages, logs and records may hold.
    """

    scheme: str
    uri: str = field(repr=False)
    shown: str

    @property
    def is_local(self) -> bool:
        return self.scheme == "file"

    @property
    def path(self) -> Path:
        """The local path; for `file` only."""
        return Path(self.uri)

    @property
    def name(self) -> str:
        """The last segment: `scan.tif` of `s3://bucket/in/scan.tif`; empty where there is none."""
        if self.is_local:
            return self.path.name
        rest = self.uri.split("://", 1)[1]
        if self.scheme not in {"http", "https"}:
            return rest.rstrip("/").rpartition("/")[2]
        from urllib.parse import unquote

        _, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
        return unquote(path.rpartition("/")[2]).replace("/", "_").replace("\0", "") if slash else ""


def parse_location(text: str) -> Location:
    """What `text`, a path or URI given in the open, names.

    Raises `InvalidJobData` where it is empty, malformed, or carries a secret; the secret is not repeated.
    """
    if has_secret(text):
        raise InvalidJobData(
            f"the URI '{redact_uri(text)}' carries a secret",
            hint="a source may be given whole as env:NAME or block:NAME; stores take their credentials "
            "from the environment (AWS_ACCESS_KEY_ID, FSSPEC_...)",
        )
    return resolved_location(text, shown=text)


def resolved_location(text: str, *, shown: str) -> Location:
    """As `parse_location`, for a URI that came from a reference and so may carry a secret."""
    if not text:
        raise InvalidJobData("the name of a document is empty", hint="give a path or a URI")
    if "\0" in text:
        raise InvalidJobData("the name of a document holds a NUL character")
    match = _SCHEME.match(text)
    if _is_file_uri(text):
        return Location("file", _file_uri_path(text), shown)
    if match is None:
        return Location("file", str(expanded(text)) if text.startswith("~") else text, shown)
    scheme = match[1].lower()
    rest = text[match.end() :]
    if not rest.strip("/"):
        raise InvalidJobData(f"'{shown}' names no document")
    uri = f"{scheme}://{rest}"
    if scheme in {"http", "https"}:
        _check_http(uri, shown)
    return Location(scheme, uri, shown)


def _check_http(uri: str, shown: str) -> None:
    from urllib.parse import urlsplit

    try:
        host = urlsplit(uri)
        valid = bool(host.hostname) and (host.port is None or host.port >= 0)
    except ValueError:
        valid = False
    if not valid:
        raise InvalidJobData(f"'{shown}' is no valid URL", hint="for example https://host/scan.tif")


def from_root(name: str) -> str:
    """A local path as it is found from any folder; a URI or a reference as it is."""
    if not name or _SCHEME.match(name) or _is_file_uri(name) or is_hidden(name):
        return name
    try:
        path = os.path.abspath(expanded(name))  # noqa: PTH100 (keeps links)
    except FileNotFoundError:
        raise InvalidJobData(
            f"'{name}' cannot be found: the current folder is gone", hint="change to one that is there"
        ) from None
    try:
        path.encode()
    except UnicodeEncodeError:
        # The name of a file may be any bytes; flow runs hold text.
        folder = Path(path).is_dir() or name.endswith("/")
        return Path(path).as_uri() + ("/" if folder else "")
    return path + ("/" if name.endswith("/") else "")


def _is_file_uri(text: str) -> bool:
    """Whether it begins with `file:`, and is not just a file that is called so."""
    return text[:5].lower() == "file:" and (text[5:6] == "/" or not os.path.lexists(text))


def is_hidden(uri: str) -> bool:
    """Whether a source is given whole as a reference, since it holds a secret: `env:NAME`, `block:NAME`."""
    return uri.startswith(("env:", "block:")) and not os.path.exists(uri)  # noqa: PTH110 (too long a name is none)


def _file_uri_path(uri: str) -> str:
    from urllib.parse import unquote

    rest = uri[5:]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in {"", "localhost"}:
            raise InvalidJobData(f"'{uri}' is on another host", hint="file: URIs name local files")
        rest = slash + path
    if not rest.startswith("/"):
        raise InvalidJobData(f"'{uri}' is no absolute path", hint="for example file:///srv/scan.tif")
    path = unquote(rest, errors="surrogateescape")
    if "\0" in path:
        raise InvalidJobData("the name of a document holds a NUL character")
    return path


def document_uri(document_id: str) -> str:
    """The URI of a document in the cache: `docmill://<id>`, the id percent-encoded."""
    from urllib.parse import quote

    return f"{DOCUMENT_SCHEME}://{quote(check_document_id(document_id), safe='')}"


def document_id_of(uri: str) -> str | None:
    """The id that a `docmill://<id>` URI names; None for any other URI or path."""
    if uri[: len(DOCUMENT_SCHEME) + 3].lower() != DOCUMENT_SCHEME + "://":
        return None
    from urllib.parse import unquote

    return check_document_id(unquote(uri[len(DOCUMENT_SCHEME) + 3 :], errors="surrogateescape"))


def check_document_id(document_id: str) -> str:
    """`document_id` itself; raises `InvalidJobData` unless it has 1 to 256 characters, none of them NUL."""
    if not 1 <= len(document_id) <= MAX_DOCUMENT_ID or "\0" in document_id:
        raise InvalidJobData(f"a document id has 1 to {MAX_DOCUMENT_ID} characters, none of them NUL")
    try:
        document_id.encode()
    except UnicodeEncodeError:
        raise InvalidJobData("a document id holds half a surrogate pair, which is no character") from None
    return document_id


def same_place(source: str, target: str) -> bool:
    """Whether both name the same document: the same URI, or paths that lead to the same file."""
    one, other = parse_location(source), parse_location(target)
    if not (one.is_local and other.is_local):
        return one.uri == other.uri
    try:
        return one.path.samefile(other.path)
    except OSError:
        return os.path.realpath(one.path) == os.path.realpath(other.path)
