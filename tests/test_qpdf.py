"""Passwords that are not ASCII, in each encryption that PDF has; what qpdf mends, and what not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pikepdf
import pytest

from docmill.qpdf import mended, open_with_qpdf


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
