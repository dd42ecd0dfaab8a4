"""What is written down is true: the data dictionary, the settings and the commands."""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

from benchmarks import faults_page
from jobs.cli import _parser
from lakehouse.contracts.docs import render
from lakehouse.settings import Settings
from serving import settings_docs
from serving.settings import ServingSettings

REPO = Path(__file__).resolve().parents[2]


def test_the_data_dictionary_is_current():
    assert (REPO / "docs" / "data_dictionary.md").read_text(encoding="utf-8") == render(), "run `make docs`"


def test_the_page_of_settings_is_current():
    assert (REPO / "docs" / "settings.md").read_text(encoding="utf-8") == settings_docs.render(), "run `make docs`"


def test_the_page_of_faults_is_current():
    assert faults_page.PAGE.read_text(encoding="utf-8") == faults_page.render(), "run `make docs`"


def test_every_setting_is_described():
    for settings in (Settings, ServingSettings):
        assert all(field.description for field in settings.model_fields.values())


def test_promised_commands_exist():
    commands = _parser()._subparsers._group_actions[0].choices
    promised = {"run", "serve", "search", "doctor", "publish", "rollback", "resolve", "tag", "score", "index"}
    assert promised <= set(commands)
    for command in promised - {"index"}:
        assert any("--lake" in action.option_strings for action in commands[command]._actions), command
    actions = next(a for a in commands["index"]._actions if isinstance(a, argparse._SubParsersAction))
    assert set(actions.choices) == {"build", "verify"}


def test_every_link_in_the_docs_leads_somewhere():
    for page in [REPO / "README.md", *(REPO / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_promised_make_targets_exist():
    listed = subprocess.run(["make", "-pqn"], cwd=REPO, capture_output=True, text=True, check=False).stdout
    for target in ("help", "setup", "run", "test", "check", "test-fast", "bench-%", "docs"):
        assert re.search(rf"^{re.escape(target)}:", listed, re.MULTILINE), target
