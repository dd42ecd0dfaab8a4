"""The shipped sources: whole, dated, in keeping with each other, their mappings and the platforms' published limits."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from api_answers import mappings, sources

from lakehouse.errors import SettingsError
from lakehouse.fetch.connectors import CONNECTORS, connector_for
from lakehouse.fetch.source import USD_CYCLE, Endpoint, Source, load_sources, parse_source

SHIPPED = sorted(sources())
ENDPOINTS = [(name, endpoint) for name in SHIPPED for endpoint in sources()[name].endpoints]


def endpoint_of(name: str, endpoint: str) -> Endpoint:
    return sources()[name].endpoints[endpoint]


def test_these_ship() -> None:
    official = ["instagram_graph", "tiktok_display", "tiktok_research", "x_api", "youtube_api"]
    assert [name for name in SHIPPED if sources()[name].connector != "declared"] == official
    assert "licensed_instagram" in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_limit_has_a_date_and_every_official_row_an_end(name: str) -> None:
    source = sources()[name]
    assert source.checked_on >= dt.date(2026, 11, 1)
    assert source.rates or source.buckets
    assert source.base_url.startswith("https://")
    assert not source.base_url.endswith("/")
    if source.connector not in ("declared", "x"):  # X wants single deletions, no end of all rows
        assert source.retention_days == 30
    for bucket in source.buckets:
        assert bucket.day is None or ZoneInfo(bucket.day)


@pytest.mark.parametrize("name", SHIPPED)
def test_credentials_go_into_headers_where_the_platform_lets_them(name: str) -> None:
    auth = sources()[name].auth
    assert bool(auth.header) != bool(auth.parameter)
    assert "{secret}" in auth.value
    assert (not auth.parameter) or name == "instagram_graph"


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS)
def test_endpoints_are_read_by_a_layout_of_the_mapping(name: str, endpoint: str) -> None:
    source, one = sources()[name], endpoint_of(name, endpoint)
    layouts = {layout.name: layout for layout in mappings()[source.mapping or name].layouts}
    if one.layout:
        assert [record.type for record in layouts[one.layout].records] == [one.record]
    assert one.layout or one.record in {"none", "post"}


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS)
def test_endpoints_can_be_used(name: str, endpoint: str) -> None:
    one = endpoint_of(name, endpoint)
    assert one.batch == 1 or one.keys
    assert one.batch == 1 or one.row_key or one.key_kind == "none"
    assert one.path.startswith("/")
    if one.usd_per_row:
        assert sources()[name].spend is not None
        assert one.paging is None or one.max_rows


@pytest.mark.parametrize("name", SHIPPED)
def test_refusals_name_what_there_is(name: str) -> None:
    source = sources()[name]
    known = {"", "{family}", "{bucket}", USD_CYCLE, *(bucket.name for bucket in source.buckets)}
    for refusal in source.refusals:
        assert refusal.bucket in known
        assert refusal.codes or refusal.status
        assert set(refusal.endpoints) <= source.endpoints.keys()
        assert not refusal.codes or source.error_codes
        for one in source.endpoints.values():
            assert refusal.bucket != "{bucket}" or one.bucket


@pytest.mark.parametrize(
    ("name", "endpoint", "batch", "units", "usd"),
    [
        ("youtube_api", "channels", 50, 1, 0.0),
        ("youtube_api", "videos", 50, 1, 0.0),
        ("youtube_api", "search", 1, 1, 0.0),
        ("x_api", "users", 100, 1, 1.0),
        ("x_api", "users_by_username", 100, 1, 1.0),
        ("x_api", "user_posts", 1, 1, 0.1),
        ("licensed_instagram", "profiles", 100, 1, 0.2),
        ("instagram_graph", "business_discovery", 1, 1, 0.0),
    ],
)
def test_published_batches_and_prices(name: str, endpoint: str, batch: int, units: int, usd: float) -> None:
    one = endpoint_of(name, endpoint)
    assert (one.batch, one.units, round(one.worst_usd, 6)) == (batch, units, usd)


def test_published_quotas() -> None:
    days = {(name, b.name): (b.units, b.day or b.seconds) for name in SHIPPED for b in sources()[name].buckets}
    assert days == {
        ("youtube_api", "units"): (10_000, "America/Los_Angeles"),
        ("youtube_api", "search"): (100, "America/Los_Angeles"),
        ("tiktok_research", "requests"): (1_000, "UTC"),
        ("instagram_graph", "calls"): (200, 3_600),
    }
    rates = {(name, rate.family): (rate.requests, rate.seconds) for name in SHIPPED for rate in sources()[name].rates}
    assert rates["x_api", "users"] == rates["x_api", "users_by"] == (300, 900)
    assert rates["x_api", "posts"] == (10_000, 900)
    assert rates["tiktok_display", "user_info"] == rates["tiktok_display", "video_list"] == (600, 60)


def test_who_speaks_for_whom() -> None:
    for source in sources().values():
        assert type(connector_for(source)) is CONNECTORS[source.connector]
    with pytest.raises(SettingsError, match="youtub"):
        connector_for(sources()["youtube_api"].model_copy(update={"connector": "youtub"}))


def test_a_file_of_the_user_goes_before_ours(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(own(sources()["x_api"]), encoding="utf-8")
    assert load_sources(tmp_path)["x_api"].description == "Mine"
    with pytest.raises(SettingsError, match="does not exist"):
        load_sources(tmp_path / "nothing")


def own(source: Source) -> str:
    return source.model_copy(update={"description": "Mine"}).model_dump_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("a: 1", "source: Field required"),
        ("7", "valid dictionary"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=r"mine\.yaml") as found:
        parse_source(text, name="mine.yaml")
    assert message in str(found.value)
