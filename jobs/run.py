"""The commands that run the pipeline: materialise through Dagster, then hand over to the service."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from assets.names import EXPORT, LANDING, SNAPSHOT
from assets.steps import STEPS
from jobs.memory import PeakMemory
from jobs.warm_up import warm_up
from jobs.world import ensure_world
from lakehouse.errors import NotFoundError, PermanentError
from lakehouse.ops.steps import is_current
from lakehouse.settings import Settings, load_settings
from lakehouse.storage.lake import Lake

if TYPE_CHECKING:
    from dagster import AssetKey, DagsterInstance, ExecuteInProcessResult

INSTANCE = Path(__file__).with_name("instance.yaml")
EMBEDDED = "creatorlake/embedded"
"""Tag of runs that live and die with this command, unlike those that Dagster's daemon launches."""
DEMO = "demo"
"""Name of the default lake of the synthetic world, apart from the user's own."""


def run(folder: Path | None, *, port: int, is_serving: bool) -> int:
    """Bring the lake up to date with its input, publish, and serve on 127.0.0.1.

    Without an input folder the synthetic world is used, in a lake of its own.
    """
    settings = _settings(folder)
    lake = Lake(settings)
    with _one_run_at_a_time(settings):
        started = time.monotonic()
        _say(f"Lake {lake.layout.root}")
        stale = [step.name for step in STEPS if not is_current(step, lake, settings)]
        if stale:
            if stale != [LANDING]:
                warm_up(settings)
            _materialize(settings)
        else:
            _say("Nothing changed since the last run.")
        _say(f"Lake ready in {time.monotonic() - started:.1f} s.")
    return _hand_over(settings, port) if is_serving else 0


def publish() -> int:
    """Run the export and index steps alone."""
    settings = load_settings()
    with _one_run_at_a_time(settings):
        _materialize(settings, only=(EXPORT, SNAPSHOT))
    return 0


def roll_back(snapshot: str | None) -> int:
    """Move CURRENT back to an older snapshot, which is verified first."""
    from index_build.publish import rollback

    lake = Lake(load_settings())
    _say(f"Serving snapshot {rollback(lake.objects, snapshot).snapshot_id} from now on.")
    return 0


def dev(*, port: int) -> int:
    """Replace this process by Dagster's web page and daemon over the lake and input that `run` would use."""
    settings = _settings(None)
    _prepare_instance(settings)
    environment = os.environ | {"DAGSTER_HOME": str(settings.dagster_home)}
    program = Path(sys.executable).with_name("dagster")
    command = [str(program), "dev", "--host", "127.0.0.1", "--port", str(port), "--module-name", "jobs.definitions"]
    sys.stdout.flush()
    os.execve(program, command, environment)  # noqa: S606
    return 1


def _settings(folder: Path | None) -> Settings:
    """Settings of a run; they are exported, so that Dagster's assets read the same ones."""
    settings = load_settings(input=folder)
    if settings.input is None:
        lake = settings.lake or str(settings.home / DEMO)
        settings = load_settings(lake=lake, input=ensure_world(settings))
    if settings.input is None or not settings.input.is_dir():
        raise NotFoundError(f"The input folder {settings.input} does not exist.")
    os.environ |= {
        "CREATORLAKE_HOME": str(settings.home),
        "CREATORLAKE_LAKE": settings.lake_root,
        "CREATORLAKE_INPUT": str(settings.input),
    }
    return settings


def _materialize(settings: Settings, only: tuple[str, ...] = ()) -> None:
    """Run the nightly job in this process with its lines on the terminal.

    Raises:
        PermanentError: a step or a blocking check failed; the message is its sentence.
    """
    from dagster import DagsterInstance

    from assets.resources import LakeResource
    from jobs.definitions import build_defs

    _prepare_instance(settings)
    _show_progress()
    resource = LakeResource(lake=settings.lake_root, input_folder=str(settings.input or ""))
    job = build_defs({"lake": resource}).resolve_job_def("nightly")
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with PeakMemory() as peak, DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        _bury_killed_runs(instance)
        result = job.execute_in_process(
            run_config=quiet,
            instance=instance,
            raise_on_error=False,
            asset_selection=_keys(only) if only else None,
            tags={EMBEDDED: "true"},
        )
    _say(f"Peak memory {peak.gib:.1f} GiB.")
    if not result.success:
        raise PermanentError(_first_failure(result))


def _bury_killed_runs(instance: DagsterInstance) -> None:
    """End embedded runs whose process is gone, and free the pool slots they held.

    The run lock is ours, so an embedded run that still counts as started was killed.
    """
    from dagster import DagsterRunStatus, RunsFilter

    open_statuses = [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]
    for dead in instance.get_runs(filters=RunsFilter(statuses=open_statuses, tags={EMBEDDED: "true"})):
        instance.report_run_failed(
            dead, message="The process of this run was killed; the next run goes on from its progress."
        )
        instance.event_log_storage.free_concurrency_slots_for_run(dead.run_id)


def _keys(names: tuple[str, ...]) -> list[AssetKey]:
    from dagster import AssetKey

    return [AssetKey(name) for name in names]


def _first_failure(result: ExecuteInProcessResult) -> str:
    """The sentence of the first failed check or step."""
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.severity.value == "ERROR":
            problems = "; ".join(f"{name} {value.value}" for name, value in check.metadata.items())
            return f"The check {check.check_name} of {check.asset_key.to_user_string()} failed: {problems}."
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            known = data.user_failure_data
            reason = known.description if known else data.error.to_string() if data.error else "no reason given"
            return f"{event.step_key} failed: {reason}"
    return "The run failed; `make dev` shows why."


def _prepare_instance(settings: Settings) -> None:
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(INSTANCE, settings.dagster_home / "dagster.yaml")


def _hand_over(settings: Settings, port: int) -> int:
    """Become the service: a fresh process image, without Spark's and Dagster's memory."""
    os.environ["CREATORLAKE_LAKE"] = settings.lake_root
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "jobs.cli", "serve", "--port", str(port)])  # noqa: S606
    return 1


@contextmanager
def _one_run_at_a_time(settings: Settings) -> Iterator[None]:
    """Refuse a second run of the same home; the lock ends with the process, however it ends."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "run.lock").open("w") as handle:
        _lock(handle)
        yield


def _lock(handle: TextIO) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PermanentError("Another run is filling this lake; wait for it to end.") from error


def _show_progress() -> None:
    logger = logging.getLogger("creatorlake.progress")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
