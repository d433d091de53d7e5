"""What the tests of loading, caching and publishing share."""

from __future__ import annotations

import hashlib
from pathlib import Path

from docmill.documents.load import LoadProgress, load_document
from docmill.documents.model import LoadedDocument, LoadLimits
from docmill.documents.secrets import SecretResolver
from docmill.facts import DocumentFacts, PageFacts

PAGE = PageFacts(width_px=2480, height_px=3508, width_pt=595.2, height_pt=841.9, dpi_x=300, dpi_y=300)
FACTS = DocumentFacts("image/tiff", (PAGE, PAGE, PAGE), title="a title")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def no_probe(path: Path, name: str) -> DocumentFacts:
    """Stands for the sandbox, which another layer's tests cover."""
    return FACTS


def load(
    uri: str | Path,
    into: Path,
    *,
    max_bytes: int = 1 << 30,
    read_timeout: float = 20.0,
    secrets: SecretResolver | None = None,
    progress: LoadProgress | None = None,
) -> LoadedDocument:
    return load_document(
        str(uri),
        into=into,
        limits=LoadLimits(max_bytes, connect_timeout=2.0, read_timeout=read_timeout),
        secrets=secrets or SecretResolver(),
        probe=no_probe,
        progress=progress,
    )


def document(folder: Path, data: bytes, name: str = "scan.tif") -> LoadedDocument:
    """A loaded document with that content."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return load(folder / name, folder / "scratch")
