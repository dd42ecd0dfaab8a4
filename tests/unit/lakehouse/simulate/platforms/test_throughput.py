from lakehouse.simulate.platforms.throughput import main


def test_every_kind_of_call_is_measured_and_succeeds(capsys):
    assert main(["--creators", "60", "--calls", "16"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Emulator of ")
    assert len(lines) == 15
    assert all("calls/s" in line for line in lines[1:])
