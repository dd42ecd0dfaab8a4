"""Facts about real creators, from raw files to the HTTP answer. Skips where the real data is absent."""

from __future__ import annotations

import csv
import shutil

import pytest

from tests.support import Home, request, served

pytestmark = [pytest.mark.e2e, pytest.mark.proof]

FOLDERS = ("creators/hypeauditor_2022", "creators/global_youtube_2023", "identity/congress")
"""What the facts below are about; the whole folder takes several minutes more."""


@pytest.fixture(scope="module")
def base(real_data, tmp_path_factory):
    path = tmp_path_factory.mktemp("real")
    home = Home(path, str(path / "lake"))
    for folder in FOLDERS:
        shutil.copytree(real_data / folder, path / "input" / folder)
    done = home.run("run", "--input", str(path / "input"), "--no-serve")
    assert done.returncode == 0, done.stdout + done.stderr
    with served(home) as address:
        yield address


def _creator_of(base: str, platform: str, handle: str) -> str:
    status, account = request(f"{base}/v1/accounts/{platform}/{handle}")
    assert status == 200, (platform, handle, account)
    return account["creator_id"]


@pytest.mark.parametrize(
    "accounts",
    [
        [("instagram", "mrbeast"), ("tiktok", "mrbeast"), ("youtube", "MrBeast6000")],
        [("instagram", "khaby00"), ("tiktok", "khaby.lame")],
    ],
    ids=["MrBeast", "Khaby Lame"],
)
def test_accounts_of_one_person_are_one_creator(base, accounts):
    assert len({_creator_of(base, platform, handle) for platform, handle in accounts}) == 1


def test_football_players_of_100_million_followers(base):
    body = {
        "query": "football player",
        "filters": {"platforms": {"any": ["instagram"]}, "followers": {"min": 100_000_000}},
        "limit": 8,
    }
    status, answer = request(f"{base}/v1/search", body)
    assert status == 200
    handles = {profile["handle"] for hit in answer["hits"] for profile in hit["profiles"]}
    assert {"cristiano", "leomessi"} <= handles


def test_members_of_congress_are_one_creator_each(base, real_data):
    path = real_data / "identity" / "congress" / "congress_accounts.csv"
    with path.open(encoding="utf-8", newline="") as handle:
        members = [row for row in csv.DictReader(handle) if row["twitter"] and row["instagram"]][:40]
    creators = []
    for row in members:
        found = {_creator_of(base, "x", row["twitter"]), _creator_of(base, "instagram", row["instagram"])}
        if row["youtube"]:
            found.add(_creator_of(base, "youtube", row["youtube"]))
        assert len(found) == 1, row["name"]
        creators.append(found.pop())
    assert len(set(creators)) == len(members)


def test_snapshots_are_history_not_accounts(base):
    _, account = request(f"{base}/v1/accounts/instagram/cristiano")
    _, creator = request(f"{base}/v1/creators/{account['creator_id']}")
    instagram = [row for row in creator["history"] if row["platform"] == "instagram"]
    days = [row["metric_date"] for row in instagram]
    assert len(days) == len(set(days)) == 4
    assert sum(profile["platform"] == "instagram" for profile in creator["profiles"]) == 1
