"""Few rows between this process and Spark: none is lost, however the table is cut."""

from __future__ import annotations

import pyarrow as pa
import pytest

from lakehouse.storage.keys import Keys, frame_of

pytestmark = pytest.mark.spark
SCHEMA = pa.schema([("a", pa.int64())])


@pytest.mark.parametrize("sizes", [(3,), (0, 3), (3, 0), (0, 0, 3), (0, 0, 3, 0, 2), (0, 0, 0)])
def test_a_frame_has_the_rows_of_all_chunks_wherever_empty_ones_stand(lake, sizes: tuple[int, ...]) -> None:
    table = pa.concat_tables([pa.table({"a": list(range(size))}, SCHEMA) for size in sizes])
    expected = sorted(value for size in sizes for value in range(size))
    assert sorted(row["a"] for row in frame_of(lake.spark, table).collect()) == expected
    assert Keys.of_table(lake.spark, table).count == len(set(expected))
