"""The commands after a run work on its lake, unless told otherwise."""

from __future__ import annotations

import argparse

import pytest

from jobs import cli
from jobs.last_run import recall, remember
from lakehouse.settings import load_settings


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CREATORLAKE_HOME", str(tmp_path))
    monkeypatch.setenv("CREATORLAKE_LAKE", "")
    monkeypatch.delenv("CREATORLAKE_INPUT", raising=False)
    return tmp_path


def test_before_the_first_run_there_is_none(tmp_path):
    assert recall(tmp_path) is None
    (tmp_path / "last_run.json").write_text("{")
    assert recall(tmp_path) is None


def test_the_lake_of_the_last_run_is_the_default(home):
    remember(load_settings(home=home, lake=str(home / "demo"), input=home))
    cli._choose_lake(argparse.Namespace(handler=cli._search))
    assert load_settings().lake_root == str(home / "demo")


@pytest.mark.parametrize(
    "given", [{"handler": cli._run}, {"handler": cli._dev, "input": "folder"}, {"handler": cli._search, "lake": "mine"}]
)
def test_run_a_named_input_and_a_named_lake_do_not_take_it(home, monkeypatch, given):
    monkeypatch.chdir(home)
    remember(load_settings(home=home, lake=str(home / "demo"), input=home))
    cli._choose_lake(argparse.Namespace(**given))
    assert load_settings().lake_root == str(home / ("mine" if "lake" in given else "lake"))
