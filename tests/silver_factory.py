"""Random observations and the simplest possible newest-known fold over them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lakehouse.contracts.fields import FIELDS
from lakehouse.contracts.tables import ACCOUNTS, OBSERVATIONS

START = datetime(2024, 1, 1, tzinfo=UTC)
ORDER = ("observed_at", "batch_seq", "record_seq")
_DERIVED = {"declared_links", "source_codes", "observations_count", "first_seen_at", "observed_at", "batch_seq"}
PARTS = {"website_domain": "website_url"}
ACCOUNT_COLUMNS = tuple(name for name in ACCOUNTS.columns if name not in _DERIVED and name not in ACCOUNTS.key)


def observations(rng, *, count):
    rows = []
    for place in range(count):
        row = {name: _value(rng, name) for name in OBSERVATIONS.columns}
        row |= {
            "record_id": f"r{place}",
            "source_code": rng.choice("ab"),
            "platform": rng.choice(["x", "tiktok"]),
            "platform_account_id": f"@{rng.randrange(8)}",
            "observed_at": START + timedelta(hours=6 * rng.randrange(12)),
            "batch_seq": rng.randrange(1, 5),
            "record_seq": place,
            "landed_at": START,
        }
        rows.append(row)
    return rows


def oracle(rows, *, key, columns):
    """Key -> column -> value of the newest row that knows it."""
    folded = {}
    for row in sorted(rows, key=lambda entry: tuple(entry[name] for name in ORDER)):
        target = folded.setdefault(tuple(row[name] for name in key), dict.fromkeys(columns))
        target.update({name: row[name] for name in columns if row[PARTS.get(name, name)] is not None})
    return folded


def links_oracle(rows):
    """Account -> targets in the newest list of each source that has one, with the strongest evidence; None without any."""
    newest = {}
    for row in sorted(rows, key=lambda entry: tuple(entry[name] for name in ORDER)):
        by_source = newest.setdefault((row["platform"], row["platform_account_id"]), {})
        if row["declared_links"] is not None:
            by_source[row["source_code"]] = row["declared_links"]
    return {key: _strongest(by_source.values()) if by_source else None for key, by_source in newest.items()}


def _strongest(lists):
    found = {}
    for link in (link for links in lists for link in links):
        target = link["platform"], link["target"]
        found[target] = min(found.get(target, link["evidence"]), link["evidence"], key=("declared", "bio").index)
    return found


def _value(rng, name):
    if rng.random() < 0.6:
        return None
    kind = str(FIELDS[name].type)
    simple = {
        "int64": rng.randrange(99),
        "double": rng.random(),
        "bool": rng.random() < 0.5,
        "string": f"t{rng.randrange(9)}",
    }
    if kind in simple:
        return simple[kind]
    if kind.startswith("timestamp"):
        return START.replace(tzinfo=None) + timedelta(days=rng.randrange(9))  # as Spark hands them back
    if kind.startswith(("list<element: struct", "list<item: struct")):
        targets = rng.sample(range(9), rng.randrange(3))
        return [
            {"platform": "x", "target": f"t{n}", "url": None, "evidence": rng.choice(["declared", "bio"])}
            for n in targets
        ]
    return [f"l{rng.randrange(9)}"]
