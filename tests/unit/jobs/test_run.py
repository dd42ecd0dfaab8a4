"""Where a run takes its input from when none is named: never synthetic creators into somebody's lake."""

from __future__ import annotations

import pytest

from jobs.last_run import remember
from jobs.run import _input_of, _settings
from lakehouse.errors import NotFoundError, PermanentError
from lakehouse.fetch.runtime import active_sources
from lakehouse.settings import load_settings
from lakehouse.storage.lake import Lake


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("LAKE", "INPUT", "FETCH_CREDENTIALS", "FETCH_ALLOWED", "FETCH_URLS", "FETCH_LIST"):
        monkeypatch.setenv(f"CREATORLAKE_{name}", "")
    monkeypatch.setenv("CREATORLAKE_HOME", str(tmp_path))
    monkeypatch.setenv("CREATORLAKE_SIMULATE_CREATORS", "10")
    return tmp_path


def test_without_anything_the_world_fills_a_lake_of_its_own(home):
    settings = _settings(None)
    assert settings.lake_root == str(home / "demo")
    assert settings.input == home / "world" / "10-7" / "input"


def test_the_worlds_platforms_are_asked_unless_somebody_says_no_or_has_sources_of_his_own(home, monkeypatch):
    assert {*active_sources(_settings(None))} == {"licensed_instagram", "tiktok_research", "x_api", "youtube_api"}
    for name in ("FETCH_CREDENTIALS", "FETCH_URLS"):
        monkeypatch.setenv(f"CREATORLAKE_{name}", "")
    monkeypatch.setenv("CREATORLAKE_SIMULATE_PLATFORMS", "false")
    assert not active_sources(_settings(None))
    monkeypatch.setenv("CREATORLAKE_SIMULATE_PLATFORMS", "true")
    monkeypatch.setenv("CREATORLAKE_FETCH_CREDENTIALS", '{"youtube_api": "own"}')
    assert {*active_sources(_settings(None))} == {"youtube_api"}


def test_an_empty_lake_may_be_filled_by_the_world(home):
    assert _input_of(load_settings(home=home, lake=str(home / "mine"))) is None


def test_a_lake_is_fed_again_from_the_folder_of_its_last_run(home, monkeypatch):
    folder = home / "dumps"
    folder.mkdir()
    monkeypatch.setenv("CREATORLAKE_LAKE", str(home / "mine"))
    remember(load_settings(input=folder))
    assert _settings(None).input == folder


def test_a_filled_lake_never_gets_the_world(home, monkeypatch):
    monkeypatch.setenv("CREATORLAKE_LAKE", str(home / "mine"))
    Lake(load_settings()).objects.put_once("landing/x/2026/01/01/part", b"")
    with pytest.raises(PermanentError, match="say which folder feeds it"):
        _settings(None)


def test_a_file_is_no_folder(home):
    (home / "dump.csv").write_text("")
    with pytest.raises(NotFoundError, match="is not a folder"):
        _settings(home / "dump.csv")
