"""Fixtures and rules that every test shares."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    """With DOCMILL_TEST_NO_SKIPS a skipped test is a failure: in CI a missing tool must not go unseen."""
    outcome = yield
    if os.environ.get("DOCMILL_TEST_NO_SKIPS") and outcome.skipped and not hasattr(outcome, "wasxfail"):
        outcome.outcome = "failed"
        outcome.longrepr = f"skipped, and DOCMILL_TEST_NO_SKIPS is set: {outcome.longrepr}"
    return outcome
