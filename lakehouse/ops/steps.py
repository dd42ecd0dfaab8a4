"""What a step is and how one runs: inputs pinned, work done, progress recorded.

A step derives one or more tables (or objects) from others. It is skipped when neither its inputs' versions nor its
code version changed since its last success. Progress is written after the work: a kill in between repeats the step,
and every step is idempotent. Domain rules do not belong here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lakehouse.contracts.layout import progress_key
from lakehouse.settings import Settings
from lakehouse.storage.lake import Lake

Cursor = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome of one step. Conservation: `rows_in == rows_out + rows_quarantined + rows_duplicate` where `conserves`.

    `rows_in` counts what the step read of its driving input this time, `rows_out` what of it survived into the output;
    `table_rows` is the size of the output table afterwards. `metadata` holds further numbers and short texts.
    """

    rows_in: int = 0
    rows_out: int = 0
    rows_quarantined: int = 0
    rows_duplicate: int = 0
    conserves: bool = False
    by_source: dict[str, dict[str, int]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    cursor: Cursor = field(default_factory=dict)
    is_skipped: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step's function gets: the lake, the settings, the cursor of its last success, a progress printer."""

    lake: Lake
    settings: Settings
    cursor: Cursor
    log: Callable[[str], None] = print


@dataclass(frozen=True, slots=True)
class Step:
    """A named unit of work. `code_version` changes when the meaning of the output changes."""

    name: str
    description: str
    group: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    build: Callable[[StepContext], Report]
    code_version: str = "1"
    fingerprint: Callable[[Lake, Settings], str] = field(default=lambda _lake, _settings: "")
    """Anything besides table versions that the output depends on (input folder, model)."""


def run_step(step: Step, lake: Lake, settings: Settings, log: Callable[[str], None] = print) -> Report:
    """Run `step` if something it depends on changed; return its report (a skipped one keeps its cursor).

    Raises:
        CreatorlakeError: whatever the step raises; progress is then not recorded.
    """
    state = _state(step, lake, settings)
    previous = lake.objects.read_json(progress_key(step.name)) or {}
    if previous.get("state") == state and _outputs_exist(step, lake):
        return Report(is_skipped=True, cursor=previous.get("cursor", {}), metadata=previous.get("metadata", {}))
    cursor = previous.get("cursor", {}) if _same_code(previous, step) else {}
    started = time.monotonic()
    report = step.build(StepContext(lake, settings, cursor, log))
    seconds = time.monotonic() - started
    lake.objects.replace(progress_key(step.name), _record(step, state, report, seconds))
    return _timed(report, seconds)


def is_current(step: Step, lake: Lake, settings: Settings) -> bool:
    """Whether running `step` would be skipped. Needs no Spark."""
    previous = lake.objects.read_json(progress_key(step.name)) or {}
    return bool(previous.get("state") == _state(step, lake, settings)) and _outputs_exist(step, lake)


def _state(step: Step, lake: Lake, settings: Settings) -> dict[str, Any]:
    versions: Mapping[str, int | None] = {name: lake.version(name) for name in step.inputs}
    return {"inputs": versions, "code": step.code_version, "fingerprint": step.fingerprint(lake, settings)}


def _outputs_exist(step: Step, lake: Lake) -> bool:
    return all(lake.version(name) is not None for name in step.outputs)


def _same_code(previous: Mapping[str, Any], step: Step) -> bool:
    return bool(previous.get("state", {}).get("code") == step.code_version)


def _record(step: Step, state: dict[str, Any], report: Report, seconds: float) -> bytes:
    body = {
        "step": step.name,
        "state": state,
        "cursor": report.cursor,
        "rows": {
            "in": report.rows_in,
            "out": report.rows_out,
            "quarantined": report.rows_quarantined,
            "duplicate": report.rows_duplicate,
        },
        "by_source": report.by_source,
        "metadata": report.metadata,
        "seconds": round(seconds, 3),
    }
    return json.dumps(body, sort_keys=True, default=str).encode()


def _timed(report: Report, seconds: float) -> Report:
    return Report(**{**{name: getattr(report, name) for name in Report.__dataclass_fields__}, "seconds": seconds})
