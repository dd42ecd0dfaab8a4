"""The lake's objects: write-once files with sha256, small replaceable records, one pointer moved by compare-and-swap.

One code path for a local folder and an S3 bucket. Delta tables are not touched here (`lake.py`). No Spark: the index
build and the serving process use this module too (ADR 0001). Trouble with a store leaves as one sentence of ours: its own
text may repeat the access key.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, S3Store

from lakehouse.contracts.layout import Layout
from lakehouse.errors import IntegrityError, NotFoundError, PermanentError, TransientError
from lakehouse.settings import Settings

CHUNK_BYTES = 8 * 1024 * 1024
"""Read size when hashing or copying: large enough to amortise calls, small enough for any machine."""
COPY_MAX_BYTES = 1024**3
"""The most that is copied in one call: S3 takes 5 GiB, but has to answer within `REQUEST_TIMEOUT`."""
CONDITIONAL_SECONDS = 90.0
"""How long a conditional write is tried again before it fails."""
FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.1, 5.0
REQUEST_TIMEOUT = timedelta(seconds=60)
"""For one answer; the same as S3A's (`session.py`)."""
RETRY: Any = {
    "max_retries": 40,
    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=5), "base": 3},
    "retry_timeout": timedelta(seconds=90),
}
"""Outlasts an outage of half a minute, and ends in a clear error after a minute and a half."""
_STATUS = re.compile(r"status code: (\d{3})")
"""Where a store's text says what the server answered: listings have no error types of their own."""
_REFUSED, _MISSING = frozenset({"401", "403"}), "404"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One listed object: key relative to the lake root, size in bytes, time of its last write."""

    key: str
    size: int
    modified_at: datetime


class ObjectStore:
    """Objects under one lake root, addressed by keys relative to it."""

    def __init__(self, layout: Layout, store: LocalStore | S3Store) -> None:
        """Wrap an opened store whose root is the lake root."""
        self.layout = layout
        self._store = store

    @classmethod
    def open(cls, settings: Settings) -> ObjectStore:
        """Open the lake root named by the settings; a local folder is created."""
        layout = Layout(settings.lake_root)
        return cls(layout, _s3_store(settings, layout) if layout.is_s3 else _local_store(layout.root))

    def put_once(self, key: str, data: bytes | Path) -> str:
        """Create an object; the same content again is a no-op.

        Returns:
            The sha256 of the content, hex.

        Raises:
            IntegrityError: the key exists with other content.
        """
        digest = sha256_file(data) if isinstance(data, Path) else hashlib.sha256(data).hexdigest()
        if not self._create(key, data) and self.sha256(key) != digest:
            raise IntegrityError(f"{self.layout.uri(key)} exists with other content; objects are written once.")
        return digest

    def replace(self, key: str, data: bytes) -> None:
        """Write a small mutable record atomically; the last writer wins."""
        with self._asked("written", key):
            obstore.put(self._store, key, data)

    def copy(self, source: str, key: str, *, scratch: Path) -> None:
        """Copy an object that is written once: inside the store, a local one by a hard link; large ones through this machine.

        Args:
            source: key of the object.
            key: of the copy.
            scratch: folder for a large object on its way.

        Raises:
            NotFoundError: there is no such object.
        """
        with self._asked("copied", source):
            size = obstore.head(self._store, source)["size"]
            is_large = self.layout.is_s3 and size > COPY_MAX_BYTES
            if not self.layout.is_s3:
                self.delete(key)  # a link renamed over another name of the same file stays beside it
            if not is_large:
                obstore.copy(self._store, source, key)
        if is_large:
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                self.download(source, Path(folder) / "copy")
                with self._asked("written", key):
                    obstore.put(self._store, key, Path(folder) / "copy")

    def swap(self, key: str, data: bytes, *, expected: bytes | None) -> bool:
        """Set a pointer to `data` only if it holds `expected` (None: does not exist); whether it holds `data` now.

        Raises:
            TransientError: the store did not answer for a minute and a half; the pointer may hold either.
        """
        if expected is None:
            return self._create(key, data)
        return self._swap_s3(key, data, expected) if self.layout.is_s3 else self._swap_local(key, data, expected)

    def get(self, key: str) -> bytes:
        """Whole object.

        Raises:
            NotFoundError: there is no such object.
        """
        with self._asked("read", key):
            return bytes(obstore.get(self._store, key).bytes())

    def get_verified(self, key: str, sha256: str) -> bytes:
        """Whole object, refused when its checksum differs.

        Raises:
            IntegrityError: the bytes are not those that were written.
        """
        data = self.get(key)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise IntegrityError(f"{self.layout.uri(key)} does not match its recorded sha256.")
        return data

    def read_json(self, key: str) -> Any:
        """Parsed JSON object, or None when it does not exist."""
        try:
            return json.loads(self.get(key))
        except NotFoundError:
            return None

    def download(self, key: str, target: Path, *, sha256: str | None = None) -> None:
        """Stream an object into a local file beside its final name, verify, rename.

        Raises:
            IntegrityError: the checksum differs; nothing is left at `target`.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        with part.open("wb") as out:
            out.writelines(self._stream(key))
        if sha256 is not None and sha256_file(part) != sha256:
            part.unlink()
            raise IntegrityError(f"{self.layout.uri(key)} does not match its recorded sha256.")
        part.replace(target)

    def sha256(self, key: str) -> str:
        """Checksum of a stored object, read in chunks."""
        digest = hashlib.sha256()
        for chunk in self._stream(key):
            digest.update(chunk)
        return digest.hexdigest()

    def exists(self, key: str) -> bool:
        """Whether an object is there."""
        try:
            with self._asked("read", key):
                obstore.head(self._store, key)
        except NotFoundError:
            return False
        return True

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects under a folder-like prefix, in key order within each page."""
        return self._listed(prefix, None)

    def list_after(self, prefix: str, start: str) -> Iterator[ObjectInfo]:
        """Objects under `prefix` whose key sorts after `start`."""
        return self._listed(prefix, start)

    def delete(self, key: str) -> None:
        """Remove an object; a missing one is fine."""
        try:
            with self._asked("deleted", key):
                obstore.delete(self._store, key)
        except NotFoundError:
            return

    def _listed(self, prefix: str, start: str | None) -> Iterator[ObjectInfo]:
        with self._asked("listed", prefix):
            for page in obstore.list(self._store, prefix, offset=start):
                for meta in sorted(page, key=lambda entry: entry["path"]):
                    yield ObjectInfo(meta["path"], meta["size"], meta["last_modified"])

    def _stream(self, key: str) -> Iterator[bytes]:
        with self._asked("read", key):
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    @contextmanager
    def _asked(self, operation: str, key: str) -> Iterator[None]:
        """The store's errors as ours, without its text. What a caller answers itself passes: exists already, has changed.

        Raises:
            NotFoundError: there is no such object, or no such bucket.
            PermanentError: the store refuses the credentials.
            TransientError: anything else.
        """
        uri = self.layout.uri(key)
        try:
            yield
        except FileNotFoundError:
            raise NotFoundError(f"{uri} does not exist.") from None
        except (AlreadyExistsError, PreconditionError):
            raise
        except BaseError as error:
            raise _told(error, operation, uri) from None

    def _create(self, key: str, data: bytes | Path) -> bool:
        """Create an object; False where one with other content is there. Our own may be there after a lost answer."""
        for is_last in _attempts():
            try:
                with self._asked("written", key):
                    obstore.put(self._store, key, data, mode="create")
            except AlreadyExistsError:  # also said of a key that another writer is about to create
                if self.exists(key):
                    return self._holds(key, data)
            except TransientError:
                if is_last:
                    raise
            else:
                return True
        raise TransientError(f"{self.layout.uri(key)} cannot be written: another write of it does not end.")

    def _swap_s3(self, key: str, data: bytes, expected: bytes) -> bool:
        """Replace an object that holds `expected`; one that already holds `data` may be ours after a lost answer."""
        for is_last in _attempts():
            with self._asked("read", key):
                current = obstore.get(self._store, key)
                held = bytes(current.bytes())
            if held != expected:
                return held == data
            try:
                with self._asked("written", key):
                    obstore.put(self._store, key, data, mode={"e_tag": current.meta["e_tag"]})
            except PreconditionError:
                continue  # somebody was faster, or our own answer was lost: what is there now tells
            except TransientError:
                if is_last:
                    raise
            else:
                return True
        return False

    def _holds(self, key: str, data: bytes | Path) -> bool:
        return self.sha256(key) == (sha256_file(data) if isinstance(data, Path) else hashlib.sha256(data).hexdigest())

    def _swap_local(self, key: str, data: bytes, expected: bytes) -> bool:
        with _locked(Path(self.layout.root) / f"{key}.lock"):
            held = self.get(key)
            if held != expected:
                return held == data
            self.replace(key, data)
            return True


def _attempts() -> Iterator[bool]:
    """Attempts at a conditional write, with waits between them; the value tells the last one.

    The store's own client repeats reads, but not these: it cannot tell whether the first one was done.
    """
    deadline = time.monotonic() + CONDITIONAL_SECONDS
    wait = FIRST_WAIT_SECONDS
    while True:
        is_last = time.monotonic() + wait > deadline
        yield is_last
        if is_last:
            return
        time.sleep(wait)
        wait = min(2 * wait, MAX_WAIT_SECONDS)


def sha256_file(path: Path) -> str:
    """Checksum of a local file, read in chunks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _told(error: BaseError, operation: str, uri: str) -> PermanentError | TransientError:
    """One sentence for what went wrong, and whether a retry can help."""
    found = _STATUS.search(str(error))
    status = found.group(1) if found else ""
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in _REFUSED:
        return PermanentError(f"{uri} cannot be {operation}: the store refuses these credentials.")
    if status == _MISSING:
        return NotFoundError(f"{uri} cannot be {operation}: there is no such bucket.")
    answer = f"answers {status}" if status else f"fails ({type(error).__name__})"
    return TransientError(f"{uri} cannot be {operation}: the store {answer}.")


def _local_store(root: str) -> LocalStore:
    Path(root).mkdir(parents=True, exist_ok=True)
    return LocalStore(root)


def _s3_store(settings: Settings, layout: Layout) -> S3Store:
    bucket, _, prefix = layout.root.removeprefix("s3://").partition("/")
    config: dict[str, Any] = {"region": settings.s3_region}
    if settings.s3_endpoint:
        config |= {"endpoint": settings.s3_endpoint, "virtual_hosted_style_request": False}
    if settings.s3_access_key_id and settings.s3_secret_access_key:
        config["access_key_id"] = settings.s3_access_key_id.get_secret_value()
        config["secret_access_key"] = settings.s3_secret_access_key.get_secret_value()
    is_plain = settings.s3_endpoint.startswith("http://")
    options: Any = {"allow_http": is_plain, "timeout": REQUEST_TIMEOUT}
    return S3Store(bucket, prefix=prefix or None, client_options=options, retry_config=RETRY, **config)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Exclusive advisory lock between processes of one machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
