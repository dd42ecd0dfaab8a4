"""Steps as jobs of EMR Serverless: moto keeps applications and jobs, and the jobs it is given are really run, on this machine.

moto lacks three things that the real service has, added here: dashboards, one job for one `clientToken`, jobs that take time.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from threading import Thread

import pytest
from dagster import DagsterInstance, materialize
from moto.emrserverless import urls
from moto.emrserverless.models import EMRServerlessBackend, emrserverless_backends
from moto.server import ThreadedMotoServer

from assets.emr import ALIVE, ATTEMPTS, ENTRY_POINT, cancel_orphans, job_name, job_params, run_on_emr
from assets.materialization import asset_for
from assets.names import LANDING
from assets.resources import LakeResource
from assets.steps import STEPS
from lakehouse.contracts.tables import QUARANTINE
from lakehouse.errors import TransientError
from lakehouse.ops.steps import last_report, run_step
from lakehouse.storage.lake import Lake
from tests.support import REPO, SHORT_JVM

pytestmark = [
    pytest.mark.integration,
    pytest.mark.s3,
    pytest.mark.filterwarnings("ignore:AssetExecutionContext"),  # Dagster's own client uses it
    pytest.mark.filterwarnings("ignore:Function `PipesMessageReader.expected_writer_count`"),
]

ROLE = "arn:aws:iam::123456789012:role/creatorlake-jobs"
BY_NAME = {step.name: step for step in STEPS}
STEP = BY_NAME[LANDING]
"""Needs no JVM; on EMR it would find no input folder, so the tests let it go there."""
IDENTITY = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class Machines:
    """Runs what moto's jobs say: `creatorlake step` with the driver's environment, in a process of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.started: list[dict[str, str]] = []
        self.beside: list[list[str]] = []
        """Jobs that lived when each job was started."""

    def start(self, keep, backend, **given):
        """In moto's place: the same job for the same token, else a job that lives until its process ends."""
        others = backend.job_runs[given["application_id"]]
        known = [job for job in others if job.client_token == given["client_token"]]
        if known:
            return known[0]
        self.beside.append([job.id for job in others if job.state in ALIVE])
        job = keep(backend, **given)
        job.state = "RUNNING"
        Thread(target=self._run, args=(job,), daemon=True).start()
        return job

    def _run(self, job) -> None:
        submitted = job.job_driver["sparkSubmit"]
        driver = dict(
            word.removeprefix("spark.emr-serverless.driverEnv.").split("=", 1)
            for word in shlex.split(submitted["sparkSubmitParameters"])
            if word.startswith("spark.emr-serverless.driverEnv.CREATORLAKE_")
        )
        self.started.append(driver)
        assert submitted["entryPoint"] == ENTRY_POINT
        program = REPO / ENTRY_POINT.removeprefix("local:///opt/creatorlake/")
        # `submitted` needs spark-submit around it; a plain process brings its own Spark.
        environment = os.environ | SHORT_JVM | self.environment | driver | {"CREATORLAKE_SPARK_MASTER": "local[2]"}
        command = [sys.executable, str(program), *submitted["entryPointArguments"]]
        done = subprocess.run(command, env=environment, cwd=REPO, capture_output=True, check=False)
        job.state = "SUCCESS" if done.returncode == 0 else "FAILED"


@pytest.fixture(scope="module")
def endpoint():
    urls.url_paths["{0}/applications/(?P<application_id>[^/]+)/jobruns/(?P<job_run_id>[^/]+)/dashboard$"] = lambda *_: (
        200,
        {},
        '{"url": "https://example.invalid/dashboard"}',
    )
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def machines(s3, tmp_path, monkeypatch):
    own = {"HOME": str(tmp_path / "emr"), "EMAIL_PEPPER": "test-pepper", "INPUT": str(tmp_path / "input")}
    own = {f"CREATORLAKE_{name}": value for name, value in own.items()}
    found = Machines(s3.lake_environment | own | {"PYTHONPATH": str(REPO)})
    keep = EMRServerlessBackend.start_job_run
    monkeypatch.setattr(EMRServerlessBackend, "start_job_run", lambda self, **given: found.start(keep, self, **given))
    return found


@pytest.fixture
def emr(endpoint, machines, monkeypatch):
    import boto3

    for name, value in (IDENTITY | {"AWS_ENDPOINT_URL": endpoint}).items():
        monkeypatch.setenv(name, value)
    client = boto3.client("emr-serverless", region_name="us-east-1")
    yield client
    emrserverless_backends.reset()


@pytest.fixture
def lake(s3, emr, tmp_path, request):
    application = emr.create_application(name="lake", releaseLabel="emr-7.9.0", type="SPARK")["applicationId"]
    backend = emrserverless_backends["123456789012"]["us-east-1"]
    backend.applications[application].type = "Spark"  # as AWS spells it
    backend.job_runs[application] = []  # without a list moto denies the application
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "accounts_one.jsonl").write_text(
        '{"platform": "x", "handle": "one", "followers": "12", "observed_at": "2026-01-01"}\n{"platform": \n'
    )
    bucket = s3.make_bucket(f"emr-{abs(hash(request.node.name))}")
    return Lake(
        s3.settings(
            tmp_path / "home",
            f"{bucket}/lake",
            input=tmp_path / "input",
            email_pepper="test-pepper",
            emr_application=application,
            emr_role=ROLE,
        )
    )


def materialized(lake, monkeypatch, step=STEP):
    """The result of a step's asset in Dagster."""
    resource = LakeResource(lake=lake.settings.lake)
    monkeypatch.setattr(LakeResource, "open", lambda _self: lake)
    monkeypatch.setattr("assets.emr.HERE", frozenset())
    monkeypatch.setattr("assets.emr.POLL_SECONDS", 0.1)
    with DagsterInstance.ephemeral() as instance:
        return materialize([asset_for(step)], resources={"lake": resource}, instance=instance, raise_on_error=False)


def jobs(emr, lake):
    return emr.list_job_runs(applicationId=lake.settings.emr_application)["jobRuns"]


def test_the_work_is_done_by_a_job_and_its_numbers_come_from_the_lake(lake, emr, machines, monkeypatch):
    run_step(STEP, lake, lake.settings)
    step = BY_NAME[QUARANTINE.name]
    result = materialized(lake, monkeypatch, step)
    assert result.success
    (job,) = jobs(emr, lake)
    assert (job["name"], job["state"]) == (job_name(step, lake.settings), "SUCCESS")
    (event,) = result.asset_materializations_for_node(step.name)
    report = last_report(step, lake)
    assert event.metadata["rows_in"].value == report.rows_in == 1
    assert event.metadata["is_skipped"].value is False
    assert lake.version(QUARANTINE.name) == 0


def test_a_step_that_is_current_starts_no_job(lake, emr, monkeypatch):
    assert materialized(lake, monkeypatch).success
    assert materialized(lake, monkeypatch).success
    assert len(jobs(emr, lake)) == 1


def test_no_secret_is_among_a_jobs_parameters(lake, machines, monkeypatch):
    assert materialized(lake, monkeypatch).success
    (driver,) = machines.started
    assert driver == {
        "CREATORLAKE_LAKE": lake.settings.lake_root,
        "CREATORLAKE_S3_ENDPOINT": lake.settings.s3_endpoint,
        "CREATORLAKE_SPARK_MASTER": "submitted",
    }
    assert "test-" not in str(job_params(STEP, lake.settings, token="t"))


def test_a_request_that_is_sent_twice_starts_one_job(lake, emr):
    params = job_params(STEP, lake.settings, token="same")
    assert emr.start_job_run(**params)["jobRunId"] == emr.start_job_run(**params)["jobRunId"]
    assert params["retryPolicy"] == {"maxAttempts": ATTEMPTS}


def test_an_orphan_is_cancelled_before_the_next_job_starts(lake, emr, machines, monkeypatch):
    """A worker was killed: its job works on. The next run must not start a second driver beside it."""
    other = BY_NAME["silver_core__accounts"]
    with monkeypatch.context() as nothing_ends:
        nothing_ends.setattr(Machines, "_run", lambda _self, _job: None)
        orphan = emr.start_job_run(**job_params(STEP, lake.settings, token="of a killed run"))["jobRunId"]
        stranger = emr.start_job_run(**job_params(other, lake.settings, token="of another step"))["jobRunId"]
    assert materialized(lake, monkeypatch).success
    assert machines.beside == [[], [orphan], [stranger]]
    states = {job["id"]: job["state"] for job in jobs(emr, lake)}
    assert (states[orphan], states[stranger]) == ("CANCELLED", "RUNNING")


def test_an_orphan_that_does_not_end_stops_the_step(lake, emr, monkeypatch):
    monkeypatch.setattr(Machines, "_run", lambda _self, _job: None)
    job = emr.start_job_run(**job_params(STEP, lake.settings, token="stubborn"))["jobRunId"]
    monkeypatch.setattr(
        EMRServerlessBackend, "cancel_job_run", lambda _self, *ids, **_named: (lake.settings.emr_application, job)
    )
    started = time.monotonic()
    with pytest.raises(TransientError, match=f"The job {job} of an earlier run still works"):
        cancel_orphans(emr, lake.settings, STEP, poll_seconds=0.01, patience=0.1)
    assert time.monotonic() - started < 5


def test_a_failed_job_fails_the_step_with_a_sentence(lake, monkeypatch):
    broken = replace(STEP, name="no_such_step")
    result = materialized(lake, monkeypatch, broken)
    assert not result.success
    (failure,) = (event for event in result.all_events if event.is_step_failure)
    assert failure.step_failure_data.user_failure_data.description == (
        "The job of no_such_step failed on EMR Serverless; its log is in CloudWatch."
    )


def test_a_folder_cannot_be_reached_from_emr(settings):
    lake = Lake(settings.model_copy(update={"emr_application": "a", "emr_role": ROLE}))
    with pytest.raises(Exception, match="EMR Serverless needs a lake on S3 and a role"):
        run_on_emr(None, STEP, lake)
