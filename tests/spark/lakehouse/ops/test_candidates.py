"""Who is pointed at and not known is a candidate; whether derived at once or bit by bit."""

from __future__ import annotations

import datetime as dt

import pytest

from lakehouse.contracts.tables import ACCOUNTS, CANDIDATES, LINKS
from lakehouse.ops.candidates import build_candidates
from lakehouse.ops.steps import StepContext
from lakehouse.storage.lake import Lake

pytestmark = pytest.mark.spark
DAY = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
CHANNEL = "UC" + "a" * 22


def account(platform: str, account_id: str, handle: str | None):
    row = dict.fromkeys(ACCOUNTS.columns)
    row |= {"platform": platform, "platform_account_id": account_id, "handle_key": handle, "source_codes": ["s"]}
    return row | {"first_seen_at": DAY, "observed_at": DAY, "observations_count": 1, "batch_seq": 1}


def link(number: int, target: tuple[str | None, str], kind: str = "account"):
    row = dict.fromkeys(LINKS.columns)
    row |= {
        "link_id": f"{number}-{target}",
        "platform": "x",
        "platform_account_id": str(number),
        "evidence_code": "bio",
    }
    row |= {"link_type_code": kind, "target_platform": target[0], "target_key": target[1], "mentions_count": 1}
    return row | {"first_seen_at": DAY + dt.timedelta(days=number), "last_seen_at": DAY}


def frame(lake: Lake, spec, given):
    return lake.spark.createDataFrame(
        [tuple(row[name] for name in spec.columns) for row in given], lake.spark_schema(spec)
    )


def found(lake: Lake) -> dict[tuple[str, str], int]:
    return {(row[0], row[1]): row[2] for row in lake.read(CANDIDATES).select(*CANDIDATES.columns).collect()}


ACCOUNTS_THEN = [
    account("x", "1", "one"),
    account("instagram", "@known.by.handle", "known.by.handle"),
    account("instagram", "77", "renamed"),
]
LINKS_THEN = [
    link(1, ("youtube", CHANNEL)),
    link(1, ("youtube", "achannel")),
    link(2, ("youtube", "achannel")),
    link(1, ("instagram", "known.by.handle")),
    link(2, ("instagram", "renamed")),
    link(3, ("twitch", "elsewhere")),
    link(3, (None, "example.com"), kind="website"),
    link(4, ("x", "one")),
    link(5, ("x", "will.come")),
]


def test_candidates_are_targets_that_no_account_has_as_id_or_handle(lake: Lake) -> None:
    lake.replace(ACCOUNTS, frame(lake, ACCOUNTS, ACCOUNTS_THEN))
    lake.replace(LINKS, frame(lake, LINKS, LINKS_THEN))
    report = build_candidates(StepContext(lake, lake.settings, {}))
    assert found(lake) == {("youtube", CHANNEL): 1, ("youtube", "@achannel"): 2, ("x", "@will.come"): 1}
    assert report.rows_out == 3


def test_what_changed_alone_leaves_what_a_rebuild_does(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.upsert(ACCOUNTS, frame(lake, ACCOUNTS, ACCOUNTS_THEN))
    lake.upsert(LINKS, frame(lake, LINKS, LINKS_THEN))
    monkeypatch.setattr(Lake, "is_small", lambda _lake, _spec: False)
    build_candidates(StepContext(lake, lake.settings, {}))
    before = {spec.name: lake.state(spec.name) for spec in (ACCOUNTS, LINKS)}
    now = [
        replace_row(ACCOUNTS_THEN[2], handle_key="another"),  # frees the name that a link points at
        account("x", "9", "will.come"),
    ]
    lake.upsert(ACCOUNTS, frame(lake, ACCOUNTS, now))
    lake.delete_where(LINKS, "platform_account_id = '2' AND target_key = 'achannel'")
    lake.upsert(LINKS, frame(lake, LINKS, [link(6, ("tiktok", "new.one")), link(7, ("tiktok", "new.one"))]))
    lake.delete_where(ACCOUNTS, "platform_account_id = '@known.by.handle'")
    build_candidates(StepContext(lake, lake.settings, {}, before=before))
    bit_by_bit = found(lake)
    build_candidates(StepContext(lake, lake.settings, {}))
    assert (
        bit_by_bit
        == found(lake)
        == {
            ("youtube", CHANNEL): 1,
            ("youtube", "@achannel"): 1,
            ("instagram", "@renamed"): 1,
            ("instagram", "@known.by.handle"): 1,
            ("tiktok", "@new.one"): 2,
        }
    )


def replace_row(row, **given):
    return {**row, **given}
