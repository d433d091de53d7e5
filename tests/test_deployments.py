"""What the files in deployments/ name is there: commands, settings, versions, flows."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from docmill import __version__
from docmill.cli.parser import build_parser
from docmill.settings import Settings, variable

FOLDER = Path(__file__).parents[1] / "deployments"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
EXAMPLE = dict(
    line.split("=", 1)
    for line in (FOLDER / "docmill.env.example").read_text().splitlines()
    if line and not line.startswith("#")
)
VARIABLES = {
    name: str(value)
    for service in COMPOSE["services"].values()
    for name, value in service.get("environment", {}).items()
}


def test_the_services_that_compose_needs_are_described():
    services = COMPOSE["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        assert {file for file in service.get("env_file", []) if file != "docmill.env"} == set()
    volumes = {entry.split(":")[0] for service in services.values() for entry in service.get("volumes", [])}
    assert {volume for volume in volumes if not volume.startswith("/")} == set(COMPOSE["volumes"])


def test_commands_are_ours_and_prefects():
    from prefect.workers.base import BaseWorker

    services = COMPOSE["services"]
    deploy = shlex.split(services["deploy"]["command"])
    assert deploy[0] == "docmill"
    assert build_parser(__version__).parse_args(deploy[1:]).command == "deploy"
    worker = shlex.split(services["worker"]["command"])
    assert worker[:3] == ["prefect", "worker", "start"]
    assert BaseWorker.get_worker_class_from_type(worker[worker.index("--type") + 1])
    assert worker[worker.index("--pool") + 1] == Settings().work_pool
    stop_seconds = int(services["worker"]["stop_grace_period"].removesuffix("s"))
    assert stop_seconds > Settings().drain_seconds


def test_the_image_has_what_it_copies_and_the_prefect_of_the_lock_file():
    lines = COMPOSE["services"]["deploy"]["build"]["dockerfile_inline"].splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert "docmill" in copied
    for name in copied:
        assert (FOLDER.parent / name).exists(), name
    locked = re.search(r"^prefect==(\S+)", (FOLDER.parent / "requirements.lock").read_text(), re.MULTILINE)
    assert locked
    assert COMPOSE["services"]["prefect"]["image"].startswith(f"prefecthq/prefect:{locked[1]}-")
    # Installed anew at each start, it would bring another Prefect to the server one day.
    extra = VARIABLES["EXTRA_PIP_PACKAGES"]
    assert re.fullmatch(r"prefect-redis==[\d.]+", extra)


def test_settings_are_known(monkeypatch: pytest.MonkeyPatch):
    known = prefect_variables()
    for name in [*VARIABLES, *EXAMPLE]:
        # prefect-redis reads these itself, where the server runs.
        if name.startswith("PREFECT_") and not name.startswith("PREFECT_REDIS_"):
            assert name in known
    ours = {variable(field.name) for field in fields(Settings)}
    assert {name for name in EXAMPLE if name.startswith("DOCMILL_")} <= ours
    for name, value in EXAMPLE.items():
        monkeypatch.setenv(name, value)
    Settings.from_env()


def test_yaml_and_python_deploy_the_same():
    from docmill.deployments.deploy import deployments

    described = yaml.safe_load((FOLDER / "prefect.yaml").read_text())["deployments"]
    for each, (flow, deployment) in zip(described, deployments(), strict=True):
        assert each["entrypoint"] == deployment.entrypoint, flow.name
        assert (each["name"], each["description"]) == (deployment.name, deployment.description)
        assert each["tags"] == deployment.tags
        assert each["work_pool"].get("job_variables", {}) == (deployment.job_variables or {})
        crons = [schedule["cron"] for schedule in each.get("schedules", [])]
        assert crons == [schedule.schedule.cron for schedule in deployment.schedules or []]


def test_the_form_of_the_ui_says_what_every_parameter_is():
    from prefect.utilities.callables import parameter_schema

    from docmill.deployments.deploy import deployments

    for flow, _ in deployments():
        schema = parameter_schema(flow).model_dump_for_openapi()
        parts = [schema, *schema["definitions"].values()]
        fields = {name: field for part in parts for name, field in part.get("properties", {}).items()}
        assert [name for name, field in fields.items() if not field.get("description")] == [], flow.name
        # By which the form is ordered; a database does not keep the order of names.
        for part in parts:
            positions = [field["position"] for field in part.get("properties", {}).values()]
            assert positions == sorted(set(positions)), part


def prefect_variables() -> set[str]:
    """The environment variables that Prefect's settings read."""
    from prefect.settings import Settings as PrefectSettings

    names: set[str] = set()

    def collect(model: Any) -> None:
        prefix = model.model_config.get("env_prefix") or "PREFECT_"
        for name, field in model.model_fields.items():
            aliases = getattr(field.validation_alias, "choices", [field.validation_alias or prefix + name])
            names.update(str(alias).upper() for alias in aliases)
            if hasattr(field.annotation, "model_fields"):
                collect(field.annotation)

    collect(PrefectSettings)
    return names
