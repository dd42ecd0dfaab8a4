"""The lake's objects: write-once files with sha256, small replaceable records, one pointer moved by compare-and-swap.

One code path for a local folder and an S3 bucket. Delta tables are not touched here (`lake.py`). No Spark: the index
build and the serving process use this module too (ADR 0001).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import LocalStore, S3Store

from lakehouse.contracts.layout import Layout
from lakehouse.errors import IntegrityError, NotFoundError, TransientError
from lakehouse.settings import Settings

CHUNK_BYTES = 8 * 1024 * 1024
"""Read size when hashing or copying: large enough to amortise calls, small enough for any machine."""


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
        try:
            obstore.put(self._store, key, data, mode="create")
        except AlreadyExistsError as error:
            if self.sha256(key) != digest:
                raise IntegrityError(
                    f"{self.layout.uri(key)} exists with other content; objects are written once."
                ) from error
        return digest

    def replace(self, key: str, data: bytes) -> None:
        """Write a small mutable record atomically; the last writer wins."""
        obstore.put(self._store, key, data)

    def swap(self, key: str, data: bytes, *, expected: bytes | None) -> bool:
        """Set a pointer to `data` only if it still holds `expected` (None: does not exist). Returns whether it did."""
        if expected is None:
            return self._create(key, data)
        return self._swap_s3(key, data, expected) if self.layout.is_s3 else self._swap_local(key, data, expected)

    def get(self, key: str) -> bytes:
        """Whole object.

        Raises:
            NotFoundError: there is no such object.
        """
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.layout.uri(key)} does not exist.") from error

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
            obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects under a folder-like prefix, in key order within each page."""
        for page in obstore.list(self._store, prefix):
            for meta in sorted(page, key=lambda entry: entry["path"]):
                yield ObjectInfo(meta["path"], meta["size"], meta["last_modified"])

    def list_after(self, prefix: str, start: str) -> Iterator[ObjectInfo]:
        """Objects under `prefix` whose key sorts after `start`."""
        for page in obstore.list(self._store, prefix, offset=start):
            for meta in sorted(page, key=lambda entry: entry["path"]):
                yield ObjectInfo(meta["path"], meta["size"], meta["last_modified"])

    def delete(self, key: str) -> None:
        """Remove an object; a missing one is fine."""
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return

    def _stream(self, key: str) -> Iterator[bytes]:
        try:
            result = obstore.get(self._store, key)
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.layout.uri(key)} does not exist.") from error
        for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)

    def _create(self, key: str, data: bytes) -> bool:
        try:
            obstore.put(self._store, key, data, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def _swap_s3(self, key: str, data: bytes, expected: bytes) -> bool:
        current = obstore.get(self._store, key)
        if bytes(current.bytes()) != expected:
            return False
        try:
            obstore.put(self._store, key, data, mode={"e_tag": current.meta["e_tag"]})
        except PreconditionError:
            return False
        return True

    def _swap_local(self, key: str, data: bytes, expected: bytes) -> bool:
        with _locked(Path(self.layout.root) / f"{key}.lock"):
            if self.get(key) != expected:
                return False
            self.replace(key, data)
            return True


def sha256_file(path: Path) -> str:
    """Checksum of a local file, read in chunks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


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
    try:
        return S3Store(bucket, prefix=prefix or None, client_options={"allow_http": is_plain}, **config)
    except BaseError as error:
        raise TransientError(f"The bucket {bucket!r} cannot be reached: {error}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Exclusive advisory lock between processes of one machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
