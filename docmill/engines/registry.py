"""The table of engines, and the planning of a route from a source's MIME type to a target.

The table is plain data: nothing heavy is imported to read it, so that `docmill formats` and a refusal are
quick. An engine itself is imported by `load`, in the sandbox.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from docmill.engines.base import Engine
from docmill.errors import InvalidJobData, UnsupportedConversion
from docmill.formats import (
    BITS_PER_PIXEL,
    BMP,
    BY_MIME_TYPE,
    FORMATS,
    GIF,
    J2K,
    JP2,
    JPEG,
    JSON,
    PCX,
    PDF,
    PNG,
    RASTER_SOURCES,
    TEXT,
    TIFF,
    WEBP,
    Compression,
    Format,
    Subsampling,
    Target,
    missing_extra,
)
from docmill.options import ConvertOptions

# Options that every engine honours, or that concern the job and not the engine.
COMMON_OPTIONS = frozenset({"pages", "on_error"})
# What the editor does with a page that it cannot read itself: there are none in what another engine has made.
BEFORE_FINISHED = frozenset({"bad_page"})
# The engine that finishes PDFs which others make, and merges them.
PDF_EDITOR = "pdf-to-pdf"


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An engine as the planner sees it.

    `entry` is `module:class`; `options` are the names of the `ConvertOptions` it honours beside
    `COMMON_OPTIONS`; `compressions`, `bits_per_pixel` and `subsampling` what it can be told to write, by
    output format; `raster` the formats of text of which it makes pictures; `archives` if it puts several
    files into one ZIP; `appends` if it writes one file, named after the document, from its beginning to its
    end, so that it can be read while it grows.
    """

    name: str
    title: str
    entry: str
    sources: frozenset[Format]
    targets: frozenset[Format]
    options: frozenset[str] = frozenset()
    compressions: frozenset[tuple[Format, Compression]] = frozenset()
    bits_per_pixel: frozenset[tuple[Format, int]] = frozenset()
    subsampling: frozenset[Format] = frozenset()
    raster: frozenset[Format] = frozenset()
    archives: bool = False
    appends: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One engine's part of a route."""

    engine: str
    source: Format
    target: Target


@dataclass(frozen=True, slots=True)
class Route:
    """The engines that a document passes through, in order.

    Of several documents, `parts` are the ways each takes (none, where it has no steps) until the first engine
    of `steps` merges them.
    """

    steps: tuple[Step, ...]
    parts: tuple[Route, ...] = ()

    @property
    def appends(self) -> bool:
        """Whether the one output is written from its beginning to its end."""
        return len(self.steps) == 1 and not self.parts and engine_spec(self.steps[0].engine).appends

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines' names, each once."""
        steps = [step for part in self.parts for step in part.steps] + list(self.steps)
        return tuple(dict.fromkeys(step.engine for step in steps))

    def __str__(self) -> str:
        if self.parts:
            return f"{len(self.parts)} documents -> {self.steps[-1].target.name} by {', '.join(self.engines)}"
        names = [self.steps[0].source.name, *(step.target.name for step in self.steps)]
        return f"{' -> '.join(names)} by {', '.join(step.engine for step in self.steps)}"


_RASTER_TARGETS = frozenset({TIFF, PNG, JPEG, WEBP, BMP, GIF, PCX, JP2, J2K})
_RASTER_OPTIONS = frozenset({"dpi", "size", "quality", "threshold", "dither", "page_names", "bad_page"})
# No gray WebP, and no 1 bit JPEG 2000 that others read; a GIF of 8 bits is gray, else it has a palette.
_RASTER_BITS = frozenset(
    {(format, bits) for format in (TIFF, PNG, BMP, PCX) for bits in BITS_PER_PIXEL}
    | {(format, bits) for format in (JPEG, JP2, J2K) for bits in (8, 24)}
    | {(GIF, 1), (GIF, 8), (WEBP, 24)}
)

# Titles, splitting and the names of its files are left to the PDF editor, which comes after.
_RASTER_PDF_OPTIONS = _RASTER_OPTIONS - {"page_names"}
_RASTER_PDF_COMPRESSIONS = frozenset((PDF, compression) for compression in Compression)
_RASTER_PDF_BITS = frozenset((PDF, bits) for bits in BITS_PER_PIXEL)

ENGINES: tuple[EngineSpec, ...] = (
    EngineSpec(
        name="raster-to-pdf",
        title="images to PDF, copied where PDF can hold them as they are",
        entry="docmill.engines.raster_to_pdf:RasterToPdf",
        sources=RASTER_SOURCES,
        targets=frozenset({PDF}),
        options=frozenset({"dpi", "quality", "title", "alpha", "frames", "bad_page"}),
        raster=frozenset({PDF}),
        appends=True,
    ),
    EngineSpec(
        name="pdf-to-text",
        title="the text of a PDF, or its words with their boxes, by reading order",
        entry="docmill.engines.pdf_to_text:PdfToText",
        sources=frozenset({PDF}),
        targets=frozenset({TEXT, JSON}),
    ),
    EngineSpec(
        name=PDF_EDITOR,
        title="PDF pages chosen, turned, split and merged as they are; metadata, encryption",
        entry="docmill.engines.pdf_to_pdf:PdfToPdf",
        sources=frozenset({PDF}),
        targets=frozenset({PDF}),
        options=frozenset(
            {"title", "author", "subject", "keywords", "rotate", "split", "page_names", "linearize"}
            | {"encrypt_user_password", "encrypt_owner_password", "permissions", "bad_page"}
        ),
    ),
    EngineSpec(
        name="pdf-to-raster",
        title="PDF pages rendered to images, one TIFF of all or a file a page",
        entry="docmill.engines.pdf_to_raster:PdfToRaster",
        sources=frozenset({PDF}),
        targets=_RASTER_TARGETS,
        options=_RASTER_OPTIONS,
        compressions=frozenset((TIFF, compression) for compression in Compression),
        bits_per_pixel=_RASTER_BITS,
        subsampling=frozenset({TIFF, JPEG}),
        archives=True,
    ),
    EngineSpec(
        name="raster-to-raster",
        title="images to images, with resolution, colour profile and descriptions kept",
        entry="docmill.engines.raster_to_raster:RasterToRaster",
        sources=RASTER_SOURCES,
        targets=_RASTER_TARGETS,
        options=_RASTER_OPTIONS | {"alpha", "frames"},
        compressions=frozenset((TIFF, compression) for compression in Compression),
        bits_per_pixel=_RASTER_BITS,
        subsampling=frozenset({TIFF, JPEG}),
        archives=True,
    ),
    EngineSpec(
        name="pdf-to-raster-pdf",
        title="PDF pages rendered, as a PDF of pictures",
        entry="docmill.engines.pdf_to_raster:PdfToRaster",
        sources=frozenset({PDF}),
        targets=frozenset({PDF}),
        options=_RASTER_PDF_OPTIONS,
        compressions=_RASTER_PDF_COMPRESSIONS,
        bits_per_pixel=_RASTER_PDF_BITS,
        subsampling=frozenset({PDF}),
        raster=frozenset({PDF}),
    ),
    EngineSpec(
        name="raster-to-raster-pdf",
        title="images to PDF, in a compression or a number of bits that is asked for",
        entry="docmill.engines.raster_to_raster:RasterToRaster",
        sources=RASTER_SOURCES,
        targets=frozenset({PDF}),
        options=_RASTER_PDF_OPTIONS | {"alpha", "frames"},
        compressions=_RASTER_PDF_COMPRESSIONS,
        bits_per_pixel=_RASTER_PDF_BITS,
        subsampling=frozenset({PDF}),
        raster=frozenset({PDF}),
    ),
)


def plan_route(source: str, target: Target, options: ConvertOptions | None = None) -> Route:
    """The route from a MIME type to a target that honours every option that is set.

    Raises `UnsupportedConversion` where there is none, `InvalidJobData` where an option that is set has no
    meaning on it, `MissingExtra` where a package that it needs is not installed.
    """
    format = BY_MIME_TYPE.get(source)
    spec = _engine_for(format, target) if format else None
    if format is None or spec is None:
        title = format.title if format else source
        known = sorted({t.name for s in ENGINES if format in s.sources for t in s.targets})
        raise UnsupportedConversion(
            f"{title} cannot be converted to {target.name}",
            hint=_what_is_possible(format, target, known),
        )
    if missing := missing_extra(format):
        raise missing
    _refuse_idle_names(target, options)
    step = Step(spec.name, format, target)
    unused = sorted((options or ConvertOptions()).changed().keys() - spec.options - COMMON_OPTIONS)
    # What concerns the finished PDF, as encryption does, is the editor's to do with what others make.
    finishing = engine_spec(PDF_EDITOR).options - BEFORE_FINISHED if target.format is PDF else frozenset()
    if not finishing.issuperset(unused):
        meaningless = sorted(set(unused) - finishing)
        raise InvalidJobData(
            f"option {', '.join(meaningless)} has no meaning for {format.name} to {target.name}",
            hint=f"leave it out; there are {', '.join(sorted(spec.options | finishing | COMMON_OPTIONS))}",
        )
    return Route((step, Step(PDF_EDITOR, PDF, Target(PDF))) if unused else (step,))


def plan_merge(sources: Sequence[str], target: Target, options: ConvertOptions | None = None) -> Route:
    """The route that makes one PDF of documents of these MIME types, each brought to PDF by its own engine.

    Raises as `plan_route` does.
    """
    options = options or ConvertOptions()
    if target.format is not PDF:
        raise UnsupportedConversion(
            f"several documents cannot be made into one {target.name}",
            hint="they can be merged into a PDF, or converted each into a target folder",
        )
    _refuse_idle_names(target, options)
    editor = engine_spec(PDF_EDITOR)
    parts, honoured = [], editor.options | COMMON_OPTIONS
    for source in sources:
        if BY_MIME_TYPE.get(source) is PDF and target == Target(PDF):
            parts.append(Route(()))
            continue
        part = Route(plan_route(source, target).steps[:1])
        parts.append(part)
        honoured |= engine_spec(part.steps[0].engine).options
    unused = sorted(options.changed().keys() - honoured)
    if unused:
        raise InvalidJobData(
            f"option {', '.join(unused)} has no meaning for merging these documents",
            hint=f"leave it out; merging takes {', '.join(sorted(honoured))}",
        )
    return Route((Step(PDF_EDITOR, PDF, Target(PDF)),), tuple(parts))


def _refuse_idle_names(target: Target, options: ConvertOptions | None) -> None:
    if options and options.page_names is not None and target.format is PDF and options.split is None:
        raise InvalidJobData("page_names has no meaning for one PDF of all pages", hint="set split as well")


def options_for(spec: EngineSpec, options: ConvertOptions) -> ConvertOptions:
    """The part of a job's options that concerns an engine which makes one of several documents to merge."""
    names = spec.options | {"on_error"}
    return ConvertOptions(**{name: value for name, value in options.changed().items() if name in names})


def engine_spec(name: str) -> EngineSpec:
    """The engine of that name; raises `KeyError`."""
    return next(spec for spec in ENGINES if spec.name == name)


def load(name: str) -> Engine:
    """Import an engine and make one; only for the sandbox process."""
    module, _, attribute = engine_spec(name).entry.partition(":")
    return cast(Engine, getattr(importlib.import_module(module), attribute)())


def conversions() -> Iterable[tuple[Format, Target]]:
    """Every source and target that some engine takes, for `docmill formats`."""
    for source in FORMATS:
        for spec in ENGINES:
            if source in spec.sources:
                for target in FORMATS:
                    if target in spec.targets:
                        yield source, Target(target)


def variants(target: Format, source: Format | None = None) -> list[str]:
    """The names that `--to` takes for a format with something inside it, e.g. `tiff-g4` and `tiff-8bit`; of
    the engines for one source where that is given."""
    specs = [
        spec for spec in ENGINES if target in spec.targets and (source is None or source in spec.sources)
    ]
    raster = ["raster"] if any(target in spec.raster for spec in specs) else []
    ways = sorted({str(way) for spec in specs for format, way in spec.compressions if format is target})
    is_jpeg = target is JPEG and any(target in spec.subsampling for spec in specs)
    chroma = [str(each) for each in Subsampling] if is_jpeg else []
    bits = sorted({bits for spec in specs for format, bits in spec.bits_per_pixel if format is target})
    return [f"{target.name}-{part}" for part in [*raster, *ways, *chroma, *(f"{n}bit" for n in bits)]]


def _what_is_possible(source: Format | None, target: Target, known: Sequence[str]) -> str:
    if source is None or not known:
        return "see `docmill formats`"
    if target.format.name not in known:
        return f"{source.title} converts to {', '.join(known)}"
    # The format would do: what was asked for within it would not.
    return f"{source.title} converts to {', '.join([target.format.name, *variants(target.format, source)])}"


def _engine_for(source: Format, target: Target) -> EngineSpec | None:
    for spec in ENGINES:
        if source in spec.sources and _writes(spec, target):
            return spec
    return None


def _writes(spec: EngineSpec, target: Target) -> bool:
    format = target.format
    return (
        format in spec.targets
        and (target.compression is None or (format, target.compression) in spec.compressions)
        and (target.bits_per_pixel is None or (format, target.bits_per_pixel) in spec.bits_per_pixel)
        and (target.subsampling is None or format in spec.subsampling)
        and (not target.raster or format in spec.raster)
        and (spec.archives or not target.archive)
    )
