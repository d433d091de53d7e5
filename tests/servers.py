"""Real servers for tests, on free ports, ended by their process id with the session that started them."""

from __future__ import annotations

import contextlib
import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class S3Server:
    """A SeaweedFS of one process with its S3 gateway; `environment` is what a client of it needs."""

    BUCKET = "docmill-test"
    KEY, SECRET = "docmilltest", "docmill-test-secret"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data").mkdir()
        identity = {
            "name": "docmill",
            "credentials": [{"accessKey": self.KEY, "secretKey": self.SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        self.endpoint = ""
        self._start()
        self._make_bucket()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.KEY,
            "AWS_SECRET_ACCESS_KEY": self.SECRET,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            # nobody's own configuration
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def restart(self) -> None:
        """Start it anew on what the last one left; `endpoint` is another one then."""
        self.kill()
        self._start()
        self._make_bucket()

    def bytes_on_disk(self) -> int:
        """What its volumes hold."""
        return sum(path.stat().st_size for path in (self._folder / "data").rglob("*.dat"))

    def _start(self) -> None:
        weed = Path(sys.executable).with_name("weed")
        ports = free_ports(8)
        names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc"]
        names += ["filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc"]
        arguments = [f"-{name}={port}" for name, port in zip(names, ports, strict=True)]
        self.endpoint = f"http://127.0.0.1:{ports[6]}"
        with (self._folder / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    weed,
                    f"-logdir={self._folder}",
                    "server",
                    "-ip=127.0.0.1",
                    "-ip.bind=127.0.0.1",
                    f"-dir={self._folder / 'data'}",
                    "-master.telemetry=false",
                    "-master.volumeSizeLimitMB=256",
                    "-volume.max=20",
                    f"-filer.localSocket={self._folder / 'f.sock'}",
                    "-filer",
                    "-s3",
                    f"-s3.config={self._folder / 's3.json'}",
                    "-s3.autoCreateBucket=false",
                    # Fixed ports, on which a second store on this machine would fail.
                    "-s3.port.iceberg=0",
                    "-s3.port.lance=0",
                    *arguments,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
            )

    def _make_bucket(self) -> None:
        import botocore.session

        settings = botocore.session.get_session()
        client = settings.create_client(
            "s3",
            aws_access_key_id=self.KEY,
            aws_secret_access_key=self.SECRET,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                with contextlib.suppress(
                    client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou
                ):
                    client.create_bucket(Bucket=self.BUCKET)
                # Only a write shows that it has a volume to write to.
                client.put_object(Bucket=self.BUCKET, Key="ready", Body=b"ready")
                return
            except Exception:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self._folder / "log.txt").read_text(errors="replace")
                    raise RuntimeError(f"the S3 server does not start: {log[-2000:]}") from None
                time.sleep(0.2)


class Exchange:
    """One request to a `HttpServer`, to be answered in whatever way: as it should be, or as it fails."""

    def __init__(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self._handler = handler
        self.path = handler.path
        self.headers = dict(handler.headers.items())

    def head(self, status: int = 200, **headers: str) -> None:
        """Send the status and headers; `_` in their names stands for `-`."""
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()

    def body(self, data: bytes) -> None:
        self._handler.wfile.write(data)
        self._handler.wfile.flush()

    def answer(self, data: bytes, status: int = 200, **headers: str) -> None:
        self.head(status, Content_Length=str(len(data)), **headers)
        self.body(data)

    def break_off(self) -> None:
        """Close the connection in the middle."""
        self._handler.close_connection = True
        self._handler.connection.shutdown(socket.SHUT_RDWR)


class HttpServer:
    """An HTTP server that answers each path as a test tells it to; everything else is a 404."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Exchange], None]] = {}
        self.requests: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                exchange = Exchange(self)
                answer = server.answers.get(self.path)
                if answer is None:
                    exchange.answer(b"nothing here", 404)
                else:
                    answer(exchange)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def serve(self, path: str, data: bytes, **headers: str) -> str:
        """Answer `path` with `data`; returns its URL."""
        self.answers[path] = lambda exchange: exchange.answer(data, **headers)
        return self.url + path

    def on(self, path: str, answer: Callable[[Exchange], None]) -> str:
        """Answer `path` by a function; returns its URL."""
        self.answers[path] = answer
        return self.url + path

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
