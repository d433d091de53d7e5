"""A job from a program, without Prefect: documents of the cache as its target and its source."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from docmill.documents.cache import DocumentCache
from docmill.errors import EngineFailed, InvalidJobData, Phase
from docmill.options import ConvertOptions
from docmill.pipeline import convert_document
from docmill.request import ConvertRequest
from docmill.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", scratch_dir=tmp_path / "scratch")


@pytest.mark.parametrize("verify", ["fail", "off"])
def test_a_large_output_is_kept_under_its_own_digest(tmp_path: Path, verify: str) -> None:
    settings = Settings(data_dir=tmp_path / "data", scratch_dir=tmp_path / "scratch", verify=verify)
    pages = [Image.effect_noise((1000, 1000), 60) for _ in range(3)]
    pages[0].save(scan := tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    made = convert_document(ConvertRequest(sources=(str(scan),), to="pdf"), settings)
    assert made.output_document_id
    cache = DocumentCache(settings.cache_location, scratch=settings.scratch_dir)
    with cache.open_local(made.output_document_id) as path:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert cache.get(made.output_document_id).sha256 == digest


@pytest.mark.parametrize("document_id", ["Q3/été 100%", "a%2Fb", "../x", " "])
def test_an_output_of_any_id_is_the_source_of_another_job(
    tmp_path: Path, settings: Settings, document_id: str
) -> None:
    Image.new("L", (50, 50)).save(scan := tmp_path / "scan.png")
    request = ConvertRequest(sources=(str(scan),), to="pdf", output_document_id=document_id)
    first = convert_document(request, settings)
    assert first.output_document_id == document_id
    again = ConvertRequest(sources=(first.output_uri,), target=str(tmp_path / "again.png"))
    assert convert_document(again, settings).input_document_id == document_id
    assert (tmp_path / "again.png").exists()


@pytest.mark.parametrize("wrong", [{"sources": ()}, {"target": ""}, {"target": " "}], ids=str)
def test_what_a_form_was_left_blank_for_is_refused(wrong: dict[str, Any]) -> None:
    # An empty target with a slash at its end is the root of the file system.
    with pytest.raises(InvalidJobData, match=r"no source|the target is empty"):
        ConvertRequest(**{"sources": ("a.png",), "to": "pdf"} | wrong)


def test_a_source_is_not_its_own_target_whatever_it_is_called(tmp_path: Path, settings: Settings) -> None:
    Image.new("L", (50, 50)).save(scan := tmp_path / "scan.png")
    before = scan.read_bytes()
    for source, target in [(str(scan), scan.as_uri()), (scan.as_uri(), str(scan))]:
        with pytest.raises(InvalidJobData, match="the same"):
            convert_document(ConvertRequest(sources=(source,), target=target, overwrite=True), settings)
    assert scan.read_bytes() == before


@pytest.fixture
def pages(tmp_path: Path) -> str:
    first, *others = [Image.new("1", (64, 64), 1) for _ in range(3)]
    first.save(tmp_path / "pages.tif", save_all=True, append_images=others, dpi=(100, 100))
    return str(tmp_path / "pages.tif")


@pytest.mark.parametrize(
    ("to", "options", "said", "hint"),
    [
        ("png", {}, "3 pages as PNG are 3 files", "png+zip"),
        ("jpeg", {"pages": "2-"}, "2 pages as JPEG are 2 files", "jpeg+zip"),
        ("pdf", {"split": 2}, "3 pages as PDF are 2 files", "fewer pages"),
    ],
)
def test_several_files_for_one_cached_document_are_refused_before_the_work(
    pages: str, settings: Settings, to: str, options: dict[str, Any], said: str, hint: str
) -> None:
    request = ConvertRequest(sources=(pages,), to=to, options=ConvertOptions(**options))
    with pytest.raises(InvalidJobData, match=f"{said} and not one document in the cache") as refused:
        convert_document(request, settings)
    assert refused.value.phase is Phase.LOAD
    assert hint in str(refused.value)


@pytest.mark.parametrize(("to", "options"), [("png", {"pages": "2"}), ("pdf", {"split": 3}), ("png+zip", {})])
def test_one_file_is_kept_as_a_document(
    pages: str, settings: Settings, to: str, options: dict[str, Any]
) -> None:
    made = convert_document(
        ConvertRequest(sources=(pages,), to=to, options=ConvertOptions(**options)), settings
    )
    assert made.output_document_id
    cache = DocumentCache(settings.cache_location, scratch=settings.scratch_dir)
    with cache.open_local(made.output_document_id) as path:
        if to == "png+zip":
            assert len(zipfile.ZipFile(path).namelist()) == 3
        else:
            assert made.page_count == cache.get(made.output_document_id).facts.page_count


def test_parameters_are_what_was_set_and_read_back() -> None:
    request = ConvertRequest(sources=("a.tif",), to="pdf", options=ConvertOptions(dpi=100))
    assert request.to_parameters() == {"sources": ["a.tif"], "to": "pdf", "options": {"dpi": 100}}
    assert ConvertRequest.from_dict(request.to_parameters()) == request


def test_what_docmill_keeps_of_a_document_is_its_users_alone(tmp_path: Path, settings: Settings) -> None:
    Image.new("L", (50, 50)).save(scan := tmp_path / "scan.png")
    scan.chmod(0o600)
    request = ConvertRequest(sources=(str(scan),), target=str(tmp_path / "scan.pdf"))
    seen = []

    convert_document(
        request, settings, before_commit=lambda: seen.append(settings.scratch_dir.stat().st_mode & 0o777)
    )

    assert seen == [0o700]
    assert (settings.data_dir / "cache").stat().st_mode & 0o777 == 0o700


def test_scratch_where_anybody_may_make_it_has_to_be_the_users_own(
    tmp_path: Path, settings: Settings
) -> None:
    (shared := tmp_path / "tmp").mkdir()
    shared.chmod(0o1777)
    (scratch := shared / "docmill").mkdir(mode=0o755)
    Image.new("L", (50, 50)).save(scan := tmp_path / "scan.png")
    request = ConvertRequest(sources=(str(scan),), target=str(tmp_path / "scan.pdf"), overwrite=True)

    convert_document(request, replace(settings, scratch_dir=scratch))
    assert scratch.stat().st_mode & 0o777 == 0o700

    somebody_else = os.stat_result((stat.S_IFDIR | 0o755, 1, 1, 2, os.geteuid() + 4242, 0, 0, 0, 0, 0))
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(EngineFailed, match="belongs to somebody else"),
    ):
        patch.setattr(Path, "lstat", lambda path: somebody_else)
        convert_document(request, replace(settings, scratch_dir=scratch))


def test_a_name_of_a_server_is_cut_to_what_a_file_may_have(tmp_path, settings, http_server) -> None:
    Image.new("L", (50, 50)).save(scan := tmp_path / "scan.png")
    name = 150 * "Müller" + ".png"
    source = http_server.serve(
        "/long", scan.read_bytes(), **{"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
    )
    for to in ("pdf", "png", "tiff"):
        outcome = convert_document(
            ConvertRequest(sources=(source,), target=f"{tmp_path / to}/", to=to), settings
        )
        assert "/M%C3%BCllerM" in outcome.output_uri
    pages = [Image.new("1", (50, 50)) for _ in range(2)]
    pages[0].save(scan := tmp_path / (250 * "y"), "TIFF", save_all=True, append_images=pages[1:])
    convert_document(ConvertRequest(sources=(str(scan),), target=f"{tmp_path}/two/", to="png"), settings)
    assert len(list((tmp_path / "two").iterdir())) == 3


def test_strange_names_on_s3(tmp_path, settings, s3_url, monkeypatch) -> None:
    Image.new("L", (50, 50)).save(scan := tmp_path / "scan.png")
    source = ConvertRequest(sources=(str(scan),))
    for name in ("q?a#b%20c.pdf", "ü .pdf"):
        assert convert_document(replace(source, target=f"{s3_url}/{name}"), settings).output_uri.endswith(
            name
        )
        assert (
            convert_document(
                ConvertRequest(
                    sources=(f"{s3_url}/{name}",), target=str(tmp_path / "back.png"), overwrite=True
                ),
                settings,
            ).page_count
            == 1
        )
    bucket = s3_url.rpartition("/")[0]
    in_bucket = convert_document(replace(source, target=bucket, to="jpeg", overwrite=True), settings)
    assert in_bucket.output_uri == f"{bucket}/scan.jpg"
    with pytest.raises(InvalidJobData, match="not UTF-8"):
        convert_document(replace(source, target=s3_url + os.fsdecode(b"/\xe4.pdf")), settings)
    scan.rename(strange := tmp_path / os.fsdecode(b"\xe4.png"))
    with pytest.raises(InvalidJobData, match="not UTF-8"):
        convert_document(ConvertRequest(sources=(str(strange),), target=s3_url + "/", to="pdf"), settings)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(InvalidJobData, match=r"no URL.*AWS_ENDPOINT_URL"):
        convert_document(replace(source, target=f"{s3_url}/a.pdf"), settings)
