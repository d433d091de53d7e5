"""What a job is asked for and what it has come to, in the fields of the Document Service's wire format.

Snake case in Python, camel case on the wire (`to_wire`, `from_wire`); enumerations are numbers there. A field
that was set is told from one that was not (`model_fields_set`), since an option that is not set leaves the
choice to docmill; `docmill.jobs.mapping` refuses by name what is set and not honoured yet.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from docmill.errors import InvalidJobData
from docmill.formats import DocumentFormat, RasterImageFormat

DEFAULT_JOB_NAME = "DocumentConversion"


class JobStatus(IntEnum):
    """How a completed job ended; 0 as well while it runs, so it means something with `is_completed` only."""

    SUCCESS = 0
    SUCCESS_WITH_ERRORS = 1
    ABORTED = 2


class JobErrorMode(IntEnum):
    """At a page that cannot be converted: stop, or go on with the rest."""

    ABORT = 0
    CONTINUE = 1


class EmptyPageMode(IntEnum):
    """What becomes of empty pages; docmill keeps them and refuses the others by name."""

    NONE = 0
    SKIP = 1
    SKIP_IGNORE_ANNOTATIONS = 2


class AnnotationsMode(IntEnum):
    """Where a viewer's annotations come from; docmill takes NONE and refuses the others by name."""

    NONE = 0
    EXTERNAL = 1
    OVERLAY = 2
    EMBED = 3


class SvgImagesRecognitionMode(IntEnum):
    """Whether text in pictures of an SVG is recognised; docmill refuses a job that sets it."""

    AUTO = 0
    DISABLED = 1
    ALWAYS = 2


class _WireModel(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> Self:
        """The model from its JSON object; raises `InvalidJobData` that names each wrong field."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise InvalidJobData(_in_words(error)) from None


class JobData(_WireModel):
    """What a job asks for: the wire's ConvertJobData, with its defaults.

    One of `document_format` and `raster_image_format` is to be set (the wire writes -1, USER, and 0, UNKNOWN,
    for the other).
    """

    job_error_mode: JobErrorMode = JobErrorMode.CONTINUE
    page_numbering_template: str = "##name##_Page(##page##).##extension##"
    """Names of the files where each page is one, as in PNG; PDF, TIFF and text hold all pages."""
    enable_svg_conversion: bool = True
    svg_images_recognition_mode: SvgImagesRecognitionMode = SvgImagesRecognitionMode.AUTO
    empty_page_mode: EmptyPageMode = EmptyPageMode.NONE
    preprocessor_deskew: bool = False
    preprocessor_orient: bool = False
    preprocessor_invert: bool = False
    input_document_first_page_number: int = 0
    """The first page; 0 is page 1."""
    input_document_last_page_number: int = 0
    """The last page; 0 or -1 is the document's last."""
    document_format: DocumentFormat = DocumentFormat.LTD
    raster_image_format: RasterImageFormat = RasterImageFormat.UNKNOWN
    raster_image_bits_per_pixel: int = 0
    document_options: dict[str, Any] | None = None
    job_name: str | None = None
    annotations_mode: AnnotationsMode = AnnotationsMode.NONE
    document_name: str | None = None
    """The output's name without its ending."""
    output_document_id: str | None = None
    annotations: str | None = None
    user_data: str | None = None
    """Anything; every status of the job gives it back."""

    def to_wire(self) -> dict[str, Any]:
        """The fields that were set, as a JSON object; `from_wire` turns it back."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class RunConvertJobResult(_WireModel):
    """The pair of tokens of a job that was submitted, and its Prefect flow run."""

    user_token: str
    job_token: str
    user_data: str | None = None
    flow_run_id: str

    def to_wire(self) -> dict[str, Any]:
        """Every field as a JSON object."""
        return self.model_dump(mode="json", by_alias=True)


class StatusJobData(_WireModel):
    """How a job is. Every field is always there; `error_messages` stays empty until `is_completed`."""

    user_token: str
    job_token: str
    job_name: str = DEFAULT_JOB_NAME
    user_data: str | None = None
    job_status: JobStatus = JobStatus.SUCCESS
    job_status_page_number: int = 0
    """The page being worked on; 0 is none."""
    job_status_message: str | None = None
    is_completed: bool = False
    abort: bool = False
    error_messages: tuple[str, ...] = ()
    job_started_timestamp: str | None = None
    """ISO 8601 in UTC, as all timestamps."""
    job_completed_timestamp: str | None = None
    job_status_timestamp: str | None = None
    query_job_status_timestamp: str | None = None
    status_cache_policy: str | None = None
    status_cache_configuration: str | None = None
    input_document_id: str | None = None
    input_document_first_page_number: int = 0
    input_document_last_page_number: int = 0
    input_cache_configuration: str | None = None
    output_document_id: str | None = None
    output_document_uri: str | None = None
    output_document_name: str | None = None
    output_cache_policy: str | None = None
    output_cache_configuration: str | None = None
    document_format: DocumentFormat = DocumentFormat.USER
    raster_image_format: RasterImageFormat = RasterImageFormat.UNKNOWN
    raster_image_bits_per_pixel: int = 0
    document_writer_options: str | None = None
    document_converter_options: str | None = None
    annotations_mode: AnnotationsMode = AnnotationsMode.NONE
    ocr_engine_name: str | None = None
    ocr_engine_settings: str | None = None
    ocr_engine_startup_parameters: str | None = None
    flow_run_id: str
    flow_run_name: str = ""
    """What the job does in a few words, as the Prefect UI names its run, e.g. `scan.tif -> pdf`."""
    error_code: str | None = None
    """The class of the error that ended the job (`docmill.errors`), e.g. `SourceNotFound`."""
    page_count: int = 0
    """Pages of the input that are converted; 0 until it is known."""
    percent: int = 0

    def to_wire(self) -> dict[str, Any]:
        """Every field as a JSON object."""
        return self.model_dump(mode="json", by_alias=True)


def _in_words(error: ValidationError) -> str:
    problems = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        field = ".".join(str(part) for part in item["loc"]) or "JobData"
        if item["type"] == "extra_forbidden":
            problems.append(f"{field} is no field of it")
        else:
            problems.append(f"{field}: {item['msg'].lower()}")
    return "; ".join(problems)
