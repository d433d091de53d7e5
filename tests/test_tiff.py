"""The walk of TIFF directories: what it reads, and that nothing a file holds makes it hang or fall over."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docmill.errors import CorruptDocument, LimitExceeded
from docmill.tiff import Tiff, page_facts
from docmill.tiff_tags import Tag
from tests.engines.tiffs import Layout, tiff_bytes

ROW = b"\x00\xff\x0f\xf0"
ENDIAN = [(order, big) for order in "<>" for big in (False, True)]


def write(folder: Path, data: bytes) -> Path:
    path = folder / "in.tif"
    path.write_bytes(data)
    return path


def some_pages(count: int, order: str = "<", big: bool = False, **extra: object) -> bytes:
    return tiff_bytes([(ROW * 3, 4, 3, Layout(dpi=(100 + n, 200 + n))) for n in range(count)], order, big)


@pytest.mark.parametrize("order, big", ENDIAN)
def test_facts_of_each_page(tmp_path: Path, order: str, big: bool) -> None:
    facts, problems = page_facts(write(tmp_path, some_pages(3, order, big)), 300)
    assert problems == ()
    assert [(page.width_px, page.height_px, page.dpi_x, page.dpi_y) for page in facts] == [
        (4, 3, 100, 200),
        (4, 3, 101, 201),
        (4, 3, 102, 202),
    ]
    assert facts[0].width_pt == pytest.approx(4 * 72 / 100)
    assert (facts[0].bits_per_pixel, facts[0].encoding, facts[0].color) == (8, "uncompressed", "gray")


@pytest.mark.parametrize(
    "dpi, unit, facts_dpi, points",
    [
        ((150, 150), 2, (150, 150), (4 * 72 / 150, 3 * 72 / 150)),
        ((100, 50), 3, (254, 127), (4 * 72 / 254, 3 * 72 / 127)),
        ((1, 1), 1, (0, 0), (4 * 72 / 300, 3 * 72 / 300)),
        ((2, 1), 1, (0, 0), (4 * 72 / 300, 3 * 72 / 150)),  # the unit 'none' still tells the aspect
        ((0, 0), 2, (0, 0), (4 * 72 / 300, 3 * 72 / 300)),
        ((1, 1), 2, (0, 0), (4 * 72 / 300, 3 * 72 / 300)),  # how programs write 'unknown'
        ((200, 0), 2, (200, 200), (4 * 72 / 200, 3 * 72 / 200)),
        ((200, 100), 0, (200, 100), (4 * 72 / 200, 3 * 72 / 100)),  # no unit that there is: inches
        ((200, 100), 9, (200, 100), (4 * 72 / 200, 3 * 72 / 100)),
    ],
)
def test_resolution_and_its_unit(
    tmp_path: Path,
    dpi: tuple[int, int],
    unit: int,
    facts_dpi: tuple[float, float],
    points: tuple[float, float],
) -> None:
    data = tiff_bytes([(ROW * 3, 4, 3, Layout(dpi=dpi, unit=unit))])
    ((page,), _) = page_facts(write(tmp_path, data), 300)
    assert (page.dpi_x, page.dpi_y) == pytest.approx(facts_dpi)
    assert (page.width_pt, page.height_pt) == pytest.approx(points)


OUTSIDE = (3, b"\0\1" * 20_000)


@pytest.mark.parametrize("tag", [254, 270, 274, 282, 283, 296, 700, 34675])
@pytest.mark.parametrize("how", ["outside", "a float"])
def test_a_tag_beside_the_pixels_is_no_reason_to_lose_a_page(tmp_path: Path, tag: int, how: str) -> None:
    """What libtiff cannot read of such tags it takes for missing."""
    layout = Layout(dpi=(200, 200), extra={tag: OUTSIDE})
    data = bytearray(tiff_bytes([(ROW * 3, 4, 3, layout)]))
    (at,) = struct.unpack_from("<I", data, 4)
    (entry,) = [
        at + 2 + 12 * i for i in range(18) if struct.unpack_from("<H", data, at + 2 + 12 * i)[0] == tag
    ]
    if how == "outside":
        struct.pack_into("<HII", data, entry + 2, 3, 40, 0x7FFFFFF0)
    else:
        struct.pack_into("<HIf", data, entry + 2, 11, 1, 200.0)
    path = write(tmp_path, bytes(data))
    ((page,), problems) = page_facts(path, 300)
    assert (page.width_px, page.height_px, page.dpi_x, page.dpi_y) == (4, 3, 200, 200)
    assert not problems
    with Tiff(path) as tiff:
        assert tiff.page(1).orientation == 1


def test_orientation_turns_the_facts(tmp_path: Path) -> None:
    data = tiff_bytes([(ROW * 3, 4, 3, Layout(orientation=6, dpi=(100, 200)))])
    ((page,), _) = page_facts(write(tmp_path, data), 300)
    assert (page.width_px, page.height_px, page.dpi_x, page.dpi_y) == (3, 4, 200, 100)
    assert page.width_pt == pytest.approx(3 * 72 / 200)


@pytest.mark.parametrize("extra", [{254: (4, (1,))}, {254: (4, (4,))}, {255: (3, (2,))}])
def test_thumbnails_and_masks_are_no_pages(tmp_path: Path, extra: dict) -> None:
    reduced = Layout(extra=extra)
    pages = [(ROW * 3, 4, 3, Layout()), (ROW, 4, 1, reduced), (ROW * 2, 4, 2, Layout())]
    facts, _ = page_facts(write(tmp_path, tiff_bytes(pages)), 300)
    assert [page.height_px for page in facts] == [3, 2]


def test_a_file_of_thumbnails_only_shows_them(tmp_path: Path) -> None:
    pages = [(ROW, 4, 1, Layout(extra={254: (4, (1,))}))] * 2
    with Tiff(write(tmp_path, tiff_bytes(pages))) as tiff:
        assert [tiff.page(number).number_of_page for number in (1, 2)] == [1, 2]


def test_the_first_of_two_equal_tags_counts(tmp_path: Path) -> None:
    data = bytearray(some_pages(1))
    at = struct.unpack_from("<I", data, 4)[0] + 2
    (height_at,) = [at + 12 * i for i in range(14) if struct.unpack_from("<H", data, at + 12 * i)[0] == 257]
    struct.pack_into("<H", data, height_at, 256)  # ImageWidth again
    with Tiff(write(tmp_path, bytes(data))) as tiff:
        assert tiff.page(1).width == 4


@pytest.mark.parametrize("order, big", ENDIAN)
def test_a_loop_is_found_and_the_pages_before_it_kept(tmp_path: Path, order: str, big: bool) -> None:
    data = bytearray(some_pages(3, order, big))
    offset, size = ("Q", 8) if big else ("I", 4)
    with Tiff(write(tmp_path, bytes(data))) as tiff:
        first, last = tiff.page(1).offset, tiff.page(3).offset
    entries = struct.unpack_from(order + ("Q" if big else "H"), data, last)[0]
    link = last + (8 if big else 2) + entries * (20 if big else 12)
    assert data[link : link + size] == bytes(size)
    struct.pack_into(order + offset, data, link, first)
    facts, problems = page_facts(write(tmp_path, bytes(data)), 300)
    assert len(facts) == 3
    assert problems == ("the chain of TIFF directories loops after page 3",)


def test_an_offset_outside_is_told_with_its_page(tmp_path: Path) -> None:
    data = some_pages(2)
    with Tiff(write(tmp_path, data)) as tiff:
        second = tiff.page(2).offset
    facts, problems = page_facts(write(tmp_path, data[:second]), 300)
    assert len(facts) == 1
    assert problems == (
        f"page 2: its TIFF directory is at byte {second}, beyond the end of the file ({second} bytes)",
    )


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "empty"),
        (b"II*", "too short"),
        (b"%PDF-1.7 and so on", "no TIFF"),
        (b"II*\0\0\0\0\0", "no pages"),
        (b"II*\0\xff\xff\xff\x7f", "beyond the end"),
        (b"MM\0+\0\x07\0\0\0\0\0\0\0\0\0\x10", "BigTIFF header"),
    ],
)
def test_what_is_no_tiff_is_said_in_words(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(CorruptDocument, match=words):
        page_facts(write(tmp_path, data), 300)


def test_too_many_pages_name_the_setting(tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded, match="DOCMILL_MAX_PAGES"):
        page_facts(write(tmp_path, some_pages(3)), 300, max_pages=2)


def test_a_value_of_four_billion_entries_is_not_read(tmp_path: Path) -> None:
    data = tiff_bytes([(ROW * 3, 4, 3, Layout(extra={320: (3, (0,) * 8)}))])
    at = data.index(struct.pack("<HH", 320, 3))
    broken = data[: at + 4] + b"\xff\xff\xff\xff" + data[at + 8 :]
    with Tiff(write(tmp_path, broken)) as tiff, pytest.raises(CorruptDocument, match="TIFF tag 320"):
        tiff.page(1).numbers(Tag.COLOR_MAP)


def read_everything(path: Path) -> None:
    """Every tag in every way; what is wrong must be a CorruptDocument."""
    with Tiff(path, max_pages=50) as tiff:
        for number in range(1, len(tiff) + 1):
            page = tiff.page(number)
            for tag in Tag:
                for read in (page.raw, page.reals, page.numbers):
                    try:
                        read(tag)
                    except CorruptDocument as error:
                        assert error.page == number
    page_facts(path, 300, max_pages=50)


fuzzing = settings(max_examples=150)


@fuzzing
@given(st.sampled_from([b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0"]), st.binary(max_size=400))
def test_random_bytes_are_at_worst_corrupt(tmp_path: Path, head: bytes, body: bytes) -> None:
    try:
        read_everything(write(tmp_path, head + body))
    except (CorruptDocument, LimitExceeded):
        pass


@fuzzing
@given(
    st.sampled_from(ENDIAN), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6), st.data()
)
def test_damaged_files_are_at_worst_corrupt(
    tmp_path: Path, flavour: tuple[str, bool], flips: list[tuple[float, int]], data: st.DataObject
) -> None:
    content = bytearray(some_pages(3, *flavour))
    for where, value in flips:
        content[int(where * (len(content) - 1))] = value
    end = data.draw(st.integers(0, len(content)))
    try:
        read_everything(write(tmp_path, bytes(content[:end])))
    except (CorruptDocument, LimitExceeded):
        pass
