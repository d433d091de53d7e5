"""Options are checked where they are made; page ranges select what they say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docmill.errors import InvalidJobData
from docmill.options import ConvertOptions, OnError, PageRanges


def test_nothing_set_means_nothing_changed():
    assert ConvertOptions().changed() == {}
    assert ConvertOptions(dpi=200).changed() == {"dpi": 200}


def test_names_become_members():
    assert ConvertOptions(on_error="resume").on_error is OnError.RESUME


@pytest.mark.parametrize(
    "wrong", [{"dpi": 0}, {"quality": 101}, {"pages": "5-2"}, {"on_error": "shrug"}], ids=str
)
def test_a_wrong_option_is_refused(wrong):
    with pytest.raises(InvalidJobData):
        ConvertOptions(**wrong)


@pytest.mark.parametrize(
    ("text", "pages"),
    [("2-5", [2, 3, 4, 5]), ("7", [7]), ("8-", [8, 9]), ("-3", [1, 2, 3]), ("3,1,2-3", [3, 1, 2, 3])],
)
def test_page_ranges(text, pages):
    assert PageRanges.parse(text).select(9) == pages


@pytest.mark.parametrize("text", ["", "-", "0", "a", "1;2", "1-2-3", "²", ","])
def test_what_is_no_page_range_is_refused(text):
    with pytest.raises(InvalidJobData):
        PageRanges.parse(text)


def test_a_page_beyond_the_last_is_refused():
    with pytest.raises(InvalidJobData, match="page 12 is beyond the last"):
        PageRanges.parse("2-12").select(9)


def test_without_ranges_a_job_is_of_all_pages():
    assert ConvertOptions().page_numbers(3) == [1, 2, 3]
    assert ConvertOptions(pages="3,1").page_numbers(3) == [3, 1]


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20)), min_size=1, max_size=6))
def test_ranges_select_just_what_they_name(spans):
    text = ",".join(f"{first}-{first + more}" for first, more in spans)
    wanted = [page for first, more in spans for page in range(first, first + more + 1)]
    assert PageRanges.parse(text).select(100) == wanted
