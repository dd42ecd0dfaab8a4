"""The emulator's own routes and its ledger; and the emulator as a process."""

import datetime as dt
import json
import subprocess
import sys

import httpx
import pytest

from lakehouse.simulate.platforms.drift import Drift
from lakehouse.simulate.platforms.faults import Faults
from lakehouse.simulate.platforms.life import Life
from lakehouse.simulate.platforms.quotas import Quotas
from lakehouse.simulate.platforms.server import EMULATOR, app_of, build_app, running
from lakehouse.simulate.platforms.truth import followers_of
from lakehouse.simulate.world import World


def test_the_clock_is_read_and_moved_from_outside(lab):
    assert lab.http.get("/_emulator/clock").json()["now"] == "2026-06-30T12:00:00+00:00"
    moved = lab.http.post("/_emulator/clock", json={"advance_seconds": 3_600}).json()
    assert moved["now"] == "2026-06-30T13:00:00+00:00"
    moved = lab.http.post("/_emulator/clock", json={"now": "2026-11-01T07:00:00Z", "speed": 0}).json()
    assert (moved["now"], moved["speed"]) == ("2026-11-01T07:00:00+00:00", 0)
    date = lab.youtube("channels", part="id", id="UCx").headers["date"]
    assert date == "Sun, 01 Nov 2026 07:00:00 GMT"
    assert lab.http.post("/_emulator/clock", json={"speed": 60}).json()["speed"] == 60


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clock", {"hour": 3}),
        ("clock", {"now": "tomorrow"}),
        ("clock", {"speed": -1}),
        ("faults", {"earthquake": 1}),
        ("faults", {"dead_platforms": ["myspace"]}),
        ("drift", {"north": True}),
        ("quotas", {"patience": 1}),
        ("truth/fresh", {"platform": "x"}),
        ("truth/fresh", []),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(lab, path, body):
    response = lab.http.post(f"/_emulator/{path}", json=body)
    assert response.status_code == 400
    assert response.json()["error"]


def test_unknown_routes_are_404(lab):
    assert lab.http.get("/_emulator/nothing").status_code == 404
    assert lab.http.get("/elsewhere").status_code == 404


def test_faults_drift_and_quotas_are_switched_from_outside(lab):
    faults = lab.http.post("/_emulator/faults", json={"unavailable": 1, "platforms": ["x"]}).json()
    assert (faults["unavailable"], faults["platforms"], faults["reset"]) == (1, ["x"], 0)
    assert lab.x("users", ids="1").status_code == 503
    assert lab.http.get("/_emulator/faults").json() == faults
    assert lab.http.post("/_emulator/faults", json={}).json()["unavailable"] == 0
    assert lab.x("users", ids="1").status_code == 200
    assert lab.http.post("/_emulator/drift", json={"x_tweet_names": True}).json()["x_tweet_names"] is True
    assert lab.http.post("/_emulator/quotas", json={"x_user_requests": 1}).json()["x_user_requests"] == 1
    assert lab.x("users", ids="1").status_code == 429


def test_the_truth_is_told_from_outside(start):
    lab = start(life=True, days=20)
    sizes = lab.http.get("/_emulator/truth").json()["accounts"]
    assert sum(sizes.values()) == len(lab.emulator.registry)
    state = lab.states("tiktok")[5]
    for key in ({"id": state.platform_id}, {"handle": state.handle}):
        told = lab.http.get("/_emulator/truth", params={"platform": "tiktok", **key}).json()["account"]
        assert told == state.as_dict()
    early = {"platform": "tiktok", "id": state.platform_id, "at": "2026-06-30T12:00:00Z"}
    then = lab.http.get("/_emulator/truth", params=early).json()["account"]
    assert (
        then["followers"] == lab.emulator.registry.state("tiktok", state.platform_id, lab.now - 20 * 86_400).followers
    )
    assert lab.http.get("/_emulator/truth", params={"platform": "x", "id": "1"}).json() == {"account": None}
    listed = lab.http.get("/_emulator/truth/accounts", params={"platform": "x", "offset": 3, "limit": 4}).json()
    assert [entry["id"] for entry in listed["accounts"]] == [s.platform_id for s in lab.states("x")[3:7]]
    assert listed["total"] == sizes["x"]


def test_freshness_is_told_from_outside(start):
    lab = start(life=True, days=20)
    shown = followers_of(lab.emulator.registry, "youtube", lab.now)
    body = {"platform": "youtube", "shown": shown}
    assert lab.http.post("/_emulator/truth/fresh", json=body).json()["fresh_ratio"] == 1
    past = {**body, "at": "2026-06-30T12:00:00Z"}
    assert 0.1 < lab.http.post("/_emulator/truth/fresh", json=past).json()["fresh_ratio"] < 0.9


def test_the_ledger_has_every_call_once(start):
    lab = start()
    youtube, x = lab.states("youtube")[0], lab.states("x")[0]
    for _ in range(3):
        lab.youtube("channels", part="id", id=youtube.platform_id)
    lab.youtube("channels", part="nothing", id="UCx")
    lab.youtube("channels", key="stolen", part="id", id="UCx")
    lab.x("users", ids=f"{x.platform_id},42")
    lab.x("users", ids="abc")
    lab.vendor(usernames=lab.states("instagram")[0].handle)
    lab.http.get("/_emulator/clock")
    told = lab.http.get("/_emulator/ledger").json()
    rows = {(row["platform"], row["endpoint"], row["credential"], row["day"]): row for row in told["entries"]}
    own = rows["youtube", "channels", "yt-lab", "2026-06-30"]
    assert (own["calls"], own["units"], own["records"], own["errors"], own["refused"]) == (4, 4, 3, 1, 0)
    stolen = rows["youtube", "channels", "stolen", "2026-06-30"]
    assert (stolen["calls"], stolen["units"], stolen["refused"]) == (1, 0, 1)
    users = rows["x", "users", "x-lab", "2026-06-30"]
    assert (users["calls"], users["units"], users["records"], users["usd"], users["errors"]) == (2, 2, 1, 0.01, 1)
    assert told["total"]["calls"] == 8
    assert lab.http.get("/_emulator/ledger?platform=vendor").json()["total"]["usd"] == 0.002
    assert lab.http.request("DELETE", "/_emulator/ledger").json()["total"]["calls"] == 0


def test_days_of_the_ledger_are_those_of_the_platform(start):
    lab = start()
    lab.at(2026, 7, 1, 3)
    lab.youtube("channels", part="id", id="UCx")
    lab.x("users", ids="1")
    assert {row["platform"]: row["day"] for row in lab.emulator.ledger.rows()} == {
        "youtube": "2026-06-30",
        "x": "2026-07-01",
    }


def test_the_emulator_as_a_process_of_its_own(tmp_path):
    command = [sys.executable, "-m", "lakehouse.simulate.platforms", "--port", "0", "--creators", "40", "--speed", "0"]
    command += ["--start", "2026-07-04T00:00:00", "--quotas", json.dumps({"x_user_requests": 1})]
    command += ["--faults", json.dumps({"dead_platforms": ["vendor"]}), "--life", json.dumps({"bio_ratio": 0})]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline().strip()
            accounts = line.split()[2]
            address = line.rpartition(" ")[2]
            assert line == f"Emulator of {accounts} accounts on {address}"
            assert address.startswith("http://127.0.0.1:")
            with httpx.Client(base_url=address, headers={"Authorization": "Bearer x-a"}) as client:
                assert client.get("/_emulator/clock").json()["now"] == "2026-07-04T00:00:00+00:00"
                assert sum(client.get("/_emulator/truth").json()["accounts"].values()) == int(accounts)
                assert [client.get("/2/users?ids=1").status_code for _ in range(2)] == [200, 429]
                with pytest.raises(httpx.TransportError):
                    client.get("/vendor/v1/profiles?usernames=a")
        finally:
            process.terminate()
        assert process.wait(10) == 0


def test_a_whole_application_in_one_call():
    faults = Faults(dead_platforms=("x",))
    app = build_app(
        World(creators_count=10),
        quotas=Quotas.unlimited(),
        faults=faults,
        life=Life.none(),
        drift=Drift(new_field=True),
    )
    with running(app) as address, httpx.Client(base_url=address) as client:
        began = client.get("/_emulator/clock").json()
        assert began["speed"] == 1
        assert client.get("/_emulator/process").json()["cpu_seconds"] > 0
        assert client.get("/_emulator/drift").json()["new_field"] is True
        assert client.get("/_emulator/quotas").json()["x_user_requests"] > 10**9
        assert client.get("/_emulator/clock").json()["seconds"] >= began["seconds"]
    assert app[EMULATOR].faults.is_dead("x")


def test_a_port_that_is_taken_is_an_error(lab):
    port = lab.http.base_url.port
    with pytest.raises(OSError, match=str(port)), running(app_of(lab.emulator), port=port):
        pass


def test_the_start_is_noon_of_the_newest_snapshot(lab):
    assert lab.emulator.clock.now() == dt.datetime.combine(World().last_date, dt.time(12), dt.UTC)
