"""Only transient faults are tried again; interrupts and bugs end the step."""

from __future__ import annotations

import pytest
from dagster import Failure, RetryRequested

from assets.failures import FIRST_WAIT_SECONDS, RETRIES, mapped_errors
from assets.materialization import asset_for
from assets.steps import STEPS
from lakehouse.errors import ContractError, TransientError


def test_transient_faults_are_retried_with_growing_waits_and_then_fail():
    for attempt in range(RETRIES):
        with pytest.raises(RetryRequested) as raised, mapped_errors(attempt):
            raise TransientError("slow down")
        assert raised.value.seconds_to_wait == FIRST_WAIT_SECONDS * 2**attempt
    with pytest.raises(Failure, match="slow down"), mapped_errors(RETRIES):
        raise TransientError("slow down")


def test_what_a_retry_cannot_help_fails_at_once_with_its_sentence():
    with pytest.raises(Failure, match="bad column") as raised, mapped_errors():
        raise ContractError("bad column")
    assert raised.value.allow_retries is False


@pytest.mark.parametrize("error", [KeyboardInterrupt, KeyError])
def test_interrupts_and_bugs_pass_through(error):
    with pytest.raises(error), mapped_errors():
        raise error


def test_no_asset_has_a_retry_policy():
    """Dagster repeats an interrupted step where there is one."""
    assert all(asset_for(step).op.retry_policy is None for step in STEPS)
