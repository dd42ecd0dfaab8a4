"""Declared fields: any columns become signals and keys of the same resolver, and accounts stay as they are."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from lakehouse.errors import NotFoundError, SchemaError, SettingsError
from lakehouse.identity import resolve
from lakehouse.identity.counts import COUNT_MAX
from lakehouse.identity.engine import count_all, prepare_all
from lakehouse.identity.fields import field_forms, field_keys, field_levels
from lakehouse.identity.model import Field, FieldKind, default_model, load_model, overlaid
from lakehouse.identity.nodes import NODE, RAW, compared
from lakehouse.identity.resolve import raw_rows, resolve_file

PERSONS = {
    "version": "persons-1",
    "prior": 1.0,
    "is_sized": True,
    "cluster": {"conflict": 0.0},
    "blocking": {"limits": {"tokens": 8}},
    "weights": [{"signal": "same_platform", "level": "two_accounts", "offset": 0.0, "share": 0.0}],
    "fields": [
        {"name": "given", "kind": "name"},
        {"name": "family", "kind": "name"},
        {"name": "born", "kind": "date"},
        {"name": "postcode", "kind": "code"},
        {"name": "trade", "kind": "exact"},
    ],
    "field_keys": [["given", "family"], ["family", "born:4"], ["born", "postcode"]],
}
GIVEN = ("anna", "bertram", "clara", "dietrich", "edith", "ferdinand", "gisela", "hubert", "irene", "johann")
FAMILY = ("abendroth", "birnbaum", "cornelius", "dornbusch", "eisenhart", "falkenberg", "grimmelt", "hollander")


@pytest.fixture
def persons(tmp_path):
    path = tmp_path / "persons.json"
    path.write_text(json.dumps(PERSONS), encoding="utf-8")
    return path


def person(number, **other):
    row = {
        "platform": "person",
        "platform_account_id": f"{number}-{len(other)}",
        "given": GIVEN[number % 10],
        "family": FAMILY[number // 10 % 8],
        "born": f"{1850 + number % 61}-{1 + number % 12:02}-{1 + number % 28:02}",
        "postcode": f"ab{number % 90 + 10} {number % 9 + 1}xy",
        "trade": ("baker", "smith", "miller")[number % 3],
    }
    return row | other


def a_town():
    """Two hundred people, of whom every fourth has a second record with slips."""
    rows = [person(number) for number in range(200)]
    for number in range(0, 200, 4):
        own = person(number)
        rows.append(person(number, given=own["given"][1:], postcode=own["postcode"].replace("x", "z"), trade=None))
    return rows


def write(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize(
    ("kind", "left", "right", "level"),
    [
        ("name", "Mc Carthy", "mccarthy", "equal"),
        ("name", "johnson", "jonson", "similar"),
        ("name", "thomas", "tom", "partial"),
        ("name", "thomas", "ulrike", "different"),
        ("date", "1908-12-09", "19081209", "equal"),
        ("date", "1908-12-09", "1908-12-19", "similar"),
        ("date", "1908-12-09", "1908-21-09T00:00", "similar"),
        ("date", "1908-12-09", "1908-01-01", "partial"),
        ("date", "1908-12-09", "1971-12-09", "partial"),
        ("date", "1908-12-09", "1971-01-02", "different"),
        ("date", "1908-12-09", "1908", ""),
        ("code", "TQ13 8DF", "tq138df", "equal"),
        ("code", "TQ13 8DF", "TQ13 8FD", "similar"),
        ("code", "TQ13 8DF", "TQ13 5HU", "partial"),
        ("code", "a", "bcd", "different"),
        ("exact", "Poet", "poet", "equal"),
        ("exact", "poet", "poets", "different"),
        ("exact", "poet", None, ""),
        ("exact", "---", "poet", ""),
    ],
)
def test_a_pair_of_values_has_a_level(kind, left, right, level):
    field = Field("value", FieldKind(kind))
    model = default_model()
    table = pa.table({field.column: pa.array([left, right], pa.string())})
    form = field_forms(table, replace(model, fields=(field,)))[field.column]
    assert field_levels(field, form[:1], form[1:]).tolist() == [level]
    assert field_levels(field, form[1:], form[:1]).tolist() == [level]


def test_equal_values_of_different_fields_share_no_key(persons):
    model = load_model(persons)
    rows = [person(1, given="anna", family="clara"), person(2, given="clara", family="anna")]
    made = field_forms(raw_rows(pa.Table.from_pylist(rows), pepper=None, fields=model.fields), model)
    both, *_ = field_keys(made, model)
    assert both[0] != both[1]


def test_a_key_lacks_where_one_of_its_parts_does(persons):
    model = load_model(persons)
    rows = pa.Table.from_pylist([person(1, born=None), person(2, born="?")])
    made = field_forms(raw_rows(rows, pepper=None, fields=model.fields), model)
    assert [column[:, 0].tolist() for column in field_keys(made, model)][1:] == [[0, 0], [0, 0]]


def test_a_value_is_worth_the_bits_of_its_share_and_few_where_counts_end(persons):
    model, size = load_model(persons), 4 * COUNT_MAX
    rows = [person(n, trade="baker" if n % 2 else f"trade {n // 4}") for n in range(size)]
    raw = raw_rows(pa.Table.from_pylist(rows), pepper=None, fields=model.fields)
    bits = prepare_all(raw, count_all(raw, model), model).column(Field("trade", FieldKind.EXACT).bits_column).to_numpy()
    assert np.allclose(bits[::2], np.log2(size / 2), atol=0.01)
    assert (bits[1::2] <= 3.0).all()


def test_a_file_of_persons_is_resolved_by_its_fields_alone_and_training_learns_nothing(tmp_path, persons, monkeypatch):
    source = write(tmp_path / "in.parquet", a_town())

    def creators(name):
        said = []
        model, edges = load_model(persons), tmp_path / f"edges-{name}"
        resolve_file(source, tmp_path / name, edges, is_trained=True, model=model, log=said.append)
        assert sum("nothing learned" in line for line in said) == 1  # all lie on one platform
        return pq.read_table(tmp_path / name)

    found = creators("out.parquet")
    owner = [row["platform_account_id"].split("-")[0] for row in found.to_pylist()]
    ids = found.column("creator_id").to_pylist()
    assert len(set(zip(owner, ids, strict=True))) == len(set(ids)) == 200
    for edge in pq.read_table(tmp_path / "edges-out.parquet").to_pylist():
        score = sum(reason["log_odds"] for reason in edge["reasons"])
        assert 1 / (1 + 2**-score) == pytest.approx(edge["probability"])
        assert {"given", "born"} & {reason["signal"].split(":")[0] for reason in edge["reasons"]}
    monkeypatch.setattr(resolve, "FEW_ROWS", 0)
    assert creators("pool.parquet").equals(found)


def test_a_file_without_a_declared_column_is_refused(tmp_path, persons):
    source = write(tmp_path / "in.parquet", [person(1) | {"born": None}, person(2)])
    pq.write_table(pq.read_table(source).drop(["born"]), source)
    with pytest.raises(SchemaError, match="lacks the column 'born'"):
        resolve_file(source, tmp_path / "out.parquet", model=load_model(persons))


def test_the_command_takes_a_model(tmp_path, persons):
    source = write(tmp_path / "in.parquet", a_town())
    assert main(["resolve", str(source), "--out", str(tmp_path / "o.csv"), "--model", str(persons)]) == 0
    assert (tmp_path / "o.csv").read_text(encoding="utf-8").count("\n") == 251


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"fields": [{"name": "handle", "kind": "name"}]}, "the name 'handle' of a field is taken"),
        ({"fields": [{"name": "a", "kind": "name"}, {"name": "a", "kind": "date"}]}, "'a' of a field is taken"),
        ({"fields": [{"name": "a", "kind": "colour"}]}, "colour"),
        ({"fields": [{"name": "a", "kind": "name", "worth": 1}]}, "worth"),
        ({"field_keys": [["nobody"]]}, "nobody"),
        ({"field_keys": [[]]}, "a key has no parts"),
        ({"blocking": {"colour": 1}}, "colour"),
        ({"blocking": []}, "malformed"),
        ({"feilds": []}, "says what no model has: feilds"),
        ([], "no JSON object"),
    ],
)
def test_a_malformed_model_is_refused(tmp_path, said, message):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(SettingsError, match=message):
        load_model(path)


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "model.json").write_text("{", encoding="utf-8")
    with pytest.raises(SettingsError, match="is no JSON"):
        load_model(tmp_path / "model.json")
    with pytest.raises(NotFoundError, match="There is no file"):
        load_model(tmp_path / "absent.json")


def test_a_model_file_says_only_what_differs(tmp_path):
    path = tmp_path / "model.json"
    other = {"signal": "handle", "level": "exact", "offset": 1.0, "share": 0.0}
    path.write_text(json.dumps({"thresholds": {"merge": 4.0}, "weights": [other]}), encoding="utf-8")
    model, packaged = load_model(path), default_model()
    assert (model.thresholds.merge, model.thresholds.review) == (4.0, packaged.thresholds.review)
    assert model.weigh("handle", "exact", 9.0) == 1.0
    assert {key for key in packaged.weights if packaged.weights[key] != model.weights[key]} == {("handle", "exact")}


def test_what_is_laid_over_a_body_leaves_it_as_it_was():
    body = {"a": {"b": {"c": 1, "d": 2}}, "weights": [1]}
    assert overlaid(body, {"a": {"b": {"c": 3}}, "weights": [2]}) == {"a": {"b": {"c": 3, "d": 2}}, "weights": [1, 2]}
    assert body == {"a": {"b": {"c": 1, "d": 2}}, "weights": [1]}


def test_accounts_have_no_fields():
    model = default_model()
    assert (compared(model), model.sized(10**6)) == (NODE, model)
    assert raw_rows(pa.table({"platform": ["x"], "platform_account_id": ["1"]}), pepper=None).schema == RAW
