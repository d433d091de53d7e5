"""Writing an edited PDF: metadata, encryption, linearization."""

from __future__ import annotations

import re
import secrets
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pikepdf
from pikepdf import Dictionary, Name, Stream, String

from docmill.engines.base import EngineOptions
from docmill.errors import EngineFailed
from docmill.options import ConvertOptions

# Each metadata option with its key in the document information dictionary and in XMP (ISO 32000-1, 14.3).
_METADATA = (
    ("title", Name.Title, "dc:title"),
    ("author", Name.Author, "dc:creator"),
    ("subject", Name.Subject, "dc:description"),
    ("keywords", Name.Keywords, "pdf:Keywords"),
)
# What XMP knows of the document information dictionary, which may have any keys, in any encoding.
_INFORMATION = (
    *(key for _, key, _ in _METADATA), Name.Creator, Name.Producer, Name.CreationDate, Name.ModDate,
)  # fmt: skip
# What XML cannot hold.
_CONTROL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# The names of the `permissions` option and what each allows (ISO 32000-2, table 22).
_PERMISSIONS = {
    "print": ("print_lowres", "print_highres"),
    "print-low": ("print_lowres",),
    "copy": ("extract",),
    "edit": ("modify_other",),
    "annotate": ("modify_annotation",),
    "fill": ("modify_form",),
    "assemble": ("modify_assembly",),
}


@dataclass(frozen=True, slots=True)
class SaveOptions:
    """How a PDF is written; passwords are the secrets themselves."""

    linearize: bool = False
    user_password: str | None = field(default=None, repr=False)
    owner_password: str | None = field(default=None, repr=False)
    permissions: frozenset[str] | None = None

    @classmethod
    def of(cls, options: EngineOptions) -> SaveOptions:
        """What a job's options say."""
        asked = options.options
        return cls(
            asked.linearize,
            options.encrypt_user_password,
            options.encrypt_owner_password,
            None if asked.permissions is None else frozenset(asked.permissions.split(",")) - {"none"},
        )

    @property
    def encryption(self) -> pikepdf.Encryption | bool:
        """AES-256 (revision 6), or False for none."""
        if self.user_password is None and self.owner_password is None:
            return False
        # Without an owner password of its own, whoever can read the document could lift its permissions.
        owner = self.owner_password or secrets.token_urlsafe(24)
        return pikepdf.Encryption(user=self.user_password or "", owner=owner, R=6, allow=self._allowed())

    def _allowed(self) -> pikepdf.Permissions:
        if self.permissions is None:
            return pikepdf.Permissions(modify_assembly=True)
        allowed = {right for name in self.permissions for right in _PERMISSIONS[name]}
        rights = {right for granted in _PERMISSIONS.values() for right in granted}
        # Reading aloud is never forbidden: PDF 2.0 has viewers ignore that bit.
        return pikepdf.Permissions(accessibility=True, **{right: right in allowed for right in rights})


def set_metadata(pdf: pikepdf.Pdf, options: ConvertOptions) -> None:
    """Set title, author, subject and keywords, where the job names them, in both places that PDF has."""
    values = [(key, xmp, getattr(options, name)) for name, key, xmp in _METADATA]
    values = [(key, xmp, text) for key, xmp, text in values if text is not None]
    if not values:
        return
    for key, _, text in values:
        pdf.docinfo[key] = String(text)
    if not isinstance(pdf.Root.get(Name.Metadata), Stream) and Name.Metadata in pdf.Root:
        del pdf.Root.Metadata
    try:
        _set_xmp(pdf, values)
    except (pikepdf.PdfError, RuntimeError, ValueError, TypeError):
        # XMP that cannot be written again, such as one with control characters: made anew.
        del pdf.Root.Metadata
        _set_xmp(pdf, values)


def _set_xmp(pdf: pikepdf.Pdf, values: Sequence[tuple[Name, str, str]]) -> None:
    had_xmp = Name.Metadata in pdf.Root
    # Not synchronised by pikepdf, which takes out of the dictionary what XMP does not have, such as dates.
    with pdf.open_metadata(set_pikepdf_as_editor=False, update_docinfo=False) as metadata:
        if not had_xmp:
            known = Dictionary()
            for key in _INFORMATION:
                value = pdf.docinfo.get(key)
                if isinstance(value, String) and _CONTROL.search(str(value)) is None:
                    known[key] = value
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a date that is none
                metadata.load_from_docinfo(known)
        for _, xmp, text in values:
            metadata[xmp] = [text] if xmp == "dc:creator" else text


def save(
    pdf: pikepdf.Pdf, target: Path, options: SaveOptions, percent: Callable[[int], None] | None = None
) -> None:
    """Write a PDF whose page tree may have been edited behind qpdf's back; `percent` is told how far it is.

    Raises `EngineFailed`.
    """
    try:
        if options.linearize:
            # To linearize, qpdf goes by the pages it found on opening.
            plain = target.with_name(f"{target.name}.plain")
            _write(pdf, plain, SaveOptions(), None)
            with pikepdf.open(plain) as again:
                _write(again, target, options, percent)
            plain.unlink()
        else:
            _write(pdf, target, options, percent)
    except (pikepdf.PdfError, RuntimeError) as error:
        raise EngineFailed(f"the PDF could not be written: {error}") from error


def _write(
    pdf: pikepdf.Pdf, target: Path, options: SaveOptions, percent: Callable[[int], None] | None
) -> None:
    def write(*, fix_metadata: bool) -> None:
        pdf.save(
            target,
            linearize=options.linearize,
            encryption=options.encryption,
            object_stream_mode=pikepdf.ObjectStreamMode.preserve,
            fix_metadata_version=fix_metadata,
            progress=percent,
        )

    try:
        write(fix_metadata=True)
    except (pikepdf.PdfError, RuntimeError):
        # The version that XMP metadata names is brought in line; metadata that is no XMP stays as it is.
        write(fix_metadata=False)
