"""What a picture's file says of it beside its pixels: Exif with all of its directories, and XMP."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from docmill.errors import CorruptDocument
from docmill.exif import upright_xmp
from docmill.tiff_directory import Directory
from docmill.tiff_fields import (
    ASCII,
    Ifd,
    Room,
    TiffField,
    ascii_field,
    hanging_on,
    little_endian,
    read_block,
    value_size,
)
from docmill.tiff_tags import Tag

# Of a TIFF's own fields those that describe it; the others say how its pixels are stored, or are a program's
# private ones. 18246 and 18249 are a picture's rating, 40091 to 40095 what Windows shows of it.
_DESCRIPTIONS: tuple[int, ...] = (
    *(269, Tag.IMAGE_DESCRIPTION, Tag.MAKE, Tag.MODEL, 285, Tag.DATE_TIME, Tag.ARTIST, 316),
    *(18246, 18249, Tag.COPYRIGHT, 40091, 40092, 40093, 40094, 40095),
)
# Of an Exif block's main directory those that tell of the pixels and of the thumbnail, or are applied.
_OF_PIXELS = frozenset(
    {
        *range(254, 267), *range(273, 285), 292, 293, Tag.RESOLUTION_UNIT, Tag.PAGE_NUMBER, 301,
        *range(317, 326), 330, 332, 338, 339, 347, *range(512, 533), Tag.XMP, Tag.ICC_PROFILE,
    }
)  # fmt: skip
# PNG's text chunks that are descriptions as well, by their keywords (PNG, third edition, 11.3.3.2).
_PNG_TEXTS: dict[str, int] = {
    "Title": Tag.IMAGE_DESCRIPTION,
    "Description": Tag.IMAGE_DESCRIPTION,
    "Author": Tag.ARTIST,
    "Copyright": Tag.COPYRIGHT,
}
_RAW_PROFILES = ("Raw profile type exif", "Raw profile type APP1")


def exif_of_image(image: Image.Image) -> Ifd:
    """The Exif of formats that carry a block of it, without what concerns its pixels, and PNG's texts."""
    block = image.info.get("exif")
    exif = read_block(block if isinstance(block, bytes) else _raw_profile(image))
    fields = {tag: field for tag, field in exif.fields.items() if tag not in _OF_PIXELS and _says(field)}
    chunks = getattr(image, "text", {})
    for keyword, tag in _PNG_TEXTS.items():
        text = str(chunks.get(keyword, "")).rstrip("\0 ")
        if text:
            fields.setdefault(tag, ascii_field(text.encode("utf-8", "replace").replace(b"\0", b" ")))
    return replace(exif, fields=fields)


def exif_of_directory(directory: Directory) -> Ifd:
    """What a page of a TIFF says of itself, as far as it can be read."""
    exif = _ifd(directory, 0, Room())
    described = {tag: field for tag, field in exif.fields.items() if tag in _DESCRIPTIONS and _says(field)}
    return replace(exif, fields=described)


def xmp_of_image(image: Image.Image) -> bytes:
    """An XMP packet for pixels that have been turned upright."""
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    if isinstance(xmp, str):
        xmp = xmp.encode(errors="replace")
    return upright_xmp(xmp) if isinstance(xmp, bytes) else b""


def xmp_of_directory(directory: Directory) -> bytes:
    return upright_xmp(directory.raw(Tag.XMP))


def _ifd(directory: Directory, tag_of_it: int, room: Room) -> Ifd:
    fields = {}
    for tag in directory.tags:
        if tag in hanging_on(tag_of_it) or (tag_of_it == 0 and tag not in _DESCRIPTIONS):
            continue
        kind, count = directory.kind(tag)
        if not room.takes(value_size(kind, count)):
            continue
        try:
            field = little_endian(kind, count, directory.raw(tag), directory.tiff.byte_order)
        except CorruptDocument:  # a description that is lost leaves the pixels whole
            continue
        if field:
            fields[tag] = field
    hanging = {}
    for tag in hanging_on(tag_of_it):
        try:
            if offset := directory.number(tag, 0):
                other = directory.tiff.directory_at(offset, directory.number_of_page)
                hanging[tag] = _ifd(other, tag, room)
        except CorruptDocument:
            continue
    return Ifd(fields, {tag: other for tag, other in hanging.items() if other})


def _says(field: TiffField) -> bool:
    return field.type != ASCII or bool(field.data.strip(b"\0 "))


def _raw_profile(image: Image.Image) -> bytes:
    """Exif as ImageMagick stores it in PNG: a text of a name, a length and hex digits."""
    text = next((image.info[name] for name in _RAW_PROFILES if name in image.info), "")
    try:
        return bytes.fromhex("".join(str(text).split()[2:]))
    except ValueError:
        return b""
