"""Accounts that asked to be forgotten: gone from every object and row that named them, and refused when they come again.

Everything about the account holds one word; afterwards nobody may find it anywhere in the lake, however hard he looks.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assets.steps import STEPS
from lakehouse.contracts.evidence import Kind
from lakehouse.contracts.layout import BATCHES, DELTA, ERASURES, LANDING, PROGRESS
from lakehouse.contracts.tables import (
    ACCOUNTS,
    BRONZE_POSTS,
    BRONZE_PROFILES,
    DOC_TEXTS,
    DOCS,
    EMBEDDINGS,
    LINKS,
    OBSERVATIONS,
    POSTS,
    QUARANTINE,
    TABLES,
)
from lakehouse.errors import PermanentError
from lakehouse.identity.judgements import Said, read, record
from lakehouse.ops import erasure
from lakehouse.ops.erasure import Erased, erase, request_erasure
from lakehouse.ops.maintenance import maintain
from lakehouse.ops.steps import last_report, run_step
from lakehouse.silver.erased import erased_subjects

pytestmark = pytest.mark.spark
WORD = "canary"
BY_NAME = {step.name: step for step in STEPS}
DAY = "2024-05-01"
BUILT = [
    BY_NAME[name]
    for name in (
        "raw_landing",
        "raw_answers",
        BRONZE_PROFILES["youtube"].name,
        BRONZE_POSTS["youtube"].name,
        QUARANTINE.name,
        OBSERVATIONS.name,
        ACCOUNTS.name,
        "silver_core__account_metrics",
        POSTS.name,
        LINKS.name,
        DOCS.name,
    )
]
PROFILES = [
    {
        "platform_account_id": "UCcanary0000000000000000",
        "handle": "CanaryHandle",
        "display_name": "Canary",
        "followers": "12",
    },
    {"platform_account_id": "UCother00000000000000000", "handle": "other", "display_name": "Other", "followers": "7"},
    {
        "handle": "canaryhandle",
        "bio": "canary@example.org and https://canary.example",
        "followers": "many canary birds",
    },
    {"handle": "third", "display_name": "Third", "followers": "9"},
]
POSTED = [
    {"post_id": "p1", "account_id": "UCcanary0000000000000000", "title": "canary song", "views": "5"},
    {"post_id": "p3", "account_id": "UCcanary0000000000000000", "title": "canary dance #shorts", "views": "5"},
    {"post_id": "p2", "account_id": "UCother00000000000000000", "title": "song", "views": "5"},
]


def deliver(folder: Path, name: str, *, accounts=(), posts=()) -> None:
    """Files that need no mapping; the last line of accounts is cut off."""
    envelope = {"platform": "youtube", "observed_at": DAY}
    for kind, records in (("accounts", accounts), ("posts", posts)):
        if records:
            lines = [json.dumps(envelope | record) for record in records]
            (folder / f"{kind}_{name}.jsonl").write_text("\n".join(lines) + "\n")


def night(lake) -> None:
    for step in BUILT:
        report = run_step(step, lake, lake.settings, lambda _text: None)
        assert report.imbalances() == {}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "input").mkdir()
    return tmp_path / "input"


@pytest.fixture
def full(lake, folder):
    lake.settings = lake.settings.model_copy(update={"input": folder})
    deliver(folder, "one", accounts=PROFILES, posts=POSTED)
    night(lake)
    assert WORD in said_in_landing(lake)
    assert {name for name, text in said_in_tables(lake).items() if WORD in text} >= {
        BRONZE_PROFILES["youtube"].name,
        BRONZE_POSTS["youtube"].name,
        QUARANTINE.name,
        OBSERVATIONS.name,
        ACCOUNTS.name,
        POSTS.name,
        LINKS.name,
    }
    return lake


def said_in_landing(lake) -> str:
    """All that landing objects and manifests say, in lower case."""
    found = []
    for info in lake.objects.list(LANDING):
        data = lake.objects.get(info.key)
        found.append((gzip.decompress(data) if info.key.endswith(".gz") else data).decode())
    return "".join(found).lower()


def said_in_tables(lake) -> dict[str, str]:
    """All that the newest versions of tables say, in lower case."""
    return {
        name: repr(lake.read(spec).collect()).lower() for name, spec in TABLES.items() if lake.version(name) is not None
    }


def said_in_files(lake) -> str:
    """All that files of tables say, of whatever version: what somebody with access to the disk can read."""
    files = Path(lake.layout.root, DELTA).rglob("*.parquet")
    return "".join(repr(pq.read_table(path).to_pylist()).lower() for path in files if "_delta_log" not in path.parts)


def embed(lake) -> dict[str, str]:
    """Give every text a vector; account to text."""
    docs = {row.platform_account_id: row.content_hash for row in lake.read(DOCS).collect()}
    written = {row[key] for row in lake.read(DOCS).collect() for key, _ in DOC_TEXTS if row[key]}
    assert len(written) == len(set(docs.values())) + 2, "the erased account has texts of both forms"
    rows = [(content_hash, "model", [1.0]) for content_hash in sorted(written)]
    lake.upsert(EMBEDDINGS, lake.spark.createDataFrame(rows, lake.spark_schema(EMBEDDINGS)))
    return docs


def others(lake) -> dict[str, set[str]]:
    """Rows of everybody else."""
    tables = (ACCOUNTS, POSTS, OBSERVATIONS, *BRONZE_PROFILES.values())
    return {
        spec.name: {repr(row) for row in lake.read(spec).collect() if WORD not in repr(row).lower()}
        for spec in tables
        if lake.version(spec.name) is not None
    }


@pytest.mark.faults
def test_nothing_names_an_erased_account_and_it_never_comes_back(full, folder):
    before, texts = others(full), embed(full)
    assert request_erasure(full, ["youtube:@CanaryHandle"]) == [
        ("youtube", "@canaryhandle"),
        ("youtube", "UCcanary0000000000000000"),
    ]
    assert erase(full, lambda _text: None) == Erased(accounts=2, records=4)
    assert erase(full, lambda _text: None) == Erased()
    assert {row.content_hash for row in full.read(EMBEDDINGS).collect()} == {
        texts["UCother00000000000000000"],
        texts["@third"],
    }
    night(full)
    assert WORD not in said_in_landing(full)
    assert [name for name, text in said_in_tables(full).items() if WORD in text] == []
    assert others(full) == before
    assert WORD not in "".join(info.key for info in full.objects.list(ERASURES))

    deliver(folder, "two", accounts=[*PROFILES[:1], {"handle": "fourth", "followers": "1"}], posts=POSTED[:1])
    night(full)
    report = last_report(BY_NAME[OBSERVATIONS.name], full)
    assert (report.rows_in, report.rows_out, report.rows_quarantined) == (2, 1, 1)
    refused = [row.reason_code for row in full.read(QUARANTINE).where("batch_seq > 2").collect()]
    assert refused == ["erased", "erased"]
    told = {name for name, text in said_in_tables(full).items() if WORD in text}
    assert told == {BRONZE_PROFILES["youtube"].name, BRONZE_POSTS["youtube"].name}
    assert erase(full, lambda _text: None) == Erased(accounts=1, records=2)
    assert WORD not in said_in_landing(full) + repr(said_in_tables(full))


@pytest.mark.faults
def test_a_killed_erasure_is_finished_by_the_next_and_the_lake_can_still_be_built_from_landing(full, monkeypatch):
    before = others(full)
    record(full.objects, Said(Kind.LINK, (("youtube", "UCcanary0000000000000000"), ("x", "11")), note="said of both"))
    request_erasure(full, ["youtube:UCcanary0000000000000000"])
    for name in ("_take_out_of_landing", "_take_out_of_bronze"):
        with monkeypatch.context() as killed:
            killed.setattr(erasure, name, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                erase(full, lambda _text: None)
    assert erase(full, lambda _text: None).records == 3
    assert [one.kind for one in read(full.objects)] == [Kind.GONE]
    for prefix in (DELTA, PROGRESS):
        for info in list(full.objects.list(prefix)):
            full.objects.delete(info.key)
    night(full)
    assert WORD not in repr(said_in_tables(full))
    assert {name: rows for name, rows in others(full).items() if "bronze" in name} == {
        name: rows for name, rows in before.items() if "bronze" in name
    }
    assert {row.reason_code for row in full.read(QUARANTINE).collect()} == set()
    assert WORD not in "".join(info.key + full.objects.get(info.key).decode() for info in full.objects.list(BATCHES))


@pytest.mark.faults
@pytest.mark.usefixtures("no_retention")
def test_upkeep_takes_erased_accounts_out_of_files_and_then_of_history(full):
    request_erasure(full, ["youtube:@canaryhandle"])
    erase(full, lambda _text: None)
    night(full)
    written = [spec for table, spec in TABLES.items() if full.version(table) is not None]
    for spec in written:
        assert maintain(full, spec)["removed_rows"] == 0, spec.name
    assert WORD in said_in_files(full)  # older versions, which a reader may still be reading
    full.settings = full.settings.model_copy(update={"vacuum_hours": 0})
    for spec in written:
        maintain(full, spec)
    assert WORD not in said_in_files(full)


@pytest.mark.parametrize("subject", ["myspace:tom", "youtube:", "cr_nobody"])
def test_a_subject_that_names_nobody_is_refused_and_nothing_is_done(lake, subject):
    with pytest.raises(PermanentError):
        request_erasure(lake, ["x:1", subject])
    assert erased_subjects(lake.objects) == frozenset()
