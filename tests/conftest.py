"""Fixtures and rules that every test shares."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import HealthCheck

if TYPE_CHECKING:
    from tests.servers import HttpServer, S3Server


# Machines are slow at times, and a fixture of one example is good for the next. In CI the examples are always
# the same: whether a change passes is not to hang on chance.
hypothesis.settings.register_profile(
    "docmill",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize=bool(os.environ.get("DOCMILL_TEST_NO_SKIPS")),
)
hypothesis.settings.load_profile("docmill")


def pytest_configure() -> None:
    """However the tests are told to end, they stop the servers that they started.

    A shell's background job ignores SIGINT, and what nohup runs SIGHUP, as would then all processes that the
    tests start and interrupt. A handler is not inherited: for nohup it is one that does nothing.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    """With DOCMILL_TEST_NO_SKIPS a skipped test is a failure: in CI a missing tool must not go unseen."""
    outcome = yield
    if os.environ.get("DOCMILL_TEST_NO_SKIPS") and outcome.skipped and not hasattr(outcome, "wasxfail"):
        outcome.outcome = "failed"
        outcome.longrepr = f"skipped, and DOCMILL_TEST_NO_SKIPS is set: {outcome.longrepr}"
    return outcome


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 store for the whole session; see `s3_url`."""
    from tests.servers import S3Server

    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.kill()


@pytest.fixture
def s3_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of the test's own in the S3 store, `s3://bucket/<id>`; the environment has its credentials."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_server.BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def http_server() -> Iterator[HttpServer]:
    """An HTTP server that fails as it is told to."""
    from tests.servers import HttpServer

    server = HttpServer()
    yield server
    server.stop()
