"""Characters put in logical order by where they stand."""

from __future__ import annotations

from docmill.engines.laid_text import LaidText, in_logical_order, rows_apart


def test_what_pdfium_takes_for_one_line_and_stands_in_two_rows_is_two() -> None:
    text = "אבגד12"
    boxes = [
        (20.0, 0.0, 30.0, 10.0),
        (10.0, 0.0, 20.0, 10.0),
        (25.0, 20.0, 35.0, 30.0),
        (15.0, 20.0, 25.0, 30.0),
    ]
    boxes += [(0.0, 20.0, 5.0, 30.0), (5.0, 20.0, 10.0, 30.0)]
    laid = in_logical_order(LaidText(text), [(0, 6)], lambda places: [boxes[place] for place in places])
    assert laid.text == text
    assert laid.order == [0, 1, 2, 3, 4, 5]


def test_letters_come_from_the_right_whatever_the_order_of_drawing() -> None:
    boxes = [(10.0 * place, 0.0, 10.0 * place + 10, 10.0) for place in range(3)]
    laid = in_logical_order(LaidText("גבא"), [(0, 3)], lambda places: [boxes[place] for place in places])
    assert (laid.text, laid.order, laid.ends) == ("אבג", [2, 1, 0], {0: (0, 2)})


def test_fields_below_each_other_are_lines_of_their_own_and_vertical_writing_is_one() -> None:
    text = "Above Below"
    stacked = [(10.0 * i, 0.0, 10.0 * i + 9, 10.0) for i in range(6)]
    stacked += [(10.0 * i, 100.0, 10.0 * i + 9, 110.0) for i in range(5)]
    laid = rows_apart(LaidText(text), [(0, 11)], lambda places: [stacked[place] for place in places])
    assert (laid.text, laid.order) == ("Above \nBelow", [0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10])
    column = [(0.0, 12.0 * i, 10.0, 12.0 * i + 10) for i in range(11)]
    laid = rows_apart(LaidText(text), [(0, 11)], lambda places: [column[place] for place in places])
    assert (laid.text, laid.order) == (text, None)
