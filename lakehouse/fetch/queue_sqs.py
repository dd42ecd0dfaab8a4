"""The fetch queue on Amazon SQS and what speaks its protocol: a FIFO queue for each source and priority, by boto3.

Belongs here: names and attributes of the queues, how a task becomes a message, what SQS cannot do. Which backend a lake uses
is `queues.py`'s matter.

A message's group is its task's key: tasks never wait for each other, two messages of one task in a lane are never out at once.
SQS counts how often a message was received, which is not how often it failed, and a FIFO message has no delay of its own.
So a message carries `failures` and `not_before`. A failure sends the task anew with one failure more and deletes the old
message; a message that is received before its time is hidden until then and not handed out. A parking within the 12 hours
that SQS allows hides the message and leaves it as it is. A worker killed between sending and deleting leaves two messages of
one task: it is fetched once more, never lost.

What differs from the database, because SQS does:
- equal tasks are one for 5 minutes after the first was put, waiting or done; after that a second message is fetched too,
  and so is the same task under another priority. `put` returns what was accepted, an upper bound of what was new;
- order is by priority; within one, sources take turns and tasks come roughly as they were put, failed ones last;
- messages are kept for 14 days; at most 120,000 of a lane may be hidden or in flight;
- `depth` is approximate, counts hidden messages as in flight, those that nobody has hidden yet as ready, and knows no age;
- a lease that ran out cannot be spoken for any more: `done` and `again` then change nothing, and the task comes again;
- `dead` shows the newest of what it could read, at most `limit` of each source.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lakehouse.errors import CreatorlakeError, PermanentError, SettingsError, TransientError
from lakehouse.fetch.clock import WallClock
from lakehouse.fetch.queue import DeadTask, Delivery, Depth
from lakehouse.fetch.task import FetchTask, Priority

BATCH = 10
"""Most messages of one request."""
PUT_CHUNK = 1_000
"""Tasks that are sorted into queues at once."""
SEND_ATTEMPTS = 4
HIDE_SECONDS = 12 * 3600
"""Longest time that SQS hides a message, counted from when it was received."""
HIDE_MARGIN_SECONDS = 60
"""For the time that passes between our clock's reading and SQS's."""
HOLD_SECONDS = 60
"""A message that is being moved is ours so long; moving takes two requests."""
PEEK_SECONDS = 30
SETTLE_SECONDS = 1
"""A reception that waits asks all of SQS's servers; without it an answer may be empty though the dead queue is not."""
MAX_RECEIVES = 50
"""Receptions after which SQS itself moves a message to the dead queue: its workers die."""
RESEND_RECEIVES = 20
"""A parked message that was received so often is sent anew, so that parkings never count as deaths; 30 deaths remain, less
one for each 12 hours of a long delay."""
RETENTION_SECONDS = 14 * 24 * 3600
"""The longest that SQS offers."""
TOO_EARLY_PER_TAKE = 200
"""Messages before their time that one take hides in one queue; the next take goes on."""
LISTED_SECONDS = 30
"""How long a list of queues is believed: a lane that another process created is seen after that."""
REASON_CHARS = 500
CONNECT_SECONDS, READ_SECONDS = 10, 30
DEAD_LANE = "dead"
PREFIX_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,20}")
"""With the longest source and lane a queue's name stays below the 80 characters that SQS allows."""
UNSENDABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that SQS refuses in a text."""
MISSING_CODES = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
RETRY_CODES = (
    "Throttling",
    "Unavailable",
    "RequestLimit",
    "DeletedRecently",
    "InternalError",
    "InternalFailure",
    "OverLimit",
)
FULL_CODE = "OverLimit"
STALE_CODES = ("ReceiptHandleIsInvalid", "MessageNotInflight")
STALE_WORDS = ("receipthandle", "receipt handle")
LASTING = ("Credentials", "Region", "ParamValidation", "Endpoint", "Profile")
"""Parts of the names of botocore's errors that a retry cannot help; `EndpointConnectionError` is none."""
LANES = {priority.name.lower(): priority for priority in Priority}


@dataclass(frozen=True, slots=True)
class _Message:
    """A message as it was received."""

    task: FetchTask
    message_id: str
    handle: str
    receives: int
    failures: int
    queued_at: float
    not_before: float
    sent_at: float
    reason: str
    is_buried: bool


class SqsQueue:
    """`FetchQueue` on SQS; the module says where it is weaker. Threads may share one."""

    def __init__(
        self,
        prefix: str,
        *,
        region: str,
        endpoint: str = "",
        access_key: str = "",
        secret_key: str = "",
        now: Callable[[], dt.datetime] | None = None,
    ) -> None:
        """Prepare; nothing is asked and no queue is created before it is needed. Without keys the usual AWS chain is used.

        Raises:
            SettingsError: the prefix is none that a queue's name can start with, or the endpoint is no address.
        """
        if not PREFIX_PATTERN.fullmatch(prefix):
            raise SettingsError("The prefix of the fetch queues is 1 to 20 letters, digits, - and _.")
        self._now = now or WallClock().now
        self._remote = _Remote(_client(region, endpoint, access_key, secret_key), prefix)
        self._turn = 0

    def put(self, tasks: Iterable[FetchTask], *, delay_seconds: float = 0.0) -> int:
        """Queue tasks; returns how many were accepted, equal ones of the last 5 minutes included.

        Raises:
            TransientError: SQS does not answer; some tasks may be queued, and can be put again.
            PermanentError: SQS refuses.
        """
        accepted, stream, now = 0, iter(tasks), self._stamp()
        not_before = now + delay_seconds if delay_seconds > 0 else 0.0
        while chunk := list(islice(stream, PUT_CHUNK)):
            lanes: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
            for key, task in _unique(chunk).items():
                attributes = _attributes(failures=0, queued_at=now, not_before=not_before)
                lanes[_place(task)].append(_entry(task, key, attributes))
            for place, entries in lanes.items():
                self._remote.send(place, entries)
                accepted += len(entries)
        return accepted

    def take(self, limit: int, *, lease_seconds: float, sources: Sequence[str] | None = None) -> list[Delivery]:
        """Take up to `limit` tasks, most urgent first; invisible to others for `lease_seconds`, at most 12 hours.

        Raises:
            TransientError: SQS does not answer; what was taken before comes back after the lease.
            PermanentError: SQS refuses.
        """
        places = self._remote.places()
        names = sorted({source for source, _ in places} if sources is None else set(sources))
        self._turn += 1
        first = self._turn % max(len(names), 1)  # no source is always the last to be asked
        found: list[Delivery] = []
        for lane in LANES:
            for source in (*names[first:], *names[:first]):
                if (source, lane) in places and len(found) < limit:
                    found += self._fill((source, lane), limit - len(found), lease_seconds)
        return found

    def done(self, deliveries: Iterable[Delivery]) -> None:
        """Forget tasks whose answers are landed. One whose lease ran out comes again.

        Raises:
            TransientError: SQS does not answer; some of the tasks may be forgotten.
            PermanentError: SQS refuses.
        """
        handles: dict[tuple[str, str], list[str]] = defaultdict(list)
        for delivery in deliveries:
            handles[_place(delivery.task)].append(_receipt(delivery)["handle"])
        for place, ours in handles.items():
            self._remote.delete(place, ours)

    def again(self, delivery: Delivery, *, delay_seconds: float, reason: str = "", is_failure: bool = True) -> None:
        """Give a task back, to be taken after a delay. Where the lease ran out, nothing happens: it is there already.

        Raises:
            TransientError: SQS does not answer; the task comes back after its lease.
            PermanentError: SQS refuses.
        """
        place, receipt, now = _place(delivery.task), _receipt(delivery), self._stamp()
        room = HIDE_SECONDS - HIDE_MARGIN_SECONDS - (now - receipt["taken_at"])
        if not is_failure and delay_seconds <= room and receipt["receives"] < RESEND_RECEIVES:
            self._remote.hide(place, {receipt["handle"]: delay_seconds})
            return
        attributes = _attributes(
            failures=delivery.failures + is_failure,
            queued_at=delivery.queued_at.timestamp(),
            not_before=now + delay_seconds if delay_seconds > 0 else 0.0,
            reason=reason,
        )
        self._move(delivery, place, attributes)

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Move a task to its source's dead queue. Where the lease ran out, nothing happens.

        Raises:
            TransientError: SQS does not answer; the task comes back after its lease.
            PermanentError: SQS refuses.
        """
        attributes = _attributes(
            failures=delivery.failures,
            queued_at=delivery.queued_at.timestamp(),
            buried_at=self._stamp(),
            reason=reason,
        )
        self._move(delivery, (delivery.task.source, DEAD_LANE), attributes)

    def dead(self, limit: int = 100) -> list[DeadTask]:
        """Tasks of the dead queues, newest first. For a moment they are invisible to other readers and to `redrive`.

        Raises:
            TransientError: SQS does not answer.
            PermanentError: SQS refuses.
        """
        found = [entry for place in self._dead_places(None) for entry in self._peek(place, limit)]
        return sorted(found, key=lambda entry: entry.buried_at, reverse=True)[:limit]

    def redrive(self, source: str | None = None) -> int:
        """Queue the dead tasks (of one source) again with no failures; how many.

        Raises:
            TransientError: SQS does not answer; the tasks before are queued.
            PermanentError: SQS refuses.
        """
        moved = 0
        for place in self._dead_places(source):
            while messages := self._remote.receive(place, BATCH, HOLD_SECONDS, wait_seconds=SETTLE_SECONDS):
                for message in messages:
                    key = f"{message.task.key}-{message.message_id}"
                    attributes = _attributes(failures=0, queued_at=self._stamp(), not_before=0.0)
                    self._remote.send(_place(message.task), [_entry(message.task, key, attributes)])
                self._remote.delete(place, [message.handle for message in messages])
                moved += len(messages)
        return moved

    def depth(self, source: str | None = None) -> Depth:
        """State of the queues, approximately.

        Raises:
            TransientError: SQS does not answer.
            PermanentError: SQS refuses.
        """
        ready = delayed = hidden = dead = 0
        for place in sorted(self._remote.places(is_fresh=True)):
            if source is None or place[0] == source:
                counts = self._remote.counts(place)
                if place[1] == DEAD_LANE:
                    dead += sum(counts)
                else:
                    ready, delayed, hidden = ready + counts[0], delayed + counts[1], hidden + counts[2]
        return Depth(ready=ready, delayed=delayed, in_flight=hidden, dead=dead)

    def close(self) -> None:
        """Release connections."""
        self._remote.close()

    def _stamp(self) -> float:
        return self._now().timestamp()

    def _dead_places(self, source: str | None) -> list[tuple[str, str]]:
        places = self._remote.places(is_fresh=True)
        return sorted(place for place in places if place[1] == DEAD_LANE and source in (None, place[0]))

    def _fill(self, place: tuple[str, str], room: int, lease_seconds: float) -> list[Delivery]:
        """Receive from one queue until there is enough or no more; hide what comes before its time."""
        found: list[Delivery] = []
        early = 0
        while len(found) < room and early < TOO_EARLY_PER_TAKE:
            messages = self._remote.receive(place, min(room - len(found), BATCH), lease_seconds)
            if not messages:
                break
            now = self._stamp()
            waits = {one.handle: one.not_before - now for one in messages if one.not_before > now}
            self._remote.hide(place, waits)
            early += len(waits)
            found += [_delivery(message, now) for message in messages if message.handle not in waits]
        return found

    def _move(self, delivery: Delivery, place: tuple[str, str], attributes: dict[str, Any]) -> None:
        """Send a task anew and delete the message that it came by; nothing where that is no longer ours."""
        receipt, home = _receipt(delivery), _place(delivery.task)
        if self._remote.hide(home, {receipt["handle"]: HOLD_SECONDS}):
            key = f"{delivery.task.key}-{receipt['message_id']}"  # sent twice, it still is one
            self._remote.send(place, [_entry(delivery.task, key, attributes)])
            self._remote.delete(home, [receipt["handle"]])

    def _peek(self, place: tuple[str, str], limit: int) -> list[DeadTask]:
        seen: list[_Message] = []
        try:
            while len(seen) < limit:
                some = self._remote.receive(
                    place, min(BATCH, limit - len(seen)), PEEK_SECONDS, wait_seconds=SETTLE_SECONDS
                )
                if not some:
                    break
                seen += some
        finally:
            self._remote.hide(place, {message.handle: 0 for message in seen})
        return [_dead_task(message) for message in seen]


class _Remote:
    """Requests to SQS by place, (source, lane): URLs, batches, and our errors for its own. Knows nothing of failures."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._urls: dict[tuple[str, str], str] = {}
        self._listed_at = -math.inf

    def close(self) -> None:
        self._client.close()

    def places(self, *, is_fresh: bool = False) -> set[tuple[str, str]]:
        """The queues that exist, as of at most `LISTED_SECONDS` ago."""
        if is_fresh or time.monotonic() - self._listed_at > LISTED_SECONDS:
            with self._named("list queues"):
                pages = self._client.get_paginator("list_queues").paginate(QueueNamePrefix=f"{self._prefix}-")
                urls = [url for page in pages for url in page.get("QueueUrls", [])]
            self._urls |= {place: url for url in urls if (place := self._parse(url))}
            self._listed_at = time.monotonic()
        return set(self._urls)

    def send(self, place: tuple[str, str], entries: Sequence[Mapping[str, Any]]) -> None:
        """Send messages; a part that SQS failed on is sent again.

        Raises:
            TransientError: some were not accepted.
            PermanentError: SQS refuses some.
        """
        url = self._url(place)
        for batch in _batches(entries):
            left = {str(at): {**entry, "Id": str(at)} for at, entry in enumerate(batch)}
            for _ in range(SEND_ATTEMPTS):
                with self._named("take messages", place):
                    answer = self._client.send_message_batch(QueueUrl=url, Entries=list(left.values()))
                _refuse_faults(answer.get("Failed", []))
                left = {entry["Id"]: left[entry["Id"]] for entry in answer.get("Failed", [])}
                if not left:
                    break
            else:
                raise TransientError(f"SQS does not accept {len(left)} messages now.")

    def receive(
        self, place: tuple[str, str], count: int, lease_seconds: float, *, wait_seconds: int = 0
    ) -> list[_Message]:
        """Receive up to `count` messages of a queue; none where too many of it are hidden."""
        from botocore.exceptions import ClientError

        url = self._url(place)
        with self._named("give messages", place):
            try:
                answer = self._client.receive_message(
                    QueueUrl=url,
                    MaxNumberOfMessages=count,
                    VisibilityTimeout=_whole_seconds(lease_seconds),
                    WaitTimeSeconds=wait_seconds,
                    MessageSystemAttributeNames=["All"],
                    MessageAttributeNames=["All"],
                )
            except ClientError as error:
                if FULL_CODE in _code(error):
                    return []
                raise
        return [_message(body) for body in answer.get("Messages", [])]

    def hide(self, place: tuple[str, str], seconds: Mapping[str, float]) -> int:
        """Hide messages by their handles for so long; how many were still ours."""
        hidden = 0
        for batch in _batches(list(seconds.items())):
            entries = [
                {"Id": str(at), "ReceiptHandle": handle, "VisibilityTimeout": _whole_seconds(wait)}
                for at, (handle, wait) in enumerate(batch)
            ]
            hidden += self._batch(self._client.change_message_visibility_batch, place, entries)
        return hidden

    def delete(self, place: tuple[str, str], handles: Sequence[str]) -> None:
        """Delete messages; those that are no longer ours stay."""
        for batch in _batches(handles):
            entries = [{"Id": str(at), "ReceiptHandle": handle} for at, handle in enumerate(batch)]
            self._batch(self._client.delete_message_batch, place, entries)

    def counts(self, place: tuple[str, str]) -> tuple[int, int, int]:
        """Messages that can be received, that are delayed, that are hidden."""
        suffixes = ("", "Delayed", "NotVisible")
        names = [f"ApproximateNumberOfMessages{suffix}" for suffix in suffixes]
        url = self._url(place)
        with self._named("count messages", place):
            found = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        ready, delayed, hidden = (int(found.get(name, 0)) for name in names)
        return ready, delayed, hidden

    def _batch(self, call: Callable[..., Any], place: tuple[str, str], entries: list[dict[str, Any]]) -> int:
        """Change messages by handle; how many were still ours."""
        changed, left = 0, {entry["Id"]: entry for entry in entries}
        url = self._url(place)
        for _ in range(SEND_ATTEMPTS):
            with self._named("change messages", place):
                answer = call(QueueUrl=url, Entries=list(left.values()))
            changed += len(answer.get("Successful", []))
            failed = [entry for entry in answer.get("Failed", []) if not _is_stale(entry)]
            _refuse_faults(failed)
            left = {entry["Id"]: left[entry["Id"]] for entry in failed}
            if not left:
                return changed
        raise TransientError(f"SQS does not change {len(left)} messages now.")

    def _url(self, place: tuple[str, str]) -> str:
        return self._urls.get(place) or self._create(place)

    def _create(self, place: tuple[str, str]) -> str:
        """URL of a queue, which is created with its dead queue where it is missing; an existing one stays as it is."""
        attributes = {
            "FifoQueue": "true",
            "ContentBasedDeduplication": "false",
            "DeduplicationScope": "messageGroup",  # together: high throughput, as far as groups go
            "FifoThroughputLimit": "perMessageGroupId",
            "MessageRetentionPeriod": str(RETENTION_SECONDS),
        }
        source, lane = place
        if lane != DEAD_LANE:
            policy = {"deadLetterTargetArn": self._arn((source, DEAD_LANE)), "maxReceiveCount": str(MAX_RECEIVES)}
            attributes["RedrivePolicy"] = json.dumps(policy)
        name = f"{self._prefix}-{source}-{lane}.fifo"
        with self._named("create a queue"):
            url = self._existing(name) or str(
                self._client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
            )
        self._urls[place] = url
        return url

    def _existing(self, name: str) -> str:
        from botocore.exceptions import ClientError

        try:
            return str(self._client.get_queue_url(QueueName=name)["QueueUrl"])
        except ClientError as error:
            if _code(error) in MISSING_CODES:
                return ""
            raise

    def _arn(self, place: tuple[str, str]) -> str:
        url = self._url(place)
        with self._named("name its queue", place):
            answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    def _parse(self, url: str) -> tuple[str, str] | None:
        """Source and lane of a queue; None for a queue that is not ours."""
        name = url.rsplit("/", 1)[-1].removeprefix(f"{self._prefix}-")
        source, _, lane = name.removesuffix(".fifo").rpartition("-")
        is_ours = name.endswith(".fifo") and "-" not in source and source and lane in (*LANES, DEAD_LANE)
        return (source, lane) if is_ours else None

    @contextmanager
    def _named(self, action: str, place: tuple[str, str] | None = None) -> Iterator[None]:
        """Turn what boto3 raises into our errors, without its text. A queue that is gone is forgotten."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            if _code(error) in MISSING_CODES and place is not None:
                self._urls.pop(place, None)
                raise TransientError(
                    f"The queue of {place[0]}, {place[1]} is gone; it is created when needed."
                ) from None
            raise _refusal(error, action) from None
        except BotoCoreError as error:
            name = type(error).__name__
            is_lasting = any(part in name for part in LASTING) and "Connection" not in name
            kind = PermanentError if is_lasting else TransientError
            raise kind(f"SQS cannot be asked to {action}: {name}.") from None


def _client(region: str, endpoint: str, access_key: str, secret_key: str) -> Any:
    import boto3
    from botocore.config import Config

    keys: dict[str, str] = {}
    if access_key and secret_key:
        keys = {"aws_access_key_id": access_key, "aws_secret_access_key": secret_key}
    retries = {"max_attempts": 4, "mode": "standard"}
    config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries=retries)
    try:
        return boto3.client("sqs", region_name=region, endpoint_url=endpoint or None, config=config, **keys)
    except ValueError:
        raise SettingsError("The endpoint of the fetch queues is no address such as http://127.0.0.1:4566.") from None


def _unique(tasks: Iterable[FetchTask]) -> dict[str, FetchTask]:
    """Tasks by key in their order, equal ones once with the most urgent priority."""
    found: dict[str, FetchTask] = {}
    for task in tasks:
        known = found.setdefault(key := task.key, task)
        if task.priority < known.priority:
            found[key] = task
    return found


def _place(task: FetchTask) -> tuple[str, str]:
    return task.source, task.priority.name.lower()


def _entry(task: FetchTask, deduplication_id: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "MessageBody": task.to_json(),
        "MessageGroupId": task.key,
        "MessageDeduplicationId": deduplication_id,
        "MessageAttributes": attributes,
    }


def _attributes(*, failures: int, reason: str = "", **times: float) -> dict[str, Any]:
    """Message attributes; a time of 0 and an empty reason are left out."""
    numbers = {"failures": str(failures)} | {name: f"{value:.6f}" for name, value in times.items() if value}
    found = {name: {"DataType": "Number", "StringValue": value} for name, value in numbers.items()}
    if text := UNSENDABLE.sub("?", reason)[:REASON_CHARS]:
        found["reason"] = {"DataType": "String", "StringValue": text}
    return found


def _message(body: Mapping[str, Any]) -> _Message:
    given = {name: value.get("StringValue", "") for name, value in body.get("MessageAttributes", {}).items()}
    sent_at = int(body["Attributes"]["SentTimestamp"]) / 1000
    return _Message(
        task=FetchTask.from_json(body["Body"]),
        message_id=body["MessageId"],
        handle=body["ReceiptHandle"],
        receives=int(body["Attributes"]["ApproximateReceiveCount"]),
        failures=int(given.get("failures", 0)),
        queued_at=float(given.get("queued_at", sent_at)),
        not_before=float(given.get("not_before", 0.0)),
        sent_at=float(given.get("buried_at", sent_at)),
        reason=given.get("reason", ""),
        is_buried="buried_at" in given,
    )


def _delivery(message: _Message, now: float) -> Delivery:
    receipt = {
        "handle": message.handle,
        "message_id": message.message_id,
        "receives": message.receives,
        "taken_at": now,
    }
    queued_at = dt.datetime.fromtimestamp(message.queued_at, dt.UTC)
    return Delivery(message.task, json.dumps(receipt), message.failures, queued_at)


def _dead_task(message: _Message) -> DeadTask:
    last = f" (last answer before: {message.reason})" if message.reason else ""
    died = f"Its workers died or ran out of time again and again{last}."
    buried_at = dt.datetime.fromtimestamp(message.sent_at, dt.UTC)
    return DeadTask(message.task, message.reason if message.is_buried else died, message.failures, buried_at)


def _receipt(delivery: Delivery) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(delivery.receipt)
    return found


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for at in range(0, len(items), BATCH):
        yield items[at : at + BATCH]


def _whole_seconds(seconds: float) -> int:
    return max(0, min(math.ceil(seconds), HIDE_SECONDS))


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_stale(failure: Mapping[str, Any]) -> bool:
    """Whether a message could not be changed because its lease ran out."""
    code, text = str(failure.get("Code", "")), str(failure.get("Message", "")).lower()
    return any(stale in code for stale in STALE_CODES) or any(words in text for words in STALE_WORDS)


def _refuse_faults(failures: Iterable[Mapping[str, Any]]) -> None:
    fault = next((entry for entry in failures if entry.get("SenderFault")), None)
    if fault is not None:
        raise PermanentError(f"SQS refuses a message: {fault.get('Code', 'no code')}.")


def _refusal(error: Any, action: str) -> CreatorlakeError:
    code = _code(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    is_passing = status >= 500 or status == 429 or any(part in code for part in RETRY_CODES)
    kind = TransientError if is_passing else PermanentError
    return kind(f"SQS refuses to {action}: {code or status}.")
