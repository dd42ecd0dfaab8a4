"""The main job over an S3 server on loopback, undisturbed: the same creators and counts as in a folder after a kill."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.store import S3Store

from lakehouse.settings import load_settings
from lakehouse.storage.objects import ObjectStore
from tests.support import REPO, WORLD, Home, free_port, request, served, shown_creators, step_counts

pytestmark = [pytest.mark.e2e, pytest.mark.s3]
EMULATOR = REPO / ".venv-ministack" / "bin" / "ministack"
BUCKET = "creatorlake-test"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory) -> Iterator[str]:
    """An in-memory S3 server with an empty bucket, ended by its own pid."""
    if not EMULATOR.exists():
        pytest.skip("no S3 emulator: run `make test`, which installs it")
    port = free_port()
    environment = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "PATH": str(EMULATOR.parent),
        "HOME": str(tmp_path_factory.mktemp("s3")),
    }
    log = (tmp_path_factory.mktemp("log") / "ministack.log").open("w")
    process = subprocess.Popen([str(EMULATOR)], env=environment, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address)
        _make_bucket(address)
        yield address
    finally:
        process.kill()
        process.wait()
        log.close()


def _wait(address: str) -> None:
    for _ in range(150):
        try:
            if request(f"{address}/_ministack/health")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError("the S3 emulator did not start")


def _make_bucket(address: str) -> None:
    import urllib.request

    call = urllib.request.Request(f"{address}/{BUCKET}", method="PUT")
    urllib.request.urlopen(call, timeout=30).close()


def _home(path: Path, endpoint: str) -> Home:
    env = {
        **WORLD,
        "CREATORLAKE_S3_ENDPOINT": endpoint,
        "CREATORLAKE_S3_ACCESS_KEY_ID": "test",
        "CREATORLAKE_S3_SECRET_ACCESS_KEY": "test",
    }
    return Home(path, f"s3://{BUCKET}/lake", env)


def test_conditional_writes_have_one_winner(endpoint, tmp_path):
    settings = load_settings(
        home=tmp_path, lake=f"s3://{BUCKET}/probe", s3_endpoint=endpoint, s3_access_key_id="t", s3_secret_access_key="t"
    )
    objects = ObjectStore.open(settings)
    assert isinstance(objects._store, S3Store)
    assert objects.put_once("a", b"1") == objects.put_once("a", b"1")
    assert objects.swap("p", b"1", expected=None)
    assert not objects.swap("p", b"2", expected=None)
    assert not objects.swap("p", b"3", expected=b"2")
    assert objects.swap("p", b"2", expected=b"1")
    assert objects.get("p") == b"2"
    assert [info.key for info in objects.list("")] == ["a", "p"]


def test_the_main_job_on_s3_ends_like_the_killed_one_in_a_folder(world, endpoint, tmp_path):
    home = _home(tmp_path, endpoint)
    checked = home.run("doctor", timeout=120)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    done = home.run("run", "--no-serve")
    assert done.returncode == 0, done.stdout + done.stderr
    assert shown_creators(home) == shown_creators(world)
    assert step_counts(home) == step_counts(world)
    again = home.run("run", "--no-serve", timeout=120)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Nothing changed" in again.stdout
    with served(home) as base:
        status, answer = request(f"{base}/v1/search", {"query": "travel", "limit": 3})
        assert (status, len(answer["hits"])) == (200, 3)
    assert not (tmp_path / "lake").exists()
