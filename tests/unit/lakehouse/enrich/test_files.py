"""Tagging and scoring of own files, Parquet and CSV."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from lakehouse.enrich.files import SCORES_SCHEMA, TAGS_SCHEMA, score_file, tag_file
from lakehouse.errors import NotFoundError, SchemaError

TEXTS = {"id": ["1", "2", "3"], "text": ["makeup tutorial and beauty tips", "casino bonus and free spins", None]}


def _accounts(count=60):
    return {
        "platform": ["instagram"] * count,
        "platform_account_id": [str(i) for i in range(count)],
        "followers_count": [10_000 + i for i in range(count)],
        "avg_likes_count": [100 + 5 * i for i in range(count)],
        "avg_comments_count": [10 + i % 7 for i in range(count)],
    }


def test_tags_of_a_parquet_file(tmp_path):
    pq.write_table(pa.table(TEXTS), tmp_path / "in.parquet")
    assert tag_file(tmp_path / "in.parquet", tmp_path / "out" / "tags.parquet", device="cpu") == 3
    table = pq.read_table(tmp_path / "out" / "tags.parquet")
    assert table.schema.equals(TAGS_SCHEMA)
    beauty, casino, empty = table.to_pylist()
    assert beauty["niche_code"] == "beauty"
    assert beauty["niches"][0] == {"code": "beauty", "score": beauty["niche_score"]}
    assert [(risk["code"], risk["level"]) for risk in casino["risks"]] == [("gambling", "high")]
    assert (empty["is_abstained"], empty["niche_code"], empty["risks"]) == (True, None, [])


def test_tags_of_a_csv_file(tmp_path):
    (tmp_path / "in.csv").write_text("id,text\n007,football match goals\n", encoding="utf-8")
    tag_file(tmp_path / "in.csv", tmp_path / "out.csv", device="cpu")
    (row,) = pacsv.read_csv(
        tmp_path / "out.csv", convert_options=pacsv.ConvertOptions(column_types={"id": pa.string()})
    ).to_pylist()
    assert row["id"] == "007"
    assert json.loads(row["niches"])[0]["code"] == "sports"


def test_scores_of_a_file_with_few_columns(tmp_path):
    pq.write_table(pa.table(_accounts()), tmp_path / "in.parquet")
    assert score_file(tmp_path / "in.parquet", tmp_path / "out.parquet") == 60
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.equals(SCORES_SCHEMA)
    for row in table.to_pylist():
        for name in ("quality", "anomaly"):
            total = sum(r["contribution"] for r in row["reasons"] if r["code"].startswith(name))
            assert total == pytest.approx(row[f"{name}_score"], abs=1e-6)
    scores = table.column("quality_score").to_pylist()
    assert scores[0] < scores[30]


def test_too_few_peers_leave_scores_null(tmp_path):
    pq.write_table(pa.table(_accounts(3)), tmp_path / "in.parquet")
    score_file(tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").column("quality_score").to_pylist() == [None] * 3


def test_a_text_may_hold_line_breaks(tmp_path):
    (tmp_path / "in.csv").write_text('id,text\n1,"football\n\nmatch goals"\n2,casino\n', encoding="utf-8")
    assert tag_file(tmp_path / "in.csv", tmp_path / "out.csv", device="cpu") == 2


def test_a_file_of_no_rows_gives_a_file_of_no_rows(tmp_path):
    (tmp_path / "in.csv").write_text("platform,platform_account_id,followers_count\n", encoding="utf-8")
    assert score_file(tmp_path / "in.csv", tmp_path / "out.parquet") == 0
    assert pq.read_table(tmp_path / "out.parquet").schema.equals(SCORES_SCHEMA)


def test_a_file_may_replace_itself(tmp_path):
    pacsv.write_csv(pa.table(_accounts()), tmp_path / "a.csv")
    assert score_file(tmp_path / "a.csv", tmp_path / "a.csv") == 60
    assert "quality_score" in pacsv.read_csv(tmp_path / "a.csv").column_names


def test_a_bad_row_late_in_a_file_is_a_sentence_and_leaves_the_old_output(tmp_path):
    rows = "".join(f"instagram,{i},{i}\n" for i in range(200_000))
    text = f"platform,platform_account_id,followers_count\n{rows}instagram,last,many\n"
    (tmp_path / "in.csv").write_text(text, encoding="utf-8")
    (tmp_path / "out.csv").write_text("old", encoding="utf-8")
    with pytest.raises(SchemaError, match="many"):
        score_file(tmp_path / "in.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_csv_in_csv_out(tmp_path):
    pacsv.write_csv(pa.table(_accounts()), tmp_path / "in.csv")
    score_file(tmp_path / "in.csv", tmp_path / "out.csv")
    rows = pacsv.read_csv(tmp_path / "out.csv").to_pylist()
    assert len(rows) == 60
    assert json.loads(rows[0]["reasons"])[0]["code"].startswith("quality:")


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("in.csv", "id,body\n1,x\n", SchemaError),
        ("in.txt", "id,text\n1,x\n", SchemaError),
        ("in.parquet", "no parquet", SchemaError),
        ("missing.csv", None, NotFoundError),
    ],
)
def test_errors_are_one_sentence(tmp_path, name, content, error):
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(error) as caught:
        tag_file(tmp_path / name, tmp_path / "out.parquet", device="cpu")
    assert "\n" not in str(caught.value)


def test_numbers_that_are_none_name_their_column(tmp_path):
    pq.write_table(pa.table(_accounts() | {"followers_count": ["many"] * 60}), tmp_path / "in.parquet")
    with pytest.raises(SchemaError, match="followers_count"):
        score_file(tmp_path / "in.parquet", tmp_path / "out.parquet")
