"""Several processes land the same objects and manifests as one."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ingest_factories import acme

from lakehouse.errors import PermanentError
from lakehouse.ingest import writing
from lakehouse.ingest.landing import land
from lakehouse.settings import Settings
from lakehouse.storage.objects import ObjectStore

NOON = dt.datetime(2024, 1, 2, 12, tzinfo=dt.UTC)


def landed(settings: Settings, root: Path, inbox: Path, *, shared: bool) -> dict[str, str]:
    """Every object of a fresh lake after one landing, by key."""
    settings = settings.model_copy(update={"lake": str(root)})
    objects = ObjectStore.open(settings)
    said: list[str] = []
    land(
        objects,
        inbox,
        mappings=[acme()],
        log=said.append,
        clock=lambda: NOON,
        settings=settings if shared else None,
    )
    assert [line.split(":")[1].strip() for line in said] == ["acme_0.csv", "acme_1.csv", "acme_3.csv"]
    return {info.key: hashlib.sha256(objects.get(info.key)).hexdigest() for info in objects.list("landing")}


def test_processes_write_what_one_writes(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number in range(2):
        rows = "".join(f"user{number}{row},Name {row},{row}\n" for row in range(50))
        (inbox / f"acme_{number}.csv").write_text(f"User,Name,Fans\n{rows}bad\n")
    (inbox / "acme_2.csv").write_bytes((inbox / "acme_1.csv").read_bytes())  # the same bytes again: landed once
    (inbox / "acme_3.csv").write_text("User,Name,Fans\nlast,Last,3\n")
    alone = landed(settings, tmp_path / "alone", inbox, shared=False)
    monkeypatch.setattr(writing, "MANY_BYTES", 0)
    monkeypatch.setattr(writing, "write", lambda *_: pytest.fail("nothing is written in this process"))
    assert landed(settings, tmp_path / "shared", inbox, shared=True) == alone
    assert sum("/_batches/" in key for key in alone) == 3


def test_the_largest_file_is_begun_first_and_the_order_stays(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number, rows_count in enumerate([2, 1, 3]):
        rows = "".join(f"user{number}{row},Name,1\n" for row in range(rows_count))
        (inbox / f"acme_{number}.csv").write_text(f"User,Name,Fans\n{rows}")
    begun: list[str] = []
    said: list[str] = []

    class Pool(ThreadPoolExecutor):
        """Threads in place of processes, of which each would need a second to start."""

        def __init__(self, workers: int, _context: object, start: Callable[..., None], arguments: tuple[Any, ...]):
            super().__init__(workers, initializer=start, initargs=arguments)

        def submit(self, call: Callable[..., Any], task: writing.Task) -> Future[Any]:  # type: ignore[override]
            begun.append(task.found.name)
            return super().submit(call, task)

    monkeypatch.setattr(writing, "MANY_BYTES", 0)
    monkeypatch.setattr(writing, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(writing, "cores", lambda: 2)
    land(ObjectStore.open(settings), inbox, mappings=[acme()], log=said.append, settings=settings)
    assert begun == ["acme_2.csv", "acme_0.csv", "acme_1.csv"]
    assert [line.split(":")[1].strip() for line in said] == ["acme_0.csv", "acme_1.csv", "acme_2.csv"]


def die(_task: writing.Task) -> None:
    """What the system does to a process that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_told_in_a_sentence_and_what_was_landed_stays(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number in range(2):
        (inbox / f"acme_{number}.csv").write_text(f"User,Name,Fans\nuser{number},Name,1\n")
    monkeypatch.setattr(writing, "MANY_BYTES", 0)
    monkeypatch.setattr(writing, "_write_there", die)
    options: dict[str, Any] = {"mappings": [acme()], "clock": lambda: NOON, "log": lambda _line: None}
    objects = ObjectStore.open(settings)
    with pytest.raises(PermanentError, match="was killed"):
        land(objects, inbox, settings=settings, **options)
    assert land(objects, inbox, **options).rows_in == 2
