"""Settings of the service."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from serving_factories import serving_settings

from serving.settings import ServingSettings


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CURSOR_KEY", "POLL_SECONDS", "THREADS"):
        monkeypatch.setenv(f"CREATORLAKE_SERVE_{name}", "")
    settings = ServingSettings()
    assert (settings.cursor_key, settings.poll_seconds, settings.threads) == (None, 5.0, 2)


@pytest.mark.parametrize(("workers", "turns"), [(1, 8), (3, 2), (8, 1), (20, 1)])
def test_processes_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, turns: int) -> None:
    monkeypatch.setattr("serving.settings.cores", lambda: 8)
    assert serving_settings(tmp_path).model_copy(update={"workers": workers}).turns == turns


def test_cursors_are_signed_with_the_setting_or_a_kept_random_key(tmp_path: Path) -> None:
    settings = serving_settings(tmp_path)
    kept = settings.cursor_secret()
    assert len(kept) >= 16
    assert serving_settings(tmp_path).cursor_secret() == kept
    assert settings.model_copy(update={"cursor_key": SecretStr("")}).cursor_secret() == kept
    assert settings.model_copy(update={"cursor_key": SecretStr("mine")}).cursor_secret() == b"mine"
