"""Attachments that are encrypted otherwise than the rest of a PDF: by /EFF of its encryption dictionary
(ISO 32000-1, 7.6.5), often they alone.

qpdf reads them as it reads all other streams, and so takes what is encrypted for the file itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, Stream

ObjGen = tuple[int, int]


def decrypt_attachments(pdf: pikepdf.Pdf) -> None:
    """Decrypt the attachments of a PDF that was opened with its password, where qpdf does not by itself."""
    if not pdf.is_encrypted or pdf.encryption.V < 4:
        return
    if pdf.encryption.file_method == pdf.encryption.stream_method:
        return
    name = pdf.trailer.Encrypt.get(Name.EFF, Name.Identity)
    for stream in _embedded_files(pdf):
        filters, parameters = stream.get(Name.Filter), stream.get(Name.DecodeParms)
        listed = list(filters) if isinstance(filters, Array) else [] if filters is None else [filters]
        if Name.Crypt in listed:
            continue  # it names its own, which qpdf goes by
        # A stream that says so itself is decrypted as it says.
        stream.Filter = Array([Name.Crypt, *listed])
        stream.DecodeParms = Array([Dictionary(Name=name), *(Dictionary() for _ in listed)])
        stream.write(stream.read_raw_bytes())
        for key, value in ((Name.Filter, filters), (Name.DecodeParms, parameters)):
            if value is not None:
                stream[key] = value


def drop_attachments(pdf: pikepdf.Pdf) -> int:
    """Take the content of all attachments out of a PDF; returns how many there were. What shows that there
    was one on a page stays."""
    dropped: set[ObjGen] = set()
    for specification in _file_specifications(pdf):
        dropped.update(stream.objgen for stream in _streams(specification))
        del specification.EF
    names = pdf.Root.get(Name.Names)
    if isinstance(names, Dictionary) and Name.EmbeddedFiles in names:
        del names.EmbeddedFiles
    # A portfolio shows its files in place of its pages.
    if Name.Collection in pdf.Root:
        del pdf.Root.Collection
    return len(dropped)


def _embedded_files(pdf: pikepdf.Pdf) -> list[Stream]:
    files = {
        stream.objgen: stream
        for specification in _file_specifications(pdf)
        for stream in _streams(specification)
    }
    return list(files.values())


def _streams(specification: Dictionary) -> list[Stream]:
    files = specification.EF
    return [value for _, value in files.items() if isinstance(value, Stream)]


def _file_specifications(pdf: pikepdf.Pdf) -> Iterator[Dictionary]:
    """The dictionaries anywhere in a PDF that embed files."""
    for known in pdf.objects:
        stack: list[Any] = [known]
        while stack:
            value = stack.pop()
            if isinstance(value, Array):
                inner = list(value)
            elif isinstance(value, Dictionary):
                if isinstance(value.get(Name.EF), Dictionary):
                    yield value
                inner = [item for _, item in value.items()]
            else:
                continue
            stack.extend(
                item for item in inner if isinstance(item, Array | Dictionary) and not item.is_indirect
            )
