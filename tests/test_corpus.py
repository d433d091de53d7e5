"""The corpus runner tells good from bad, and docmill is good on what the generator makes."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.corpus.__main__ import run
from tests.corpus.generate import generate, picture
from tests.corpus.score import Verdict, score


def test_a_good_output_is_told(tmp_path: Path) -> None:
    source, unreadable = tmp_path / "in.png", tmp_path / "bad.png"
    picture("RGB", (60, 40)).save(source, dpi=(72, 72))
    unreadable.write_bytes(b"no picture")
    verdicts = [result.verdict for result in run([source, unreadable], jobs=2, seconds=60)]
    assert verdicts == [Verdict.GOOD, Verdict.UNREADABLE]


def test_bad_outputs_are_told(tmp_path: Path) -> None:
    source, output = tmp_path / "in.png", tmp_path / "out.pdf"
    picture("RGB", (60, 40)).save(source, dpi=(72, 72))
    image = Image.open(source)
    image.save(output, resolution=100)
    assert score(source, output).verdict is Verdict.WRONG_SIZE
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(output, resolution=72)
    assert score(source, output).verdict is Verdict.WRONG_PIXELS
    image.save(output, save_all=True, append_images=[image], resolution=72)
    assert score(source, output).verdict is Verdict.WRONG_PAGES
    assert score(source, None).verdict is Verdict.REFUSED


def test_what_the_generator_makes_comes_out_good(tmp_path: Path) -> None:
    files = generate(tmp_path / "corpus", seed=3, damaged=40)
    chosen = files[::20]
    bad = {
        Path(result.file).name: f"{result.verdict}: {result.detail}"
        for result in run(chosen, jobs=2, seconds=60)
        if result.verdict not in (Verdict.GOOD, Verdict.UNREADABLE)
        and not (result.verdict is Verdict.REFUSED and "damaged" in result.file)
    }
    assert not bad
