"""Prefect Secret blocks, for the secrets that a job names as `block:NAME`."""

from __future__ import annotations

from typing import Any, cast

from prefect.blocks.system import Secret

from docmill.errors import InvalidJobData


def read_secret_block(name: str) -> str:
    """The value of the Prefect Secret block `name`; raises `InvalidJobData` where there is none."""
    try:
        # Blocking, since it is called in a thread without an event loop: Prefect offers both under one name.
        block = cast(Secret[Any], Secret.load(name))
    except ValueError as error:
        raise InvalidJobData(
            f"there is no Prefect Secret block named {name}", hint="create it in the Prefect UI, under Blocks"
        ) from error
    return str(block.get())
