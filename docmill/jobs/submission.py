"""A job on its way in: checked for all that Prefect's database may not hold, and named for the UI."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

from docmill.documents.secrets import is_reference
from docmill.documents.uris import check_document_id, parse_location
from docmill.errors import InvalidJobData
from docmill.formats import target_from_name
from docmill.jobs import labels
from docmill.jobs.models import JobData
from docmill.jobs.tokens import check_tokens, new_job_token
from docmill.request import ConvertRequest
from docmill.wording import label

_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Submission:
    """A job as it is to be submitted."""

    request: ConvertRequest
    job_data: JobData
    user_token: str
    job_token: str

    @classmethod
    def of(cls, request: ConvertRequest, job: JobData, user_token: str, job_token: str | None) -> Self:
        """Check all that is to be stored; a job token that is not given is a new one.

        Raises `InvalidJobData` for tokens and document ids beyond the limits, a secret in a URI, text that no
        database takes.
        """
        job_token = new_job_token() if job_token is None else job_token
        check_tokens(user_token, job_token)
        for uri in (*request.sources, request.target or "."):
            if not is_reference(uri):
                parse_location(uri)
        if request.output_document_id is not None:
            check_document_id(request.output_document_id)
        check_text([request.to_dict(), job.to_wire()])
        return cls(request, job, user_token, job_token)

    @property
    def run_name(self) -> str:
        """What the UI calls the job: `scan.tif -> pdf`, behind its own name where it has one."""
        words = label(self.request)
        return f"{self.job_data.job_name}: {words}" if self.job_data.job_name else words

    @property
    def tags(self) -> list[str]:
        """What a person filters by in the UI: the user and the output format."""
        name = self.request.to or (self.request.target or "").rpartition(".")[2]
        try:
            return [labels.user_tag(self.user_token), f"to:{target_from_name(name).format.name}"]
        except InvalidJobData:
            return [labels.user_tag(self.user_token)]


def check_text(value: Any) -> None:
    """Refuse what JSON lets through and a database does not, such as a file name that is not UTF-8."""
    match value:
        case str():
            if "\0" in value or _SURROGATE.search(value):
                raise InvalidJobData(
                    f"{value!r} holds a NUL character or half of a surrogate pair",
                    hint="file names must be UTF-8",
                )
        case dict():
            check_text([*value, *value.values()])
        case list() | tuple():
            for item in value:
                check_text(item)
