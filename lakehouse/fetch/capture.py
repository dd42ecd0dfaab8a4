"""Answers as they came, landed: objects of many answers each, write-once, and a numbered manifest that makes them exist.

Layout: `landing/{platform}/YYYY/MM/DD/{source}-answers-....jsonl.gz` with one answer a line, and
`landing/_answers/{number}.json`. Objects without a manifest are leftovers of a killed worker and are never read. What an
answer means is read later (`landing.py`), and again whenever a mapping changes.
"""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lakehouse.contracts.layout import ANSWERS, answer_key, landing_key
from lakehouse.crash import AFTER_DATA, crashpoint, point
from lakehouse.errors import IntegrityError, TransientError
from lakehouse.fetch.client import parse
from lakehouse.fetch.connector import ApiRequest, ApiResponse
from lakehouse.fetch.source import Source
from lakehouse.fetch.task import FetchTask
from lakehouse.ingest.parts import HASH_CHARS, GzipLines
from lakehouse.ingest.times import iso
from lakehouse.storage.objects import ObjectStore

STEP = "fetch"
"""Name of fetching in crash points."""
PROJECT_CHARS = 12
"""Hex digits of a credential's hash: enough to tell projects apart, too few and too salted to find it."""
TAKEN_OUT: dict[str, Any] = {}
"""What stands in an object where an answer was."""
NUMBER_TRIES = 200
"""Attempts at the next free number while other workers take numbers too."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One landed answer: what was asked, what came, when (UTC, ours)."""

    task: FetchTask
    response: ApiResponse
    fetched_at: str
    """ISO 8601 with Z."""
    number: int
    """Place in its object, from 1; it stays when others are taken out."""


@dataclass(frozen=True, slots=True)
class AnswersManifest:
    """The commit of one object of answers. Manifests are numbered without gaps in the order of commits."""

    number: int
    source: str
    platform: str
    path: str
    sha256: str
    answers_count: int
    size_bytes: int
    first_at: str
    last_at: str
    api_version: str
    project: str
    """Hash of the credential."""

    def to_json(self) -> bytes:
        """Canonical bytes."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode("ascii")


@dataclass(slots=True)
class AnswerWriter:
    """Collects answers of one source and lands them as one object."""

    objects: ObjectStore
    source: Source
    project: str
    _lines: GzipLines = field(default_factory=GzipLines)
    _first_at: str = ""
    _last_at: str = ""
    _number: int = 0
    """Of the newest manifest that this writer knows."""
    _is_repeated: bool = False
    """Whether an earlier attempt at these answers failed, perhaps after its commit."""

    @property
    def count(self) -> int:
        """Answers that are not landed yet."""
        return self._lines.lines_count

    @property
    def raw_bytes(self) -> int:
        """Size of them before compression."""
        return self._lines.raw_bytes

    def add(self, task: FetchTask, request: ApiRequest, response: ApiResponse, fetched_at: dt.datetime) -> None:
        """Append an answer. The request is kept without credential."""
        at = iso(fetched_at)
        self._first_at, self._last_at = self._first_at or at, at
        self._lines.add(json.dumps(_line(self.source, task, request, response, at), separators=(",", ":")))

    def land(self) -> AnswersManifest | None:
        """Write the object and its manifest; from here on the answers exist. None without answers.

        Raises:
            TransientError: the store does not answer, or others take every number.
        """
        if not self.count:
            return None
        was_tried, self._is_repeated = self._is_repeated, True
        count, data = self.count, self._lines.close()
        digest = hashlib.sha256(data).hexdigest()
        day = dt.datetime.fromisoformat(self._first_at).date()
        path = landing_key(self.source.platform, day, f"{self.source.source}-answers-{digest[:HASH_CHARS]}.jsonl.gz")
        self.objects.put_once(path, data)
        crashpoint(point(STEP, AFTER_DATA))
        body = {
            "source": self.source.source,
            "platform": self.source.platform,
            "path": path,
            "sha256": digest,
            "answers_count": count,
            "size_bytes": len(data),
            "first_at": self._first_at,
            "last_at": self._last_at,
            "api_version": self.source.api_version,
            "project": self.project,
        }
        earlier = _manifest_of(self.objects, path, after=self._number) if was_tried else None
        manifest = earlier or _commit(self.objects, body, after=self._number)
        self._number, self._is_repeated = manifest.number, False
        self._lines, self._first_at, self._last_at = GzipLines(), "", ""
        return manifest


def project_of(secret: str, pepper: bytes) -> str:
    """A name for a credential that does not give it away."""
    return hashlib.blake2b(secret.encode(), key=pepper[:64]).hexdigest()[:PROJECT_CHARS]


def read_manifests(objects: ObjectStore, after: int = 0) -> Iterator[AnswersManifest]:
    """Manifests numbered above `after`, in order."""
    for key in sorted(info.key for info in objects.list_after(ANSWERS, answer_key(after))):
        yield AnswersManifest(**json.loads(objects.get(key)))


def newest_number(objects: ObjectStore, after: int = 0) -> int:
    """The highest number in use, `after` without newer ones."""
    keys = [info.key for info in objects.list_after(ANSWERS, answer_key(after))]
    return int(max(keys).rsplit("/", 1)[-1].removesuffix(".json")) if keys else after


def read_answers(data: bytes) -> Iterator[Answer]:
    """The answers of one object, in the order in which they came, without those that were taken out."""
    for number, line in enumerate(gzip.decompress(data).splitlines(), 1):
        body: dict[str, Any] = json.loads(line)
        if body == TAKEN_OUT:
            continue
        raw = base64.b64decode(body["base64"]) if "base64" in body else body["body"].encode("utf-8")
        response = ApiResponse(body["status"], body["headers"], raw, parse(raw))
        yield Answer(FetchTask.from_json(json.dumps(body["task"])), response, body["fetched_at"], number)


def take_out(objects: ObjectStore, path: str, numbers: Collection[int]) -> None:
    """Take whole answers out of an object and write its manifest anew; the others keep their places."""
    manifest = _manifest_of(objects, path)
    if manifest is None or not manifest.answers_count:
        return
    kept = GzipLines()
    for number, line in enumerate(gzip.decompress(objects.get(path)).decode("ascii").splitlines(), 1):
        kept.add(json.dumps(TAKEN_OUT) if number in numbers else line)
    data = kept.close()
    objects.replace(path, data)
    digest = hashlib.sha256(data).hexdigest()
    changed = replace(manifest, sha256=digest, size_bytes=len(data))
    objects.replace(answer_key(manifest.number), changed.to_json())


def _manifest_of(objects: ObjectStore, path: str, after: int = 0) -> AnswersManifest | None:
    return next((one for one in read_manifests(objects, after) if one.path == path), None)


def _line(source: Source, task: FetchTask, request: ApiRequest, response: ApiResponse, at: str) -> dict[str, Any]:
    """An answer as one JSON object; the body is text where it is UTF-8, else base64: the very bytes either way."""
    try:
        body = {"body": response.body.decode("utf-8")}
    except UnicodeDecodeError:
        body = {"base64": base64.b64encode(response.body).decode("ascii")}
    asked = {"method": request.method, "url": request.url, "params": dict(request.params)}
    return {
        "source": source.source,
        "api_version": source.api_version,
        "task": json.loads(task.to_json()),
        "request": asked if request.body is None else asked | {"body": dict(request.body)},
        "status": response.status,
        "headers": dict(response.headers),
        "fetched_at": at,
        "sha256": hashlib.sha256(response.body).hexdigest(),
        **body,
    }


def _commit(objects: ObjectStore, body: dict[str, Any], *, after: int) -> AnswersManifest:
    """Take the next free number: only one writer can create its manifest."""
    number = newest_number(objects, after)
    for _ in range(NUMBER_TRIES):
        number += 1
        manifest = AnswersManifest(number=number, **body)
        try:
            objects.put_once(answer_key(number), manifest.to_json())
        except IntegrityError:
            continue
        return manifest
    raise TransientError("Other workers take every number of the landed answers; start again.")
