"""Remembers a check's outcome per table version and rules, so that an unchanged table is not read again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from lakehouse.contracts.layout import progress_key
from lakehouse.contracts.tables import TableSpec
from lakehouse.quality.expectations import metrics_of
from lakehouse.quality.structural import CheckOutcome, check_table
from lakehouse.storage.lake import Lake


def checked(lake: Lake, spec: TableSpec) -> CheckOutcome:
    """Outcome of the table's checks at its newest version, computed at most once per version and set of rules.

    A table that was never written passes with no rows.
    """
    version = lake.state(spec.name)
    if version is None:
        return CheckOutcome(spec.name, 0, {})
    if known := remembered(lake, spec):
        return known
    outcome = check_table(lake, spec, metrics_of(spec.name), since=_passed_before(lake, spec))
    record = {"version": version, "rules": _rules(spec), "outcome": asdict(outcome)}
    lake.objects.replace(_key(spec), json.dumps(record, sort_keys=True).encode())
    return outcome


def _passed_before(lake: Lake, spec: TableSpec) -> CheckOutcome | None:
    """Passed outcome of an older state that the table has only grown from; None where all of it must be read."""
    known = lake.objects.read_json(_key(spec)) or {}
    if not spec.grows_by or known.get("rules") != _rules(spec):
        return None
    outcome = CheckOutcome(**known["outcome"])
    return outcome if outcome.is_passed and lake.holds(spec.name, known["version"]) else None


def remembered(lake: Lake, spec: TableSpec) -> CheckOutcome | None:
    """Outcome for the table as it is now, None when it was not checked yet. Needs no Spark."""
    known = lake.objects.read_json(_key(spec)) or {}
    is_of_now = (known.get("version"), known.get("rules")) == (lake.state(spec.name), _rules(spec))
    return CheckOutcome(**known["outcome"]) if is_of_now else None


def _key(spec: TableSpec) -> str:
    return progress_key(f"check_{spec.name}")


def _rules(spec: TableSpec) -> str:
    """What is checked: another declaration or another metric means another answer."""
    said = [spec.columns, spec.key, sorted(spec.not_null), metrics_of(spec.name)]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
