"""The command line itself: what it refuses before any work."""

from __future__ import annotations

import pytest

from jobs.cli import main

ACCOUNTS = "platform,platform_account_id,handle\nx,1,a\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["resolve", "in.csv", "--out", "in.csv"],
        ["resolve", "in.csv", "--out", "o.csv", "--edges", "./o.csv"],
        ["tag", "in.csv", "--out", "../{folder}/in.csv"],
        ["score", "in.csv", "--out", "in.csv"],
    ],
)
def test_an_output_never_replaces_the_input_or_another_output(tmp_path, monkeypatch, capsys, arguments):
    (tmp_path / "in.csv").write_text(ACCOUNTS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main([argument.format(folder=tmp_path.name) for argument in arguments]) == 1
    assert "is named twice" in capsys.readouterr().err
    assert (tmp_path / "in.csv").read_text(encoding="utf-8") == ACCOUNTS
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
