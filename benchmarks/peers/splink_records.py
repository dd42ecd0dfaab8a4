"""Splink over records of persons: `python splink_records.py IN.parquet OUT.parquet SET`.

Splink gets every advantage that it can use: comparisons and blocking rules after its documented examples for these very sets, and
ways of our own with the whole name and our blocking keys (column `word_pairs`); each with `m` by expectation maximisation and with
`m` from the true persons of the very file (column `person`). Clusters of each way and threshold are written; the caller picks the best.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

THREADS = 2
THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99998, 0.999995)
SAMPLED_PAIRS = 5_000_000
LEAST = 0.01


@dataclass(frozen=True)
class Task:
    """What a set is compared by: comparisons, blocking rules, sure rules with their recall, and rules to train under."""

    comparisons: Callable[[], list[Any]]
    rules: tuple[tuple[str, ...], ...]
    sure: tuple[tuple[str, ...], ...]
    recall: float
    training: tuple[tuple[str, ...], ...]
    exploded: tuple[str, ...] = ()

    @property
    def blocking(self) -> list[Any]:
        """Rules that make pairs; `exploded` are lists of which one value in common is enough."""
        listed = [block_on(name, arrays_to_explode=[name]) for name in self.exploded]
        return [*(block_on(*rule) for rule in self.rules), *listed]


def _historical() -> list[Any]:
    """As documented by Splink for this set."""
    return [
        cl.ForenameSurnameComparison("first_name", "surname", forename_surname_concat_col_name="first_and_surname"),
        cl.DateOfBirthComparison("dob", input_is_string=True),
        cl.PostcodeComparison("postcode_fake"),
        cl.ExactMatch("birth_place").configure(term_frequency_adjustments=True),
        cl.ExactMatch("occupation").configure(term_frequency_adjustments=True),
    ]


def _historical_apart() -> list[Any]:
    """Each name alone."""
    return [
        cl.NameComparison("first_name").configure(term_frequency_adjustments=True),
        cl.NameComparison("surname").configure(term_frequency_adjustments=True),
        *_historical()[1:],
    ]


def _historical_whole() -> list[Any]:
    """Each name alone, and the whole name, which the documented example leaves out."""
    return [cl.JaroWinklerAtThresholds("full_name", [0.95, 0.88, 0.8]), *_historical_apart()]


def _febrl() -> list[Any]:
    return [
        cl.NameComparison("given_name").configure(term_frequency_adjustments=True),
        cl.NameComparison("surname").configure(term_frequency_adjustments=True),
        cl.DateOfBirthComparison("date_of_birth", input_is_string=True, datetime_format="%Y%m%d"),
        cl.DamerauLevenshteinAtThresholds("soc_sec_id", [1, 2]),
        cl.ExactMatch("street_number").configure(term_frequency_adjustments=True),
        cl.JaroWinklerAtThresholds("address_1", [0.9, 0.7]).configure(term_frequency_adjustments=True),
        cl.DamerauLevenshteinAtThresholds("postcode", [1, 2]).configure(term_frequency_adjustments=True),
        cl.JaroWinklerAtThresholds("suburb", [0.9, 0.7]).configure(term_frequency_adjustments=True),
    ]


HISTORICAL_RULES = (
    ("substr(first_name,1,3)", "substr(surname,1,4)"),
    ("surname", "dob"),
    ("first_name", "dob"),
    ("postcode_fake", "first_name"),
    ("postcode_fake", "surname"),
    ("dob", "birth_place"),
    ("substr(postcode_fake,1,3)", "dob"),
    ("substr(postcode_fake,1,3)", "first_name"),
    ("substr(postcode_fake,1,3)", "surname"),
    ("substr(first_name,1,2)", "substr(surname,1,2)", "substr(dob,1,4)"),
)
APART = (("dob",), ("surname",))
HISTORICAL_SURE = (("first_name", "surname", "dob"), ("dob", "postcode_fake"))
FEBRL_RULES = (
    ("soc_sec_id",),
    ("given_name", "surname"),
    ("date_of_birth", "surname"),
    ("date_of_birth", "given_name"),
    ("postcode", "surname"),
    ("postcode", "given_name"),
    ("address_1", "street_number"),
    ("date_of_birth", "postcode"),
)
FEBRL = Task(
    _febrl,
    FEBRL_RULES,
    (("soc_sec_id",), ("given_name", "surname", "date_of_birth")),
    0.9,
    (("date_of_birth",), ("given_name", "surname")),
)
WAYS: Mapping[str, Mapping[str, Task]] = {
    "historical": {
        "documented": Task(_historical, HISTORICAL_RULES, HISTORICAL_SURE, 0.6, (("first_name", "surname"), ("dob",))),
        "names apart": Task(_historical_apart, HISTORICAL_RULES, HISTORICAL_SURE, 0.6, APART),
        "whole names": Task(_historical_whole, HISTORICAL_RULES, HISTORICAL_SURE, 0.6, APART),
        "our keys": Task(_historical_whole, HISTORICAL_RULES, HISTORICAL_SURE, 0.6, APART, ("word_pairs",)),
    },
    "febrl": {"documented": FEBRL},
}


def trained(linker: Linker, task: Task, *, by_labels: bool) -> None:
    """Let Splink learn its parameters."""
    linker.training.estimate_probability_two_random_records_match(
        [block_on(*rule) for rule in task.sure], recall=task.recall
    )
    linker.training.estimate_u_using_random_sampling(max_pairs=SAMPLED_PAIRS, seed=1)
    if by_labels:
        linker.training.estimate_m_from_label_column("person")
        return
    for rule in task.training:
        linker.training.estimate_parameters_using_expectation_maximisation(block_on(*rule))


def clusters(table: pa.Table, task: Task, way: str, *, by_labels: bool) -> Iterator[pa.Table]:
    """Clusters of each threshold, and the seconds that one run with this threshold takes, those of training apart."""
    connection = duckdb.connect()
    connection.execute(f"SET threads = {THREADS}")
    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=task.comparisons(),
        blocking_rules_to_generate_predictions=task.blocking,
        retain_matching_columns=False,
        additional_columns_to_retain=[],
    )
    started = time.monotonic()
    linker = Linker(DuckDBAPI(connection).register(table), settings)
    trained(linker, task, by_labels=by_labels)
    until_trained = time.monotonic() - started
    scored = linker.inference.predict(threshold_match_probability=LEAST)
    until_scored = time.monotonic() - started
    for threshold in THRESHOLDS:
        started = time.monotonic()
        made = linker.clustering.cluster_pairwise_predictions_at_threshold(
            scored, threshold_match_probability=threshold
        )
        found = made.as_pyarrow_table().select(["unique_id", "cluster_id"])
        seconds = until_scored + time.monotonic() - started
        said = {"way": way, "threshold": threshold, "seconds": seconds, "training": until_trained}
        for name, value in said.items():
            found = found.append_column(name, pa.array([value] * found.num_rows))
        yield found
    connection.close()


def main(source: str, target: str, name: str) -> None:
    """Run each way with each training."""
    table, parts = pq.read_table(source), []
    for way, task in WAYS[name].items():
        for by_labels in (False, True):
            said = f"{way}, m {'from the true persons' if by_labels else 'by EM'}"
            parts += list(clusters(table, task, said, by_labels=by_labels))
    pq.write_table(pa.concat_tables(parts), target)


if __name__ == "__main__":
    main(*sys.argv[1:4])
