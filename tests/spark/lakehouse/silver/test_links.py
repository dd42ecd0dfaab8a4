"""Links of profiles and posts: one row per account and target, stale ones go, incremental equals full."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lakehouse.contracts.tables import ACCOUNTS, LINKS, POSTS
from lakehouse.silver.accounts import build_accounts
from lakehouse.silver.links import build_links
from lakehouse.silver.observations import build_observations
from lakehouse.silver.posts import build_posts

pytestmark = pytest.mark.spark
CHANNEL = "UCGdrLQbt1PYDTPsampx4t1A"
COLUMNS = ("platform_account_id", "link_type_code", "target_platform", "target_key", "evidence_code", "mentions_count")


@pytest.fixture
def step(lake, run):
    cursors, states = {}, {}
    lake.settings = lake.settings.model_copy(update={"small_table_mib": 0})

    def advance():
        for build in (build_observations, build_accounts, build_posts, build_links):
            now = {spec.name: lake.state(spec.name) for spec in (ACCOUNTS, POSTS)}
            report = run(build, cursors.get(build), states.get(build))
            cursors[build], states[build] = report.cursor, now
        return report

    return advance


def test_links_are_counted_by_record_and_never_point_home(bronze, step, run, content):
    bronze.profiles(
        {
            "platform_account_id": CHANNEL,
            "handle": "tube",
            "bio": "mail a@mysite.com",
            "links": [{"platform": "x", "target": "Tube"}],
        },
        batch=1,
        platform="youtube",
    )
    caption = (
        "https://twitter.com/tube https://instagram.com/guest https://youtube.com/@tube a@mysite.com www.mysite.com"
    )
    bronze.posts(*({"post_id": f"v{n}", "account_id": CHANNEL, "caption": caption} for n in (1, 2)), batch=2)
    step()
    found = [tuple(row[name] for name in COLUMNS) for row in content(LINKS, *COLUMNS)]
    hashes = [row[3] for row in found if row[1] == "email"]
    assert sorted(found, key=repr) == sorted(
        [
            (CHANNEL, "account", "x", "tube", "declared", 3),
            (CHANNEL, "account", "instagram", "guest", "post", 2),
            (CHANNEL, "website", None, "mysite.com", "post", 2),
            (CHANNEL, "email", None, hashes[0], "bio", 3),
        ],
        key=repr,
    )
    bronze.profiles(
        {"platform_account_id": CHANNEL, "bio": "no mail", "links": ["https://x.com/other"]},
        batch=3,
        platform="youtube",
        observed=bronze.DAY + timedelta(days=1),
    )
    bronze.profiles({"handle": "else", "bio": "https://linktr.ee/else"}, batch=4)
    report = step()
    assert report.rows_in == 2
    links = {(row["platform_account_id"], row["target_key"]): row["mentions_count"] for row in content(LINKS)}
    assert links == {
        (CHANNEL, "other"): 1,
        (CHANNEL, "tube"): 2,
        (CHANNEL, "guest"): 2,
        (CHANNEL, "mysite.com"): 2,
        (CHANNEL, hashes[0]): 2,
        ("@else", "else"): 1,
    }
    incremental = content(LINKS)
    run(build_links)
    assert content(LINKS) == incremental


def test_a_post_that_moves_to_another_account_takes_its_links_along(bronze, step, content):
    def owned_by(account, batch):
        payload = {"post_id": "v", "account_id": account, "caption": "https://twitter.com/tube"}
        bronze.posts(payload, batch=batch, observed=bronze.DAY + timedelta(days=batch))

    other = "UC" + CHANNEL[:1:-1]
    for account in (CHANNEL, other):
        bronze.profiles(
            {"platform_account_id": account, "display_name": "n"}, batch=1 + (account == other), platform="youtube"
        )
    owned_by(CHANNEL, 3)
    step()
    assert [row["platform_account_id"] for row in content(LINKS)] == [CHANNEL]
    owned_by(other, 4)
    step()
    assert [row["platform_account_id"] for row in content(LINKS)] == [other]
