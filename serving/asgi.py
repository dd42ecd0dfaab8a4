"""Entry point of ASGI servers: `uvicorn --factory serving.asgi:create`."""

from __future__ import annotations

from fastapi import FastAPI

from serving.app import create_app
from serving.settings import ServingSettings


def create() -> FastAPI:
    """Application from the environment."""
    return create_app(ServingSettings())
