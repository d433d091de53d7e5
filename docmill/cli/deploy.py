"""`docmill deploy`: docmill's work pool and deployments on a Prefect server."""

from __future__ import annotations

import argparse
import json

from docmill.cli.jobs import find_api
from docmill.settings import Settings


def run(arguments: argparse.Namespace) -> int:
    """Make what is not there or not of this version, and name it."""
    settings = Settings.from_env()
    find_api(settings)
    import asyncio

    from docmill.deployments.deploy import deploy, wait_for_api
    from docmill.jobs.failures import prefect_failures

    if arguments.wait:
        wait_for_api()
    pool = arguments.pool or settings.work_pool
    with prefect_failures():
        changed = asyncio.run(deploy(pool, arguments.type))
    if arguments.json:
        print(json.dumps({"workPool": pool, "deployed": changed}))
    else:
        print(f"deployed to {pool}: {', '.join(changed) or 'all was there'}")
    return 0
