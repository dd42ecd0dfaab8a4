"""Which posts are short-form content and which are long-form: one rule a platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

SHORT, LONG = "short", "long"
FORMS = (SHORT, LONG)

LONG_ABOVE_SECONDS = {"youtube": 180}
"""On these platforms a post that lasts longer, or of which nobody knows how long it lasts, is long-form: YouTube's Shorts have up to three
minutes (since October 2024). On all others every post is short-form: they are watched and read in passing there."""

SHORTS_MARK = "#shorts"
"""In the title or the caption of a Short whose length is not known."""


def is_long() -> Column:
    """Whether a row of `silver_core__posts` is long-form; never null."""
    from pyspark.sql import functions as F

    marked = F.lower(F.concat_ws(" ", "title", "caption")).contains(SHORTS_MARK)
    found = F.lit(False)
    for platform, seconds in LONG_ABOVE_SECONDS.items():
        known = F.when(F.col("duration_seconds") > 0, F.col("duration_seconds"))  # of a live stream 0 is told
        lasts = F.coalesce(known > seconds, ~marked)
        found = F.when(F.col("platform") == platform, lasts).otherwise(found)
    return found
