"""The Prefect server and its UI, as a process of `docmill up`: `python -m docmill.up.server PORT [SOCKET]`.

Settings come by environment. The modules (2 s) are imported while the database starts whose socket is SOCKET.
"""

from __future__ import annotations

import os
import socket
import sys
import time

from docmill.garbage import collect_seldom

DATABASE_SECONDS = 120.0
# Patience with a busy database. Events of task runs stored in bulk, a second late at most: one by one, as is
# Prefect's default, they take a sixth of the server's time for a job. And connections to PostgreSQL that stay
# open, with their statements prepared: by Prefect's default five stay and ten come and go, which took more
# than half of PostgreSQL's time and a quarter of the server's.
SETTINGS = {
    "PREFECT_API_DATABASE_TIMEOUT": "60",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "20",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_STATEMENT_CACHE_SIZE": "500",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_PREPARED_STATEMENT_CACHE_SIZE": "500",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
}


def main(port: int, database_socket: str | None = None) -> None:
    """Serve on 127.0.0.1 until SIGTERM."""
    os.umask(0o077)  # what is in a database of files is this user's alone
    import uvicorn

    from docmill.jobs.prefect_app import prefect_app

    app = prefect_app()
    collect_seldom()
    if database_socket:
        _wait_for(database_socket)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        timeout_graceful_shutdown=3,
    )


def _wait_for(path: str) -> None:
    deadline = time.monotonic() + DATABASE_SECONDS
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except OSError:
                time.sleep(0.1)
            else:
                return
    sys.exit(f"the database does not answer at {path}")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:3])
