"""Every S3 server behind the lake's tests: what objects, the doctor and the lifecycle rules promise, on each of them."""

from __future__ import annotations

import hashlib
import time

import pytest
from obstore.store import S3Store

from lakehouse.errors import NotFoundError, PermanentError, TransientError
from lakehouse.storage.bucket import apply_lifecycle, harmful_rules, lifecycle_rules, wanted_rules
from lakehouse.storage.objects import ObjectStore
from lakehouse.storage.probe import probe, require_fence
from tests.faults.proxy import Rule, proxied

pytestmark = [pytest.mark.integration, pytest.mark.s3]


@pytest.fixture
def lake_settings(any_s3, tmp_path, request):
    bucket = any_s3.make_bucket(hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16])
    return any_s3.settings(tmp_path, f"{bucket}/lake")


def test_conditional_writes_have_one_winner(lake_settings):
    objects = ObjectStore.open(lake_settings)
    assert isinstance(objects._store, S3Store)
    assert objects.put_once("a", b"1") == objects.put_once("a", b"1")
    assert objects.swap("p", b"1", expected=None)
    assert not objects.swap("p", b"2", expected=None)
    assert not objects.swap("p", b"3", expected=b"2")
    assert objects.swap("p", b"2", expected=b"1")
    assert objects.get("p") == b"2"
    assert [info.key for info in objects.list("")] == ["a", "p"]


@pytest.mark.parametrize("most", [1024**3, 4], ids=["inside the store", "through this machine"])
def test_a_copy_is_an_object_of_its_own(lake_settings, monkeypatch, tmp_path, most):
    monkeypatch.setattr("lakehouse.storage.objects.COPY_MAX_BYTES", most)
    objects = ObjectStore.open(lake_settings)
    objects.put_once("snapshots/a/one", b"12345" * 1000)
    objects.copy("snapshots/a/one", "snapshots/b/one", scratch=tmp_path)
    objects.delete("snapshots/a/one")
    assert objects.get("snapshots/b/one") == b"12345" * 1000
    with pytest.raises(NotFoundError):
        objects.copy("snapshots/a/one", "snapshots/b/two", scratch=tmp_path)


def test_the_doctor_finds_every_server_fit(lake_settings):
    findings = probe(lake_settings)
    assert [finding.text for finding in findings if not finding.is_fine] == []
    assert len(findings) == 4
    assert list(ObjectStore.open(lake_settings).list("")) == []


def test_a_store_that_overwrites_is_refused_in_one_sentence(s3, tmp_path):
    """A server that drops the condition: what some emulators do."""
    with proxied(s3.port) as proxy:
        proxy.forgets = frozenset({"if-none-match"})
        settings = s3.settings(tmp_path, f"{s3.make_bucket('overwrites')}/lake", s3_endpoint=proxy.endpoint)
        with pytest.raises(
            PermanentError, match=r"overwrites on conditional create and would lose commits; do not use it\.$"
        ):
            require_fence(ObjectStore.open(settings))
        assert [finding.is_fine for finding in probe(settings)] == [False, True, True, True]


def test_wrong_credentials_are_named_where_the_server_checks_them(s3_real, tmp_path):
    settings = s3_real.settings(tmp_path, f"{s3_real.make_bucket('keys')}/lake", s3_secret_access_key="wrong")
    with pytest.raises(PermanentError, match="the store refuses these credentials"):
        require_fence(ObjectStore.open(settings))


def test_a_clock_an_hour_off_is_told_by_the_doctor(s3, tmp_path):
    """F17: the probe compares this machine's clock with the store's."""
    import time_machine

    settings = s3.settings(tmp_path, f"{s3.make_bucket('clock')}/lake")
    with time_machine.travel(time.time() + 3600):
        texts = {finding.name: finding.text for finding in probe(settings) if not finding.is_fine}
    assert list(texts) == ["Lake: clock"]
    assert "set it by NTP" in texts["Lake: clock"]


@pytest.mark.parametrize("any_s3", ["ministack", "moto"], indirect=True)
def test_our_lifecycle_rules_are_kept_as_written(lake_settings):
    apply_lifecycle(lake_settings)
    stored = {rule["ID"]: rule for rule in lifecycle_rules(lake_settings)}
    for rule in wanted_rules(lake_settings.lake_root):
        kept = stored[rule["ID"]]
        assert {name: kept[name] for name in rule} == rule
    assert harmful_rules(list(stored.values()), lake_settings.lake_root) == []
    assert apply_lifecycle(lake_settings) == list(stored.values())


def test_a_store_without_lifecycle_says_so_in_a_sentence(s3_real, tmp_path):
    settings = s3_real.settings(tmp_path, f"{s3_real.make_bucket('no-lifecycle')}/lake")
    with pytest.raises(PermanentError, match="The store refuses lifecycle rules for s3://no-lifecycle/lake"):
        apply_lifecycle(settings)


def test_a_rule_that_would_expire_tables_is_refused(s3, tmp_path):
    bucket = s3.make_bucket("expires")
    rule = {"ID": "old-things", "Status": "Enabled", "Filter": {"Prefix": "la"}, "Expiration": {"Days": 90}}
    s3.client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    texts = {f.name: f.text for f in probe(s3.settings(tmp_path, f"{bucket}/lake")) if not f.is_fine}
    assert list(texts) == ["Lake: lifecycle"]
    assert "old-things" in texts["Lake: lifecycle"]


@pytest.mark.faults
def test_a_store_that_throttles_is_called_transient(s3, tmp_path):
    with proxied(s3.port) as proxy:
        proxy.rules = [Rule("503", "PUT")]
        settings = s3.settings(tmp_path, f"{s3.make_bucket('busy')}/lake", s3_endpoint=proxy.endpoint)
        with pytest.raises(TransientError):
            require_fence(ObjectStore.open(settings))
