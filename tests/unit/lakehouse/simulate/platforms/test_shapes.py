"""Answers against the platforms' own descriptions (YouTube, X) and recorded answers (Instagram, TikTok), where present.

The descriptions are read strictly: a field that they do not have is an error.
"""

import json
from functools import cache

import jsonschema
import pytest

from lakehouse.simulate.platforms.instagram import is_discoverable
from lakehouse.simulate.platforms.instagram_items import MEDIA_FIELDS, USER_FIELDS
from lakehouse.simulate.platforms.registry import Status
from lakehouse.simulate.platforms.tiktok_items import RESEARCH_USER_FIELDS, RESEARCH_VIDEO_FIELDS
from lakehouse.simulate.platforms.x_items import POST_FIELDS
from lakehouse.simulate.platforms.x_items import USER_FIELDS as X_USER_FIELDS

PATTERNS = {"uint64": r"^[0-9]+$", "int64": r"^-?[0-9]+$"}
LEGACY = {"pinned_tweet_id", "most_recent_tweet_id", "referenced_tweets", "author_id", "in_reply_to_user_id"}
"""Fields of X's older documentation, which its API description has under other names or as expansions."""


@pytest.fixture(scope="module")
def api(real_data):
    folder = real_data / "api"
    if not folder.is_dir():
        pytest.skip("no API descriptions beside the real data")
    return folder


def strict(schema, name_of_ref):
    """A description's schema as JSON Schema that allows no further fields."""
    if isinstance(schema, list):
        return [strict(one, name_of_ref) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{name_of_ref(schema['$ref'])}"}
    found = {
        key: strict(value, name_of_ref)
        for key, value in schema.items()
        if key not in {"format", "default", "discriminator"}
    }
    if isinstance(schema.get("properties"), dict):
        found["properties"] = {key: strict(value, name_of_ref) for key, value in schema["properties"].items()}
        found.setdefault("additionalProperties", False)
    if schema.get("type") == "string" and schema.get("format") in PATTERNS:
        found["pattern"] = PATTERNS[schema["format"]]
    if schema.get("nullable") and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
        if "enum" in found:
            found["enum"] = [*found["enum"], None]
    found.pop("required", None) if isinstance(schema.get("required"), bool) else None
    return found


@cache
def youtube_schemas(api):
    described = json.loads((api / "youtube" / "youtube.v3.json").read_text(encoding="utf-8"))["schemas"]
    return {name: strict(schema, str) for name, schema in described.items()}


@cache
def x_description(api):
    return json.loads((api / "x" / "x_openapi.json").read_text(encoding="utf-8"))


@cache
def x_schemas(api):
    last = lambda ref: ref.rsplit("/", 1)[-1]  # noqa: E731
    return {name: strict(schema, last) for name, schema in x_description(api)["components"]["schemas"].items()}


def check(document, schemas, name):
    jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schemas}).validate(document)


def test_youtube_s_lists(api, start):
    lab, schemas = start(life=True, days=30), youtube_schemas(api)
    states = [s for s in lab.states("youtube") if not s.is_gone][:50]
    parts = "id,snippet,statistics,contentDetails,topicDetails,brandingSettings,status"
    channels = lab.youtube("channels", part=parts, id=",".join(s.platform_id for s in states), maxResults=50).json()
    check(channels, schemas, "ChannelListResponse")
    found = []
    for state in states[:20]:
        uploads = lab.youtube(
            "playlistItems", part="id,snippet,contentDetails,status", playlistId="UU" + state.platform_id[2:]
        )
        check(uploads.json(), schemas, "PlaylistItemListResponse")
        found += [item["contentDetails"]["videoId"] for item in uploads.json().get("items", [])]
    parts = "id,snippet,statistics,contentDetails,status,player"
    videos = lab.youtube("videos", part=parts, id=",".join(found[:50])).json()
    check(videos, schemas, "VideoListResponse")
    assert len(videos["items"]) == 50
    assert any("commentCount" not in item["statistics"] for item in videos["items"])
    check(lab.youtube("search", part="snippet", type="channel", q="a").json(), schemas, "SearchListResponse")


def test_a_field_that_no_description_has_is_seen(api, lab):
    lab.http.post("/_emulator/drift", json={"new_field": True})
    channels = lab.youtube("channels", part="snippet", id=lab.states("youtube")[0].platform_id).json()
    users = lab.x("users", ids=lab.states("x")[0].platform_id).json()
    for body, schemas, name in (
        (channels, youtube_schemas(api), "ChannelListResponse"),
        (users, x_schemas(api), "GetUsersByIdsResponse"),
    ):
        with pytest.raises(jsonschema.ValidationError, match="beta_insight"):
            check(body, schemas, name)


def test_youtube_s_channels_have_the_keys_of_recorded_ones(api, lab):
    recorded = json.loads(
        (api / "youtube/python-youtube/testdata/apidata/channels/info.json").read_text(encoding="utf-8")
    )
    item = lab.youtube("channels", part="snippet", id=lab.states("youtube")[0].platform_id).json()["items"][0]
    same_types(item, recorded["items"][0])
    error = json.loads(
        (api / "youtube/python-youtube/testdata/apidata/error_permission_resp.json").read_text(encoding="utf-8")
    )
    same_types(lab.youtube("channels", part="auditDetails", id="UCx").json(), error)


def test_x_s_answers(api, start):
    lab, schemas, paths = start(life=True, days=40), x_schemas(api), x_description(api)["paths"]

    def of(path):
        reference = paths[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        return reference.rsplit("/", 1)[-1]

    states = lab.states("x")
    fields = ",".join(sorted(X_USER_FIELDS - LEGACY))
    ids = ",".join([s.platform_id for s in states[:99]] + ["42"])
    many = lab.x("users", ids=ids, user__fields=fields, expansions="most_recent_post_id").json()
    assert len(many["errors"]) > 1
    check(many, schemas, of("/2/users"))
    check(lab.x("users/by", usernames=f"{states[0].handle},nobody").json(), schemas, of("/2/users/by"))
    state = next(s for s in states if s.status == Status.ACTIVE)
    check(lab.x(f"users/{state.platform_id}", user__fields=fields).json(), schemas, of("/2/users/{id}"))
    posts = lab.x(
        f"users/{state.platform_id}/tweets", post__fields=",".join(sorted(POST_FIELDS - LEGACY)), max_results=5
    ).json()
    check(posts, schemas, of("/2/users/{id}/tweets"))
    private = next(s for s in states if s.status == Status.PRIVATE)
    check(lab.x(f"users/{private.platform_id}/tweets").json(), schemas, of("/2/users/{id}/tweets"))
    check(lab.x("usage/tweets").json(), schemas, of("/2/usage/tweets"))


def test_x_knows_the_fields_of_its_description(api):
    parameters = x_description(api)["components"]["parameters"]
    assert set(parameters["UserFieldsParameter"]["schema"]["items"]["enum"]) == X_USER_FIELDS - LEGACY
    assert set(parameters["PostFieldsParameter"]["schema"]["items"]["enum"]) == POST_FIELDS - LEGACY


def test_x_s_drifted_answers_have_the_keys_of_recorded_ones(api, lab):
    folder = api / "x/python-twitter/testdata/apis"
    recorded = json.loads((folder / "timeline/timeline_tweets.json").read_text(encoding="utf-8"))
    lab.http.post("/_emulator/drift", json={"x_tweet_names": True})
    state = next(s for s in lab.states("x") if s.status == Status.ACTIVE)
    ours = lab.x(f"users/{state.platform_id}/tweets", tweet__fields="created_at,public_metrics").json()
    assert set(recorded["data"][0]["public_metrics"]) <= set(ours["data"][0]["public_metrics"])
    same_types(ours["data"][0], recorded["data"][0])
    usage = json.loads((folder / "usage/usage_tweets_resp.json").read_text(encoding="utf-8"))
    same_types(lab.x("usage/tweets").json(), usage)


def test_instagram_s_answers_have_the_keys_of_recorded_ones(api, lab):
    folder = api / "instagram/python-facebook/testdata"
    recorded = json.loads((folder / "instagram/apidata/discovery/user_fields.json").read_text(encoding="utf-8"))
    pages = json.loads((folder / "instagram/apidata/discovery/medias_p1.json").read_text(encoding="utf-8"))
    state = next(s for s in lab.states("instagram") if is_discoverable(s) and s.bio and s.profile.content)
    ours = lab.instagram(state.handle, ",".join(sorted(USER_FIELDS))).json()
    assert set(recorded["business_discovery"]) <= set(ours["business_discovery"]) | {"website"}
    same_types(ours, recorded)
    media = lab.instagram(state.handle, f"media.limit(1){{{','.join(sorted(MEDIA_FIELDS))}}}").json()
    same_types(media["business_discovery"]["media"], pages["business_discovery"]["media"])
    refused = json.loads((folder / "error.json").read_text(encoding="utf-8"))
    same_types(lab.instagram("nobody.at.all").json(), refused)


def test_tiktok_s_answers_have_the_keys_of_recorded_ones(api, lab):
    state = next(s for s in lab.states("tiktok") if s.status == Status.ACTIVE)
    user = json.loads((api / "tiktok/example_resp_q_user.json").read_text(encoding="utf-8"))
    ours = lab.research("user/info/", ",".join(RESEARCH_USER_FIELDS), {"username": state.handle}).json()
    assert set(user["data"]) <= set(ours["data"])
    same_types(ours, user)
    videos = json.loads((api / "tiktok/example_resp_q_videos.json").read_text(encoding="utf-8"))
    request = json.loads((api / "tiktok/example_request.json").read_text(encoding="utf-8"))
    request |= {
        "start_date": "20260601",
        "end_date": "20260630",
        "query": {"and": request["query"]["and"][:1], "not": request["query"]["not"]},
    }
    ours = lab.research("video/query/", ",".join(RESEARCH_VIDEO_FIELDS), request).json()
    assert ours["data"]["videos"]
    assert set(videos["data"]["videos"][0]) <= set(ours["data"]["videos"][0])
    same_types(ours, videos)


def same_types(ours, theirs):
    """Every key that both have holds the same JSON type, all the way down."""
    assert type(ours) is type(theirs), (ours, theirs)
    if isinstance(ours, dict):
        assert set(ours) & set(theirs)
        for key in set(ours) & set(theirs):
            same_types(ours[key], theirs[key])
    elif isinstance(ours, list) and ours and theirs:
        same_types(ours[0], theirs[0])
