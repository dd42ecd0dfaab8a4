"""Locks of a home: one holder at a time, free again when the holder ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jobs.locks import DEV, RUN, is_free, keep_dev_lock, one_run_at_a_time
from lakehouse.errors import PermanentError


def test_a_second_run_is_refused_until_the_first_ends(settings):
    with one_run_at_a_time(settings):
        assert not is_free(settings, RUN)
        with pytest.raises(PermanentError, match="Another run"), one_run_at_a_time(settings):
            pass
    assert is_free(settings, RUN)


def test_the_dev_lock_outlives_the_exec_of_another_program_and_ends_with_it(settings):
    code = (
        "import os, sys; from jobs.locks import keep_dev_lock; from lakehouse.settings import load_settings;"
        "keep_dev_lock(load_settings(home=sys.argv[1])); os.execv('/bin/sh', ['sh', '-c', 'echo held; read line'])"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(settings.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    assert not is_free(settings, DEV)
    with pytest.raises(PermanentError, match="already open"):
        keep_dev_lock(settings)
    holder.communicate("\n")
    assert is_free(settings, DEV)
