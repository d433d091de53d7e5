"""What a PDF has by name, in trees, and XFA: where pages are chosen, and in a merge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name, String

from tests.engines.pdf_support import attachments, bookmarks, check, convert, fields, labels, merge, rich_pdf


def destinations(path: Path) -> dict[str, int]:
    """The named destinations of both kinds with the index of the page each leads to."""
    with pikepdf.open(path) as pdf:
        indexes = {page.objgen: index for index, page in enumerate(pdf.pages)}
        found = dict(pdf.Root.get(Name.Dests, Dictionary()).items())
        found |= dict(pikepdf.NameTree(pdf.Root.Names.Dests).items())
        arrays = {key: value.D if isinstance(value, Dictionary) else value for key, value in found.items()}
        return {key: indexes[value[0].objgen] for key, value in arrays.items()}


def with_destinations(path: Path, name: str, pages: int) -> Path:
    """A PDF with destinations by its name and a number, and some that others have as well."""
    with pikepdf.new() as pdf:
        for _ in range(pages):
            pdf.add_blank_page(page_size=(400, 500))
        tree = pikepdf.NameTree.new(pdf)
        views = [Array([page.obj, Name.XYZ, 0, 500, None]) for page in pdf.pages]
        for number, view in enumerate(views):
            tree[f"{name} {number}"] = Dictionary(D=view)
        tree["last"] = views[-1]
        # Beyond what a view is.
        tree[f"{name} odd"] = Array([pdf.pages[0].obj, Name.Fit, Array([1]), String("x"), pdf.pages[0].obj])
        pdf.Root.Names = Dictionary(Dests=tree.obj)
        pdf.Root.Dests = Dictionary({f"/{name}": views[0], "/first": views[0]})
        pdf.save(path)
    return path


def test_named_destinations_that_no_link_uses_are_merged(tmp_path: Path) -> None:
    a, b = (with_destinations(tmp_path / f"{n}.pdf", n, pages) for n, pages in (("a", 2), ("b", 3)))
    (output,) = merge(tmp_path, a, b).outputs
    check(output)
    assert destinations(output) == {
        "a 0": 0, "a 1": 1, "last": 1, "a odd": 0, "/a": 0, "/first": 0,
        "b 0": 2, "b 1": 3, "b 2": 4, "b odd": 2, "/b": 2,
    }  # fmt: skip

    (part,) = convert(output, pages="2-3").outputs
    check(part)
    assert destinations(part) == {"a 1": 0, "last": 0, "b 0": 1, "b odd": 1, "/b": 1}


def test_strings_and_names_that_are_objects_of_their_own_are_merged(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 2)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        first = pdf.Root.Outlines.First
        first.Title = pdf.make_indirect(String("Über"))
        first.Dest = Array([pdf.pages[0].obj, pdf.make_indirect(Name.Fit)])
        pdf.Root.AcroForm.DA = pdf.make_indirect(String("/Helv 0 Tf"))
        del pdf.Root.AcroForm.Fields[0].DA
        pdf.save()
    (output,) = merge(tmp_path, rich_pdf(tmp_path / "b.pdf", "B", 1), source).outputs
    check(output)
    assert bookmarks(output)[1] == ("Über", 1)
    assert len(fields(output)) == 3


def again_and_again(pdf: pikepdf.Pdf, leaf: Any) -> Any:
    """A tree of one leaf that is reached in a thousand million million ways, and that loops."""
    node = leaf if leaf.is_indirect else pdf.make_indirect(leaf)
    for _ in range(50):
        node = pdf.make_indirect(Dictionary(Kids=Array([node, node])))
    node.Kids.append(node)
    return node


def test_trees_whose_nodes_come_again_and_again_end(tmp_path: Path) -> None:
    source = with_destinations(tmp_path / "a.pdf", "a", 2)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        file = Dictionary(Type=Name.Filespec, F="n", EF=Dictionary(F=pdf.make_stream(b"x")))
        files = Dictionary(Names=Array([String("n"), pdf.make_indirect(file)]))
        pdf.Root.Names.Dests = again_and_again(pdf, pdf.Root.Names.Dests)
        pdf.Root.Names.EmbeddedFiles = again_and_again(pdf, files)
        pdf.Root.PageLabels = again_and_again(pdf, Dictionary(Nums=Array([0, Dictionary(S=Name.r)])))
        # The root of the tags directly in the catalogue.
        parents = again_and_again(pdf, Dictionary(Nums=Array([0, Array()])))
        pdf.Root.StructTreeRoot = Dictionary(K=Array(), ParentTree=parents)
        pdf.save()

    (output,) = merge(tmp_path, with_destinations(tmp_path / "b.pdf", "b", 1), source).outputs
    assert destinations(output)["a 1"] == 2
    assert attachments(output) == {"n": b"x"}
    assert labels(output) == ["1", "i", "ii"]
    for options in ({"pages": "2"}, {"split": 1}):
        output = convert(source, **options).outputs[-1]
        assert destinations(output) == {"a 1": 0, "last": 0}
        assert labels(output) == ["ii"]


def with_xfa(path: Path, *, dynamic: bool) -> Path:
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        pdf.Root.AcroForm.XFA = pdf.make_stream(b"<xdp:xdp/>")
        if dynamic:
            pdf.Root.NeedsRendering = True
        pdf.save()
    return path


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_form_that_is_not_whole_any_more_has_no_xfa(tmp_path: Path, dynamic: bool) -> None:
    a = with_xfa(rich_pdf(tmp_path / "a.pdf", "A", 3), dynamic=dynamic)
    b = with_xfa(rich_pdf(tmp_path / "b.pdf", "B", 2), dynamic=dynamic)
    told = "dynamic XFA form" if dynamic else "XFA of its form is left out"

    whole = convert(a)
    with pikepdf.open(whole.outputs[0]) as pdf:
        assert Name.XFA in pdf.Root.AcroForm and (Name.NeedsRendering in pdf.Root) is dynamic
    assert not whole.notes

    for result, count in ((merge(tmp_path, a, b), 2), (convert(a, pages="1-2"), 1), (convert(a, split=2), 1)):
        assert len([note for note in result.notes if told in note]) == count
        for output in result.outputs:
            with pikepdf.open(output) as pdf:
                assert Name.XFA not in pdf.Root.AcroForm and Name.NeedsRendering not in pdf.Root
            assert fields(output)
