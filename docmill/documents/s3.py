"""The few requests to S3 that docmill makes, through s3fs's client: its credentials, retries and event loop.

Credentials and endpoint are found as AWS's own tools find them (AWS_ACCESS_KEY_ID, AWS_PROFILE,
AWS_ENDPOINT_URL, ~/.aws, a machine's role), or as fsspec does (FSSPEC_S3_KEY, FSSPEC_S3_SECRET,
FSSPEC_S3_ENDPOINT_URL, FSSPEC_S3='{"anon": true}'); the second win. Methods raise what s3fs raises.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from docmill.documents.uris import Location

A = TypeVar("A")
B = TypeVar("B")

SCHEMES = frozenset({"s3", "s3a"})
PART_BYTES = 8 << 20
_MAX_PARTS = 9_000
_UPLOADS_AT_ONCE = 4
_CONNECT_SECONDS = 5
_READ_SECONDS = 60
_TRIES = 3


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object as a listing or a HEAD tells it; a listing knows no metadata."""

    key: str
    size: int
    modified: datetime
    etag: str
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that is not completed: nobody sees it."""

    key: str
    upload_id: str
    parts: tuple[dict[str, Any], ...]


class S3:
    """A bucket."""

    def __init__(self, bucket: str, *, read_timeout: float = _READ_SECONDS) -> None:
        self.bucket = bucket
        self._fs = _filesystem(read_timeout)

    def head(self, key: str) -> S3Object | None:
        """What is at `key`; None if nothing is, or there is no such bucket."""
        try:
            found = self._call("head_object", Key=key)
        except FileNotFoundError:
            return None
        metadata = {name.lower(): value for name, value in found.get("Metadata", {}).items()}
        return S3Object(key, found["ContentLength"], found["LastModified"], found["ETag"], metadata)

    def check_bucket(self) -> None:
        """Raise what the store says where there is no such bucket; one that may not be listed is there."""
        try:
            self._call("list_objects_v2", MaxKeys=1)
        except PermissionError:
            pass

    def get(self, key: str) -> tuple[int, Iterator[bytes]]:
        """The size of an object and its bytes, in one request, so of one version."""
        found = self._call("get_object", Key=key)
        return found["ContentLength"], self._read(found["Body"])

    def put(
        self,
        key: str,
        data: bytes,
        *,
        exclusive: bool = False,
        metadata: dict[str, str] | None = None,
        media_type: str = "",
    ) -> str:
        """Write an object at once and return its ETag.

        With `exclusive` raises `FileExistsError` where there is one.
        """
        extra: dict[str, Any] = {"IfNoneMatch": "*"} if exclusive else {}
        extra |= {"ContentType": media_type} if media_type else {}
        try:
            etag: str = self._call("put_object", Key=key, Body=data, Metadata=metadata or {}, **extra)["ETag"]
            return etag
        except Exception as exc:
            if exclusive and is_precondition_failure(exc):
                raise FileExistsError(key) from exc
            raise

    def upload(
        self, key: str, source: Path, *, metadata: dict[str, str] | None = None, media_type: str = ""
    ) -> Upload:
        """Bring a file of any size to the store as an uncompleted upload to `key`."""
        kind = {"ContentType": media_type} if media_type else {}
        begun = self._call("create_multipart_upload", Key=key, Metadata=metadata or {}, **kind)
        upload = Upload(key, begun["UploadId"], ())
        try:
            return Upload(key, upload.upload_id, self._upload_parts(upload, source))
        except BaseException:
            self.abort_quietly(upload)
            raise

    def complete(self, upload: Upload, *, exclusive: bool) -> None:
        """Make an upload the object; with `exclusive` raises `FileExistsError` where there is one."""
        condition = {"IfNoneMatch": "*"} if exclusive else {}
        try:
            self._call(
                "complete_multipart_upload",
                Key=upload.key,
                UploadId=upload.upload_id,
                MultipartUpload={"Parts": list(upload.parts)},
                **condition,
            )
        except Exception as exc:
            if exclusive and is_precondition_failure(exc):
                raise FileExistsError(upload.key) from exc
            raise

    def abort(self, upload: Upload) -> None:
        """Drop an upload, if it is there."""
        try:
            self._call("abort_multipart_upload", Key=upload.key, UploadId=upload.upload_id)
        except FileNotFoundError:
            pass

    def abort_quietly(self, upload: Upload) -> None:
        """Drop an upload after a failure that is to be told instead of one of this."""
        try:
            self.abort(upload)
        except Exception:
            pass

    def uploads(self, prefix: str) -> Iterator[tuple[Upload, datetime]]:
        """The uploads to keys that start with `prefix`, and when they began."""
        markers: dict[str, str] = {}
        while True:
            page = self._call("list_multipart_uploads", Prefix=prefix, **markers)
            for found in page.get("Uploads", []):
                yield Upload(found["Key"], found["UploadId"], ()), found["Initiated"]
            if not page.get("IsTruncated"):
                return
            markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def list(self, prefix: str) -> Iterator[S3Object]:
        """All objects whose keys start with `prefix`."""
        token: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, **token)
            for found in page.get("Contents", []):
                yield S3Object(found["Key"], found["Size"], found["LastModified"], found["ETag"], {})
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the store, with its metadata."""
        self._fs.copy(f"{self.bucket}/{source}", f"{self.bucket}/{target}")

    def delete(self, key: str, *, etag: str = "") -> None:
        """Remove an object, if it is there; with `etag` only if it is that one."""
        condition = {"IfMatch": etag} if etag else {}
        try:
            self._call("delete_object", Key=key, **condition)
        except Exception as exc:
            if not (etag and (isinstance(exc, FileNotFoundError) or is_precondition_failure(exc))):
                raise

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._fs.call_s3(method, Bucket=self.bucket, **arguments)

    def _read(self, body: Any) -> Iterator[bytes]:
        from docmill.documents.streams import read_chunks

        async def read(size: int) -> bytes:
            return bytes(await body.read(size))

        try:
            yield from read_chunks(self._fs.loop, read)
        finally:
            body.close()

    def _upload_parts(self, upload: Upload, source: Path) -> tuple[dict[str, Any], ...]:
        size = source.stat().st_size
        step = max(PART_BYTES, -(-size // _MAX_PARTS))
        with source.open("rb", buffering=0) as file:

            def send(number: int) -> dict[str, Any]:
                # Read where it is sent: no more parts are in memory than are on their way.
                body = _read_at(file.fileno(), (number - 1) * step, step)
                sent = self._call(
                    "upload_part", Key=upload.key, UploadId=upload.upload_id, PartNumber=number, Body=body
                )
                return {"PartNumber": number, "ETag": sent["ETag"]} | _checksums(sent)

            # An empty file is one empty part.
            numbers = range(1, max(1, -(-size // step)) + 1)
            return tuple(at_once(send, numbers, _UPLOADS_AT_ONCE))


def at_once(function: Callable[[A], B], items: Sequence[A], width: int) -> list[B]:
    """`function` of each item, `width` at a time in threads; after the first failure no other is begun."""
    if len(items) == 1:
        return [function(items[0])]
    with ThreadPoolExecutor(width) as pool:
        try:
            return list(pool.map(function, items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def split(location: Location) -> tuple[str, str]:
    """The bucket and the key of `s3://bucket/key`."""
    bucket, _, key = location.uri.split("://", 1)[1].partition("/")
    return bucket, key


def is_precondition_failure(exc: BaseException) -> bool:
    """Whether the store refused because of IfNoneMatch or IfMatch (412), or a racing request (409)."""
    from docmill.documents.causes import store_code

    return isinstance(exc, FileExistsError) or store_code(exc) in {
        "PreconditionFailed",
        "ConditionalRequestConflict",
        "412",
        "409",
    }


def _checksums(sent: dict[str, Any]) -> dict[str, Any]:
    kept = ("ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256")
    return {name: sent[name] for name in kept if name in sent}


def _read_at(fd: int, offset: int, size: int) -> bytes:
    pieces = []
    while size and (piece := os.pread(fd, size, offset)):
        pieces.append(piece)
        offset += len(piece)
        size -= len(piece)
    return b"".join(pieces)


_filesystems: dict[Any, Any] = {}
_filesystems_lock = threading.Lock()


def _filesystem(read_timeout: float) -> Any:
    """One client for a process and its environment: making one takes a quarter of a second."""
    environment = tuple(
        sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "FSSPEC_S3")))
    )
    key = (os.getpid(), environment, read_timeout)
    with _filesystems_lock:
        if key not in _filesystems:
            _filesystems[key] = _new_filesystem(read_timeout)
        return _filesystems[key]


def _new_filesystem(read_timeout: float) -> Any:
    import fsspec.config
    import s3fs

    settings: dict[str, dict[str, Any]] = {}
    fsspec.config.set_conf_env(settings)
    chosen = dict(fsspec.config.conf.get("s3", {})) | settings.get("s3", {})
    chosen["config_kwargs"] = {
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": read_timeout,
        "retries": {"max_attempts": 2, "mode": "standard"},
    } | dict(chosen.get("config_kwargs") or {})
    # A listing that is remembered would hide what other processes write.
    fs = s3fs.S3FileSystem(**chosen, use_listings_cache=False, skip_instance_cache=True)
    fs.retries = _TRIES
    return fs
