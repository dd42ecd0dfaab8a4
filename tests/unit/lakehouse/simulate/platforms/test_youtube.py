"""The YouTube Data API: what it gives, what it refuses, how it pages."""

import pytest

from lakehouse.simulate.platforms.youtube_items import rounded

PARTS = "id,snippet,statistics,contentDetails,topicDetails,brandingSettings,status"


def reason(response) -> str:
    return response.json()["error"]["errors"][0]["reason"]


def test_channels_by_id_have_the_truth_in_strings(lab):
    states = lab.states("youtube")[:50]
    body = lab.youtube("channels", part=PARTS, id=",".join(s.platform_id for s in states), maxResults=50).json()
    assert body["pageInfo"] == {"totalResults": 50, "resultsPerPage": 50}
    assert "nextPageToken" not in body
    for item, state in zip(body["items"], states, strict=True):
        assert item["id"] == state.platform_id
        assert item["snippet"]["title"] == state.profile.display_name
        assert item["snippet"]["customUrl"] == f"@{state.handle}"
        assert item["snippet"]["description"].startswith(state.bio)
        assert item["statistics"]["videoCount"] == str(state.posts_count)
        assert item["statistics"]["viewCount"] == str(state.views)
        assert item["statistics"]["hiddenSubscriberCount"] is state.is_hidden
        if not state.is_hidden:
            assert item["statistics"]["subscriberCount"] == str(rounded(state.followers))
        assert item["contentDetails"]["relatedPlaylists"]["uploads"] == "UU" + state.platform_id[2:]


def test_hidden_subscribers_are_zero_or_absent_never_the_truth(start):
    lab = start(life=True, days=30)
    hidden = [s for s in lab.states("youtube") if s.is_hidden and not s.is_gone][:50]
    body = lab.youtube("channels", part="statistics", id=",".join(s.platform_id for s in hidden), maxResults=50).json()
    shown = {item["statistics"].get("subscriberCount") for item in body["items"]}
    assert shown == {"0", None}


def test_only_the_parts_asked_for(lab):
    state = lab.states("youtube")[0]
    item = lab.youtube("channels", part="statistics", id=state.platform_id).json()["items"][0]
    assert set(item) == {"kind", "etag", "id", "statistics"}


@pytest.mark.parametrize("shape", ["{}", "@{}"])
def test_channels_by_handle(lab, shape):
    state = lab.states("youtube")[4]
    body = lab.youtube("channels", part="id", forHandle=shape.format(state.handle.upper())).json()
    assert [item["id"] for item in body["items"]] == [state.platform_id]


def test_the_default_page_has_five_and_the_token_goes_on(lab):
    ids = [s.platform_id for s in lab.states("youtube")[:12]]
    found, token = [], ""
    for _ in range(3):
        body = lab.youtube("channels", part="id", id=",".join(ids), **({"pageToken": token} if token else {})).json()
        found += [item["id"] for item in body["items"]]
        token = body.get("nextPageToken", "")
    assert found == ids
    assert not token


def test_unknown_and_deleted_channels_are_missing_without_a_word(start):
    lab = start(life=True, days=60)
    states = lab.states("youtube")
    gone, there = next(s for s in states if s.is_gone), next(s for s in states if not s.is_gone)
    ids = f"{gone.platform_id},{there.platform_id},UCaaaaaaaaaaaaaaaaaaaaaa"
    body = lab.youtube("channels", part="id", id=ids).json()
    assert [item["id"] for item in body["items"]] == [there.platform_id]
    assert "items" not in lab.youtube("channels", part="id", id=gone.platform_id).json()
    uploads = lab.youtube("playlistItems", part="id", playlistId="UU" + gone.platform_id[2:])
    assert (uploads.status_code, reason(uploads)) == (404, "playlistNotFound")


def test_a_renamed_channel_keeps_its_id(start):
    lab = start(life=True, days=60)
    state = next(s for s in lab.states("youtube") if s.handle != s.profile.handle and not s.is_gone)
    body = lab.youtube("channels", part="snippet", id=state.platform_id).json()
    assert body["items"][0]["snippet"]["customUrl"] == f"@{state.handle}"
    old = lab.youtube("channels", part="id", forHandle=state.profile.handle).json()
    assert [item["id"] for item in old.get("items", [])] != [state.platform_id]


def test_uploads_page_through_and_their_videos_have_statistics(start):
    lab = start(days=60)
    state = max(lab.states("youtube"), key=lambda s: s.profile.later_posts(lab.now))
    playlist, found, token = "UU" + state.platform_id[2:], [], ""
    while True:
        page = {"pageToken": token} if token else {}
        body = lab.youtube("playlistItems", part="snippet,contentDetails", playlistId=playlist, **page).json()
        found += [item["contentDetails"]["videoId"] for item in body["items"]]
        token = body.get("nextPageToken", "")
        if not token:
            break
    posts = lab.emulator.timelines["youtube"].of(state.profile, lab.now)
    assert found == [post.post_id for post in posts]
    assert body["pageInfo"]["totalResults"] == len(posts)
    videos = lab.youtube("videos", part="snippet,statistics,contentDetails", id=",".join(found[:50])).json()["items"]
    assert [item["id"] for item in videos] == found[:50]
    assert all(item["snippet"]["channelId"] == state.platform_id for item in videos)
    assert videos[0]["statistics"]["viewCount"] == str(posts[0].grown(posts[0].views, lab.now))
    assert videos[0]["contentDetails"]["duration"].startswith("PT")


def test_items_move_between_pages_while_new_videos_appear(start):
    lab = start(days=30)
    state = max(lab.states("youtube"), key=lambda s: s.profile.later_posts(lab.now))
    playlist = "UU" + state.platform_id[2:]
    first = lab.youtube("playlistItems", part="contentDetails", playlistId=playlist).json()
    lab.emulator.clock.jump(state.profile.post_at(state.profile.later_posts(lab.now)) + 1 - lab.now)
    token = first["nextPageToken"]
    second = lab.youtube("playlistItems", part="contentDetails", playlistId=playlist, pageToken=token)
    assert second.json()["items"][0]["contentDetails"] == first["items"][-1]["contentDetails"]


def test_search_finds_channels_by_words(lab):
    state = lab.states("youtube")[2]
    body = lab.youtube("search", part="snippet", type="channel", q=state.handle, maxResults=10).json()
    assert state.platform_id in [item["id"]["channelId"] for item in body["items"]]
    assert body["pageInfo"]["totalResults"] == 1_000_000
    assert "items" not in lab.youtube("search", part="snippet", type="channel", q="no such words at all").json()


@pytest.mark.parametrize(
    ("endpoint", "params", "status", "expected"),
    [
        ("channels", {"id": "UCx"}, 400, "missingRequiredParameter"),
        ("channels", {"part": "id"}, 400, "missingRequiredParameter"),
        ("channels", {"part": "id", "id": "UCx", "forHandle": "y"}, 400, "incompatibleParameters"),
        ("channels", {"part": "id", "id": "UCx", "colour": "red"}, 400, "unexpectedParameter"),
        ("channels", {"part": "nothing", "id": "UCx"}, 400, "unknownPart"),
        ("channels", {"part": "auditDetails", "id": "UCx"}, 403, "forbidden"),
        ("channels", {"part": "id", "mine": "true"}, 403, "forbidden"),
        ("channels", {"part": "id", "id": "UCx", "maxResults": 51}, 400, "invalidParameter"),
        ("channels", {"part": "id", "id": ",".join(["UCx"] * 51)}, 400, "invalidFilters"),
        ("channels", {"part": "id", "id": "UCx", "pageToken": "CAUQAA"}, 400, "invalidPageToken"),
        ("videos", {"part": "id", "id": "x", "maxResults": 5}, 400, "incompatibleParameters"),
        ("playlistItems", {"part": "id", "playlistId": "PLx"}, 404, "playlistNotFound"),
        ("search", {"part": "snippet", "q": "x"}, 400, "invalidParameter"),
    ],
)
def test_refusals_have_their_reasons(lab, endpoint, params, status, expected):
    response = lab.youtube(endpoint, **params)
    assert (response.status_code, reason(response)) == (status, expected)
    assert response.json()["error"]["code"] == status


def test_keys_are_needed_and_must_be_valid(lab):
    assert lab.youtube("channels", key="", part="id", id="UCx").status_code == 403
    refused = lab.youtube("channels", key="stolen", part="id", id="UCx")
    assert (refused.status_code, reason(refused)) == (400, "keyInvalid")
    assert refused.json()["error"]["errors"][0]["domain"] == "usageLimits"
    assert lab.http.get("/youtube/v3/channels?part=id&id=UCx&key=yt-query").status_code == 200
    assert lab.youtube("comments", part="id").status_code == 404


def test_a_token_is_bound_to_its_query_and_expires(lab):
    ids = [s.platform_id for s in lab.states("youtube")[:12]]
    token = lab.youtube("channels", part="id", id=",".join(ids)).json()["nextPageToken"]
    other = lab.youtube("channels", part="id", id=",".join(ids[1:]), pageToken=token)
    assert reason(other) == "invalidPageToken"
    assert lab.youtube("channels", part="id", id=",".join(ids), pageToken=token).status_code == 200
    lab.advance(86_401)
    assert reason(lab.youtube("channels", part="id", id=",".join(ids), pageToken=token)) == "invalidPageToken"
