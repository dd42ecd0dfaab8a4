"""Entry points of ASGI servers: `uvicorn --factory serving.asgi:create`, and that of the processes of `creatorlake serve`."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

from fastapi import FastAPI

from serving.app import create_app
from serving.cli import log_to_stdout
from serving.settings import ServingSettings

LOOK_SECONDS = 1.0

log = logging.getLogger("creatorlake.serving")


def create() -> FastAPI:
    """Application from the environment."""
    return create_app(ServingSettings())


def create_worker() -> FastAPI:
    """The same in one of several processes, which ends with the one that started it: else it would keep the port.

    It takes no request before it has looked for a snapshot, as the others may have theirs by then.
    """
    log_to_stdout()
    threading.Thread(target=_end_with, args=(os.getppid(),), name="parent", daemon=True).start()
    app = create()
    try:
        app.state.service.holder.refresh()
    except Exception:
        log.exception("the first look for a snapshot failed; the next one follows")
    return app


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
