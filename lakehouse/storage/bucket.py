"""What is a matter of the bucket and not of its objects: lifecycle rules, read, judged and applied. S3 only, by boto3."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lakehouse.contracts.layout import BUILDS, DELTA, ERASURES, EXPORTS, LANDING, PROGRESS, SNAPSHOTS, Layout
from lakehouse.errors import PermanentError, TransientError
from lakehouse.settings import Settings

Rule = Mapping[str, Any]
LIFECYCLE = Path(__file__).with_name("lifecycle.json")
"""The one source of the rules; prefixes in it are relative to the lake root."""
LIVE = (DELTA, SNAPSHOTS, BUILDS, EXPORTS, PROGRESS, ERASURES, f"{LANDING}/_batches")
"""Folders whose objects are needed as long as the lake lives: expiry there is corruption, Glacier an error on read."""
HARMFUL = frozenset({"Expiration", "Transitions", "Transition"})
"""Actions on current objects. Noncurrent versions and unfinished uploads are nobody's data."""


def lifecycle_rules(settings: Settings) -> list[dict[str, Any]] | None:
    """Rules of the lake's bucket; None where the credentials do not allow to read them.

    Raises:
        PermanentError: there is no such bucket.
        TransientError: the store does not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = s3_client(settings).get_bucket_lifecycle_configuration(Bucket=_bucket(settings)[0])
    except ClientError as error:
        return _unread(error, settings)
    except BotoCoreError as error:
        raise TransientError(f"The rules of {settings.lake_root} cannot be read: {type(error).__name__}.") from None
    return list(answer.get("Rules", []))


def harmful_rules(rules: Sequence[Rule], lake_root: str) -> list[str]:
    """Ids of enabled rules that expire or move objects of the lake that must stay.

    A rule is judged by its prefix alone: tags and sizes may narrow it, but nothing keeps them off a table.
    """
    root = lake_root.removeprefix("s3://").partition("/")[2]
    live = [f"{root}/{name}/".lstrip("/") for name in LIVE]
    return [
        str(rule.get("ID") or "without a name")
        for rule in rules
        if rule.get("Status") == "Enabled"
        and HARMFUL & rule.keys()
        and any(_meet(_prefix(rule), path) for path in live)
    ]


def wanted_rules(lake_root: str) -> list[dict[str, Any]]:
    """The rules of `lifecycle.json` for a lake: raw objects turn cold, tables never."""
    root = lake_root.removeprefix("s3://").partition("/")[2]
    under = f"{root}/" if root else ""
    rules = json.loads(LIFECYCLE.read_text(encoding="utf-8"))["Rules"]
    return [{**rule, "Filter": {"Prefix": under + rule["Filter"]["Prefix"]}} for rule in rules]


def apply_lifecycle(settings: Settings) -> list[dict[str, Any]]:
    """Set the bucket's rules to ours, keep those of other prefixes, read back, return what is set.

    Raises:
        PermanentError: the lake is no bucket, the store refuses the rules, or what was read back is not what was set.
        TransientError: the store does not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    if not Layout(settings.lake_root).is_s3:
        raise PermanentError(f"{settings.lake_root} is a folder; lifecycle rules are for buckets.")
    ours = wanted_rules(settings.lake_root)
    names = {rule["ID"] for rule in ours}
    others = [rule for rule in lifecycle_rules(settings) or [] if rule.get("ID") not in names]
    try:
        s3_client(settings).put_bucket_lifecycle_configuration(
            Bucket=_bucket(settings)[0], LifecycleConfiguration={"Rules": [*others, *ours]}
        )
    except ClientError as error:
        code = error.response["Error"]["Code"]
        raise PermanentError(f"The store refuses lifecycle rules for {settings.lake_root}: {code}.") from None
    except BotoCoreError as error:
        raise TransientError(f"The rules of {settings.lake_root} cannot be set: {type(error).__name__}.") from None
    stored = lifecycle_rules(settings) or []
    missing = names - {str(rule.get("ID")) for rule in stored}
    if missing:
        raise PermanentError(f"The bucket did not keep the rules {', '.join(sorted(missing))}.")
    return stored


def s3_client(settings: Settings) -> Any:
    """A boto3 client for the lake's store."""
    import boto3
    from botocore.config import Config

    keys: dict[str, str] = {}
    if settings.s3_access_key_id and settings.s3_secret_access_key:
        keys["aws_access_key_id"] = settings.s3_access_key_id.get_secret_value()
        keys["aws_secret_access_key"] = settings.s3_secret_access_key.get_secret_value()
    style = {"addressing_style": "path"} if settings.s3_endpoint else {}
    return boto3.client(
        "s3",
        region_name=settings.s3_region,
        endpoint_url=settings.s3_endpoint or None,
        config=Config(s3=style, connect_timeout=10, read_timeout=30, retries={"max_attempts": 3}),
        **keys,
    )


def _unread(error: Any, settings: Settings) -> list[dict[str, Any]] | None:
    code = error.response["Error"]["Code"]
    if code == "NoSuchLifecycleConfiguration":
        return []
    if code == "NoSuchBucket":
        raise PermanentError(f"{settings.lake_root} cannot be read: there is no such bucket.") from None
    return None


def _bucket(settings: Settings) -> tuple[str, str]:
    bucket, _, prefix = settings.lake_root.removeprefix("s3://").partition("/")
    return bucket, prefix


def _prefix(rule: Rule) -> str:
    """Prefix of a rule in any of the forms that S3 knows; empty covers everything."""
    chosen = rule.get("Filter") or {}
    inner = chosen.get("And") or chosen
    return str(inner.get("Prefix", rule.get("Prefix", "")))


def _meet(prefix: str, path: str) -> bool:
    """Whether objects under `path` may start with `prefix`."""
    return path.startswith(prefix) or prefix.startswith(path)
