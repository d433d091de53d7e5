"""Text of others' making on a terminal."""

from __future__ import annotations

# C0, DEL and C1.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


def printable(text: str) -> str:
    """A text on one line that does nothing to a terminal: names of files and titles of documents could clear
    the screen, or look like lines of docmill's."""
    return text.translate(_CONTROLS)
