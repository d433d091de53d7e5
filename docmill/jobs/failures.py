"""What Prefect's client and HTTP raise where the API cannot be used becomes `PrefectUnavailable`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from docmill.documents.secrets import redact_uri
from docmill.errors import PrefectUnavailable


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
