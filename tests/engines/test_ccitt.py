"""Joining Group 4 strips: libtiff reads the same rows out of one stream that it reads out of the strips."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from docmill.engines.raster.ccitt import Unjoinable, ends_with_eofb, join_strips
from tests.engines.tiffs import G4, Layout, encoded_strips, tiff_bytes

BILEVEL = Layout(compression=G4, bits=1, photometric=1)


def decoded(stream: bytes, width: int, height: int) -> bytes:
    """The rows that libtiff reads from a Group 4 stream."""
    # A TIFF of no rows, made to say that the stream behind it is its one strip.
    tiff = bytearray(tiff_bytes([(b"", width, height, BILEVEL)]))
    tags = {273: len(tiff), 279: len(stream)}
    start = int.from_bytes(tiff[4:8], "little")
    for at in range(start + 2, start + 2 + 12 * tiff[start], 12):
        tag = int.from_bytes(tiff[at : at + 2], "little")
        if tag in tags:
            tiff[at + 4 : at + 12] = (1).to_bytes(4, "little") + tags[tag].to_bytes(4, "little")
    with Image.open(io.BytesIO(bytes(tiff) + stream)) as image:
        assert image.size == (width, height)
        return image.tobytes()


def rows_of(width: int, height: int, rng: random.Random) -> bytes:
    rows = []
    for _ in range(height):
        kind = rng.random()
        if kind < 0.3 or not rows:
            bits, value = 0, 0
            change = rng.choice([0.0, 0.002, 0.1, 0.9])
            for _ in range(width):
                value ^= rng.random() < change
                bits = bits << 1 | value
            if kind < 0.05:
                bits = (1 << width) - 1
            rows.append(bits << -width % 8)
        else:
            rows.append(rows[-1])
    return b"".join(row.to_bytes((width + 7) // 8) for row in rows)


@settings(max_examples=120)
@given(
    st.one_of(st.integers(1, 80), st.sampled_from([2480, 2559, 2560, 2561, 2623, 2624, 5200, 9999])),
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(0, 10**6),
)
def test_joined_strips_hold_the_same_rows(width: int, height: int, per_strip: int, seed: int) -> None:
    rows = rows_of(width, height, random.Random(seed))
    layout = Layout(compression=G4, bits=1, rows_per_strip=per_strip)
    strips = encoded_strips(rows, width, height, layout)
    joined = join_strips(strips, width)
    assert ends_with_eofb(joined)
    assert decoded(joined, width, height) == rows


@settings(max_examples=200)
@given(st.integers(1, 3000), st.lists(st.binary(max_size=40), min_size=2, max_size=4), st.booleans())
def test_bytes_that_are_no_group_4_are_refused_or_joined_but_never_fail(
    width: int, strips: list[bytes], ended: bool
) -> None:
    if ended:
        strips = [strip + b"\x00\x10\x01" for strip in strips]
    try:
        assert ends_with_eofb(join_strips(strips, width))
    except Unjoinable:
        pass


@pytest.mark.parametrize("cut", [1, 3, 8])
def test_a_strip_without_its_end_is_refused(cut: int) -> None:
    rows = rows_of(500, 20, random.Random(5))
    strips = encoded_strips(rows, 500, 20, Layout(compression=G4, bits=1, rows_per_strip=5))
    assert all(map(ends_with_eofb, strips))
    strips[1] = strips[1].rstrip(b"\0")[:-cut]
    assert not ends_with_eofb(strips[1])
    with pytest.raises(Unjoinable):
        join_strips(strips, 500)
