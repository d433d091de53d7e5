"""Where the Prefect API cannot be used: how long a job goes on asking, and what is told in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_CLIENT_RETRY_EXTRA_CODES, get_current_settings, temporary_settings

from docmill.documents.secrets import redact_uri
from docmill.errors import PrefectUnavailable

# Prefect's client goes on for a minute where the server is away or says 408, 429, 502 or 503. One whose
# database has just died says 500.
FAILING = frozenset({500, 504})


@contextmanager
def patient_client() -> Iterator[None]:
    """Have Prefect's client ask again where the server fails, as it does where the server is away.

    For a process that runs jobs: a single 500 made a job Failed whose output was in place, or ended the
    worker. What is asked for in a job may be asked for twice. What the user has set holds.
    """
    if "retry_extra_codes" in get_current_settings().client.model_fields_set:
        yield
        return
    with temporary_settings(updates={PREFECT_CLIENT_RETRY_EXTRA_CODES: set(FAILING)}):
        yield


def is_outage(error: BaseException) -> bool:
    """Whether Prefect's client raised it since the server was away or failed, not for what it was asked."""
    if isinstance(error, PrefectHTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code in _LATER
    return isinstance(error, httpx.TransportError)


_LATER = frozenset({408, 429})


@contextmanager
def prefect_failures() -> Iterator[None]:
    """Raise what goes wrong between this process and the Prefect API as `PrefectUnavailable`."""
    try:
        yield
    except PrefectHTTPStatusError as error:
        raise PrefectUnavailable(
            f"{_api()} answered {error.response.status_code}",
            hint="is PREFECT_API_URL right? the server's log may say more",
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise PrefectUnavailable(
            f"{_api()} does not answer: {error or type(error).__name__}",
            hint="is PREFECT_API_URL right, and the server up?",
        ) from error


def check_reachable() -> None:
    """Raise `PrefectUnavailable` where the API that Prefect's settings name does not answer.

    A flow would find out as well, after fifteen seconds and as a `RuntimeError`.
    """
    with prefect_failures(), get_client(sync_client=True) as client:
        if error := client.api_healthcheck():
            raise error


def _api() -> str:
    url = get_current_settings().api.url
    return f"the Prefect API at {redact_uri(url)}" if url else "the Prefect API"
