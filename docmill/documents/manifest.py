"""The manifest of an output of many files: it stands beside them, and lists them.

It is committed last: as long as it is not there, neither is the output.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import PurePath

_VERSION = 1


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of an output: its name, its bytes and their SHA-256 in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of an output in order, and the run that made it."""

    run_id: str
    files: tuple[ListedFile, ...]

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def sha256(self) -> str:
        """Of the lines `<sha256>  <name>`, in order."""
        lines = "".join(f"{file.sha256}  {file.name}\n" for file in self.files)
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()

    def to_json(self) -> bytes:
        """The manifest's content; `from_json` reads it back."""
        values = {
            "docmill_manifest": _VERSION,
            "run_id": self.run_id,
            "sha256": self.sha256,
            "files": [asdict(file) for file in self.files],
        }
        # In a name that is not UTF-8, what JSON has for half a surrogate pair as well: "\\udce4".
        return json.dumps(values, indent=1, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> Manifest | None:
        """The manifest of this content; None where it is none of docmill's.

        Somebody may have written it: one with a name that leads out of its folder is none.
        """
        try:
            values = json.loads(content)
            files = tuple(
                ListedFile(str(file["name"]), int(file["size"]), str(file["sha256"]))
                for file in values["files"]
            )
            run_id = values["run_id"]
        except (ValueError, LookupError, TypeError, AttributeError):
            return None
        if not isinstance(run_id, str) or not all(_is_plain(file.name) for file in files):
            return None
        return cls(run_id, files)


def _is_plain(name: str) -> bool:
    """Whether it is the name of a file in the folder itself."""
    return name not in {"", ".."} and "\0" not in name and PurePath(name).name == name
