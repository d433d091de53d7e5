"""Article threads: kept where their pages are, else left out and told."""

from __future__ import annotations

from pathlib import Path

import pikepdf
from pikepdf import Array, Dictionary, Name

from tests.engines.pdf_support import check, convert, merge


def threaded(path: Path, *ways: tuple[int, ...]) -> Path:
    """Four pages, and a thread over the pages of each way, by index."""
    with pikepdf.new() as pdf:
        for _ in range(4):
            pdf.add_blank_page(page_size=(200, 200))
            pdf.pages[-1].obj.B = Array()
        pdf.Root.Threads = Array()
        for way in ways:
            thread = pdf.make_indirect(Dictionary(Type=Name.Thread, I=Dictionary(Title=str(way))))
            beads = [pdf.make_indirect(Dictionary(Type=Name.Bead, T=thread, R=[0, 0, 9, 9])) for _ in way]
            for place, (bead, page) in enumerate(zip(beads, way, strict=True)):
                bead.P, bead.N, bead.V = (
                    pdf.pages[page].obj,
                    beads[(place + 1) % len(way)],
                    beads[place - 1],
                )
                pdf.pages[page].obj.B.append(bead)
            thread.F = beads[0]
            pdf.Root.Threads.append(thread)
        pdf.save(path)
    return path


def test_threads_over_pages_that_are_gone_are_left_out_and_told(tmp_path: Path) -> None:
    source = threaded(tmp_path / "a.pdf", (0, 1), (1, 2), (2, 3))
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.Root.Threads.append(7)
        pdf.save()
    result = convert(source, pages="2-4")
    assert result.notes == ("1 article thread that leads over pages that are not in the output is left out",)
    check(result.outputs[0])
    with pikepdf.open(result.outputs[0]) as pdf:
        assert [str(thread.I.Title) for thread in pdf.Root.Threads] == ["(1, 2)", "(2, 3)"]
        assert [len(page.obj.B) for page in pdf.pages] == [1, 2, 1]


def test_threads_whose_pages_are_all_there_stay(tmp_path: Path) -> None:
    result = convert(threaded(tmp_path / "a.pdf", (1, 2)), pages="2-3")
    assert result.notes == ()
    with pikepdf.open(result.outputs[0]) as pdf:
        assert pdf.Root.Threads[0].F.N.P.objgen == pdf.pages[1].obj.objgen


def test_a_merge_tells_that_later_threads_are_left_out(tmp_path: Path) -> None:
    sources = [threaded(tmp_path / f"{name}.pdf", (0, 3)) for name in "ab"]
    result = merge(tmp_path, *sources)
    assert result.notes == ("b.pdf: its article threads are left out",)
    check(result.outputs[0])
    with pikepdf.open(result.outputs[0]) as pdf:
        assert len(pdf.Root.Threads) == 1
        assert [Name.B in page.obj for page in pdf.pages] == [True] * 4 + [False] * 4
