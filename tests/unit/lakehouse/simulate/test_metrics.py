"""Sizes and rates: heavy tail, agreement across platforms, engagement that falls with size, bought engagement that shows."""

import numpy as np
import pytest

from lakehouse.simulate.draws import Draws
from lakehouse.simulate.handles import account_ids
from lakehouse.simulate.metrics import FOLLOWER_SPIKE, MASS_FOLLOWING, metrics_of
from lakehouse.simulate.world import INSTAGRAM, PLATFORMS_COUNT, TIKTOK, YOUTUBE, World, X

WORLD = World(creators_count=60_000)
IDS = np.arange(WORLD.creators_count, dtype=np.uint64)


@pytest.fixture(scope="module")
def metrics():
    size = Draws(WORLD.seed).normal("size", IDS)
    return [metrics_of(WORLD, account_ids(IDS, platform), platform, size) for platform in range(PLATFORMS_COUNT)]


def test_followers_fall_with_rank_as_a_power(metrics):
    """Zipf: log followers against log rank of the upper tenth is a line; its slope is -1 / exponent of the tail."""
    top = np.sort(metrics[INSTAGRAM].followers)[::-1][: len(IDS) // 10]
    ranks = np.log(np.arange(1, len(top) + 1))
    slope, _ = np.polyfit(ranks[20:], np.log(top[20:]), 1)
    assert -1.35 < slope < -1.0
    assert np.corrcoef(ranks[20:], np.log(top[20:]))[0, 1] < -0.98


def test_most_are_nano_and_few_are_mega(metrics):
    followers = metrics[INSTAGRAM].followers
    assert 0.75 < (followers < 10_000).mean() < 0.92
    assert 0 < (followers > 1_000_000).mean() < 0.005


def test_who_is_large_on_one_platform_is_large_on_another(metrics):
    logs = [np.log(one.followers + 1) for one in metrics]
    assert np.corrcoef(logs[INSTAGRAM], logs[YOUTUBE])[0, 1] > 0.4


@pytest.mark.parametrize("platform", [INSTAGRAM, TIKTOK, YOUTUBE, X])
def test_engagement_falls_with_size(metrics, platform):
    one = metrics[platform]
    is_own = one.anomaly < 0
    medians = [
        np.median(one.er[is_own & (one.followers >= low) & (one.followers < high)])
        for low, high in ((1e3, 5e3), (1e4, 5e4), (1e5, 1e7))
    ]
    assert medians[0] > medians[1] > medians[2] > 0


def test_bought_followers_come_between_the_last_two_snapshots(metrics):
    one = metrics[INSTAGRAM]
    first, middle, last = (one.followers_on(day, WORLD) for day in WORLD.snapshot_dates)
    jumped = one.anomaly == FOLLOWER_SPIKE
    is_large = one.followers > 500
    assert np.median((last / middle)[jumped & is_large]) > 2.5
    assert 0.9 < np.median((last / middle)[~jumped & is_large]) < 1.1
    assert 0.9 < np.median((middle / first)[jumped & is_large]) < 1.1
    assert (last == one.followers).mean() > 0.99


def test_anomalies_have_their_rate(metrics):
    one = metrics[TIKTOK]
    assert abs((one.anomaly >= 0).mean() - WORLD.anomalous_ratio) < 0.005
    assert (one.following[one.anomaly == MASS_FOLLOWING] >= 4_000).all()
    assert (one.following[one.anomaly < 0] < 4_000).all()
