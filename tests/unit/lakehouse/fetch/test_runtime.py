"""Which sources the settings make active, at which addresses, and for which accounts."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.contracts.tables import REFRESH
from lakehouse.errors import SettingsError
from lakehouse.fetch.plan import assign, candidate_rows, refresh_rows
from lakehouse.fetch.refresh_state import RefreshState
from lakehouse.fetch.runtime import active_sources, credentials_of, readers_of, sources_of
from lakehouse.settings import Settings, load_settings


def settings(tmp_path: Path, **given) -> Settings:
    return load_settings(home=tmp_path, email_pepper="test", **given)


def test_a_source_with_a_credential_is_active_and_a_disabled_one_only_where_it_is_allowed(tmp_path: Path) -> None:
    credentials = {"youtube_api": "a", "tiktok_research": "b:c"}
    assert set(active_sources(settings(tmp_path, fetch_credentials=credentials))) == {"youtube_api"}
    allowed = active_sources(settings(tmp_path, fetch_credentials=credentials, fetch_allowed=("tiktok_research",)))
    assert set(allowed) == {"youtube_api", "tiktok_research"}
    assert all(source.is_enabled for source in allowed.values())


def test_an_address_of_an_unknown_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="youtoube"):
        sources_of(settings(tmp_path, fetch_urls={"youtoube": "http://127.0.0.1"}))


def test_every_shipped_source_has_a_mapping_with_the_layouts_it_names(tmp_path: Path) -> None:
    for reader in readers_of(settings(tmp_path)).values():
        for endpoint in reader.connector.source.endpoints.values():
            if endpoint.layout:
                assert reader.layout(endpoint.layout)


def test_credentials_of_a_file_stand_under_those_of_the_environment_and_are_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "credentials.yaml"
    file.write_text("youtube_api: from-file\nx_api: from-file\n")
    given = settings(tmp_path, fetch_credentials={"x_api": "from-setting"}, fetch_credentials_file=file)
    found = credentials_of(given)
    assert {name: secret.get_secret_value() for name, secret in found.secrets.items()} == {
        "youtube_api": "from-file",
        "x_api": "from-setting",
    }
    assert "from-" not in repr(found) + repr(given)
    file.write_text("- not\n- a mapping\n")
    with pytest.raises(SettingsError) as refused:
        credentials_of(given)
    assert "not" not in str(refused.value).removeprefix("The credentials file").replace("cannot", "")


def test_accounts_are_assigned_to_the_preferred_source_or_to_the_one_with_their_own_credential(tmp_path: Path) -> None:
    credentials = {
        "instagram_graph": "1|a",
        "licensed_instagram": "b",
        "tiktok_display/one": "c",
        "tiktok_research": "d:e",
    }
    given = settings(tmp_path, fetch_credentials=credentials, fetch_allowed=("tiktok_research",))
    assignment = assign(active_sources(given), credentials_of(given).own_keys())
    moment = pa.scalar(0, pa.timestamp("us", tz="UTC"))
    rows = [
        ("instagram", "11", "ig"),
        ("tiktok", "22", "one"),
        ("tiktok", "33", "two"),
        ("x", "44", "x"),
        ("tiktok", "@three", None),
    ]
    columns = {name: [None] * len(rows) for name in REFRESH.columns}
    columns |= {"platform": [row[0] for row in rows], "platform_account_id": [row[1] for row in rows]}
    columns |= {"handle_key": [row[2] for row in rows], "followers_count": [1] * len(rows)}
    columns |= {"changes_count": [0.0] * len(rows), "watched_hours": [0.0] * len(rows)}
    columns |= {"content_count": [7, None, 0, 1, 2]}
    types = {"account_state_code": pa.string(), "last_changed_at": moment.type}
    arrays = {
        name: pa.array([moment.as_py()] * len(rows), moment.type)
        if name in {"first_seen_at", "observed_at"}
        else pa.array(values, types.get(name))
        for name, values in columns.items()
    }
    table = refresh_rows(pa.RecordBatch.from_pydict(arrays), assignment)
    found = [(row["source"], row["platform_account_id"], row["handle"]) for row in table.to_pylist()]
    assert found == [
        ("licensed_instagram", "11", "ig"),
        ("tiktok_display", "22", "one"),
        ("tiktok_research", "33", "two"),
        ("tiktok_research", None, "three"),
    ]
    assert len(RefreshState.from_arrow(table)) == 4
    assert table.column("posts_count").to_pylist() == [7, None, 0, 2]


def test_candidates_are_asked_for_by_id_or_handle(tmp_path: Path) -> None:
    channel = "UC" + "a" * 22
    rows = [("youtube", channel), ("youtube", "@two"), ("x", "@gone"), ("tiktok", "@nobody.asks")]
    batch = pa.RecordBatch.from_pydict(
        {
            "platform": [row[0] for row in rows],
            "platform_account_id": [row[1] for row in rows],
            "referrers_count": pa.array([3, 1, 2, 1], pa.int64()),
            "first_seen_at": pa.array([0] * len(rows), pa.timestamp("us", tz="UTC")),
        }
    )
    sources = active_sources(settings(tmp_path, fetch_credentials={"youtube_api": "a", "x_api": "b"}))
    table = candidate_rows(batch, assign(sources, {}))
    assert [(row["platform_account_id"], row["handle"], row["referrers_count"]) for row in table.to_pylist()] == [
        (channel, None, 3),
        (None, "two", 1),
        (None, "gone", 2),
    ]
    state = RefreshState.from_arrow(table)
    assert np.isnan(state.fetched_at).all()
    assert list(state.referrers) == [3.0, 1.0, 2.0]
