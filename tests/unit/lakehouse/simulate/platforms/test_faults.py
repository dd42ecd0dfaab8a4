"""Every fault, seen by a real client; equal seeds and equal calls give equal faults."""

import time
from email.utils import parsedate_to_datetime

import httpx
import pytest

from lakehouse.simulate.platforms.faults import ABSURD_SECONDS, Fault, FaultDraws, Faults
from lakehouse.simulate.platforms.gate import PREFIXES

SERVICES = [name for _, name in PREFIXES]


def ask(lab, service):
    """A valid call of each service."""
    if service == "youtube":
        return lab.youtube("channels", part="snippet,statistics", id=lab.states("youtube")[0].platform_id)
    if service == "x":
        return lab.x("users", ids=lab.states("x")[0].platform_id, user__fields="public_metrics,description")
    if service == "tiktok":
        return lab.display(lab.states("tiktok")[0], "user/info/", "username,follower_count")
    if service == "instagram":
        state = next(s for s in lab.states("instagram") if s.account_type != "personal")
        return lab.instagram(state.handle)
    return lab.vendor(usernames=lab.states("instagram")[0].handle)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("fault", ["rate_limited", "quota", "server_error", "unavailable"])
def test_refusals_come_in_the_service_s_own_words(start, service, fault):
    lab = start(faults=Faults(**{fault: 1.0}))
    response = ask(lab, service)
    refused = {"youtube": {"rate_limited": 429, "quota": 403}, "instagram": {"rate_limited": 403, "quota": 400}}
    refused["vendor"] = {"quota": 402}
    expected = {"server_error": 500, "unavailable": 503}.get(fault, refused.get(service, {}).get(fault, 429))
    assert response.status_code == expected
    assert "error" in response.json() or "type" in response.json()
    assert ("retry-after" in response.headers) is (service != "x")
    total = lab.emulator.ledger.total(service)
    assert total["calls"] == 1
    assert total["micro_usd"] == total["records"] == 0
    is_charged = fault in {"server_error", "unavailable"} and service != "vendor"
    assert total["units"] == is_charged
    assert total["refused"] == (fault in {"rate_limited", "quota"})


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("fault", ["reset", "lost", "truncated"])
def test_broken_connections(start, service, fault):
    lab = start(faults=Faults(**{fault: 1.0}))
    with pytest.raises(httpx.TransportError):
        ask(lab, service)
    total = lab.emulator.ledger.total(service)
    assert (total["calls"], total["lost"], total["units"]) == (1, 1, 0 if fault == "reset" else 1)
    lab.emulator.set_faults(Faults())
    assert ask(lab, service).status_code == 200


@pytest.mark.parametrize("service", SERVICES)
def test_bodies_that_are_not_what_the_status_says(start, service):
    lab = start(faults=Faults(html=1.0))
    page = ask(lab, service)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.text.startswith("<!DOCTYPE html>")
    lab.emulator.set_faults(Faults(error_in_200=1.0))
    wrong = ask(lab, service)
    assert wrong.status_code == 200
    assert "error" in wrong.json() or "type" in wrong.json()
    assert lab.emulator.ledger.total(service)["units"] == 2


def test_a_slow_answer_comes_in_the_end_and_too_late_for_the_impatient(start):
    lab = start(faults=Faults(slow=1.0, slow_seconds=0.15))
    began = time.monotonic()
    assert ask(lab, "youtube").status_code == 200
    assert time.monotonic() - began >= 0.15
    lab.http.timeout = 0.02
    with pytest.raises(httpx.ReadTimeout):
        ask(lab, "youtube")
    assert lab.emulator.ledger.total("youtube")["units"] == 2


@pytest.mark.parametrize("service", SERVICES)
def test_a_stale_answer_shows_an_earlier_time(start, service):
    lab = start(days=30, faults=Faults(stale=1.0, stale_seconds=25 * 86_400))
    stale = ask(lab, service)
    lab.emulator.set_faults(Faults())
    fresh = ask(lab, service)
    assert stale.text != fresh.text
    lab.advance(-25 * 86_400)
    counts = [key for key in ("followers_count", "follower_count", "subscriberCount") if key in stale.text]
    number = lambda text: text.partition(counts[0])[2].partition(",")[0]  # noqa: E731
    assert number(ask(lab, service).text) == number(stale.text)


def test_an_item_stands_in_its_list_twice(start):
    lab = start(faults=Faults(duplicated=1.0))
    ids = [s.platform_id for s in lab.states("x")[:3]]
    found = [user["id"] for user in lab.x("users", ids=",".join(ids)).json()["data"]]
    assert sorted(found) == sorted([*ids, ids[1]])
    assert lab.emulator.ledger.total("x")["records"] == 3
    names = ",".join(s.handle for s in lab.states("instagram")[:3])
    assert len(lab.vendor(usernames=names).json()["data"]) == 4
    channels = ",".join(s.platform_id for s in lab.states("youtube")[:3])
    assert len(lab.youtube("channels", part="id", id=channels).json()["items"]) == 4


def test_a_dead_platform_answers_nothing_and_the_others_live(start):
    lab = start(faults=Faults(dead_platforms=("x",)))
    for _ in range(3):
        with pytest.raises(httpx.TransportError):
            ask(lab, "x")
    assert all(ask(lab, service).status_code == 200 for service in SERVICES if service != "x")
    assert lab.emulator.ledger.total("x")["calls"] == 0


@pytest.mark.parametrize("service", SERVICES)
def test_a_poison_account_is_malformed_for_ever(start, service):
    platform = "instagram" if service == "vendor" else service
    lab = start()
    victim = next(
        s
        for s in lab.states(platform)
        if s.account_type != "personal" or service in {"youtube", "x", "tiktok", "vendor"}
    )
    if service in {"youtube", "x", "tiktok", "vendor"}:
        victim = lab.states(platform)[0]
    lab.emulator.set_faults(Faults(poison_accounts=(f"{platform}:{victim.platform_id}",)))
    for _ in range(2):
        response = ask(lab, service)
        assert response.status_code == 200
        assert '{"unexpected":[null]}' in response.text.replace(" ", "")
        lab.advance(86_400)


def test_other_accounts_beside_a_poisoned_one_are_sound(start):
    lab = start()
    states = lab.states("youtube")[:3]
    lab.emulator.set_faults(Faults(poison_accounts=(f"youtube:{states[1].platform_id}",)))
    items = lab.youtube("channels", part="statistics", id=",".join(s.platform_id for s in states)).json()["items"]
    assert ["viewCount" in item["statistics"] for item in items] == [True, False, True]
    lab.emulator.set_faults(Faults(poison_ratio=0.2))
    ids = ",".join(s.platform_id for s in lab.states("x")[:100])
    users = lab.x("users", ids=ids, user__fields="public_metrics").json()["data"]
    assert 5 < sum("followers_count" not in user["public_metrics"] for user in users) < 40


def test_retry_after_is_a_number_or_a_date_and_may_lie(start):
    lab = start(faults=Faults(rate_limited=1.0))
    values = [ask(lab, "vendor").headers["retry-after"] for _ in range(2)]
    assert values[0] == "30"
    assert parsedate_to_datetime(values[1]).timestamp() == int(lab.now) + 30
    lab.emulator.set_faults(Faults(rate_limited=1.0, lying_retry_after=1.0))
    lies = {ask(lab, "vendor").headers.get("retry-after") for _ in range(60)}
    assert {str(ABSURD_SECONDS), "-30", "0", "soon", None} < lies
    assert any(lie and "GMT" in lie and parsedate_to_datetime(lie).timestamp() < lab.now for lie in lies)


def test_faults_depend_on_seed_platform_and_number_only():
    storm = Faults.storm()
    first, again, other = FaultDraws(storm, 7), FaultDraws(storm, 7), FaultDraws(storm, 8)
    drawn = [first.fault("x", number) for number in range(4_000)]
    assert drawn == [again.fault("x", number) for number in range(4_000)]
    assert drawn != [other.fault("x", number) for number in range(4_000)]
    assert drawn != [first.fault("youtube", number) for number in range(4_000)]
    kinds = {kind: drawn.count(kind) / len(drawn) for kind in Fault}
    assert all(kinds[kind] == pytest.approx(getattr(storm, kind.value), abs=0.015) for kind in Fault)


def test_faults_of_some_platforms_only(start):
    lab = start(faults=Faults(server_error=1.0, platforms=("tiktok",)))
    assert ask(lab, "tiktok").status_code == 500
    assert ask(lab, "youtube").status_code == 200


def test_two_runs_of_a_storm_are_the_same(start):
    def run() -> list[str]:
        lab = start(faults=Faults.storm())
        seen = []
        for _ in range(15):
            for service in SERVICES:
                try:
                    seen.append(f"{service} {ask(lab, service).text[:300]}")
                except httpx.TransportError as error:
                    seen.append(f"{service} {type(error).__name__}")
        return seen

    first = run()
    assert first == run()
    assert len({line[:40] for line in first}) > 12
