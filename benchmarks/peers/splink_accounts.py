"""Splink over prepared accounts: `python splink_accounts.py IN.parquet OUT.parquet duckdb|spark`.

Splink gets every advantage that it can use: our normal forms, blocking on the same keys, term frequencies, and `m` learned
from the true people of the very file (column `person`). Clusters of each threshold are written; the caller picks the best.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import splink.comparison_level_library as cll
import splink.comparison_library as cl
from splink import Linker, SettingsCreator, block_on
from splink.blocking_rule_library import CustomRule

THREADS = 2
DRIVER_MEMORY, SHUFFLE_PARTITIONS = "8g", 16
THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.8, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 0.99999)
SAMPLED_PAIRS = 2_000_000


@dataclass(frozen=True)
class Engine:
    """Where Splink runs: its words for lists, and the table that it registers there."""

    meets: str
    length: str
    opened: Callable[[str], tuple[Any, Any]]

    def shared(self, name: str) -> str:
        """A value in common."""
        return f"{self.meets}({name}_l, {name}_r)"

    def lacks(self, name: str) -> str:
        """One has no value."""
        sides = (f"{name}_l", f"{name}_r")
        return " or ".join([f"{side} is null or {self.length}({side}) = 0" for side in sides])


def on_duckdb(source: str) -> tuple[Any, Any]:
    """Interface and input on DuckDB."""
    import duckdb
    from splink import DuckDBAPI

    connection = duckdb.connect()
    connection.execute(f"SET threads = {THREADS}")
    return DuckDBAPI(connection), pq.read_table(source)


def on_spark(source: str) -> tuple[Any, Any]:
    """Interface and input on Spark in this process, with Splink's own functions."""
    from pyspark.sql import SparkSession
    from splink.backends.spark import SparkAPI, similarity_jar_location

    scratch = Path(tempfile.mkdtemp(dir=Path(source).parent))
    config = {
        "spark.master": f"local[{THREADS}]",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": DRIVER_MEMORY,
        "spark.jars": similarity_jar_location(),
        "spark.local.dir": str(scratch / "local"),
        "spark.sql.shuffle.partitions": str(SHUFFLE_PARTITIONS),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder
    for name, value in config.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setCheckpointDir(str(scratch / "checkpoints"))
    return SparkAPI(spark_session=spark), spark.read.parquet(source)


ENGINES = {
    "duckdb": Engine("list_has_any", "len", on_duckdb),
    "spark": Engine("arrays_overlap", "size", on_spark),
}


def never(chance: float) -> dict[str, object]:
    """Chance of what two strangers hardly ever have: sampled pairs never show it, and a level without one counts nothing."""
    return {"u_probability": chance, "fix_u_probability": True}


def handles(_engine: Engine) -> cl.CustomComparison:
    """Handle: equal, equal without affixes and digits, similar."""
    levels = [
        cll.NullLevel("handle"),
        cll.ExactMatchLevel("handle").configure(tf_adjustment_column="handle"),
        cll.ExactMatchLevel("stem").configure(tf_adjustment_column="stem"),
        *(cll.JaroWinklerLevel("stem", cut) for cut in (0.95, 0.9, 0.8)),
        cll.ElseLevel(),
    ]
    return cl.CustomComparison(output_column_name="handle", comparison_levels=levels)


def names(engine: Engine) -> cl.CustomComparison:
    """Display name: equal, same or shared words, similar."""
    levels = [
        cll.NullLevel("name"),
        cll.ExactMatchLevel("name").configure(tf_adjustment_column="name"),
        *(cll.JaroWinklerLevel("name", cut) for cut in (0.95, 0.88)),
        cll.CustomLevel(engine.shared("tokens"), label_for_charts="a word"),
        cll.ElseLevel(),
    ]
    return cl.CustomComparison(output_column_name="name", comparison_levels=levels)


def links(engine: Engine) -> cl.CustomComparison:
    """Links to each other: both ways, one way."""
    forth, back = f"{engine.meets}(links_l, own_r)", f"{engine.meets}(links_r, own_l)"
    none = f"{engine.length}(links_l) = 0 and {engine.length}(links_r) = 0"
    levels = [
        cll.CustomLevel(none).configure(is_null_level=True),
        cll.CustomLevel(f"({forth}) and ({back})", label_for_charts="mutual").configure(**never(1e-8)),
        cll.CustomLevel(f"({forth}) or ({back})", label_for_charts="one way").configure(**never(1e-6)),
        cll.ElseLevel(),
    ]
    return cl.CustomComparison(output_column_name="links", comparison_levels=levels)


def shared(engine: Engine, name: str) -> cl.CustomComparison:
    """A list of values: one in common."""
    levels = [
        cll.CustomLevel(engine.lacks(name)).configure(is_null_level=True),
        cll.CustomLevel(engine.shared(name), label_for_charts="shared").configure(**never(1e-5)),
        cll.ElseLevel(),
    ]
    return cl.CustomComparison(output_column_name=name, comparison_levels=levels)


def settings(engine: Engine, columns: set[str]) -> SettingsCreator:
    """Comparisons of the columns that hold something, and rules that are our blocking keys."""
    compared = {"handle": handles, "name": names, "links": links}
    found = [make(engine) for name, make in compared.items() if name in columns]
    found += [shared(engine, name) for name in ("domains", "emails") if name in columns]
    found.append(cl.ExactMatch("platform"))
    rules = [block_on(name) for name in ("handle", "stem", "name") if name in columns]
    if "links" in columns:
        rules.append(CustomRule("l.links = r.own", arrays_to_explode=["links", "own"]))
        rules.append(CustomRule("l.own = r.links", arrays_to_explode=["links", "own"]))
    rules += [block_on(name, arrays_to_explode=[name]) for name in ("domains", "emails", "grams") if name in columns]
    return SettingsCreator(
        link_type="dedupe_only",
        comparisons=found,
        blocking_rules_to_generate_predictions=rules,
        retain_matching_columns=False,
        additional_columns_to_retain=[],
    )


def filled(source: str) -> set[str]:
    """Columns that hold something."""
    table = pq.read_table(source)
    return {name for name in table.column_names if table.column(name).null_count < table.num_rows}


def main(source: str, target: str, name: str) -> None:
    """Train, predict, cluster; print seconds as JSON."""
    engine, columns = ENGINES[name], filled(source)
    api, table = engine.opened(source)
    started = time.monotonic()
    linker = Linker(api.register(table), settings(engine, columns))
    rule = [block_on("handle")] if "handle" in columns else [block_on("name")]
    linker.training.estimate_probability_two_random_records_match(rule, recall=0.5)
    linker.training.estimate_u_using_random_sampling(max_pairs=SAMPLED_PAIRS, seed=1)
    linker.training.estimate_m_from_label_column("person")
    trained = time.monotonic()
    scored = linker.inference.predict(threshold_match_probability=0.01)
    predicted = time.monotonic()
    parts = []
    for threshold in THRESHOLDS:
        clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(
            scored, threshold_match_probability=threshold
        )
        found = clusters.as_pyarrow_table()
        cut = pa.array([threshold] * found.num_rows)
        parts.append(found.select(["unique_id", "cluster_id"]).append_column("threshold", cut))
    pq.write_table(pa.concat_tables(parts), target)
    seconds = {"train": trained - started, "predict": predicted - trained, "cluster": time.monotonic() - predicted}
    sys.stdout.write(json.dumps(seconds) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:4])
