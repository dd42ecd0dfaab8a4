"""Data, cells, oracle and figures of the search benchmark, on a world of a few hundred made-up vectors."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks import search_cells as cells
from benchmarks.peers.measure import quantile
from benchmarks.peers.protocol import Cell, Clause, Corpus, Truth, read_truth, sql_of, write_cells
from benchmarks.report import Figure, table
from benchmarks.search_data import MILLION, Base, order_of_meaning, write_corpus
from benchmarks.search_figures import Store, faster, worst
from benchmarks.search_oracle import best_rows, columns_of, truths, write_truth
from benchmarks.search_texts import real_texts

ROWS = 3_000


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def real():
    rng = np.random.default_rng(0)
    topics = unit(rng.normal(size=(20, 16)))
    vectors = unit(topics[rng.integers(0, 20, 900)] + 0.2 * rng.normal(size=(900, 16)))
    return Base(vectors[300:], order_of_meaning(vectors[300:]), vectors[:300], {})


@pytest.fixture(scope="module")
def corpus(real, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(real, ROWS, folder)
    queries, made = cells.make_cells(real, 40)
    np.save(folder / "queries.npy", queries)
    write_cells(made, folder / "cells.json")
    return Corpus(folder)


def test_the_order_of_meaning_is_an_order_of_regions(real):
    assert sorted(real.order.tolist()) == list(range(len(real.vectors)))
    parts = [real.vectors[rows] for rows in np.array_split(real.order, 20)]
    within = np.mean([(part @ part.mean(axis=0)).mean() for part in parts])
    mixed = np.mean([(part @ part.mean(axis=0)).mean() for part in np.array_split(real.vectors, 20)])
    assert within > 2 * mixed


def test_a_corpus_is_unit_rows_of_which_the_first_are_the_texts(real, corpus):
    vectors = corpus.vectors()
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(vectors[: len(real.vectors)], real.vectors)
    assert len(np.unique(vectors, axis=0)) >= ROWS - 10, "a move by nothing is rare"


def test_attributes_belong_together(real, corpus):
    docs = pq.read_table(corpus.folder / "docs.parquet").to_pydict()
    assert docs["creator_id"][:2] == ["c000000000", "c000000001"]
    for key in ("pick", "place"):
        assert [value // (MILLION // 100) for value in docs[key]] == docs[f"{key}_100"]
    places = np.array(docs["place"]) * len(real.vectors) // MILLION
    np.testing.assert_array_equal(places[: len(real.vectors)], real.places)


def test_cells_are_as_selective_as_they_say(corpus):
    columns = columns_of(corpus)
    for cell in corpus.cells():
        counts = [ROWS if not clauses else len(cells.rows_of(clauses, columns)) for clauses in cell.filters]
        spread = 4 * (cell.selectivity / ROWS / len(counts)) ** 0.5
        assert np.mean(counts) / ROWS == pytest.approx(cell.selectivity, abs=spread + 0.1 * cell.selectivity), cell.name


@pytest.mark.parametrize("shares", [cells.INDEPENDENT_SHARES, cells.REGIONAL_SHARES])
def test_conjunctions_have_three_to_five_fields_that_multiply_to_the_selectivity(shares):
    for selectivity, found in shares.items():
        assert found.selectivity == pytest.approx(selectivity, rel=1e-3)
        fields = 1 + (found.regions < cells.REGIONS) + (found.place < 1) + len(found.ranges)
        assert 3 <= fields <= 5


def test_correlated_filters_are_near_their_queries_and_the_others_far(corpus):
    columns, vectors, queries = columns_of(corpus), corpus.vectors(), corpus.queries()
    near = {}
    for cell in corpus.cells():
        if cell.selectivity == 0.1 and cell.form == cells.ONE_FIELD:
            pairs = zip(cell.query_of, cell.filter_of, strict=True)
            near[cell.correlation] = np.mean(
                [(vectors[cells.rows_of(cell.filters[f], columns)] @ queries[q]).mean() for q, f in pairs]
            )
    assert near[cells.CORRELATED] > near[cells.INDEPENDENT] + 0.1 > near[cells.ANTI] + 0.1


def test_cells_come_back_as_they_were_written(corpus, real):
    assert corpus.cells() == cells.make_cells(real, 40)[1]


@pytest.mark.parametrize(
    ("clause", "sql", "passing"),
    [
        (Clause("size", least=2, most=3), "size >= 2 AND size <= 3", [False, True, True]),
        (Clause("size", values=(1,)), "size = 1", [True, False, False]),
        (Clause("size", values=(1, 3)), "size IN (1, 3)", [True, False, True]),
    ],
)
def test_clauses(clause, sql, passing):
    assert sql_of((clause,)) == sql
    assert clause.passes(np.array([1, 2, 3])).tolist() == passing


def test_a_range_stays_inside():
    assert cells.range_of("pick", 0.0, 0.1) == Clause("pick", least=0, most=99_999)
    assert cells.range_of("pick", 1.0, 0.1) == Clause("pick", least=900_000, most=999_999)
    assert cells.bucket_of("pick", 1.0, 0.01) == Clause("pick_100", values=(99,))


def test_the_oracle_finds_the_best_rows_of_a_filter():
    rng = np.random.default_rng(1)
    vectors, queries = unit(rng.normal(size=(70_000, 4))), unit(rng.normal(size=(3, 4)))
    for rows in (None, np.arange(0, 70_000, 7), np.arange(5)):
        chosen = np.arange(70_000) if rows is None else rows
        for query, found in zip(queries, best_rows(vectors, queries, rows), strict=True):
            scores = np.maximum(vectors[chosen] @ query, 0.0)
            expected = set(chosen[np.argsort(-scores)[:10]].tolist())
            assert expected <= set(found.tolist()), rows


def test_ties_are_right_answers_and_negative_cosines_tie():
    vectors = np.eye(4, dtype=np.float32)[[0] * 15 + [1] * 5]
    assert set(best_rows(vectors, vectors[:1], None)[0].tolist()) - {-1} == set(range(15))
    below = -np.abs(unit(np.random.default_rng(2).normal(size=(30, 4))))
    assert set(best_rows(below, np.full((1, 4), 0.5, np.float32), None)[0].tolist()) - {-1} == set(range(30))


def test_truth_scores_answers(tmp_path):
    truth = Truth(np.array([[1, 2, 3], [4, -1, -1]]), np.array([2, 1]))
    assert truth.score([[1, 3], [4]], [0, 1]) == (1.0, 0)
    assert truth.score([[3, 9], []], [0, 1]) == (pytest.approx(1 / 3), 1)
    assert truth.score([[3, 2, 1]], [0]) == (1.0, 0), "more right rows than places are no more than right"
    write_truth([truth], tmp_path / "truth.npz")
    np.testing.assert_array_equal(read_truth(tmp_path / "truth.npz")[0].accepted, truth.accepted)


def test_truths_of_all_cells_are_within_their_filters(corpus):
    columns = columns_of(corpus)
    for cell, truth in zip(corpus.cells(), truths(corpus, corpus.cells()), strict=True):
        for number, clauses in enumerate(cell.filters):
            rows = cells.rows_of(clauses, columns)
            for query in np.flatnonzero(np.array(cell.filter_of) == number):
                found = set(truth.accepted[query].tolist()) - {-1}
                assert truth.possible[query] == min(10, ROWS if rows is None else len(rows))
                assert rows is None or found <= set(rows.tolist())


def test_real_texts_are_distinct_and_counted():
    texts, sources = real_texts(300, None)
    assert len({text.casefold() for text in texts}) == len(texts) == sum(sources.values()) == 300


def test_a_floor_is_the_least_a_figure_may_be():
    assert Figure("recall", 0.9, "", floor=0.95).is_met is False
    assert Figure("recall", 0.96, "", floor=0.95).is_met is True
    assert "floor" not in Figure("seconds", 1.0, "s", 2.0).as_row()
    assert "at least 0.95: MISSED" in table([Figure("recall", 0.9, "", floor=0.95)])


def system(qps, recall):
    cell = {"cell": "1% a", "p50_ms": 1.0, "p99_ms": 2.0, "cold_p50_ms": 3.0, "short": 0}
    return {"cells": [cell | {"qps": q, "recall": r} for q, r in zip(qps, recall, strict=True)]}


def test_ratios_are_taken_where_both_reach_the_recall():
    ours = system([400, 100, 100], [0.99, 0.96, 0.99])
    assert faster(ours, system([100, 100, 100], [0.99, 0.99, 0.5])) == (pytest.approx(2.0), 2)
    assert faster(ours, system([1, 1, 1], [0.1, 0.1, 0.1]))[1] == 0
    assert worst(ours, "1%")["qps"] == 100


def test_results_replace_those_of_the_same_engine_and_size(tmp_path):
    store = Store.read(tmp_path / "cells.json")
    store.put("a", 10, system([1], [1.0]))
    store.put("a", 20, {"failure": "build failed"})
    store.put("a", 10, system([2], [1.0]))
    found = Store.read(tmp_path / "cells.json")
    assert found.sizes("a") == [10, 20]
    assert found.at(10)["a"]["cells"][0]["qps"] == 2


def test_quantiles():
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([float(value) for value in range(100)], 0.99) == 99.0


def test_a_cell_names_its_kind():
    assert cells.Kind(0.0001, "independent", "one field").name == "0.01% independent, one field"
    assert isinstance(Cell("100%", 1.0, "none", "none", ((),), (0,), (0,)), Cell)
