"""What routes share: the state of the application, and JSON without a second validation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Response

from serving.holder import SnapshotHolder
from serving.settings import ServingSettings
from serving.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Service:
    """Parts of a running application."""

    settings: ServingSettings
    holder: SnapshotHolder
    telemetry: Telemetry


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]


def json_response(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Compact JSON; what is not a number is null by then."""
    body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(body, status_code=status, media_type="application/json", headers=headers)
