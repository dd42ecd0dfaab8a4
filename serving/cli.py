"""`creatorlake serve` and `creatorlake search`: run the service, or ask one question on the terminal."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile

from lakehouse.errors import PermanentError
from lakehouse.settings import ENV_PREFIX, load_settings
from serving.app import create_app
from serving.errors import RequestError
from serving.models import Hit, SearchResponse
from serving.reasons import short_count
from serving.search import Searcher
from serving.settings import ServingSettings
from serving.telemetry import SHARED

REASONS_SHOWN = 2
WORKER_SECONDS = 60
"""A worker that gives no sign of life for so long is started again; opening a large snapshot may keep it busy for some."""


def serve(lake: str | None = None, *, host: str = "127.0.0.1", port: int = 8000) -> int:
    """Serve the current snapshot of a lake until interrupted; a newer one is taken in while running."""
    import uvicorn

    settings = _settings(lake)
    log_to_stdout()
    sys.stdout.write(
        f"Serving {settings.lake.lake_root} on http://{host}:{port} (docs at /docs, readiness at /readyz)\n"
    )
    sys.stdout.flush()
    if settings.workers == 1:
        uvicorn.run(create_app(settings), host=host, port=port, access_log=False, log_level="warning")
        return 0
    with tempfile.TemporaryDirectory(prefix="creatorlake-") as counts:
        os.environ |= {f"{ENV_PREFIX}LAKE": settings.lake.lake_root, SHARED: counts}  # what workers are told by
        uvicorn.run(
            "serving.asgi:create_worker",
            factory=True,
            workers=settings.workers,
            host=host,
            port=port,
            access_log=False,
            log_level="warning",
            timeout_worker_healthcheck=WORKER_SECONDS,
        )
    return 0


def search_text(
    text: str, *, filters: str = "{}", limit: int = 10, domain: str | None = None, lake: str | None = None
) -> int:
    """Search the current snapshot of a lake and print the hits.

    Raises:
        PermanentError: the filters are not JSON, or the request is refused; one sentence.
    """
    settings = _settings(lake)
    try:
        body = {"query": text, "filters": json.loads(filters), "limit": limit, "domain": domain}
        searcher = Searcher.open(settings.lake.lake_root, settings=settings)
        answer = searcher.search(body)
    except json.JSONDecodeError as error:
        raise PermanentError(f"The filters are not JSON: {error}") from error
    except RequestError as error:
        raise PermanentError(error.message) from error
    sys.stdout.write(describe(answer))
    searcher.close()
    return 0


def describe(answer: SearchResponse) -> str:
    """Hits as text, one block each."""
    head = f"{answer.total} creators match, snapshot {answer.index_version}, {answer.plan.ms:.0f} ms\n"
    return head + "".join(_block(rank, hit) for rank, hit in enumerate(answer.hits, start=1))


def _block(rank: int, hit: Hit) -> str:
    accounts = ", ".join(f"{profile.platform} @{profile.handle}" for profile in hit.profiles if profile.handle)
    size = "?" if hit.followers_total_count is None else short_count(hit.followers_total_count)
    lines = [
        f"{rank:3}. {hit.display_name or hit.creator_id}  {hit.score:.3f}  {size} followers  {hit.niche_label or ''}",
        f"     {accounts}",
        *(f"     - {reason}" for reason in hit.reasons[:REASONS_SHOWN]),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _settings(lake: str | None) -> ServingSettings:
    return ServingSettings(lake=load_settings(lake=lake))


def log_to_stdout() -> None:
    """Lines of the service and its access log, as they are."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("creatorlake")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
