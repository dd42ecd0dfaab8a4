"""Accounts for identity tests: a factory of minimal rows, a run of the whole core, scores, and readers of the real files."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lakehouse.contracts.tables import EDGES
from lakehouse.identity.cluster import Graph, cluster
from lakehouse.identity.engine import Accounts, find_edges
from lakehouse.identity.model import Model, default_model
from lakehouse.identity.nodes import RAW
from lakehouse.identity.quality import Quality, quality
from lakehouse.silver.countries import country_code
from lakehouse.silver.handles import account_id, handle_key, name_key
from lakehouse.silver.urls import website_domain

Row = dict[str, Any]
Key = tuple[str, str]


def account(platform: str, handle: str | None = None, name: str | None = None, **more: Any) -> Row:
    """A `RAW` row; `links` are `platform:key` targets, all declared; `id` overrides the key."""
    handle_text = handle_key(handle) if handle else None
    given = more.pop("id", None)
    row = dict.fromkeys(RAW.names) | {"domains": [], "emails": [], "platform": platform}
    row["platform_account_id"] = account_id(given=given, handle=handle_text, name=name_key(name) if name else None)
    row |= {"handle_key": handle_text, "display_name": name}
    row["links"] = [{"target": target, "evidence": "declared"} for target in more.pop("links", [])]
    return row | more


def raw(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist([{name: row[name] for name in RAW.names} for row in rows], schema=RAW)


@dataclass(frozen=True)
class Outcome:
    """Edges and clusters of one run; `label` by account key."""

    edges: pa.Table
    graph: Graph
    label: dict[Key, int]

    def of(self, row: Row) -> int:
        return self.label[row["platform"], row["platform_account_id"]]

    def are_one(self, *rows: Row) -> bool:
        return len({self.of(row) for row in rows}) == 1

    def edge(self, a: Row, b: Row) -> Row | None:
        ends = sorted((row["platform"], row["platform_account_id"]) for row in (a, b))
        for edge in self.edges.to_pylist():
            if [(edge["left_platform"], edge["left_id"]), (edge["right_platform"], edge["right_id"])] == ends:
                return edge
        return None

    @property
    def partition(self) -> frozenset[frozenset[Key]]:
        groups: dict[int, set[Key]] = {}
        for key, label in self.label.items():
            groups.setdefault(label, set()).add(key)
        return frozenset(frozenset(group) for group in groups.values())


def resolve(rows: list[Row], model: Model | None = None) -> Outcome:
    model, table = model or default_model(), raw(rows)
    edges = pa.concat_tables([EDGES.arrow_schema().empty_table(), *find_edges(table, model)])
    accounts, _ = Accounts.of(table)
    graph = accounts.graph(edges)
    labels = cluster(graph, model).tolist()
    keys = zip(accounts.platforms.to_pylist(), accounts.ids.to_pylist(), strict=True)
    return Outcome(edges, graph, dict(zip(keys, labels, strict=True)))


def scores_of(outcome: Outcome, people: list[tuple[Row, str]]) -> Quality:
    """Scores against the person of each row."""
    return quality(np.array([outcome.of(row) for row, _ in people]), np.array([person for _, person in people]))


def congress(data: Path, *, names: bool = True, websites: bool = True, links: bool = True) -> list[tuple[Row, str]]:
    """X, YouTube and Instagram accounts of each member, each declaring the others, with the member's id."""
    people = []
    with (data / "identity/congress/congress_accounts.csv").open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            ends = {"x": "twitter", "instagram": "instagram", "youtube": "youtube"}
            known = {p: (line[f"{c}_id"], line[c]) for p, c in ends.items() if line[f"{c}_id"] or line[c]}
            site = website_domain(line["url"])
            for platform, (given, handle) in known.items():
                targets = [
                    target for other, end in known.items() if other != platform for target in _targets(other, *end)
                ]
                row = account(
                    platform,
                    handle or None,
                    line["name"] if names else None,
                    id=given or None,
                    country_code="US",
                    domains=[site] if websites and site else [],
                    links=targets if links else [],
                )
                people.append((row, line["entity_id"]))
    return people


def holodex(data: Path) -> list[tuple[Row, str]]:
    """YouTube channels of virtual YouTubers and their X accounts, which link each other."""
    people: dict[str, tuple[Row, str]] = {}
    with (data / "identity/holodex/holodex_channels.csv").open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            handle = handle_key(line["twitter"]) if line["twitter"] else None
            channel = account("youtube", None, line["name"], id=line["id"], links=[f"x:{handle}"] if handle else [])
            people[line["id"]] = (channel, handle or line["id"])
            if handle:
                people[handle] = (account("x", handle, links=[f"youtube:{line['id']}"]), handle)
    return list(people.values())


def youtube_2018(data: Path) -> list[tuple[Row, str]]:
    """Channels with the X and Instagram handles that a person read from their videos; nothing links them here."""
    people = []
    with (data / "identity/youtube_declared_links_2018/gold_dev.csv").open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            rows = [
                account("youtube", None, line["channelTitle"], id=line["channelId"]),
                account("x", line["twitter"]),
                account("instagram", line["instagram"]),
            ]
            people += [(row, line["channelId"]) for row in rows]
    return people


def _targets(platform: str, given: str, handle: str) -> list[str]:
    """What a link to an account names: its handle, and on YouTube its id too."""
    found = [f"{platform}:{handle_key(handle)}"] if handle else []
    return [f"{platform}:{given}", *found] if platform == "youtube" and given else found


HYPEAUDITOR = {
    "instagram_sep_2022": ("instagram", "Instagram name", "Name"),
    "tiktok_sep_2022": ("tiktok", "Tiktoker name", "Tiktok name"),
    "youtube_sep_2022": ("youtube", "Youtuber", "Name"),
}


def top_creators(data: Path) -> list[Row]:
    """One snapshot of the HypeAuditor lists and the Global YouTube list, one row per account."""
    rows: dict[Key, Row] = {}
    for name, (platform, handle_column, name_column) in HYPEAUDITOR.items():
        path = data / f"creators/hypeauditor_2022/social_media_influencers_{name}.csv"
        with path.open(encoding="utf-8-sig") as file:
            for line in csv.DictReader(file):
                fields = {key.strip(): (value or "").strip() for key, value in line.items() if key}
                handle = fields[handle_column] if " " not in fields[handle_column] else ""
                _keep(rows, account(platform, handle or None, fields[name_column] or None))
    for path in (data / "creators/global_youtube_2023").glob("*.csv"):
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in csv.DictReader(file):
                place = country_code(line["Abbreviation"]) if line["Abbreviation"] != "nan" else None
                followers = int(float(line["Subscribers"]))
                _keep(rows, account("youtube", None, line["Title"], country_code=place, followers_count=followers))
    return list(rows.values())


def _keep(rows: dict[Key, Row], row: Row) -> None:
    if row["platform_account_id"] is not None:
        rows.setdefault((row["platform"], row["platform_account_id"]), row)


PLATFORMS = ("x", "tiktok", "instagram", "youtube")
LETTERS = str.maketrans("0123456789", "ktrnsmplvd")
"""Digits as letters: numbers become rare names."""


def synthetic_people(count: int, *, seed: int) -> list[tuple[Row, str]]:
    """People with two or three accounts: handles derived from rare names by common edits, one in five unrelated."""
    draw = np.random.default_rng(seed)
    syllables = [
        "ka",
        "mo",
        "ri",
        "ten",
        "sha",
        "vel",
        "dor",
        "lin",
        "bru",
        "zo",
        "pha",
        "qui",
        "nar",
        "fe",
        "gus",
        "wy",
    ]
    people = []
    for person in range(count):
        first, last = ("".join(draw.choice(syllables, size=3)) for _ in range(2))
        edits = [f"{first}{last}", f"{first}.{last}", f"{first}_{last}{draw.integers(10, 99)}", f"the{first}{last}"]
        for platform in draw.choice(
            ["instagram", "tiktok", "youtube", "x"], size=int(draw.integers(2, 4)), replace=False
        ):
            unrelated = draw.random() < 0.2
            handle = "".join(draw.choice(syllables, size=4)) if unrelated else str(draw.choice(edits))
            row = account(str(platform), handle, f"{first} {last}".title() if draw.random() < 0.9 else None)
            people.append((row | {"platform_account_id": f"{person}-{platform}"}, str(person)))
    return people


def crowded_people(count: int, *, seed: int) -> list[tuple[Row, int]]:
    """Accounts and the person of each: two share each name, and a handle that is taken on a platform gets a number; half link both ways."""
    draw, rows, taken = np.random.default_rng(seed), [], set()
    for person in range(count):
        name, country = f"{person // 2:05}".translate(LETTERS), ("US", "BR", "DE", "JP")[draw.integers(4)]
        own = []
        for platform in draw.choice(PLATFORMS, 2, replace=False):
            is_free = draw.random() < 0.7 and (platform, name) not in taken
            handle = name if is_free else f"{name}{draw.integers(10_000)}"
            taken.add((platform, handle))
            own.append(account(platform, handle, f"Ana {name.title()}", id=f"{person}", country_code=country))
        if draw.random() < 0.5:
            for row, other in (own, own[::-1]):
                row["links"] = [{"target": f"{other['platform']}:{other['handle_key']}", "evidence": "bio"}]
        rows += [(row, person) for row in own]
    return rows
