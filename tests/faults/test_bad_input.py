"""F9, F10, F11: every kind of bad input has a fate: never a crash, never a lost good row, always a reason."""

from __future__ import annotations

import gzip
import random
import string

import pytest

from tests.faults.corpus import HEAD, corpus, fate
from tests.ingest_factories import read


@pytest.mark.parametrize("at", range(len(corpus())), ids=[f"{file.number.lower()} {file.what}" for file in corpus()])
def test_f9_f10_f11_every_bad_file_has_its_fate(at, tmp_path):
    file = corpus()[at]
    landed, withheld, reasons = fate(file, tmp_path)
    assert set(file.reasons) == set(reasons)
    if file.landed >= 0:
        assert (landed, withheld) == (file.landed, file.withheld)


def test_f9_a_gzip_cut_at_every_byte_keeps_its_good_rows_and_says_why(tmp_path):
    """Whatever can be inflated of a cut file is landed row by row, the rest is told of."""
    draw = random.Random(4)
    rows = ["".join(draw.choices(string.ascii_lowercase, k=9)) for _ in range(60)]
    whole = gzip.compress((HEAD + "".join(f"{row},n,{at}\n" for at, row in enumerate(rows))).encode(), mtime=0)
    landed_before = 0
    for cut in range(len(whole)):
        source, records, entries = read(tmp_path, whole[:cut], name="acme.csv.gz")
        handles = [record.payload["handle"] for record in records]
        assert handles == rows[: len(handles)], cut
        assert entries, cut
        assert len(handles) >= landed_before, cut
        landed_before = len(handles)
        assert source.counts.rows_landed == len(handles)
    assert landed_before == len(rows)
