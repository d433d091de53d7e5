"""PDFs opened by qpdf: passwords that are not ASCII, what it mends and what not, how much it decodes."""

from __future__ import annotations

import subprocess
import zlib
from pathlib import Path

import pikepdf
import pikepdf.settings
import pytest

from docmill.engines.font_cmaps import mend_fonts
from docmill.qpdf import decoded, mended, open_with_qpdf


@pytest.mark.parametrize("bits", ["40", "128", "256"])
@pytest.mark.parametrize("password", ["pässwörd", "owner €"])
def test_a_password_is_found_in_the_encoding_of_the_encryption(
    tmp_path: Path, bits: str, password: str
) -> None:
    path = tmp_path / "a.pdf"
    subprocess.run(
        ["qpdf", "--allow-weak-crypto", "--empty", "--encrypt", "pässwörd", "owner €", bits, "--", path],
        check=True,
    )
    with open_with_qpdf(path, password) as pdf:
        assert pdf.is_encrypted
    with pytest.raises(pikepdf.PasswordError):
        open_with_qpdf(path, "passwort")


def test_of_a_long_password_the_first_127_bytes_count(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    with pikepdf.new() as pdf:
        pdf.save(path, encryption=pikepdf.Encryption(user="a" * 127, owner="b"))
    open_with_qpdf(path, "a" * 200).close()


def test_a_pdf_that_is_encrypted_by_a_certificate_is_not_mended(tmp_path: Path) -> None:
    """Without its trailer nothing would tell that its content is not what it seems."""
    source = tmp_path / "sealed.pdf"
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        pdf.save(source, static_id=True)
    plain = source.read_bytes()
    sealed = b"/Encrypt << /Filter /Adobe.PubSec /SubFilter /adbe.pkcs7.s5 /V 4 >> /Root"
    source.write_bytes(plain.replace(b"/Root", sealed))
    assert mended(source, None) is None
    source.write_bytes(plain.replace(b"trailer", b"lost"))
    assert mended(source, None) is not None


@pytest.mark.parametrize("filters", [["/Fl", "/AHx"], ["/AHx", "/Fl"], ["/Fl", "/RL"]])
def test_no_filter_of_a_stream_makes_more_than_is_asked_for(filters: list[str]) -> None:
    pack = {
        "/AHx": lambda data: data.hex().encode() + b">",
        "/Fl": zlib.compress,
        "/RL": lambda data: b"".join(bytes([0, byte]) for byte in data) + b"\x80",
    }
    data = b"x" * 1000
    packed = data
    for name in reversed(filters):
        packed = pack[name](packed)
    with pikepdf.new() as pdf:
        stream = pdf.make_stream(packed, Filter=pikepdf.Array(map(pikepdf.Name, filters)))
        assert decoded(stream, 2500) == data
        assert len(decoded(stream, 900)) > 900
        assert pikepdf.settings.get_qpdf_limits()["flate_max_memory"] == 0


def test_a_map_of_characters_that_is_too_long_is_left_alone() -> None:
    cmap = b"2 beginbfchar <01> <0041> endbfchar"
    with pikepdf.new() as pdf:
        for tail, mended in ((b"", True), (b" " * (16 << 20), False)):
            page = pdf.add_blank_page().obj
            packed = zlib.compress(cmap + tail, 1)
            font = pikepdf.Dictionary(ToUnicode=pdf.make_stream(packed, Filter=pikepdf.Name.FlateDecode))
            page.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font))
            assert mend_fonts([page]) is mended
