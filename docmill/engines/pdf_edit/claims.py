"""That a PDF is PDF/A, as it says of itself in its XMP metadata (ISO 19005-2, 6.6.4); it would say so still
when it no longer is."""

from __future__ import annotations

import pikepdf
from pikepdf import Name, Stream

_NAMESPACE = b"http://www.aiim.org/pdfa/ns/id/"
_CLAIM = ("pdfaid:part", "pdfaid:conformance", "pdfaid:amd", "pdfaid:rev", "pdfaid:corr")


def pdfa_claim(pdf: pikepdf.Pdf) -> str:
    """The part and level of PDF/A that a PDF claims, e.g. `2B`; empty where it claims none."""
    stream = pdf.Root.get(Name.Metadata)
    if not isinstance(stream, Stream):
        return ""
    try:
        if _NAMESPACE not in stream.read_bytes():
            return ""
        metadata = pdf.open_metadata()
        return "".join(str(metadata.get(key, "")) for key in _CLAIM[:2])
    except (pikepdf.PdfError, ValueError, TypeError):
        return ""


def drop_pdfa_claim(pdf: pikepdf.Pdf) -> None:
    """Have a PDF no longer claim to be PDF/A."""
    with pdf.open_metadata(set_pikepdf_as_editor=False, update_docinfo=False) as metadata:
        for key in _CLAIM:
            if key in metadata:
                del metadata[key]
