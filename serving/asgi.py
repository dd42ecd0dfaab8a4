"""Entry points of ASGI servers: `uvicorn --factory serving.asgi:create`, and that of the processes of `creatorlake serve`."""

from __future__ import annotations

from fastapi import FastAPI

from serving.app import create_app
from serving.cli import log_to_stdout
from serving.settings import ServingSettings


def create() -> FastAPI:
    """Application from the environment."""
    return create_app(ServingSettings())


def create_worker() -> FastAPI:
    """The same in one of several processes; it takes no request before it has looked for a snapshot, as the others may have theirs."""
    log_to_stdout()
    app = create()
    app.state.service.holder.refresh()
    return app
