"""Settings: one lake root whatever its spelling, a secret that is created once, one clear sentence when jars lack."""

from __future__ import annotations

import pytest

from lakehouse import settings as settings_module
from lakehouse.errors import SettingsError
from lakehouse.settings import Settings, load_settings


def test_lake_root_of_a_folder_and_of_buckets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_settings(lake="here").lake_root == str(tmp_path / "here")
    assert load_settings(lake="s3a://bucket/a/").lake_root == "s3://bucket/a"
    for prefix in ("a b", "a%20b", "ä", "a[1]"):
        with pytest.raises(SettingsError, match="may hold letters"):
            _ = load_settings(lake=f"s3://bucket/{prefix}").lake_root
    assert load_settings(lake="", home=tmp_path / "h").lake_root == str(tmp_path / "h" / "lake")
    with pytest.raises(SettingsError, match="gs://"):
        _ = load_settings(lake="gs://bucket").lake_root


def test_the_pepper_is_made_once_and_private(tmp_path):
    settings = load_settings(home=tmp_path)
    pepper = settings.pepper()
    assert settings.pepper() == pepper
    assert len(pepper) == 64
    assert (tmp_path / "email_pepper").stat().st_mode & 0o777 == 0o600
    assert load_settings(home=tmp_path, email_pepper="x").pepper() == b"x"


def test_missing_jars_say_what_to_do(tmp_path):
    with pytest.raises(SettingsError, match="make setup"):
        load_settings(spark_jars=tmp_path).jars()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_variable_is_not_set(monkeypatch, name):
    variable = f"CREATORLAKE_{name.upper()}"
    monkeypatch.delenv(variable, raising=False)
    unset = getattr(load_settings(), name)
    monkeypatch.setenv(variable, "")
    assert getattr(load_settings(), name) == unset


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("SIMULATE_CREATORS", "5", "greater than or equal to 10"),
        ("SIMULATE_CREATORS", "hush", "valid integer"),
        ("SNAPSHOTS_KEPT", "1", "greater than or equal to 2"),
        ("SPARK_EXTRA", "hush{", "valid JSON"),
        ("SPARK_EXTRA", '{"a": ["hush"]}', "valid string"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_variable(monkeypatch, name, value, hint):
    monkeypatch.setenv(f"CREATORLAKE_{name}", value)
    with pytest.raises(SettingsError, match=f"^CREATORLAKE_{name} is wrong: .*{hint}") as raised:
        load_settings()
    assert "hush" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_secrets_do_not_show(tmp_path):
    assert "hush" not in repr(load_settings(home=tmp_path, email_pepper="hush", s3_secret_access_key="hush"))


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8), ("nonsense", 8), (None, 8)],
)
def test_a_quota_leaves_fewer_cores(tmp_path, monkeypatch, quota, expected):
    monkeypatch.setattr(settings_module.os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)
    monkeypatch.setattr(settings_module, "CPU_QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    assert settings_module.cores() == expected
