"""The queue on SQS: the contract and SQS's own corners on real servers on loopback, each a process of its own.

ministack comes with `make setup-test`. ElasticMQ, the second opinion, needs `CREATORLAKE_ELASTICMQ_JAR`: its assembly jar, or
a folder with `org.elasticmq:elasticmq-server_2.13` and what it depends on.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fetch_queue_contract import Bench, QueueContract, names, task

from lakehouse.errors import PermanentError, SettingsError, TransientError
from lakehouse.fetch import queue_sqs
from lakehouse.fetch.queue_sqs import SqsQueue
from lakehouse.fetch.task import Priority
from tests.s3_backends import S3Backend
from tests.support import free_port

pytestmark = [pytest.mark.integration, pytest.mark.s3]
ELASTICMQ_VARIABLE = "CREATORLAKE_ELASTICMQ_JAR"
ELASTICMQ_CONFIG = """
include classpath("application.conf")
node-address {{ protocol = http, host = "127.0.0.1", port = {port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = "127.0.0.1", sqs-limits = strict }}
rest-stats {{ enabled = false }}
"""
SECRET = "queue-test-secret"


@pytest.fixture(scope="module", params=["ministack", "elasticmq"])
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an SQS server."""
    if request.param == "ministack":
        yield request.getfixturevalue("s3").endpoint
        return
    if not (jars := os.environ.get(ELASTICMQ_VARIABLE)):
        pytest.skip(f"no ElasticMQ: set {ELASTICMQ_VARIABLE} to its jar or a folder of jars")
    server = _elasticmq(Path(jars), tmp_path_factory.mktemp("elasticmq"))
    try:
        server.start()
        yield server.endpoint
    finally:
        server.kill()


def _elasticmq(jars: Path, folder: Path) -> S3Backend:
    port, config = free_port(), folder / "elasticmq.conf"
    config.write_text(ELASTICMQ_CONFIG.format(port=port), encoding="utf-8")
    classes = f"{jars}/*" if jars.is_dir() else str(jars)
    command = ["java", "-Xmx256m", f"-Dconfig.file={config}", "-cp", classes, "org.elasticmq.server.Main"]
    return S3Backend("elasticmq", port, command, dict(os.environ), folder / "log", "/")


@pytest.fixture
def prefix() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def bench(endpoint: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(queue_sqs, "SETTLE_SECONDS", 0)  # these servers are one each

    def connect() -> SqsQueue:
        return SqsQueue(prefix, region="us-east-1", endpoint=endpoint, access_key="test", secret_key=SECRET)

    bench = Bench(connect, time.sleep, is_exact=False)
    yield bench
    bench.close()


class TestSqs(QueueContract):
    pass


def _attributes(bench: Bench, name: str) -> dict[str, str]:
    client = bench.queue._remote._client
    url = client.get_queue_url(QueueName=name)["QueueUrl"]
    return client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def test_queues_are_created_on_first_use_with_their_dead_queue(bench: Bench, prefix: str):
    assert bench.queue.take(1, lease_seconds=5) == []
    assert bench.queue.depth() == bench.queue.depth("youtube")
    bench.queue.put([task(priority=Priority.FOLLOW_UP)])
    lane = _attributes(bench, f"{prefix}-youtube-follow_up.fifo")
    dead = _attributes(bench, f"{prefix}-youtube-dead.fifo")
    assert lane["FifoQueue"] == "true"
    policy = json.loads(lane["RedrivePolicy"])
    assert policy["deadLetterTargetArn"] == dead["QueueArn"]
    assert int(policy["maxReceiveCount"]) == queue_sqs.MAX_RECEIVES
    kept = {one.get("MessageRetentionPeriod", "1209600") for one in (lane, dead)}  # ElasticMQ names none
    assert kept == {str(14 * 24 * 3600)}
    assert names(bench.another().take(1, lease_seconds=5)) == ["a"]


def test_queues_of_another_prefix_are_not_ours(bench: Bench, endpoint: str, prefix: str):
    bench.queue.put([task()])
    longer = SqsQueue(f"{prefix}-x", region="us-east-1", endpoint=endpoint, access_key="test", secret_key=SECRET)
    longer.put([task("other", source="tiktok_display")])
    assert names(bench.another().take(9, lease_seconds=30)) == ["a"]
    assert names(longer.take(9, lease_seconds=30)) == ["other"]
    longer.close()


def test_a_failed_task_whose_twin_failed_too_is_not_lost(bench: Bench):
    """Sent anew within the 5 minutes, under an id that no earlier sending had."""
    bench.queue.put([task()])
    for failures in range(4):
        [taken] = bench.queue.take(1, lease_seconds=30)
        assert taken.failures == failures
        bench.queue.again(taken, delay_seconds=0)


def test_parkings_never_reach_the_dead_queue(bench: Bench, monkeypatch):
    monkeypatch.setattr(queue_sqs, "MAX_RECEIVES", 4)
    monkeypatch.setattr(queue_sqs, "RESEND_RECEIVES", 2)
    bench.queue.put([task()])
    for _ in range(12):
        [taken] = bench.queue.take(1, lease_seconds=30)
        assert taken.failures == 0
        bench.queue.again(taken, delay_seconds=0, is_failure=False)
    assert bench.queue.dead() == []


def test_a_task_that_kills_its_workers_is_buried(bench: Bench, monkeypatch):
    monkeypatch.setattr(queue_sqs, "MAX_RECEIVES", 3)
    bench.queue.put([task()])
    [taken] = bench.queue.take(1, lease_seconds=30)
    bench.queue.again(taken, delay_seconds=0, reason="throttled")
    for _ in range(3):
        assert len(bench.queue.take(1, lease_seconds=1)) == 1
        time.sleep(1.5)
    assert bench.queue.take(1, lease_seconds=1) == []
    [dead] = bench.queue.dead()
    assert (dead.task, dead.failures) == (task(), 1)
    assert dead.reason == "Its workers died or ran out of time again and again (last answer before: throttled)."
    assert bench.queue.redrive("youtube") == 1
    assert [one.failures for one in bench.queue.take(1, lease_seconds=5)] == [0]


def test_what_comes_before_its_time_does_not_hold_up_the_rest(bench: Bench, monkeypatch):
    monkeypatch.setattr(queue_sqs, "TOO_EARLY_PER_TAKE", 10)
    bench.queue.put([task(f"late{number}") for number in range(25)], delay_seconds=600)
    bench.queue.put([task("now")])
    found = [name for _ in range(4) for name in names(bench.queue.take(5, lease_seconds=30))]
    assert found == ["now"]
    assert bench.queue.depth().in_flight == 26


def test_a_queue_that_vanished_is_made_again(bench: Bench, prefix: str):
    bench.queue.put([task("a")])
    client = bench.queue._remote._client
    client.delete_queue(QueueUrl=client.get_queue_url(QueueName=f"{prefix}-youtube-live.fifo")["QueueUrl"])
    with pytest.raises(TransientError, match="is gone"):
        bench.queue.put([task("b")])
    bench.queue.put([task("c")])
    assert names(bench.queue.take(9, lease_seconds=5)) == ["c"]


def test_what_sqs_refuses_is_an_error_without_its_text(bench: Bench):
    with pytest.raises(PermanentError) as refused:
        bench.queue.put([task("k" * 2_000_000)])
    assert re.fullmatch(r"SQS refuses (to take messages|a message): [\w.]+\.", str(refused.value))


def test_a_server_that_is_away_is_an_error_to_retry(prefix: str):
    away = SqsQueue(prefix, region="us-east-1", endpoint="http://127.0.0.1:1", access_key="k", secret_key=SECRET)
    with pytest.raises(TransientError) as failed:
        away.put([task()])
    assert str(failed.value) == "SQS cannot be asked to create a queue: EndpointConnectionError."
    assert SECRET not in str(failed.value)


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(SettingsError, match="1 to 20"):
        SqsQueue("a" * 21, region="us-east-1")
    with pytest.raises(SettingsError, match="no address"):
        SqsQueue("a", region="us-east-1", endpoint="nowhere", access_key="k", secret_key=SECRET)
