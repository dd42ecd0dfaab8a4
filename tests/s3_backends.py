"""S3 servers on loopback, each a process of its own: ministack (the default), moto, and SeaweedFS on disk.

Every server passes the If-None-Match race before a test sees it: on one that overwrites, tests of the lake prove nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Barrier
from typing import Any

from lakehouse.settings import Settings, load_settings
from tests.support import REPO, free_port

MINISTACK = REPO / ".venv-ministack" / "bin" / "ministack"
BIN = Path(sys.executable).parent
START_SECONDS = 60
RACERS, RACES = 8, 20
SSE_KEY = "5e" * 32
"""SeaweedFS wants some key of 64 hex digits; nothing real is encrypted with it."""


@dataclass
class S3Backend:
    """A running server: where it listens, its keys, and the power to kill, pause and start it again."""

    name: str
    port: int
    command: list[str]
    environment: dict[str, str]
    log: Path
    health: str
    access_key: str = "test"
    secret_key: str = "test-secret"
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def lake_environment(self) -> dict[str, str]:
        """Settings of a lake on this server, for a process."""
        return {
            "CREATORLAKE_S3_ENDPOINT": self.endpoint,
            "CREATORLAKE_S3_ACCESS_KEY_ID": self.access_key,
            "CREATORLAKE_S3_SECRET_ACCESS_KEY": self.secret_key,
        }

    def settings(self, home: Path, root: str, **more: Any) -> Settings:
        """Settings of the lake at `root` (bucket and prefix) on this server."""
        given = {name.removeprefix("CREATORLAKE_").lower(): value for name, value in self.lake_environment.items()}
        return load_settings(home=home, lake=f"s3://{root}", **given | more)

    @cached_property
    def client(self) -> Any:
        """A boto3 client."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(retries={"max_attempts": 1}, max_pool_connections=RACERS, s3={"addressing_style": "path"}),
        )

    def make_bucket(self, name: str) -> str:
        """An empty bucket; its name is returned."""
        self.client.create_bucket(Bucket=name)
        return name

    def start(self) -> None:
        """Start the server over whatever it keeps, and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._answers():
                return
            time.sleep(0.1)
        raise AssertionError(f"{self.name} did not start: {self.log.read_text(errors='replace')[-2000:]}")

    def kill(self) -> None:
        """SIGKILL to the server and its children."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def pause(self) -> None:
        """Stop answering while connections stay open."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after a pause."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.endpoint + self.health, timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            with error:
                return error.code < 500 and self.health == "/"
        except OSError:
            return False


def ministack(folder: Path) -> S3Backend:
    """In memory; refuses what S3 refuses, but takes any credentials."""
    port = free_port()
    environment = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "PATH": str(MINISTACK.parent),
        "HOME": str(folder),
    }
    return S3Backend("ministack", port, [str(MINISTACK)], environment, folder / "log", "/_ministack/health")


def moto(folder: Path) -> S3Backend:
    """In memory; the second opinion."""
    port = free_port()
    command = [str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    return S3Backend("moto", port, command, {**os.environ, "HOME": str(folder)}, folder / "log", "/moto-api/")


def seaweedfs(folder: Path) -> S3Backend:
    """On disk, with credentials that count; survives a kill."""
    keys = {"accessKey": "test", "secretKey": "test-secret"}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = {"identities": [{"name": "t", "credentials": [keys], "actions": actions}]}
    (folder / "ids.json").write_text(json.dumps(identities), encoding="utf-8")
    (folder / "data").mkdir()
    ports = {name: _port_with_grpc() for name in ("s3", "master", "volume", "filer")}
    command = [
        *(str(BIN / "weed"), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}", "-s3"),
        *(f"-s3.config={folder / 'ids.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false"),
        *(f"-s3.port={ports['s3']}", f"-master.port={ports['master']}", f"-volume.port={ports['volume']}"),
        *(f"-filer.port={ports['filer']}", "-volume.max=200", "-master.volumeSizeLimitMB=64"),
        "-master.telemetry=false",
    ]
    environment = {**os.environ, "HOME": str(folder), "WEED_S3_SSE_KEK": SSE_KEY}
    environment["WEED_MASTER_VOLUME_GROWTH_COPY_1"] = "1"
    return S3Backend("seaweedfs", ports["s3"], command, environment, folder / "log", "/healthz")


BACKENDS: dict[str, Callable[[Path], S3Backend]] = {"ministack": ministack, "moto": moto, "seaweedfs": seaweedfs}


@contextmanager
def running(name: str, folder: Path) -> Iterator[S3Backend]:
    """A server that passed the race, ended by its own pid.

    Raises:
        AssertionError: it does not start, or it overwrites on conditional create.
    """
    folder.mkdir(parents=True, exist_ok=True)
    backend = BACKENDS[name](folder)
    try:
        backend.start()
        require_one_winner(backend)
        yield backend
    finally:
        backend.kill()


def require_one_winner(backend: S3Backend) -> None:
    """Eight threads create the same twenty keys on condition that they do not exist: each key has one winner.

    Raises:
        AssertionError: the server let a second one overwrite.
    """
    bucket = backend.make_bucket("precondition")
    barrier = Barrier(RACERS)
    with ThreadPoolExecutor(RACERS) as pool:
        won = list(pool.map(lambda racer: _race(backend, bucket, barrier, racer), range(RACERS)))
    winners = [sum(keys) for keys in zip(*won, strict=True)]
    assert winners == [1] * RACES, f"{backend.name} overwrites on conditional create: winners per key {winners}"


def _race(backend: S3Backend, bucket: str, barrier: Barrier, racer: int) -> list[bool]:
    from botocore.exceptions import ClientError

    won = []
    barrier.wait(timeout=START_SECONDS)
    for race in range(RACES):
        for _ in range(START_SECONDS):
            try:
                backend.client.put_object(Bucket=bucket, Key=f"race-{race}", Body=str(racer), IfNoneMatch="*")
                won.append(True)
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status == 409 or status >= 500:  # busy: ask again
                    time.sleep(0.05)
                    continue
                assert status == 412, error
                won.append(False)
            break
    return won


def _port_with_grpc() -> int:
    """A free port whose neighbour at +10000, which SeaweedFS takes for gRPC, is valid."""
    while (port := free_port()) > 55_000:
        pass
    return port
