"""Alerts: what a person must hear of. Kept as objects in the lake, told to a webhook where one is set.

Each kind has a page in `docs/runbook.md`. An alert says what happened and where to look; it holds no data of creators.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from lakehouse.contracts.layout import ALERTS
from lakehouse.settings import Settings
from lakehouse.storage.objects import ObjectStore

RUN_FAILED, POISON_OBJECT, FETCH_TROUBLE = "run_failed", "poison_object", "fetch_trouble"
KINDS = {
    RUN_FAILED: "A run of the pipeline failed, or its process was killed, and its retries are used up or still to come",
    POISON_OBJECT: "A landing object is damaged; its rows are in quarantine and everything else went on",
    FETCH_TROUBLE: "A source refuses our credential, or is down; it is left alone for a while and the others go on",
}
"""Kind -> what it means; `docs/runbook.md` has a section for each."""
RUNBOOK = "docs/runbook.md#"
WEBHOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `subject` is what it is about (a job, an object), `text` one sentence, `at` an ISO time in UTC."""

    kind: str
    subject: str
    text: str
    run_id: str
    at: str
    runbook: str

    @property
    def key(self) -> str:
        """Where it is kept: by day, then time; the same alert twice is one object."""
        digest = hashlib.sha256(f"{self.kind}|{self.subject}|{self.text}|{self.run_id}".encode()).hexdigest()[:8]
        day, time = self.at[:10].replace("-", "/"), self.at[11:19].replace(":", "")
        return f"{ALERTS}/{day}/{time}-{self.kind}-{digest}.json"


def raise_alert(
    objects: ObjectStore, settings: Settings, *, kind: str, subject: str, text: str, run_id: str = ""
) -> tuple[Alert, bool]:
    """Keep an alert and tell the webhook.

    Returns:
        The alert, and whether it was told; False too where no webhook is set.

    Raises:
        KeyError: the kind is not declared.
    """
    _ = KINDS[kind]
    at = dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds")
    alert = Alert(kind, subject, text, run_id, at, RUNBOOK + kind.replace("_", "-"))
    objects.replace(alert.key, json.dumps(asdict(alert), sort_keys=True).encode())
    return alert, _tell(alert, settings)


def recent_alerts(objects: ObjectStore, *, since: dt.datetime) -> Iterator[Alert]:
    """Alerts not older than `since`, oldest first."""
    start = f"{ALERTS}/{since:%Y/%m/%d}/{since:%H%M%S}"
    for info in objects.list_after(ALERTS, start):
        yield Alert(**json.loads(objects.get(info.key)))


def _tell(alert: Alert, settings: Settings) -> bool:
    """POST the alert as JSON with a `text` for chat programs. The address may hold a token: it is never repeated."""
    if settings.alert_webhook is None:
        return False
    body = json.dumps({"text": f"creatorlake: {alert.text} ({alert.runbook})", **asdict(alert)}).encode()
    address = settings.alert_webhook.get_secret_value()
    call = urllib.request.Request(address, data=body, headers={"content-type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(call, timeout=WEBHOOK_SECONDS):  # noqa: S310  (the address is the operator's)
            return True
    except (OSError, ValueError, urllib.error.HTTPError):
        return False
