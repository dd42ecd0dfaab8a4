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
        ["resolve", "in.csv", "--out", "o.csv", "--edges", "o.rejected.csv"],
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


def test_resolve_says_how_many_rows_it_left_out_and_why(tmp_path, capsys):
    (tmp_path / "in.csv").write_text(f"{ACCOUNTS}x,1,b\nx,,c\nx,1,d\n", encoding="utf-8")
    assert main(["resolve", str(tmp_path / "in.csv"), "--out", str(tmp_path / "o.csv")]) == 0
    said = capsys.readouterr()
    assert "2 rows left out: key of an earlier row" in said.out
    assert "1 row left out: no platform_account_id" in said.out
    assert "o.rejected.csv" in said.out
    assert "1 creators of 1 accounts" in said.err
