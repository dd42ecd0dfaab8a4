"""Strictness: every unknown key is named with its nearest valid one, every wrong value with its field."""

from __future__ import annotations

from typing import Any

import pytest

from serving.errors import RequestError
from serving.requests import parse_request


@pytest.mark.parametrize(
    ("body", "code", "field", "nearest"),
    [
        ({"quer": "x"}, "unknown_field", "quer", "query"),
        ({"filters": {"folowers": {"min": 1}}}, "unknown_filter", "filters.folowers", "followers"),
        ({"filters": {"followers": {"mim": 1}}}, "unknown_field", "filters.followers.mim", "min"),
        ({"filters": {"niche": {"includes": ["vegan"]}}}, "unknown_field", "filters.niche.includes", "include"),
        ({"weights": {"similarty": 1}}, "unknown_field", "weights.similarty", "similarity"),
        ({"sort": {"field": "followers"}}, "unknown_field", "sort.field", "order"),
    ],
)
def test_unknown_keys_are_named_with_the_nearest(body: dict[str, Any], code: str, field: str, nearest: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(body)
    assert (caught.value.code, caught.value.field, caught.value.status) == (code, field, 422)
    assert caught.value.details["nearest"] == nearest


@pytest.mark.parametrize("body", [{"filters": {"x" * 150_000: 1}}, {"x" * 150_000: 1}, {"sort": {"x" * 150_000: 1}}])
def test_a_long_unknown_key_is_cut(body: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(body)
    assert len(caught.value.message) < 200
    assert len(caught.value.field or "") < 120


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ([], None, "JSON object"),
        ({"filters": {"er_followers": {"min": 2}}}, "filters.er_followers.min", "2 % is 0.02"),
        ({"filters": {"followers": {"min": 5, "max": 2}}}, "filters.followers", "min is above max"),
        ({"filters": {"followers": {"min": -1}}}, "filters.followers.min", "greater than or equal to 0"),
        ({"filters": {"followers": {"min": "5"}}}, "filters.followers.min", "valid integer"),
        ({"filters": {"verified": "yes"}}, "filters.verified", "valid boolean"),
        ({"filters": {"is_private": 3}}, "filters.is_private", "valid boolean"),
        ({"filters": {"last_post_at": {"min": "yesterday"}}}, "filters.last_post_at.min", "ISO 8601"),
        ({"filters": {"last_post_at": {"min": "0001-01-01T00:00:00+14:00"}}}, "filters.last_post_at.min", "ISO 8601"),
        ({"filters": {"last_post_at": {"max": "9999-12-31T23:59:59-14:00"}}}, "filters.last_post_at.max", "ISO 8601"),
        ({"filters": {"platforms": []}}, "filters.platforms.any", "at least 1"),
        ({"filters": {"exclude_handles": ["a"] * 10_001}}, "filters.exclude_handles", "at most 10000"),
        ({"limit": 101}, "limit", "less than or equal to 100"),
        ({"limit": True}, "limit", "valid integer"),
        ({"query": "x" * 1_001}, "query", "at most 1000"),
        ({"similar_to": ["a"] * 11}, "similar_to", "at most 10"),
        ({"weights": {"size": float("inf")}}, "weights.size", "finite"),
    ],
)
def test_wrong_values_are_named(body: Any, field: str | None, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(body)
    assert caught.value.code == "invalid_value"
    assert caught.value.field == field
    assert says in caught.value.message


def test_short_forms_mean_the_long_ones() -> None:
    short = parse_request({"filters": {"platforms": "x", "niche": ["vegan"], "location": ["US"]}, "sort": "name"})
    long = parse_request(
        {
            "filters": {
                "platforms": {"any": ["x"]},
                "niche": {"include": ["vegan"]},
                "location": {"country": ["US"]},
                "verified": None,
            },
            "sort": {"by": "name"},
            "weights": None,
            "cursor": None,
        }
    )
    assert short == long


def test_columns_of_a_foreign_snapshot_win_over_built_in_names() -> None:
    request = parse_request({"filters": {"verified": "blue", "price": {"max": 3}}}, columns=("verified", "price"))
    assert len(request.filters.model_extra or {}) == 2
    with pytest.raises(RequestError, match="did you mean 'price'"):
        parse_request({"filters": {"pric": 3}}, columns=("price",))
