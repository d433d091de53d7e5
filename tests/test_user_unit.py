"""A page whose unit is not a point has its size everywhere: in the facts, as pixels, and copied."""

from __future__ import annotations

from pathlib import Path

import pikepdf
import pytest
from PIL import Image

from docmill.documents.identify import identify
from docmill.options import ConvertOptions
from docmill.pipeline import convert_document
from docmill.request import ConvertRequest
from docmill.settings import Settings
from docmill.user_unit import user_units


def made(path: Path, units: list[object], **save: object) -> Path:
    with pikepdf.new() as pdf:
        for unit in units:
            page = pdf.add_blank_page(page_size=(72, 36))
            if unit is not None:
                page.UserUnit = unit
        pdf.save(path, **save)
    return path


@pytest.mark.parametrize("in_streams", [False, True])
@pytest.mark.parametrize("password", [None, "secret"])
def test_it_is_found_wherever_pages_are_kept(tmp_path: Path, in_streams: bool, password: str | None) -> None:
    modes = pikepdf.ObjectStreamMode
    mode = modes.generate if in_streams else modes.disable
    encryption = {"encryption": pikepdf.Encryption(user=password, owner="o")} if password else {}
    path = made(tmp_path / "a.pdf", [None, 2.5, 1, 10], object_stream_mode=mode, **encryption)
    assert user_units(path, password) == {1: 2.5, 3: 10.0}


def test_what_is_no_unit_counts_as_none(tmp_path: Path) -> None:
    path = made(tmp_path / "a.pdf", [0, -3, pikepdf.Name.Ten, pikepdf.Array([2])])
    assert user_units(path) == {}


@pytest.mark.parametrize("to", ["png", "pdf"])
def test_sizes_follow_it(tmp_path: Path, to: str) -> None:
    path = made(tmp_path / "a.pdf", [2])
    target = tmp_path / f"out.{to}"
    options = ConvertOptions(dpi=100) if to == "png" else ConvertOptions(rotate=90)
    convert_document(
        ConvertRequest(sources=(str(path),), target=str(target), options=options),
        Settings(data_dir=tmp_path / "data", scratch_dir=tmp_path / "scratch"),
    )
    if to == "png":
        with Image.open(target) as image:
            assert image.size == (200, 100)
        return
    facts = identify(target, name="out.pdf", max_page_pixels=10**8, max_pages=10, default_dpi=300)
    assert (facts.pages[0].width_pt, facts.pages[0].height_pt) == (72, 144)
