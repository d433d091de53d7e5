"""What comes out of docmill against what independent decoders make of the source."""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import imagecodecs
import numpy as np
import pikepdf
import pypdfium2
import pypdfium2.raw as pdfium
import tifffile
from PIL import Image, ImageOps

from docmill.user_unit import user_units
from tests.corpus.all_bits import of_all_bits

# Renderers round where they scale alpha and 16 bit samples, and each has its own inverse DCT.
TOLERANCE = 3
# Frames of a long animation that are looked at.
MAX_FRAMES = 4
DEFAULT_DPI = 300
# Formats whose frames are pages; in others further frames are an animation's, layers or sizes of an icon.
PAGED = ("GIF", "TIFF", "MPO", "DCX", "FLI")
# Pillow reads no more than their headers, and has Ghostscript or Windows draw them.
BY_OTHERS = ("EPS", "WMF")
# Text rendered by two programs differs at the edges: compared is the mean over areas.
PDF_TOLERANCE = 12


class Verdict(StrEnum):
    """What a file's conversion came to; `UNREADABLE`: the reference decoder does not read the source."""

    GOOD = "good"
    WRONG_SIZE = "wrong size"
    WRONG_PAGES = "wrong pages"
    WRONG_PIXELS = "wrong pixels"
    REFUSED = "refused"
    CRASH = "crash"
    HANG = "hang"
    LEFT_OVER = "left-over"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Score:
    kind: str
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True)
class Frame:
    """A reference page: its pixels (CMYK as it is, else RGB over white) and size in points, 0 if unknown."""

    pixels: Image.Image
    width_pt: float
    height_pt: float


def score(source: Path, output: Path | None) -> Score:
    """Compare; `output` is None where docmill refused."""
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = 500_000_000
    if source.open("rb").read(1024).find(b"%PDF-") >= 0:
        return _score_pdf(source, output)
    try:
        with Image.open(source) as image:
            kind = image.format or "?"
            if kind in BY_OTHERS:
                return Score(source.suffix.lower(), Verdict.UNREADABLE, f"Pillow leaves {kind} to others")
            places = _pages(image)
            count = len(places)
            frames = list(_frames(source, image, places[:MAX_FRAMES]))
    except Exception as error:
        return Score(source.suffix.lower(), Verdict.UNREADABLE, f"Pillow: {error}")
    if output is None:
        return Score(kind, Verdict.REFUSED)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.pdf"
        _without_calibration(output, plain)
        with pypdfium2.PdfDocument(plain) as document:
            if len(document) != count:
                return Score(kind, Verdict.WRONG_PAGES, f"{len(document)} instead of {count}")
            for index, frame in enumerate(frames):
                unit = user_units(output).get(index, 1.0)
                if detail := _size_problem(document[index], unit, frame):
                    return Score(kind, Verdict.WRONG_SIZE, f"page {index + 1}: {detail}")
                if detail := _pixel_problem(plain, document, index, frame.pixels):
                    return Score(kind, Verdict.WRONG_PIXELS, f"page {index + 1}: {detail}")
    return Score(kind, Verdict.GOOD)


def _pages(image: Image.Image) -> list[int]:
    """The frames that are pages: of a TIFF not the smaller copies and masks (NewSubfileType)."""
    count = getattr(image, "n_frames", 1) if image.format in PAGED else 1
    if image.format != "TIFF" or count == 1:
        return list(range(count))
    pages = []
    for index in range(count):
        image.seek(index)
        if not image.tag_v2.get(254, 0) & 0b101:  # type: ignore[attr-defined]
            pages.append(index)
    return pages


def _frames(source: Path, image: Image.Image, places: list[int]) -> Iterator[Frame]:
    for index in places:
        if len(places) > 1:
            image.seek(index)
        pixels = _by_tifffile(source, index) if image.format == "TIFF" else None
        if pixels is None:
            pixels = image.copy()
            pixels.load()
        if image.format in ("JPEG2000", "AVIF") and len(places) == 1:
            pixels = of_all_bits(source, pixels)
        if image.format == "PNG" and pixels.mode == "L":
            _scale_key(source, pixels)
        if image.format == "PNG" and pixels.mode == "RGB":
            pixels = _keyed(source, pixels)
        dpi = _resolution(image)
        upright = _upright(image, pixels)
        if upright.size != pixels.size:
            dpi = dpi[::-1]
        x, y = (v if 1 < v < 1e5 else 0.0 for v in dpi)
        yield Frame(
            _over_white(upright), upright.width * 72 / x if x else 0, upright.height * 72 / y if y else 0
        )


def _resolution(image: Image.Image) -> tuple[float, float]:
    """By Exif where Pillow does not look, which is of WebP and AVIF; (0, 0) if none is named."""
    if dpi := image.info.get("dpi"):
        # One pixel a centimetre is what programs write that know of none.
        return (0.0, 0.0) if dpi == (2.54, 2.54) else (float(dpi[0]), float(dpi[1]))
    exif = image.getexif()
    unit = {2: 1.0, 3: 2.54}.get(exif.get(296, 2), 0.0)
    return float(exif.get(282) or 0) * unit, float(exif.get(283) or 0) * unit


def _scale_key(source: Path, pixels: Image.Image) -> None:
    """Pillow widens 2 and 4 bit samples to 8, and leaves the transparent one as it stands."""
    with source.open("rb") as file:
        bits = file.read(25)[24]
    if bits in (2, 4) and isinstance(key := pixels.info.get("transparency"), int):
        pixels.info["transparency"] = key * 255 // ((1 << bits) - 1)


def _keyed(source: Path, pixels: Image.Image) -> Image.Image:
    """Pillow compares the 8 bits that it keeps of 16 with a transparent colour of 16."""
    key = pixels.info.get("transparency")
    samples = imagecodecs.png_decode(source.read_bytes()) if isinstance(key, tuple) else None
    if samples is None or samples.dtype != np.uint16:
        return pixels
    opaque = np.any(samples[..., :3] != np.array(key, np.uint16), axis=-1)
    pixels.info.pop("transparency")
    pixels.putalpha(Image.fromarray((opaque * 255).astype(np.uint8)))
    return pixels


def _by_tifffile(source: Path, index: int) -> Image.Image | None:
    """The pixels of a page that Pillow misreads; None of all others.

    Pillow shows gray of more than 8 bits upside down where white is 0, takes 32 bits for signed and 12 for
    16, and mixes up the bytes of separate planes of 16 bits and of compressed samples in the other order.
    Without PhotometricInterpretation it takes 0 for white, libtiff for black.
    """
    with tifffile.TiffFile(source) as tiff:
        page = tiff.pages[index]
        if not isinstance(page, tifffile.TiffPage) or page.photometric not in (0, 1, 2, 5):
            return None
        planes = page.bitspersample == 16 and page.planarconfig == 2
        unsaid = 262 not in page.tags and page.compression not in (2, 3, 4)
        gray = page.samplesperpixel == 1 and (page.bitspersample > 8 or unsaid)
        if not planes and not gray:
            return None
        samples = page.asarray()
        if page.planarconfig == 2 and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, 2)
        if samples.ndim == 3 and samples.shape[2] > 1:
            if page.photometric == 5 and samples.shape[2] == 4:
                return Image.fromarray((samples / 257).round().astype(np.uint8), "CMYK")
            if page.photometric != 2:
                return None
            colors = samples[:, :, :3] / 257
            if samples.shape[2] > 3 and (kind := (*page.extrasamples, 2)[0]):
                alpha = samples[:, :, 3:4] / 65535
                colors = colors * (1 if kind == 1 else alpha) + 255 * (1 - alpha)
            return Image.fromarray(colors.clip(0, 255).round().astype(np.uint8))
        values = samples.reshape(samples.shape[:2])
        if values.dtype == np.uint8:
            return Image.fromarray(values)
        inverted = page.photometric == 0 and 262 in page.tags
        if values.dtype == np.uint16:
            values = values * np.uint16(16) if page.bitspersample == 12 else values
            return Image.fromarray(0xFFFF - values if inverted else values)
        gray = np.asarray(_eight_bit(Image.fromarray(values.astype(np.float32))).convert("L"))
        return Image.fromarray(255 - gray if inverted else gray)


def _upright(frame: Image.Image, pixels: Image.Image) -> Image.Image:
    try:
        orientation = frame.getexif().get(0x0112, 1)
    except Exception:
        orientation = 1
    if isinstance(orientation, bytes):
        orientation = orientation[0]
    exif = Image.Exif()
    exif[0x0112] = orientation if orientation in range(1, 9) else 1
    pixels.info.pop("exif", None)
    pixels._exif = None  # type: ignore[attr-defined]
    pixels.getexif()[0x0112] = exif[0x0112]
    return ImageOps.exif_transpose(pixels) or pixels


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "CMYK":
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _eight_bit(image)
    if image.has_transparency_data or image.mode in ("RGBa", "La"):
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    samples = np.asarray(image).astype(float)
    high = samples.max()
    if (
        image.mode.startswith("I;16")
        or image.format in ("PPM", "PNG")
        or (samples.min() >= 0 and 255 < high <= 65535)
    ):
        scaled = samples / 257
    elif samples.min() >= 0 and high <= 1 and image.mode == "F":
        scaled = samples * 255
    elif samples.min() >= 0 and high <= 255:
        scaled = samples
    else:
        scaled = (samples - samples.min()) / max(high - samples.min(), 1e-9) * 255
    if isinstance(key := image.info.get("transparency"), int):
        scaled[samples == key] = 255
    return Image.fromarray(scaled.round().astype("uint8")).convert("RGB")


def _without_calibration(source: Path, target: Path) -> None:
    """A copy with device colours: how a profile is applied is the renderer's affair and not measured here."""
    with pikepdf.open(source) as pdf:
        for item in pdf.objects:
            if isinstance(item, pikepdf.Stream) and item.get("/Subtype") == "/Image":
                space = item.get("/ColorSpace")
                if isinstance(space, pikepdf.Array):
                    item.ColorSpace = _device(space)
        pdf.save(target)


def _device(space: pikepdf.Object) -> pikepdf.Object:
    if isinstance(space, pikepdf.Name):
        return space
    match str(space[0]):
        case "/ICCBased":
            return pikepdf.Name({1: "/DeviceGray", 3: "/DeviceRGB", 4: "/DeviceCMYK"}[int(space[1].N)])
        case "/CalRGB":
            return pikepdf.Name.DeviceRGB
        case "/CalGray":
            return pikepdf.Name.DeviceGray
        case "/Indexed":
            return pikepdf.Array([space[0], _device(space[1]), *list(space)[2:]])
        case _:
            return space


def _size_problem(page: pypdfium2.PdfPage, unit: float, frame: Frame) -> str:
    width, height = (side * unit for side in page.get_size())
    if frame.width_pt and frame.height_pt:
        expected = frame.width_pt, frame.height_pt
    else:
        expected = frame.pixels.width * 72 / DEFAULT_DPI, frame.pixels.height * 72 / DEFAULT_DPI
    off = max(abs(got - want) / max(want, 3) for got, want in zip((width, height), expected, strict=True))
    # A picture that names a pixel's shape and no unit may be of another size by its rights.
    return (
        ""
        if off < 0.01
        else f"{width:.2f} x {height:.2f} pt instead of {expected[0]:.2f} x {expected[1]:.2f}"
    )


def _pixel_problem(path: Path, document: pypdfium2.PdfDocument, index: int, reference: Image.Image) -> str:
    if reference.mode == "CMYK":
        return _difference("raw", _raw_cmyk(path, index, reference), reference)
    by_pdfium = _rendered(document[index], reference.size)
    return _difference("pdfium", by_pdfium, reference) or _difference(
        "poppler", _rendered_by_poppler(path, index, reference.size), reference
    )


def _difference(who: str, got: Image.Image, want: Image.Image) -> str:
    if got.size != want.size:
        return f"{who}: {got.size} pixels instead of {want.size}"
    off = np.abs(np.asarray(got).astype(int) - np.asarray(want).astype(int))
    worst = int(off.max(initial=0))
    if worst <= TOLERANCE:
        return ""
    share = (off.max(axis=-1) > TOLERANCE).mean()
    return f"{who}: {share:.2%} of the pixels are off by up to {worst}"


def _rendered(page: pypdfium2.PdfPage, size: tuple[int, int]) -> Image.Image:
    bitmap = pypdfium2.PdfBitmap.new_native(*size, pdfium.FPDFBitmap_BGR)
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, *size)
    pdfium.FPDF_RenderPageBitmap(bitmap, page, 0, 0, *size, 0, 0)
    return bitmap.to_pil().convert("RGB")


def _rendered_by_poppler(path: Path, index: int, size: tuple[int, int]) -> Image.Image:
    stem = path.with_name(f"page{index}")
    number = index + 1
    options = f"pdftoppm -f {number} -l {number} -singlefile -scale-to-x {size[0]} -scale-to-y {size[1]}"
    subprocess.run(
        [*options.split(), str(path), str(stem)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with Image.open(stem.with_suffix(".ppm")) as image:
        return image.convert("RGB")


def _raw_cmyk(path: Path, index: int, reference: Image.Image) -> Image.Image:
    """The image's own samples: renderers differ in how they turn CMYK into RGB."""
    with pikepdf.open(path) as pdf:
        (image,) = pdf.pages[index].images.values()
        size = int(image.Width), int(image.Height)
        if image.Filter == "/DCTDecode":
            import io

            with Image.open(io.BytesIO(image.read_raw_bytes())) as jpeg:
                decoded = jpeg.convert("CMYK") if jpeg.mode != "CMYK" else jpeg.copy()
            inverted = [int(v) for v in image.Decode] == [1, 0] * 4 if "/Decode" in image else False
            # Pillow takes every CMYK JPEG for inverted, as Adobe's are; without Decode it is not, in PDF.
            raw = decoded if inverted else decoded.point(lambda v: 255 - v)
        else:
            raw = Image.frombytes("CMYK", size, image.read_bytes()[:: image.BitsPerComponent // 8])
        turned = raw.size != reference.size
    return raw.transpose(Image.Transpose.ROTATE_270) if turned else raw


def _score_pdf(source: Path, output: Path | None) -> Score:
    try:
        with pypdfium2.PdfDocument(source) as document:
            count = len(document)
            sizes = [document[index].get_size() for index in range(min(count, MAX_FRAMES))]
    except pypdfium2.PdfiumError as error:
        return Score("PDF", Verdict.UNREADABLE, f"pdfium: {error}")
    if output is None:
        return Score("PDF", Verdict.REFUSED)
    with Image.open(output) as tiff, tempfile.TemporaryDirectory() as folder:
        if getattr(tiff, "n_frames", 1) != count:
            return Score("PDF", Verdict.WRONG_PAGES, f"{getattr(tiff, 'n_frames', 1)} instead of {count}")
        copy = Path(folder) / "source.pdf"
        copy.write_bytes(source.read_bytes())
        for index, (width, height) in enumerate(sizes):
            tiff.seek(index)
            expected = width * DEFAULT_DPI / 72, height * DEFAULT_DPI / 72
            if max(abs(a - b) for a, b in zip(tiff.size, expected, strict=True)) > 2:
                return Score("PDF", Verdict.WRONG_SIZE, f"page {index + 1}: {tiff.size} for {expected}")
            size = max(1, tiff.width // 8), max(1, tiff.height // 8)
            try:
                want = _rendered_by_poppler(copy, index, size)
            except (subprocess.SubprocessError, OSError):
                continue  # poppler does not render it: nothing to compare with
            small = (max(1, size[0] // 8), max(1, size[1] // 8))
            got = tiff.convert("RGB").resize(small, Image.Resampling.BOX)
            off = np.abs(np.asarray(got).astype(int) - np.asarray(want.resize(small, Image.Resampling.BOX)))
            if off.mean() > PDF_TOLERANCE:
                return Score("PDF", Verdict.WRONG_PIXELS, f"page {index + 1}: off by {off.mean():.0f}")
    return Score("PDF", Verdict.GOOD)
