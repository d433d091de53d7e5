"""Lines that pdfium breaks where a person sees none, put together again.

pdfium marks a hyphen that breaks a word at the end of a line, and breaks lines between letters that touch.
What stands in for such a break is as long as the break was, so that a line's characters keep their places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from docmill.engines.text_layout import Line

# What pdfium puts for a hyphen that breaks a word at the end of a line.
BREAK = "\ufffe"
# Stand in for a line break (two characters) that pdfium sees within a line: between two letters that touch,
# and between two words.
_NO_BREAK = "\0\0"
_NO_BREAK_SPACE = " \x1f"
_STAND_INS = dict.fromkeys(map(ord, "\0\x1f"))


def touching_joined(lines: list[Line]) -> list[Line]:
    """Lines that are one: pdfium breaks between the two kerned ones of '11' as Chromium draws them, and
    between the words of text that runs up or down."""
    out: list[Line] = []
    for line in lines:
        gap = _white_between(out[-1], line) if out else None
        if gap is None:
            out.append(line)
        else:
            text = out[-1].text + (_NO_BREAK if gap < 0.12 else _NO_BREAK_SPACE) + line.text
            out[-1] = replace(out[-1], text=text, end=line.end, x1=line.x1)
    return out


def without_breaks(lines: Sequence[str]) -> str:
    """The lines as text; the rest of a word that breaks is drawn up to its beginning."""
    out: list[str] = []
    for line in lines:
        if out and out[-1].endswith(BREAK):
            rest, _, line = line.partition(" ")
            stem = out[-1][:-1]
            # 'peer-to-/peer' keeps its hyphen, 'conver-/sion' does not.
            hyphen = "-" if "-" in stem.rpartition(" ")[2] else ""
            out[-1] = stem + hyphen + rest
            if not line:
                continue
        out.append(line)
    return shown("".join(f"{line}\n" for line in out))


def shown(text: str) -> str:
    """Text as a person is to see it: without stand-ins, and with plain hyphens."""
    return text.translate(_STAND_INS).replace(BREAK, "-")


def _white_between(a: Line, b: Line) -> float | None:
    """The white between two pieces drawn one after the other on one baseline, in heights of the line; None
    where they are not such pieces."""
    if a.angle != b.angle or b.start - a.end != 2 or a.text.endswith(BREAK):
        return None
    gap = (b.x0 - a.x1) / max(a.height, 0.01)
    off = (abs(b.y0 - a.y0) + abs(b.y1 - a.y1)) / max(a.height, 0.01)
    return gap if -0.15 < gap < 0.6 and off < 0.3 else None
