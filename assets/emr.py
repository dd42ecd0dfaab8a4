"""Steps on EMR Serverless: one Spark job for each, started and followed by Dagster; its numbers are read from the lake.

A job outlives the process that started it. Before a step starts another one, jobs of the same step and lake that still live are
cancelled and waited for, so there is never a second writer; the pool of the step's table lets nobody else start one meanwhile.
"""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from dagster import AssetExecutionContext, PipesMessageReader
from dagster_aws.pipes import PipesEMRServerlessClient
from pydantic import SecretStr

from assets.names import LANDING, SNAPSHOT
from lakehouse.errors import PermanentError, SettingsError, TransientError
from lakehouse.ops.steps import Report, Step, is_current, last_report
from lakehouse.settings import ENV_PREFIX, Settings
from lakehouse.storage.lake import Lake
from lakehouse.storage.session import SUBMITTED

HERE = frozenset({LANDING, SNAPSHOT})
"""Steps without Spark stay in Dagster's process: one reads the input folder, one builds the index."""
ENTRY_POINT = "local:///opt/creatorlake/deploy/images/step.py"
"""In the image of the application."""
ALIVE = ("SUBMITTED", "PENDING", "SCHEDULED", "QUEUED", "RUNNING", "CANCELLING")
POLL_SECONDS = 5.0
CANCEL_SECONDS = 300.0
"""Time that a cancelled job is given to end."""
ATTEMPTS = 2
"""EMR's own: a job whose workers were lost is started once more, as the same job."""
_NOT_SENT = frozenset({"home", "input", "mappings_dir", "crash_at"})
"""Settings that mean something on this machine only; those of Spark and EMR are left out by their names."""


class _NoMessages(PipesMessageReader):
    """A job says nothing: reading its log would cost ten seconds a step, and its numbers are in the lake."""

    @contextmanager
    def read_messages(self, _handler: Any) -> Iterator[dict[str, Any]]:
        yield {}

    def no_messages_debug_text(self) -> str:
        return "The numbers of a step are read from the lake; what its job says is in CloudWatch."


def runs_on_emr(step: Step, settings: Settings) -> bool:
    """Whether a step's work is done by EMR Serverless."""
    return bool(settings.emr_application) and step.name not in HERE


def run_on_emr(context: AssetExecutionContext, step: Step, lake: Lake) -> Report:
    """Run a step as a job of EMR Serverless if something it depends on changed; its report.

    Args:
        context: of the asset; interrupting it cancels the job.
        step: what to run; the job calls `creatorlake step`.
        lake: on S3.

    Raises:
        SettingsError: the lake is a folder, or there is no role.
        PermanentError: the job failed or was cancelled.
        TransientError: AWS does not answer, or an older job of the step does not end.
    """
    settings = lake.settings
    if not lake.layout.is_s3 or not settings.emr_role:
        raise SettingsError(
            "EMR Serverless needs a lake on S3 and a role: set CREATORLAKE_LAKE and CREATORLAKE_EMR_ROLE."
        )
    if not is_current(step, lake, settings):
        import boto3

        client = boto3.client("emr-serverless", region_name=settings.s3_region)
        with _aws_named(step):
            for job in cancel_orphans(client, settings, step, poll_seconds=POLL_SECONDS):
                context.log.warning(f"The job {job} of an earlier run still worked on {step.name}; it was cancelled.")
            PipesEMRServerlessClient(client, message_reader=_NoMessages(), poll_interval=POLL_SECONDS).run(
                context=context, start_job_run_params=job_params(step, settings, token=_token(context, step))
            )
    report = last_report(step, lake)
    if report is None or not is_current(step, lake, settings):
        raise PermanentError(f"The job of {step.name} ended without its work done; its log is in CloudWatch.")
    return replace(report, is_skipped=False)


def job_params(step: Step, settings: Settings, *, token: str) -> dict[str, Any]:
    """What `StartJobRun` is told. No secret is among it: a job's parameters can be read by whoever may list jobs.

    Args:
        step: what the job runs.
        settings: those that are set and hold no secret reach the driver's environment.
        token: the same token starts the job once, however often the request is sent.
    """
    environment = {f"{ENV_PREFIX}{name.upper()}": value for name, value in _sent(settings).items()}
    environment[f"{ENV_PREFIX}SPARK_MASTER"] = SUBMITTED
    conf = [
        f"--conf {shlex.quote(f'spark.emr-serverless.driverEnv.{name}={value}')}" for name, value in environment.items()
    ]
    return {
        "applicationId": settings.emr_application,
        "clientToken": token,
        "executionRoleArn": settings.emr_role,
        "name": job_name(step, settings),
        "retryPolicy": {"maxAttempts": ATTEMPTS},
        "jobDriver": {
            "sparkSubmit": {
                "entryPoint": ENTRY_POINT,
                "entryPointArguments": [step.name],
                "sparkSubmitParameters": " ".join([*conf, settings.emr_spark]).strip(),
            }
        },
    }


def job_name(step: Step, settings: Settings) -> str:
    """Name that the jobs of a step on a lake share, and no others."""
    return f"creatorlake-{hashlib.sha256(settings.lake_root.encode()).hexdigest()[:12]}-{step.name}"


def cancel_orphans(
    client: Any,
    settings: Settings,
    step: Step,
    *,
    poll_seconds: float = POLL_SECONDS,
    patience: float = CANCEL_SECONDS,
) -> list[str]:
    """Cancel living jobs of a step and wait until they ended; their ids.

    Raises:
        TransientError: one does not end within `patience` seconds.
    """
    deadline = time.monotonic() + patience
    found = list(_alive(client, settings, step))
    for job, state in found:
        if state != "CANCELLING":
            client.cancel_job_run(applicationId=settings.emr_application, jobRunId=job)
    while left := [job for job, _state in _alive(client, settings, step)]:
        if time.monotonic() > deadline:
            raise TransientError(f"The job {left[0]} of an earlier run still works on {step.name}; it does not end.")
        time.sleep(poll_seconds)
    return [job for job, _state in found]


def _alive(client: Any, settings: Settings, step: Step) -> Iterator[tuple[str, str]]:
    name = job_name(step, settings)
    pages = client.get_paginator("list_job_runs").paginate(applicationId=settings.emr_application, states=list(ALIVE))
    for page in pages:
        yield from ((job["id"], job["state"]) for job in page["jobRuns"] if job.get("name") == name)


def _sent(settings: Settings) -> dict[str, str]:
    given = {name: getattr(settings, name) for name in sorted(settings.model_fields_set)}
    own = {
        name: str(value)
        for name, value in given.items()
        if not isinstance(value, SecretStr | dict | None)
        and name not in _NOT_SENT
        and not name.startswith(("spark_", "emr_"))
    }
    return own | {"lake": settings.lake_root}


def _token(context: AssetExecutionContext, step: Step) -> str:
    """The same for every sending of one attempt, another for the next attempt: EMR would answer that with the old job."""
    attempt = f"{context.run.run_id}|{step.name}|{context.retry_number}"
    return hashlib.sha256(attempt.encode()).hexdigest()[:64]


@contextmanager
def _aws_named(step: Step) -> Iterator[None]:
    """Turn what boto3 and Dagster raise into our errors."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        kind = TransientError if code in {"ThrottlingException", "InternalServerException"} else PermanentError
        raise kind(f"EMR Serverless refuses the job of {step.name}: {code}.") from error
    except BotoCoreError as error:
        raise TransientError(f"EMR Serverless does not answer: {type(error).__name__}.") from error
    except RuntimeError as error:  # Dagster's word for a job that failed or was cancelled
        raise PermanentError(f"The job of {step.name} failed on EMR Serverless; its log is in CloudWatch.") from error
