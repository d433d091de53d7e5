"""One file of the corpus through docmill's pipeline, and what became of it."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from docmill.engines.verify.expected import HINT
from docmill.errors import DocmillError, EngineCrashed, EngineFailed, LimitExceeded
from docmill.pipeline import convert_document
from docmill.request import ConvertRequest
from docmill.settings import Settings
from tests.corpus.score import Score, Verdict, score

# What the reference decoders may take for a file: one PDF of a public corpus takes pdfium 24 GB.
SCORE_BYTES = 6 << 30
SCORE_SECONDS = 300


@dataclass(frozen=True)
class Result:
    """What became of one file; `kind` is its format by Pillow, or its ending where Pillow reads nothing."""

    file: str
    kind: str
    verdict: Verdict
    detail: str = ""


class Outcome(StrEnum):
    """How the conversion itself ended."""

    DONE = "done"
    REFUSED = "refused"
    CRASH = "crash"
    HANG = "hang"


class Runner:
    """Converts and scores; the scoring in processes of its own, since the reference decoders crash too."""

    def __init__(self, work: Path, seconds: float) -> None:
        self._work = work
        self._settings = Settings(
            data_dir=work / "data",
            engine_wall_seconds=seconds,
            engine_cpu_seconds=seconds,
        )
        self._lock = threading.Lock()
        self._scorers = self._pool()
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._scorers.shutdown(cancel_futures=True)

    def run(self, file: Path) -> Result:
        """Convert a file, score the output, and remove it."""
        with self._lock:
            self._number += 1
            folder = self._work / str(self._number)
        folder.mkdir()
        is_pdf = file.open("rb").read(1024).find(b"%PDF-") >= 0
        target = folder / ("out.tif" if is_pdf else "out.pdf")
        scratch = folder / "scratch"
        outcome, detail = self._convert(file, target, scratch)
        scored = self._score(file, target if outcome is Outcome.DONE else None)
        verdict = scored.verdict
        if outcome is Outcome.CRASH:
            verdict = Verdict.CRASH
        elif outcome is Outcome.HANG:
            verdict = Verdict.HANG
        elif left := _left_over(folder, target if outcome is Outcome.DONE else None):
            verdict, detail = Verdict.LEFT_OVER, f"{left} is left"
        shutil.rmtree(folder)
        return Result(str(file), scored.kind, verdict, detail or scored.detail)

    def _convert(self, file: Path, target: Path, scratch: Path) -> tuple[Outcome, str]:
        request = ConvertRequest(sources=(str(file),), target=str(target))
        try:
            convert_document(request, replace(self._settings, scratch_dir=scratch))
        except LimitExceeded as error:
            hang = error.setting in ("DOCMILL_ENGINE_WALL_SECONDS", "DOCMILL_ENGINE_CPU_SECONDS")
            return Outcome.HANG if hang else Outcome.REFUSED, str(error)
        except EngineCrashed as error:
            return Outcome.CRASH, str(error)
        except EngineFailed as error:
            return Outcome.REFUSED if error.hint == HINT else Outcome.CRASH, str(error)
        except DocmillError as error:
            return Outcome.REFUSED, f"{error.code}: {error}"
        except Exception as error:
            return Outcome.CRASH, repr(error)
        return Outcome.DONE, ""

    def _score(self, file: Path, output: Path | None) -> Score:
        for _ in range(2):
            try:
                return self._scorers.submit(_bounded_score, file, output).result()
            except BrokenProcessPool:
                with self._lock:
                    self._scorers = self._pool()
        return Score(file.suffix, Verdict.UNREADABLE, "the reference decoder crashed")

    @staticmethod
    def _pool() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


def _bounded_score(source: Path, output: Path | None) -> Score:
    """In a process that ends where the reference decoder takes too long or too much memory."""
    resource.setrlimit(resource.RLIMIT_AS, (SCORE_BYTES, SCORE_BYTES))
    signal.alarm(SCORE_SECONDS)
    try:
        return score(source, output)
    finally:
        signal.alarm(0)


def _left_over(folder: Path, target: Path | None) -> Path | None:
    """A file in the folder that is not the target; empty folders of scratch may stay."""
    return next((path for path in folder.rglob("*") if path.is_file() and path != target), None)
