"""Objects in a folder: written once, verified on read, one winner per swap."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from obstore.store import S3Store

from lakehouse.contracts.layout import Layout
from lakehouse.errors import IntegrityError, NotFoundError, PermanentError, TransientError
from lakehouse.storage.objects import ObjectStore


@pytest.fixture
def objects(settings):
    return ObjectStore.open(settings)


def test_put_once_is_idempotent_for_the_same_content(objects):
    digest = objects.put_once("a/b.json", b"one")
    assert digest == hashlib.sha256(b"one").hexdigest()
    assert objects.put_once("a/b.json", b"one") == digest
    assert objects.get("a/b.json") == b"one"


def test_put_once_refuses_other_content_and_keeps_the_first(objects):
    objects.put_once("a", b"one")
    with pytest.raises(IntegrityError, match="written once"):
        objects.put_once("a", b"two")
    assert objects.get("a") == b"one"


def test_put_once_takes_a_file(objects, tmp_path):
    source = tmp_path / "big"
    source.write_bytes(b"x" * 100_000)
    assert objects.put_once("f", source) == objects.sha256("f")


def test_a_copy_is_an_object_of_its_own(objects, tmp_path):
    objects.put_once("a/one", b"1")
    objects.copy("a/one", "b/two", scratch=tmp_path)
    objects.copy("a/one", "b/two", scratch=tmp_path)
    assert [path.name for path in (Path(objects.layout.root) / "b").iterdir()] == ["two"]
    objects.delete("a/one")
    assert objects.get("b/two") == b"1"
    with pytest.raises(NotFoundError, match="a/one"):
        objects.copy("a/one", "b/three", scratch=tmp_path)


def test_a_missing_object_is_named(objects):
    with pytest.raises(NotFoundError, match="nothing/here"):
        objects.get("nothing/here")
    assert objects.read_json("nothing/here") is None
    assert not objects.exists("nothing/here")


def test_a_damaged_object_is_refused(objects, tmp_path):
    digest = objects.put_once("f", b"good")
    (tmp_path / "lake" / "f").write_bytes(b"bad!")
    with pytest.raises(IntegrityError):
        objects.get_verified("f", digest)
    with pytest.raises(IntegrityError):
        objects.download("f", tmp_path / "copy", sha256=digest)
    assert not (tmp_path / "copy").exists()


def test_list_is_sorted_and_limited_to_the_prefix(objects):
    for key in ("p/2", "p/10", "q/1"):
        objects.put_once(key, b"1")
    assert [info.key for info in objects.list("p")] == ["p/10", "p/2"]
    assert [info.key for info in objects.list_after("p", "p/10")] == ["p/2"]


def test_swap_needs_the_expected_value(objects):
    assert objects.swap("CURRENT", b"1", expected=None)
    assert not objects.swap("CURRENT", b"2", expected=None)
    assert not objects.swap("CURRENT", b"2", expected=b"0")
    assert objects.swap("CURRENT", b"2", expected=b"1")
    assert objects.get("CURRENT") == b"2"


def test_one_of_many_racing_swaps_wins(objects):
    objects.swap("CURRENT", b"0", expected=None)
    with ThreadPoolExecutor(8) as pool:
        wins = list(pool.map(lambda i: objects.swap("CURRENT", str(i).encode(), expected=b"0"), range(1, 33)))
    assert sum(wins) == 1
    assert objects.get("CURRENT") == str(wins.index(True) + 1).encode()


def test_delete_of_a_missing_object_is_fine(objects):
    objects.delete("never")


class Refusing(BaseHTTPRequestHandler):
    """Answers every request with the server's status, and repeats the access key as S3 does."""

    def answer(self):
        body = b"<Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>AKIAHUSH</AWSAccessKeyId></Error>"
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def bucket():
    """A bucket whose server refuses everything with `bucket.status`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    store = S3Store(
        "lake",
        endpoint=f"http://127.0.0.1:{server.server_port}",
        region="us-east-1",
        access_key_id="AKIAHUSH",
        secret_access_key="hush",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    server.objects = ObjectStore(Layout("s3://lake"), store)
    yield server
    server.shutdown()
    server.server_close()


OPERATIONS = {
    "put_once": lambda objects: objects.put_once("a/key", b"1"),
    "replace": lambda objects: objects.replace("a/key", b"1"),
    "create": lambda objects: objects.swap("a/key", b"1", expected=None),
    "swap": lambda objects: objects.swap("a/key", b"1", expected=b"0"),
    "get": lambda objects: objects.get("a/key"),
    "sha256": lambda objects: objects.sha256("a/key"),
    "list": lambda objects: list(objects.list("a/key")),
    "list_after": lambda objects: list(objects.list_after("a/key", "a/key")),
    "exists": lambda objects: objects.exists("a/key"),
    "delete": lambda objects: objects.delete("a/key"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, PermanentError), (403, PermanentError), (400, TransientError), (500, TransientError), (503, TransientError)],
)
def test_trouble_with_a_store_is_one_sentence_without_secrets(bucket, operation, status, kind, monkeypatch):
    monkeypatch.setattr("lakehouse.storage.objects.CONDITIONAL_SECONDS", 0.3)
    bucket.status = status
    with pytest.raises(kind) as raised:
        OPERATIONS[operation](bucket.objects)
    text = str(raised.value)
    assert text.startswith("s3://lake/a/key cannot be ")
    assert "\n" not in text
    assert "HUSH" not in text.upper()
    assert raised.value.__suppress_context__


def test_a_missing_bucket_is_not_found(bucket):
    bucket.status = 404
    for operation in ("put_once", "swap", "get", "list"):
        with pytest.raises(NotFoundError, match="s3://lake/a/key"):
            OPERATIONS[operation](bucket.objects)
    assert not bucket.objects.exists("a/key")
