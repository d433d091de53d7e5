"""JobData, StatusJobData, tokens and the mapping to a conversion: pure, so property-tested."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docmill.errors import InvalidJobData, UnsupportedConversion
from docmill.formats import DocumentFormat, RasterImageFormat, target_from_name
from docmill.jobs.labels import fingerprint
from docmill.jobs.mapping import HONOURED, request_from_job_data, source_uri
from docmill.jobs.models import (
    AnnotationsMode,
    EmptyPageMode,
    JobData,
    JobErrorMode,
    JobStatus,
    RunConvertJobResult,
    StatusJobData,
    SvgImagesRecognitionMode,
)
from docmill.jobs.tokens import check_tokens, job_key, new_job_token
from docmill.options import OnError, PageNames
from docmill.request import ConvertRequest

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=256)

JOB_VALUES = {
    "job_error_mode": st.sampled_from(JobErrorMode),
    "page_numbering_template": TEXT,
    "enable_svg_conversion": st.booleans(),
    "svg_images_recognition_mode": st.sampled_from(SvgImagesRecognitionMode),
    "empty_page_mode": st.sampled_from(EmptyPageMode),
    "preprocessor_deskew": st.booleans(),
    "preprocessor_orient": st.booleans(),
    "preprocessor_invert": st.booleans(),
    "input_document_first_page_number": st.integers(0, 10**6),
    "input_document_last_page_number": st.integers(-1, 10**6),
    "document_format": st.sampled_from(DocumentFormat),
    "raster_image_format": st.sampled_from(RasterImageFormat),
    "raster_image_bits_per_pixel": st.sampled_from([0, 1, 8, 24]),
    "document_options": st.none() | st.dictionaries(TEXT, st.integers(), max_size=3),
    "job_name": st.none() | TEXT,
    "annotations_mode": st.sampled_from(AnnotationsMode),
    "document_name": st.none() | TEXT,
    "output_document_id": st.none() | TEXT,
    "annotations": st.none() | TEXT,
    "user_data": st.none() | TEXT,
}
JOBS = st.fixed_dictionaries({}, optional=JOB_VALUES).map(lambda values: JobData(**values))


def test_the_strategy_covers_every_field():
    assert set(JOB_VALUES) == set(JobData.model_fields)


@given(JOBS)
@settings(max_examples=100)
def test_job_data_comes_back_from_the_wire_with_what_was_set(job):
    back = JobData.from_wire(json.loads(json.dumps(job.to_wire())))
    assert back == job
    assert back.model_fields_set == job.model_fields_set


def test_wire_names_and_defaults_of_job_data():
    wire = JobData().model_dump(mode="json", by_alias=True)
    wire.pop("userData")  # docmill's own place for what the request's base carries
    assert wire == {
        "jobErrorMode": 1,
        "pageNumberingTemplate": "##name##_Page(##page##).##extension##",
        "enableSvgConversion": True,
        "svgImagesRecognitionMode": 0,
        "emptyPageMode": 0,
        "preprocessorDeskew": False,
        "preprocessorOrient": False,
        "preprocessorInvert": False,
        "inputDocumentFirstPageNumber": 0,
        "inputDocumentLastPageNumber": 0,
        "documentFormat": 0,
        "rasterImageFormat": 0,
        "rasterImageBitsPerPixel": 0,
        "documentOptions": None,
        "jobName": None,
        "annotationsMode": 0,
        "documentName": None,
        "outputDocumentId": None,
        "annotations": None,
    }
    assert JobData().to_wire() == {}


STATUS_FIELDS = """
userToken jobToken jobName userData jobStatus jobStatusPageNumber jobStatusMessage isCompleted abort
errorMessages jobStartedTimestamp jobCompletedTimestamp jobStatusTimestamp queryJobStatusTimestamp
statusCachePolicy statusCacheConfiguration inputDocumentId inputDocumentFirstPageNumber
inputDocumentLastPageNumber inputCacheConfiguration outputDocumentId outputDocumentUri
outputDocumentName outputCachePolicy outputCacheConfiguration documentFormat rasterImageFormat
rasterImageBitsPerPixel documentWriterOptions documentConverterOptions annotationsMode ocrEngineName
ocrEngineSettings ocrEngineStartupParameters flowRunId flowRunName errorCode pageCount percent
"""


def test_wire_names_of_the_status():
    status = StatusJobData(user_token="u", job_token="j", flow_run_id="f")
    wire = status.to_wire()
    assert list(wire) == STATUS_FIELDS.split()
    assert StatusJobData.from_wire(json.loads(json.dumps(wire))) == status
    result = RunConvertJobResult(user_token="u", job_token="j", flow_run_id="f")
    assert RunConvertJobResult.from_wire(result.to_wire()) == result


def test_numbers_of_the_enumerations():
    assert [(s.name, s.value) for s in JobStatus] == [
        ("SUCCESS", 0), ("SUCCESS_WITH_ERRORS", 1), ("ABORTED", 2),
    ]  # fmt: skip
    assert JobData.from_wire({"documentFormat": -1, "rasterImageFormat": 29}).raster_image_format == 29


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        ({"documentFormat": 99}, "documentFormat"),
        ({"documentFromat": 1}, "documentFromat is no field"),
        ({"jobErrorMode": "x"}, "jobErrorMode"),
    ],
)
def test_wrong_fields_are_named(wire, words):
    with pytest.raises(InvalidJobData, match=words):
        JobData.from_wire(wire)


@given(JOBS)
@settings(max_examples=200)
def test_every_job_maps_or_is_refused_by_name(job):
    try:
        request = request_from_job_data("file:///scan.tif", job)
    except (InvalidJobData, UnsupportedConversion) as error:
        assert error.message
        return
    asked = {name for name in job.model_fields_set - HONOURED if getattr(job, name) not in (None, 0, False)}
    assert not asked
    assert target_from_name(request.to).name == request.to
    assert request.options.on_error is (
        OnError.ABORT if job.job_error_mode is JobErrorMode.ABORT else OnError.RESUME
    )
    assert request.document_name == job.document_name
    assert request.output_document_id == job.output_document_id
    assert ConvertRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request


NOT_HONOURED = {
    "enable_svg_conversion": True,
    "svg_images_recognition_mode": 0,
    "empty_page_mode": 1,
    "preprocessor_deskew": True,
    "preprocessor_orient": True,
    "preprocessor_invert": True,
    "annotations_mode": 1,
    "annotations": "<xml/>",
}


def test_each_field_is_honoured_or_refused():
    assert set(NOT_HONOURED) | HONOURED == set(JobData.model_fields)


@pytest.mark.parametrize("name", NOT_HONOURED)
def test_a_field_that_is_not_honoured_is_refused_by_its_wire_name(name):
    job = JobData(document_format=1, **{name: NOT_HONOURED[name]})
    with pytest.raises(InvalidJobData, match=JobData.model_fields[name].alias):
        request_from_job_data("/scan.tif", job)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"raster_image_format": 75, "page_numbering_template": "p##page##.##extension##"}, True),
        ({"raster_image_format": 29, "page_numbering_template": "p##page##.##extension##"}, False),
        ({"document_format": 1, "page_numbering_template": "p##page##.##extension##"}, False),
        ({"raster_image_format": 75, "page_numbering_template": PageNames().template}, False),
    ],
)
def test_the_template_names_files_of_a_page_each(values, names):
    asked = request_from_job_data("/scan.tif", JobData(**values)).options.page_names
    assert asked == ("p##page##.##extension##" if names else None)


def test_a_template_without_the_page_is_refused_by_its_wire_name():
    for format in ({"raster_image_format": 75}, {"document_format": 1}):
        with pytest.raises(InvalidJobData, match="pageNumberingTemplate has no ##page##"):
            request_from_job_data("/scan.tif", JobData(page_numbering_template="a", **format))


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"title": "T", "author": "A", "subject": None, "linearized": True, "documentType": 0},
         {"title": "T", "author": "A", "linearize": True}),
        ({"isProtected": True, "userPassword": "env:U"}, {"encrypt_user_password": "env:U"}),
        ({"isProtected": True, "ownerPassword": "env:O", "printEnabled": False, "copyEnabled": False},
         {"encrypt_owner_password": "env:O", "permissions": "annotate,fill,edit"}),
        ({"isProtected": True, "ownerPassword": "env:O", "highQualityPrintEnabled": False,
          "annotationsEnabled": False, "editEnabled": False, "assemblyEnabled": True},
         {"encrypt_owner_password": "env:O", "permissions": "assemble,copy,print-low"}),
        ({"isProtected": False, "printEnabled": True}, {}),
    ],
)  # fmt: skip
def test_document_options_are_honoured(options, asked):
    job = JobData(document_format=1, job_error_mode=0, document_options=options)
    assert request_from_job_data("/scan.tif", job).options.changed() == asked


@pytest.mark.parametrize(
    ("format", "options", "words"),
    [
        ({"document_format": 1}, {"documentType": 1, "qualityFactor": 80},
         "documentOptions.documentType, documentOptions.qualityFactor"),
        ({"document_format": 1}, {"isProtected": True}, "isProtected needs a password"),
        ({"document_format": 1}, {"userPassword": "env:U"}, "needs documentOptions.isProtected"),
        ({"document_format": 1}, {"isProtected": True, "userPassword": "hunter2"}, "not a reference"),
        ({"document_format": 1}, {"linearized": "yes"}, "documentOptions.linearized is no true or false"),
        ({"document_format": 5}, {"documentType": 0, "title": "T"},
         "documentOptions.documentType, documentOptions.title"),
        ({"raster_image_format": 3}, {"title": "T"}, "not with a rasterImageFormat"),
    ],
)  # fmt: skip
def test_document_options_that_are_not_honoured_are_refused_by_name(format, options, words):
    with pytest.raises(InvalidJobData, match=words) as refused:
        request_from_job_data("/scan.tif", JobData(document_options=options, **format))
    assert "hunter2" not in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.parametrize(
    ("first", "last", "pages"),
    [(0, 0, None), (1, -1, None), (0, -1, None), (2, 0, "2-"), (0, 3, "1-3"), (2, 5, "2-5"), (4, 4, "4-4")],
)
def test_page_range(first, last, pages):
    job = JobData(
        document_format=1, input_document_first_page_number=first, input_document_last_page_number=last
    )
    assert request_from_job_data("/scan.tif", job).options.pages == pages


@pytest.mark.parametrize(("first", "last"), [(-1, 0), (1, -2), (5, 4)])
def test_impossible_page_ranges_are_refused(first, last):
    job = JobData(
        document_format=1, input_document_first_page_number=first, input_document_last_page_number=last
    )
    with pytest.raises(InvalidJobData, match=r"inputDocument(First|Last)PageNumber"):
        request_from_job_data("/scan.tif", job)


@pytest.mark.parametrize(
    ("values", "target"),
    [
        ({"document_format": 1}, "pdf"),
        ({"document_format": -1, "raster_image_format": 29}, "tiff-g4"),
        ({"raster_image_format": 75}, "png"),
        ({"raster_image_format": 3, "raster_image_bits_per_pixel": 1}, "tiff-1bit"),
    ],
)
def test_formats(values, target):
    assert request_from_job_data("/scan.tif", JobData(**values)).to == target


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"document_format": -1},
        {"document_format": 1, "raster_image_format": 3},
        {"document_format": 1, "raster_image_bits_per_pixel": 8},
    ],
)
def test_one_of_the_two_formats_must_be_set(values):
    with pytest.raises(InvalidJobData):
        request_from_job_data("/scan.tif", JobData(**values))


@pytest.mark.parametrize("number", [0, 4, 12])
def test_formats_that_cannot_be_written_are_refused(number):
    with pytest.raises(UnsupportedConversion):
        request_from_job_data("/scan.tif", JobData(document_format=number))


def test_sources(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    document = "0123456789abcdef" * 2
    assert source_uri(document) == f"docmill://{document}"
    assert source_uri(f"leadcache://{document}/") == f"docmill://{document}"
    assert source_uri("LEADCACHE://My.Doc") == "docmill://My.Doc"
    assert source_uri("s3://bucket/a.tif") == "s3://bucket/a.tif"
    assert source_uri("a.tif") == str(tmp_path / "a.tif")
    with pytest.raises(InvalidJobData):
        source_uri("")


PAIRS = st.tuples(TEXT, TEXT)


@given(PAIRS, PAIRS)
@settings(max_examples=100)
def test_two_pairs_have_two_keys(one, two):
    assert (job_key(*one) == job_key(*two)) == (one == two)
    assert len(job_key(*one)) == 72


@given(TEXT, st.data())
@settings(max_examples=50)
def test_the_border_between_the_tokens_counts(text, data):
    pair = text + "x"
    cuts = st.integers(1, len(pair) - 1)
    one, two = data.draw(cuts), data.draw(cuts)
    keys = {job_key(pair[:cut], pair[cut:]) for cut in (one, two)}
    assert len(keys) == len({one, two})


@pytest.mark.parametrize("token", ["", "a" * 257, "a\0b", "\ud800"])
def test_tokens_beyond_the_limits_are_refused(token):
    with pytest.raises(InvalidJobData, match="userToken"):
        check_tokens(token, "job")
    with pytest.raises(InvalidJobData, match="jobToken"):
        job_key("user", token)


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", "..", ".x", "a\0", "a\nb", "x" * 201, "字" * 67, "😀" * 51]
)
def test_a_document_name_stays_in_the_folder_of_its_job(name):
    with pytest.raises(InvalidJobData, match="document name"):
        request_from_job_data("/scan.tif", JobData(document_format=1, document_name=name))


def test_a_blank_document_name_is_none():
    for name in ("", " ", "\t", None):
        assert (
            request_from_job_data("/a", JobData(document_format=1, document_name=name)).document_name is None
        )


@pytest.mark.parametrize("sources", [(), [], "scan.tif"])
def test_a_request_has_a_list_of_sources(sources):
    with pytest.raises(InvalidJobData, match="source"):
        ConvertRequest(sources=sources, to="pdf")


def test_new_tokens_differ():
    assert len({new_job_token() for _ in range(100)}) == 100


def test_fingerprints_tell_jobs_apart():
    request = ConvertRequest(sources=("/a.tif",), to="pdf")
    assert fingerprint(request, {}) == fingerprint(ConvertRequest(sources=("/a.tif",), to="pdf"), {})
    others = [
        fingerprint(ConvertRequest(sources=("/b.tif",), to="pdf"), {}),
        fingerprint(ConvertRequest(sources=("/a.tif",), to="tiff"), {}),
        fingerprint(request, {"jobName": "x"}),
    ]
    assert len({fingerprint(request, {}), *others}) == 4


def test_the_short_import_path_waits_with_prefect_until_it_is_used():
    code = """if True:
        import sys
        import docmill.jobs
        assert not {"prefect", "pydantic", "asyncio"} & set(sys.modules)
        for name in docmill.jobs.__all__:
            assert getattr(docmill.jobs, name).__name__ == name
        assert set(docmill.jobs.__all__) <= set(dir(docmill.jobs))
        assert not hasattr(docmill.jobs, "Runner")
    """
    subprocess.run([sys.executable, "-c", code], check=True)
