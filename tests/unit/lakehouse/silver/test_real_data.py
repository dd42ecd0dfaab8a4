"""The rules over real files, where they are present: aggregates only."""

from __future__ import annotations

import csv
from collections import defaultdict

from lakehouse.silver.mentions import POST, find_links
from lakehouse.silver.numbers import parse_mean

NUMBER_HEADERS = ("followers", "subscribers", "views", "likes", "comments", "shares", "eng", "authentic")
FOUND_AT_LEAST = 100
"""Of 114 hand-checked handles; the others are glued to lower-case words."""
WRONG_AT_MOST = 12


def test_number_columns_of_the_ranking_files_are_read_whole(real_data):
    """Nearly every cell is a number or known to be missing; one file has countries under the header of a count."""
    columns = {}
    for path in sorted((real_data / "creators" / "hypeauditor_2022").glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = csv.reader(file)
        for place, name in enumerate(header):
            if name.strip().lower().startswith(NUMBER_HEADERS):
                refused = sum(parse_mean(row[place])[1] is not None for row in rows if place < len(row))
                columns[path.name, place] = refused / len(rows)
    assert len(columns) > 60
    assert sum(share > 0.9 for share in columns.values()) == 1
    assert all(share < 0.01 or share > 0.9 for share in columns.values())


def test_declared_handles_are_found_in_descriptions(real_data):
    descriptions = defaultdict(set)
    for path in sorted((real_data / "creators" / "youtube_trending_2018").glob("*_videos.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                descriptions[row["channelId"]].add(row["description"])
    with (real_data / "identity" / "youtube_declared_links_2018" / "gold_dev.csv").open(encoding="utf-8") as file:
        gold = [row for row in csv.DictReader(file) if row["channelId"] in descriptions]
    found = wrong = 0
    for row in gold:
        links = [link for text in descriptions[row["channelId"]] for link in find_links(text, evidence=POST)]
        for platform, column in (("x", "twitter"), ("instagram", "instagram")):
            targets = {link.target for link in links if link.platform == platform}
            found += row[column] in targets
            wrong += len(targets - {row[column]})
    assert found >= FOUND_AT_LEAST
    assert wrong <= WRONG_AT_MOST
