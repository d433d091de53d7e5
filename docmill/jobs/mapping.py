"""From `JobData` to `ConvertRequest`: pure, and refusing by name what docmill does not honour yet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docmill.documents.uris import from_root
from docmill.errors import InvalidJobData
from docmill.formats import (
    PDF,
    TEXT,
    TIFF,
    DocumentFormat,
    RasterImageFormat,
    Target,
)
from docmill.jobs.document_options import options_of_document
from docmill.jobs.models import AnnotationsMode, EmptyPageMode, JobData, JobErrorMode
from docmill.options import ConvertOptions, OnError, PageNames
from docmill.request import ConvertRequest
from docmill.wire_formats import target_of_document_format, target_of_raster_format

HONOURED = frozenset(
    {
        "job_error_mode",
        "input_document_first_page_number",
        "input_document_last_page_number",
        "document_format",
        "raster_image_format",
        "raster_image_bits_per_pixel",
        "page_numbering_template",
        "document_options",
        "job_name",
        "document_name",
        "output_document_id",
        "user_data",
    }
)
# Of these formats one file has all pages.
_OF_ALL_PAGES = (PDF.name, TIFF.name, TEXT.name)
# Values that ask for nothing: what docmill does anyway.
_ASK_FOR_NOTHING = {
    "empty_page_mode": EmptyPageMode.NONE,
    "annotations_mode": AnnotationsMode.NONE,
    "preprocessor_deskew": False,
    "preprocessor_orient": False,
    "preprocessor_invert": False,
}


def request_from_job_data(source: str | Path, job: JobData) -> ConvertRequest:
    """The conversion that a job asks for, its result a new document in the cache.

    `source` is a URI, a path, or a document id (`docmill://<id>`, `leadcache://<id>` or 32 hexadecimal
    digits). Raises `InvalidJobData` for a field that is set and not honoured, or wrong in itself, and
    `UnsupportedConversion` for a format that docmill cannot write.
    """
    _refuse_unhonoured(job)
    target = _target(job)
    return ConvertRequest(
        sources=(source_uri(source),),
        to=target.name,
        options=ConvertOptions(
            pages=_pages(job),
            on_error=OnError.ABORT if job.job_error_mode is JobErrorMode.ABORT else OnError.RESUME,
            page_names=_page_names(job, target),
            **_document_options(job, target),
        ),
        document_name=job.document_name if job.document_name and job.document_name.strip() else None,
        output_document_id=job.output_document_id or None,
    )


def source_uri(source: str | Path) -> str:
    """The source as a worker in another folder finds it: `docmill://<id>`, a URI, or an absolute path."""
    if not source:
        raise InvalidJobData("the job names no source")
    source = str(source)
    if match := re.fullmatch(r"(?:leadcache|docmill)://([^/]+)/?", source, re.IGNORECASE):
        return f"docmill://{match[1]}"
    if re.fullmatch(r"[0-9a-f]{32}", source):
        return f"docmill://{source}"
    return from_root(source)


def _refuse_unhonoured(job: JobData) -> None:
    fields = type(job).model_fields
    refused = [
        fields[name].alias or name
        for name in sorted(job.model_fields_set - HONOURED)
        if (value := getattr(job, name)) is not None and _ASK_FOR_NOTHING.get(name, ...) != value
    ]
    if refused:
        raise InvalidJobData(
            f"docmill does not honour {', '.join(refused)} yet", hint="leave it out to let docmill choose"
        )


def _target(job: JobData) -> Target:
    wants_document = (
        "document_format" in job.model_fields_set and job.document_format is not DocumentFormat.USER
    )
    wants_raster = job.raster_image_format is not RasterImageFormat.UNKNOWN
    if wants_document == wants_raster:
        both = "both are" if wants_document else "neither is"
        raise InvalidJobData(
            f"a job sets either documentFormat or rasterImageFormat, and {both} set",
            hint="a raster format goes with documentFormat -1",
        )
    if wants_raster:
        return target_of_raster_format(job.raster_image_format, job.raster_image_bits_per_pixel)
    if job.raster_image_bits_per_pixel:
        raise InvalidJobData("rasterImageBitsPerPixel goes with a rasterImageFormat")
    return target_of_document_format(job.document_format)


def _page_names(job: JobData, target: Target) -> str | None:
    """The template for files of a page each; a document of all pages has no use for it."""
    template = job.page_numbering_template
    if "page_numbering_template" not in job.model_fields_set or template == PageNames().template:
        return None
    try:
        PageNames(template)
    except InvalidJobData as error:
        words = error.message.replace("page_names", "pageNumberingTemplate")
        raise InvalidJobData(words, hint=error.hint) from None
    return None if target.format.name in _OF_ALL_PAGES else template


def _document_options(job: JobData, target: Target) -> dict[str, Any]:
    if not job.document_options:
        return {}
    if job.raster_image_format is not RasterImageFormat.UNKNOWN:
        raise InvalidJobData("documentOptions go with a documentFormat, not with a rasterImageFormat")
    return options_of_document(job.document_options, target.format)


def _pages(job: JobData) -> str | None:
    first, last = job.input_document_first_page_number, job.input_document_last_page_number
    if first < 0:
        raise InvalidJobData(f"inputDocumentFirstPageNumber {first} is below 0")
    if last < -1:
        raise InvalidJobData(f"inputDocumentLastPageNumber {last} is below -1")
    if 0 < last < first:
        raise InvalidJobData(
            f"inputDocumentFirstPageNumber {first} is beyond inputDocumentLastPageNumber {last}"
        )
    if first <= 1 and last <= 0:
        return None
    return f"{first or 1}-{last if last > 0 else ''}"
