"""Joining the strips of a CCITT Group 4 image into one stream without decoding them (ITU-T T.6).

Each strip is coded on its own: its first row against an imaginary white row, every other against the row
above, and EOFB ends it. So all that ties a strip to its start is its first row. That row is read and coded
anew in horizontal mode, which needs no row above; all else is shifted behind it bit by bit. 200 pages in
strips of 64 rows take the time of `tiff2pdf`, a third of decoding and encoding them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

EOFB = 0x001001
_EOFB_BITS = 24

# Modes of two-dimensional coding (T.6, table 1) by their first 7 bits: length and meaning.
_HORIZONTAL, _PASS, _EXTENSION = 100, 101, 102
_MODES: dict[str, int] = {
    "1": 0, "011": 1, "000011": 2, "0000011": 3, "010": -1, "000010": -2, "0000010": -3,
    "001": _HORIZONTAL, "0001": _PASS, "0000001": _EXTENSION,
}  # fmt: skip

# Run lengths of one-dimensional coding (T.4, tables 2 and 3): 0 to 63, then 64, 128, ... 1728.
_WHITE = (
    "00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101 "
    "101010 101011 0100111 0001100 0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100 "
    "0011000 00000010 00000011 00011010 00011011 00010010 00010011 00010100 00010101 00010110 00010111 "
    "00101000 00101001 00101010 00101011 00101100 00101101 00000100 00000101 00001010 00001011 01010010 "
    "01010011 01010100 01010101 00100100 00100101 01011000 01011001 01011010 01011011 01001010 01001011 "
    "00110010 00110011 00110100 11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 "
    "01100111 011001100 011001101 011010010 011010011 011010100 011010101 011010110 011010111 011011000 "
    "011011001 011011010 011011011 010011000 010011001 010011010 011000 010011011"
)
_BLACK = (
    "0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 "
    "000011000 0000010111 0000011000 0000001000 00001100111 00001101000 00001101100 00000110111 "
    "00000101000 00000010111 00000011000 000011001010 000011001011 000011001100 000011001101 "
    "000001101000 000001101001 000001101010 000001101011 000011010010 000011010011 000011010100 "
    "000011010101 000011010110 000011010111 000001101100 000001101101 000011011010 000011011011 "
    "000001010100 000001010101 000001010110 000001010111 000001100100 000001100101 000001010010 "
    "000001010011 000000100100 000000110111 000000111000 000000100111 000000101000 000001011000 "
    "000001011001 000000101011 000000101100 000001011010 000001100110 000001100111 0000001111 "
    "000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 0000001101100 "
    "0000001101101 0000001001010 0000001001011 0000001001100 0000001001101 0000001110010 0000001110011 "
    "0000001110100 0000001110101 0000001110110 0000001110111 0000001010010 0000001010011 0000001010100 "
    "0000001010101 0000001011010 0000001011011 0000001100100 0000001100101"
)
# Both colours: 1792 to 2560.
_LONG = (
    "00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 "
    "000000010110 000000010111 000000011100 000000011101 000000011110 000000011111"
)
_RUN_BITS, _MODE_BITS = 13, 7
_LONGEST = 2560
_SPARE = 32
# A first row nearly always ends within these many bytes; the cost of a bit is that of shifting them.
_NEAR = 192


class Unjoinable(Exception):
    """The strips cannot be joined as they are; decoding will tell whether they are damaged."""


def ends_with_eofb(strip: bytes) -> bool:
    """Whether a Group 4 stream is complete: EOFB, and nothing but zero bits after it."""
    tail = strip[-64:].rstrip(b"\0")[-5:]
    if not tail:
        return False
    value = int.from_bytes(tail)
    return (value >> _trailing_zeros(value)) & 0xFFFFFF == EOFB


def has_hole(stream: bytes) -> bool:
    """Whether two bytes in a row are zero before the end of a Group 4 stream, which no codes come to: of two
    that follow each other, EOFB and the one before have the most zeros in a row, 14. Disks and transfers that
    lose a part leave zeros in its place.
    """
    end = len(stream.rstrip(b"\0")) - 1
    # Byte by byte, by memchr: a search for two takes 50 times as long.
    at = stream.find(0)
    while 0 <= at < end:
        if not stream[at + 1]:
            return True
        at = stream.find(0, at + 1)
    return False


def join_strips(strips: Iterable[bytes], width: int) -> bytes:
    """One Group 4 stream of all the strips' rows, in order; `width` is in pixels.

    Raises `Unjoinable` where a strip does not end with EOFB or its first row is not what T.6 has.
    """
    parts: list[bytes] = []
    carry = carry_bits = 0  # the bits that do not fill a byte yet
    for strip in strips:
        strip = strip.rstrip(b"\0")
        body = int.from_bytes(strip)
        zeros = _trailing_zeros(strip[-1]) if strip else 0
        body >>= zeros
        if body & 0xFFFFFF != EOFB:
            raise Unjoinable("a strip does not end with EOFB")
        body >>= _EOFB_BITS
        bits = 8 * len(strip) - zeros - _EOFB_BITS
        if parts:
            row, row_bits, used = _recoded_first_row(strip, width)
            bits -= used
            if bits < 0:
                raise Unjoinable("a strip ends within its first row")
            body = (carry << row_bits | row) << bits | body & (1 << bits) - 1
            bits += carry_bits + row_bits
        carry_bits = bits & 7
        parts.append((body >> carry_bits).to_bytes(bits >> 3))
        carry = body & (1 << carry_bits) - 1
    end = carry << _EOFB_BITS | EOFB
    padding = -(carry_bits + _EOFB_BITS) % 8
    parts.append((end << padding).to_bytes((carry_bits + _EOFB_BITS + padding) // 8))
    return b"".join(parts)


def _recoded_first_row(strip: bytes, width: int) -> tuple[int, int, int]:
    """A strip's first row in horizontal mode: its code, the code's bits, and the bits that it had before."""
    if strip[0] & 0x80:  # V0 against white: a white row, as most are
        return *_white_row(width), 1
    try:
        runs, used = _first_row(strip[:_NEAR], width)
    except Unjoinable:
        runs, used = _first_row(strip, width)
    code, bits = 0, 0
    codes = _run_codes()
    if len(runs) % 2:
        runs.append(0)
    for index, run in enumerate(runs):
        black = index & 1
        if not black:
            code, bits = code << 3 | 0b001, bits + 3
        while run > _LONGEST:
            code, bits, run = code << 12 | 0b11111, bits + 12, run - _LONGEST
        value, length = codes[black, run]
        code, bits = code << length | value, bits + length
    return code, bits, used


def _first_row(data: bytes, width: int) -> tuple[list[int], int]:
    """The runs, white first, of a row coded against a white one, and the bits that it took."""
    modes, tables = _mode_table(), _run_tables()
    total = 8 * len(data)
    stream = int.from_bytes(data) << _SPARE  # what is read ahead of the end is zero
    left = total + _SPARE
    runs: list[int] = []
    black = at = 0
    since = 0  # where the current run began: a pass leaves it open
    while at < width:
        length, mode = modes[stream >> left - _MODE_BITS & 0x7F]
        left -= length
        if mode == _HORIZONTAL:
            for color in (black, 1 - black):
                run, table = 0, tables[color]
                while True:
                    length, part = table[stream >> left - _RUN_BITS & 0x1FFF]
                    left -= length
                    run += part
                    if part < 64:
                        break
                    if left < _SPARE:
                        raise Unjoinable("the row is longer than the data")
                if left < _SPARE:
                    raise Unjoinable("the row is longer than the data")
                at += run
                if at > width:
                    raise Unjoinable("a row is longer than the image is wide")
                runs.append(at - since)
                since = at
        elif mode <= 0 and width + mode >= at:
            # All changes of a white row are at its end.
            at = width + mode
            runs.append(at - since)
            since = at
            black ^= 1
        else:
            raise Unjoinable("a first row has a mode that makes no sense against white")
        if left < _SPARE:
            raise Unjoinable("the row is longer than the data")
    return runs, total + _SPARE - left


@cache
def _white_row(width: int) -> tuple[int, int]:
    """The code of a white row in horizontal mode, and its bits."""
    code, bits = 0b001, 3
    codes = _run_codes()
    while width > _LONGEST:
        code, bits, width = code << 12 | 0b11111, bits + 12, width - _LONGEST
    for color, run in ((0, width), (1, 0)):
        value, length = codes[color, run]
        code, bits = code << length | value, bits + length
    return code, bits


@cache
def _run_codes() -> dict[tuple[int, int], tuple[int, int]]:
    """Color and run length (to 2560) to the code, make-up and terminating part together, and its bits."""
    codes = {}
    for color, words in enumerate((_WHITE.split(), _BLACK.split())):
        make_up = words[64:] + _LONG.split()
        for run in range(_LONGEST + 64):
            word = (make_up[run // 64 - 1] if run >= 64 else "") + words[run % 64]
            codes[color, run] = int(word, 2), len(word)
    return codes


@cache
def _run_tables() -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """For white and black: the next 13 bits to the code's length and its run; no code ends the row."""
    tables = []
    for words in (_WHITE.split(), _BLACK.split()):
        table = [(_RUN_BITS, 1 << 40)] * (1 << _RUN_BITS)
        for index, word in enumerate([*words, *_LONG.split()]):
            run = index if index < 64 else (index - 63) * 64
            _fill(table, _RUN_BITS, word, run)
        tables.append(table)
    return tables[0], tables[1]


@cache
def _mode_table() -> list[tuple[int, int]]:
    table = [(_MODE_BITS, _EXTENSION)] * (1 << _MODE_BITS)
    for word, mode in _MODES.items():
        _fill(table, _MODE_BITS, word, mode)
    return table


def _fill(table: list[tuple[int, int]], bits: int, word: str, meaning: int) -> None:
    spare = bits - len(word)
    start = int(word, 2) << spare
    table[start : start + (1 << spare)] = [(len(word), meaning)] * (1 << spare)


def _trailing_zeros(value: int) -> int:
    return (value & -value).bit_length() - 1
