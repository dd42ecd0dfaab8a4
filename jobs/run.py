"""The commands that run the pipeline: materialise through Dagster, then hand over to the service."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from assets.names import EXPORT, SNAPSHOT
from assets.steps import STEPS
from jobs.dead_runs import EMBEDDED, bury_dead_runs
from jobs.emulator import demo_environment, emulator_of, start_emulator
from jobs.last_run import recall, remember
from jobs.locks import DEV, RUN, is_free, keep_dev_lock, one_run_at_a_time
from jobs.memory import PeakMemory
from jobs.world import ensure_world, input_folder
from lakehouse.contracts.layout import LANDING as LANDING_FOLDER
from lakehouse.contracts.tables import TABLES
from lakehouse.errors import NotFoundError, PermanentError
from lakehouse.ops.erasure import erase, request_erasure
from lakehouse.ops.steps import Step, is_current, run_step
from lakehouse.quality.memory import remembered
from lakehouse.settings import Settings, load_settings
from lakehouse.storage.lake import Lake
from lakehouse.storage.probe import require_fence

if TYPE_CHECKING:
    from dagster import AssetKey, DagsterInstance, ExecuteInProcessResult, JobDefinition

INSTANCE = Path(__file__).with_name("instance.yaml")
INSTANCE_FILE = "dagster.yaml"
EMBEDDED_FILE = "embedded.yaml"
"""The same with `NO_CAPTURE`, for runs whose lines go to the terminal."""
NO_CAPTURE = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
"""Two helper processes a step less, which an interrupt would make print their own tracebacks."""
POSTGRES_VARIABLE = "CREATORLAKE_DAGSTER_POSTGRES"
"""Dagster reads the address from the environment, so that no password stands in its file."""
PLAIN_POSTGRES = re.compile(r"^postgres(?:ql)?://")
"""Without a driver in the address SQLAlchemy takes one that dagster-postgres does not bring."""
DEMO = "demo"
"""Name of the default lake of the synthetic world, apart from the user's own."""


def run(folder: Path | None, *, port: int, is_serving: bool) -> int:
    """Bring the lake up to date with its input, publish, and serve on 127.0.0.1.

    Without an input folder the synthetic world is used, in a lake of its own.
    """
    if is_serving:
        _require_free(port)
    with one_run_at_a_time(load_settings()):
        settings = _settings(folder)
        remember(settings)
        lake = Lake(settings)
        started = time.monotonic()
        _say(f"Lake {lake.layout.root}")
        with lake.still():
            is_stale = any(not is_current(step, lake, settings) or _has_failed_check(step, lake) for step in STEPS)
        if is_stale:
            with emulator_of(settings):
                _materialize(settings)
        else:
            _say("Nothing changed since the last run.")
        _say(f"Lake ready in {time.monotonic() - started:.1f} s.")
    return _hand_over(settings, port) if is_serving else 0


def publish() -> int:
    """Run the export and index steps alone."""
    settings = load_settings()
    with one_run_at_a_time(settings):
        _materialize(settings, only=(EXPORT, SNAPSHOT))
    return 0


def run_alone(name: str) -> int:
    """Run one step in this process, without Dagster: for schedulers of their own and jobs on other machines.

    A folder is locked as by any run. On S3 whoever starts steps sees to it that one process at a time runs this one.

    Raises:
        NotFoundError: there is no such step.
    """
    step = next((step for step in STEPS if step.name == name), None)
    if step is None:
        raise NotFoundError(f"There is no step {name}; there are {', '.join(step.name for step in STEPS)}.")
    settings = load_settings()
    lake = Lake(settings)
    if lake.layout.is_s3:
        require_fence(lake.objects)
    with nullcontext() if lake.layout.is_s3 else one_run_at_a_time(settings):
        report = run_step(step, lake, settings, _say)
    _say(f"{name}: {'unchanged' if report.is_skipped else f'{report.rows_in:,} in, {report.rows_out:,} out'}.")
    return 0


def forget(subjects: Sequence[str]) -> int:
    """Take accounts out of the lake and keep them out; without subjects what was delivered again of earlier ones.

    Raises:
        PermanentError: a subject is no account and no creator; nothing was done then.
    """
    settings = load_settings()
    with one_run_at_a_time(settings):
        lake = Lake(settings)
        if lake.layout.is_s3:
            require_fence(lake.objects)
        if subjects:
            _say(f"{len(request_erasure(lake, subjects))} keys of accounts are refused from now on.")
        found = erase(lake, _say)
    _say(f"{found.accounts} accounts and {found.records:,} raw records were taken out of landing, bronze and silver.")
    _say("The next run takes them out of gold and search, upkeep out of older versions; docs/operations.md says when.")
    return 0


def _input_of(settings: Settings) -> Path | None:
    """Folder that fed the lake in its last run; None where the synthetic world belongs: in its own lake, in an empty one.

    Raises:
        PermanentError: somebody else filled the lake; synthetic creators must not be mixed into it.
    """
    if settings.lake_root == _demo(settings):
        return None
    last = recall(settings.home)
    if last is not None and last.lake == settings.lake_root:
        return last.input
    if next(iter(Lake(settings).objects.list(LANDING_FOLDER)), None) is None:
        return None
    raise PermanentError(f"{settings.lake_root} is not empty; say which folder feeds it: INPUT=... or --input.")


def _demo(settings: Settings) -> str:
    return str(settings.home / DEMO)


def roll_back(snapshot: str | None) -> int:
    """Move CURRENT back to an older snapshot, which is verified first."""
    from index_build.publish import rollback

    lake = Lake(load_settings())
    _say(f"Serving snapshot {rollback(lake.objects, snapshot).snapshot_id} from now on.")
    return 0


def dev(folder: Path | None, *, port: int) -> int:
    """Replace this process by Dagster's web page and daemon over a lake and input, by default those of the last run.

    Raises:
        PermanentError: the web page runs already, or the port is taken.
    """
    _require_free(port)
    settings = _settings(folder)
    keep_dev_lock(settings)
    _prepare_instance(settings)
    if is_free(settings, RUN):
        from dagster import DagsterInstance

        with DagsterInstance.from_config(str(settings.dagster_home)) as instance:
            bury_dead_runs(instance, is_dagster_open=False)
    start_emulator(settings)
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
        lake = settings.lake or _demo(settings)
        settings = load_settings(lake=lake)
        folder = _input_of(settings) or ensure_world(settings)
        if folder == input_folder(settings):
            os.environ |= demo_environment(settings)
        settings = load_settings(lake=lake, input=folder)
    if settings.input is None or not settings.input.exists():
        raise NotFoundError(f"The input folder {settings.input} does not exist.")
    if not settings.input.is_dir():
        raise NotFoundError(f"The input {settings.input} is not a folder.")
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
    with PeakMemory() as peak, DagsterInstance.from_config(str(settings.dagster_home), EMBEDDED_FILE) as instance:
        bury_dead_runs(instance, is_dagster_open=not is_free(settings, DEV))
        result = _execute(job, instance, only)
    _say(f"Peak memory {peak.gib:.1f} GiB.")
    if not result.success:
        raise PermanentError(_first_failure(result))


def _execute(job: JobDefinition, instance: DagsterInstance, only: tuple[str, ...]) -> ExecuteInProcessResult:
    """Run the job here; an interrupt ends it."""
    from dagster._core.errors import DagsterExecutionInterruptedError

    try:
        return job.execute_in_process(
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=instance,
            raise_on_error=False,
            asset_selection=_keys(only) if only else None,
            tags={EMBEDDED: "true"},
        )
    except DagsterExecutionInterruptedError as interrupt:
        raise KeyboardInterrupt from interrupt


def _has_failed_check(step: Step, lake: Lake) -> bool:
    """Whether a table of the step is known to break its rules: then a run must not call it current."""
    outcomes = (remembered(lake, TABLES[name]) for name in step.outputs)
    return any(outcome is not None and not outcome.is_passed for outcome in outcomes)


def _require_free(port: int) -> None:
    """Refuse a taken port before the work, not after it.

    Raises:
        PermanentError: something listens there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PermanentError(f"Port {port} is taken; choose another with PORT=... or --port.") from error


def _keys(names: tuple[str, ...]) -> list[AssetKey]:
    from dagster import AssetKey

    return [AssetKey(name) for name in names]


def _first_failure(result: ExecuteInProcessResult) -> str:
    """The sentence of the first failed check or step.

    Raises:
        KeyboardInterrupt: that step was interrupted.
    """
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.severity.value == "ERROR":
            problems = "; ".join(f"{name} {value.value}" for name, value in check.metadata.items())
            return f"The check {check.check_name} of {check.asset_key.to_user_string()} failed: {problems}."
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.error and data.error.cls_name == "DagsterExecutionInterruptedError":
                raise KeyboardInterrupt
            known = data.user_failure_data
            reason = known.description if known and known.description else _root_cause(data.error)
            return f"{event.step_key} failed: {reason}"
    return "The run failed; `make dev` shows why."


def _root_cause(error: Any) -> str:
    """First line of the innermost cause of a Dagster error; the whole of it is in Dagster's log of the run."""
    if error is None:
        return "no reason given"
    while error.cause is not None:
        error = error.cause
    return f"{error.message.strip().splitlines()[0]} (`make dev` shows all of it)"


def _prepare_instance(settings: Settings) -> None:
    """Give Dagster its settings; those that somebody changed in the home stay."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    if not (settings.dagster_home / INSTANCE_FILE).exists():
        shutil.copyfile(INSTANCE, settings.dagster_home / INSTANCE_FILE)
    known = yaml.safe_load((settings.dagster_home / INSTANCE_FILE).read_text(encoding="utf-8")) or {}
    if settings.dagster_postgres is not None:
        address = settings.dagster_postgres.get_secret_value()
        os.environ[POSTGRES_VARIABLE] = PLAIN_POSTGRES.sub("postgresql+psycopg2://", address)
    if settings.dagster_postgres is not None and "storage" not in known:
        known |= {"storage": {"postgres": {"postgres_url": {"env": POSTGRES_VARIABLE}}}}
        (settings.dagster_home / INSTANCE_FILE).write_text(yaml.safe_dump(known), encoding="utf-8")
    embedded = yaml.safe_dump(known | {"compute_logs": NO_CAPTURE})
    (settings.dagster_home / EMBEDDED_FILE).write_text(embedded, encoding="utf-8")


def _hand_over(settings: Settings, port: int) -> int:
    """Become the service: a fresh process image, without Spark's and Dagster's memory."""
    os.environ["CREATORLAKE_LAKE"] = settings.lake_root
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "jobs.cli", "serve", "--port", str(port)])  # noqa: S606
    return 1


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
