"""What a step is and how one runs: inputs pinned, work done, progress recorded.

A step derives one or more tables (or objects) from others. It is skipped when neither its inputs' versions nor its
code version changed since its last success; one whose table is gone starts from nothing. Progress is written after the work: a kill in between repeats the step,
and every step is idempotent. Domain rules do not belong here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lakehouse.contracts.layout import progress_key
from lakehouse.contracts.tables import TABLES
from lakehouse.crash import AFTER_COMMIT, BEFORE_DATA, crashpoint, point
from lakehouse.settings import Settings
from lakehouse.storage.engine_errors import told
from lakehouse.storage.lake import Lake

Cursor = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome of one step. Conservation: `rows_in == rows_out + rows_quarantined + rows_duplicate` where `conserves`.

    `rows_in` counts what the step read of its driving input this time, `rows_out` what of it survived into the output.
    `by_source` holds the same four counts (`in`, `out`, `quarantined`, `duplicate`) for each source. `metadata` holds
    further numbers and short texts. `cursor` is handed to the next run; its `version` is what later steps compare.
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

    def imbalances(self) -> dict[str, int]:
        """Rows that are neither out, quarantined nor duplicate: in all and per source; empty when counts conserve."""
        if not self.conserves:
            return {}
        total = {"in": self.rows_in, "out": self.rows_out}
        total |= {"quarantined": self.rows_quarantined, "duplicate": self.rows_duplicate}
        gaps = {source: _gap(counts) for source, counts in {"all": total, **self.by_source}.items()}
        return {source: gap for source, gap in gaps.items() if gap}


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step's function gets: the lake, the settings, the cursor of its last success, a progress printer.

    `before` holds the state of each input at the last success; None where the step has to start from nothing.
    """

    lake: Lake
    settings: Settings
    cursor: Cursor
    log: Callable[[str], None] = print
    before: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A named unit of work.

    `inputs` are tables, or steps that record a `version` in their cursor. `code_version` changes when the meaning of the
    output changes. `fingerprint` covers whatever else the output depends on (input folder, model). `is_intact` says of a
    step that leaves objects, given its cursor, whether they are still there. `shared` are tables that others write to as
    well; a step whose part of them may be lost starts from nothing.
    """

    name: str
    description: str
    group: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    build: Callable[[StepContext], Report]
    code_version: str = "1"
    fingerprint: Callable[[Lake, Settings], str] = field(default=lambda _lake, _settings: "")
    is_intact: Callable[[Lake, Cursor], bool] = field(default=lambda _lake, _cursor: True)
    shared: tuple[str, ...] = ()


def _gap(counts: dict[str, int]) -> int:
    return counts.get("in", 0) - sum(counts.get(name, 0) for name in ("out", "quarantined", "duplicate"))


def run_step(step: Step, lake: Lake, settings: Settings, log: Callable[[str], None] = print) -> Report:
    """Run `step` if something it depends on changed; return its report (a skipped one tells of its last success).

    Raises:
        CreatorlakeError: whatever the step raises; progress is then not recorded.
    """
    previous = _previous(step, lake)
    state = _state(step, lake, settings)
    is_lost = _is_output_lost(step, lake, previous)
    if previous.get("state") == state and not is_lost:
        return _skipped(previous)
    before = previous.get("state", {})
    is_same_code = before.get("code") == step.code_version and not is_lost
    cursor = previous.get("cursor", {}) if is_same_code else {}
    inputs = before["inputs"] if is_same_code and before["fingerprint"] == state["fingerprint"] else None
    started = time.monotonic()
    crashpoint(point(step.name, BEFORE_DATA))
    with told(step.name):
        report = step.build(StepContext(lake, settings, cursor, log, inputs))
    report = replace(report, seconds=round(time.monotonic() - started, 3))
    crashpoint(point(step.name, AFTER_COMMIT))
    lake.objects.replace(progress_key(step.name), _record(step, lake, state, report))
    return report


def is_current(step: Step, lake: Lake, settings: Settings) -> bool:
    """Whether running `step` would be skipped. Needs no Spark."""
    previous = _previous(step, lake)
    return previous.get("state") == _state(step, lake, settings) and not _is_output_lost(step, lake, previous)


def last_report(step: Step, lake: Lake) -> Report | None:
    """Report of the step's last success, None before it."""
    previous = _previous(step, lake)
    return _skipped(previous) if previous else None


def _previous(step: Step, lake: Lake) -> dict[str, Any]:
    return lake.objects.read_json(progress_key(step.name)) or {}


def _state(step: Step, lake: Lake, settings: Settings) -> dict[str, Any]:
    versions = {name: _version(name, lake) for name in step.inputs}
    return {"inputs": versions, "code": step.code_version, "fingerprint": step.fingerprint(lake, settings)}


def _version(name: str, lake: Lake) -> Any:
    """State of an input: a table's newest commit, or what a step without a table calls its version."""
    if name in TABLES:
        return lake.state(name)
    record = lake.objects.read_json(progress_key(name)) or {}
    return record.get("cursor", {}).get("version")


def _is_output_lost(step: Step, lake: Lake, previous: dict[str, Any]) -> bool:
    """Whether something that the last success left behind is gone: somebody deleted it to have it built again."""
    if not previous:
        return False
    written = [name for name, version in previous["outputs"].items() if version is not None]
    return any(lake.version(name) is None for name in written) or not step.is_intact(lake, previous["cursor"])


def _record(step: Step, lake: Lake, state: dict[str, Any], report: Report) -> bytes:
    outputs = {name: lake.version(name) for name in (*step.outputs, *step.shared)}
    return json.dumps({"state": state, "outputs": outputs, **asdict(report)}, sort_keys=True, default=str).encode()


def _skipped(previous: dict[str, Any]) -> Report:
    known = {name: previous[name] for name in Report.__dataclass_fields__ if name in previous}
    return Report(**known | {"is_skipped": True})
