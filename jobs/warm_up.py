"""Starts what a run surely needs and waits for long, beside the first steps, which need neither."""

from __future__ import annotations

import threading
from contextlib import suppress

from lakehouse.settings import Settings
from lakehouse.storage.session import spark_session


def warm_up(settings: Settings) -> threading.Thread:
    """Start Spark and load Great Expectations in the background; a failure is left to the step that meets it."""
    thread = threading.Thread(target=_start, args=(settings,), name="warm-up", daemon=True)
    thread.start()
    return thread


def _start(settings: Settings) -> None:
    with suppress(Exception):
        spark_session(settings)
        from lakehouse.quality.expectations import load_engine

        load_engine()
