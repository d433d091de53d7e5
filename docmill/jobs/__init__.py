"""Jobs: Prefect flow runs that a caller addresses by a (userToken, jobToken) pair.

    from docmill.jobs import DocumentFormat, JobData, StatusJobDataRunner

What a program needs is here by name and imported when it is asked for: Prefect alone takes a second, and
`docmill.jobs.local`, which the command line imports, needs none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docmill.formats import DocumentFormat, RasterImageFormat
    from docmill.jobs.embedded import EmbeddedRunner
    from docmill.jobs.listing import JobPage
    from docmill.jobs.models import (
        AnnotationsMode,
        EmptyPageMode,
        JobData,
        JobErrorMode,
        JobStatus,
        RunConvertJobResult,
        StatusJobData,
        SvgImagesRecognitionMode,
    )
    from docmill.jobs.runner import StatusJobDataRunner

__all__ = [
    "AnnotationsMode",
    "DocumentFormat",
    "EmbeddedRunner",
    "EmptyPageMode",
    "JobData",
    "JobErrorMode",
    "JobPage",
    "JobStatus",
    "RasterImageFormat",
    "RunConvertJobResult",
    "StatusJobData",
    "StatusJobDataRunner",
    "SvgImagesRecognitionMode",
]

_ELSEWHERE = {
    "DocumentFormat": "docmill.formats",
    "RasterImageFormat": "docmill.formats",
    "EmbeddedRunner": "docmill.jobs.embedded",
    "JobPage": "docmill.jobs.listing",
    "StatusJobDataRunner": "docmill.jobs.runner",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, "docmill.jobs.models")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
