"""A wheel installs into an empty environment, with the newest versions it allows, and does the main job."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from tests.support import check_pdf, page_count

ROOT = Path(__file__).parents[1]
UV = ROOT / ".tools" / "bin" / "uv"


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel and nothing of the lock or the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT, cwd=folder)
    wheel = next(folder.glob("*.whl"))
    run(UV, "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    run(UV, "pip", "install", "--quiet", wheel, cwd=folder, VIRTUAL_ENV=str(folder / "venv"))
    return folder / "venv" / "bin"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of a user who has packages named as docmill's parts are."""
    for name in ("tasks", "flows", "deployments", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong package')\n")
    page = Image.new("1", (850, 1100), 1)
    page.save(
        tmp_path / "scan.tif", save_all=True, append_images=[page], compression="group4", dpi=(100, 100)
    )
    return tmp_path


def test_the_wheel_does_the_main_job_anywhere(installed, elsewhere):
    home = {"HOME": str(elsewhere), "DOCMILL_DATA_DIR": str(elsewhere / "data"), "PREFECT_API_URL": ""}
    run(installed / "docmill", "convert", "scan.tif", "direct.pdf", "--direct", cwd=elsewhere, **home)
    run(installed / "docmill", "convert", "scan.tif", "flow.pdf", cwd=elsewhere, **home)
    for name in ("direct.pdf", "flow.pdf"):
        check_pdf(elsewhere / name)
        assert page_count(elsewhere / name) == 2
    # Prefect's client and server understand each other: FastAPI 0.151 and later answer 422 to these calls.
    run(installed / "python", "-P", "-c", CALLS, cwd=elsewhere, **home)


CALLS = """
from docmill.jobs.server import prefect_api
from docmill.settings import Settings

with prefect_api(Settings.from_env(), print) as wait_until_ready:
    from prefect.client.orchestration import get_client

    wait_until_ready()
    with get_client(sync_client=True) as client:
        for name in ("flow_runs", "task_runs", "flows", "deployments", "work_pools", "artifacts"):
            assert getattr(client, f"read_{name}")() is not None, name
"""


def test_the_lock_names_no_host_and_has_a_hash_for_everything():
    lines = [
        line
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if not line.lstrip().startswith("#")
    ]
    text = "\n".join(lines)
    assert not re.search(r"https?://|--index|--find-links|@ ", text)
    for requirement in re.split(r"\n(?=[a-z])", text.strip()):
        assert "--hash=sha256:" in requirement, requirement


def test_the_lock_is_what_the_project_asks_for():
    """Each declared dependency is in the lock, so that no install leaves it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    lists += project["dependency-groups"].values()
    declared = {re.match(r"[A-Za-z0-9_.-]+", line)[0].lower() for lines in lists for line in lines}
    locked = re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert declared <= set(locked)
