"""The Prefect UI, looked at with a real browser while a job runs."""

from __future__ import annotations

import json
from pathlib import Path

from machine import Up
from PIL import Image
from playwright.sync_api import expect, sync_playwright


def test_a_running_job_is_seen_and_cancelled(running_up: Up, tmp_path: Path) -> None:
    bmp, target = tmp_path / "slow.bmp", tmp_path / "slow.dds"
    Image.new("L", (8, 8)).save(bmp)
    # An engine of the tests: 1,000 pages, each of a second.
    order = ("--title", "pages=1000 pause=1")
    ran = running_up.run("run", str(bmp), str(target), *order, "--job", "seen", "--json")
    assert ran.returncode == 0, ran.stderr
    run_id = json.loads(ran.stdout)["flowRunId"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{running_up.note['ui_url']}/runs/flow-run/{run_id}")
        expect(page.get_by_text("slow.bmp -> dds").first).to_be_visible(timeout=60_000)
        expect(page.get_by_text("Running").first).to_be_visible(timeout=60_000)
        page.get_by_text("Task Runs", exact=True).first.click()
        expect(page.get_by_text("convert: slow.bmp -> dds").first).to_be_visible(timeout=60_000)
        page.get_by_text("Artifacts", exact=True).first.click()
        expect(page.get_by_text("of 1000").first).to_be_visible(timeout=60_000)
        page.get_by_role("button", name="Cancel").first.click()
        page.get_by_role("dialog").get_by_role("button", name="Confirm").click()
        expect(page.get_by_text("Cancelled").first).to_be_visible(timeout=60_000)
        browser.close()
    waited = running_up.run("wait", "seen")
    assert waited.returncode == 130
    assert "Job aborted" in waited.stderr
    assert not target.exists()
