"""Lists of accounts to ask for first: keys by what a source takes, each once, without those that the lake knows."""

from pathlib import Path

import pytest

from lakehouse.errors import NotFoundError, SettingsError
from lakehouse.fetch.plan import assign
from lakehouse.fetch.seeds import list_hash, seed_tasks
from lakehouse.fetch.source import load_sources


@pytest.fixture
def accounts(tmp_path: Path) -> Path:
    path = tmp_path / "accounts.csv"
    path.write_text(
        "platform,platform_account_id,handle\n"
        "youtube,UCaaaaaaaaaaaaaaaaaaaaaa,One\n"
        "youtube,UCaaaaaaaaaaaaaaaaaaaaaa,One\n"
        "youtube,,@Two\n"
        "x,123,three\n"
        "instagram,456,Four.Five\n"
        "tiktok,789,nobody.asks\n",
        encoding="utf-8",
    )
    return path


def tasks(path: Path, known=()) -> set[tuple[str, str, tuple[str, ...]]]:
    sources = {name: source for name, source in load_sources().items() if source.platform != "tiktok"}
    found = seed_tasks(path, assign(sources, {}), sources, lambda _listed: known, cycle="list")
    return {(task.source, task.endpoint, task.keys) for task in found}


def test_ids_are_asked_for_where_the_source_takes_them_and_handles_elsewhere(accounts: Path) -> None:
    assert tasks(accounts) == {
        ("youtube_api", "channels", ("UCaaaaaaaaaaaaaaaaaaaaaa",)),
        ("youtube_api", "channels_by_handle", ("two",)),
        ("x_api", "users", ("123",)),
        ("licensed_instagram", "profiles", ("four.five",)),
    }


def test_accounts_that_the_lake_knows_are_left_to_the_planner(accounts: Path) -> None:
    known = [("youtube", "UCaaaaaaaaaaaaaaaaaaaaaa"), ("x", "999"), ("instagram", "four.five"), ("x", "two")]
    assert tasks(accounts, known) == {("youtube_api", "channels_by_handle", ("two",)), ("x_api", "users", ("123",))}


def test_a_file_that_is_no_list_is_refused_in_a_sentence(tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("name\nsomebody\n")
    with pytest.raises(SettingsError, match="needs a header"):
        tasks(bad)
    bad.write_text("platform,handle\nfacebook,somebody\n")
    with pytest.raises(SettingsError, match="line 2: 'facebook' is no platform"):
        tasks(bad)
    with pytest.raises(NotFoundError):
        list_hash(tmp_path / "missing.csv")
