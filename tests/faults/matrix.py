"""The fault matrix: each fault, what is promised, and the tests that prove it. The numbers are those of the tests' names.

F19, F20 and F22 come with the service's tenants.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One row: `tests` are `file::function` below `tests/`."""

    number: str
    what: str
    promise: str
    tests: tuple[str, ...]


MATRIX = (
    Fault(
        "F1",
        "kill -9 at every crash point of every asset",
        "the old or the new version is readable, a rerun ends at the content of an undisturbed run",
        ("faults/test_kills.py::test_f1_killed_at_every_point_the_lake_ends_at_the_same_content",),
    ),
    Fault(
        "F2",
        "the run's worker killed under Dagster's daemon",
        "failed at once, told, retried, slots free within 60 s, never two writers",
        ("faults/test_dagster.py::test_f2_a_killed_worker_is_told_retried_and_never_writes_beside_its_successor",),
    ),
    Fault(
        "F3",
        "the store answers 500 or 503, resets, or is away for 30 s",
        "bounded retries, then a clean error; nothing half-visible",
        (
            "faults/test_storms.py::test_f3_f6_storms_on_commits_lose_nothing_and_end",
            "faults/test_storms.py::test_f3_an_outage_of_half_a_minute_is_waited_for",
            "integration/lakehouse/storage/test_faulty_s3.py::test_reads_and_lists_are_tried_again",
        ),
    ),
    Fault(
        "F4",
        "the answer to a write is lost",
        "rows exactly once, versions not inflated",
        (
            "faults/test_storms.py::test_f4_a_lost_answer_commits_once_and_counts_once",
            "integration/lakehouse/storage/test_faulty_s3.py::test_once_written_is_written_once_whatever_the_answer",
            "integration/lakehouse/storage/test_faulty_s3.py::test_pointer_moves_once_and_says_so",
        ),
    ),
    Fault(
        "F5",
        "two drivers write one table",
        "no acknowledged commit is overwritten",
        ("faults/test_two_writers.py::test_f5_the_fence_keeps_every_acknowledged_append_and_its_absence_loses_some",),
    ),
    Fault(
        "F6",
        "409 and 412 storms on commits",
        "back-off, no livelock",
        ("faults/test_storms.py::test_f3_f6_storms_on_commits_lose_nothing_and_end",),
    ),
    Fault(
        "F7",
        "the same file again, under another name, or with newer content",
        "idempotent by content; the newest wins",
        ("faults/test_histories.py::test_f7_f8_any_order_and_multiplicity_of_the_same_files_ends_at_the_same_rows",),
    ),
    Fault(
        "F8",
        "late data, out of order",
        "as if it had come in order",
        ("faults/test_histories.py::test_f7_f8_any_order_and_multiplicity_of_the_same_files_ends_at_the_same_rows",),
    ),
    Fault(
        "F9",
        "bad JSON, cut gzip, wrong encoding, huge lines, odd numbers",
        "the row in quarantine with its reason, all good rows landed",
        (
            "faults/test_bad_input.py::test_f9_f10_f11_every_bad_file_has_its_fate",
            "faults/test_bad_input.py::test_f9_a_gzip_cut_at_every_byte_keeps_its_good_rows_and_says_why",
        ),
    ),
    Fault(
        "F10",
        "new, missing, renamed columns, other types",
        "additions are kept under _rescued; a missing required column withholds the file",
        ("faults/test_bad_input.py::test_f9_f10_f11_every_bad_file_has_its_fate",),
    ),
    Fault(
        "F11",
        "emoji, joiners, right-to-left, NUL, lone surrogates",
        "kept as they are in bronze",
        ("faults/test_bad_input.py::test_f9_f10_f11_every_bad_file_has_its_fate",),
    ),
    Fault(
        "F12",
        "platforms throttle, end quotas, lie about when to come back, answer nonsense, are away",
        "no account lost, no budget over-spent, what one platform does stops no other",
        (
            "unit/lakehouse/fetch/test_worker.py::test_f12_a_storm_loses_no_account",
            "unit/lakehouse/fetch/test_worker.py::test_f12_a_spent_day_ends_the_run_well_and_the_next_day_goes_on",
            "unit/lakehouse/fetch/test_worker.py::test_f12_a_dead_platform_is_left_alone_and_the_others_go_on",
            "unit/lakehouse/fetch/test_worker.py::test_f12_a_worker_killed_anywhere_loses_no_account",
        ),
    ),
    Fault(
        "F13",
        "a damaged, cut or swapped shard",
        "refused; the old snapshot serves and /readyz says so",
        (
            "unit/serving/test_snapshot.py::test_a_damaged_file_is_refused",
            "unit/serving/test_snapshot.py::test_swapped_shards_are_refused",
            "unit/serving/test_snapshot.py::test_a_damaged_newer_snapshot_is_refused_and_the_old_one_serves",
        ),
    ),
    Fault(
        "F14",
        "a crash between a shard and the manifest, two publishers",
        "no manifest, no snapshot; one publisher wins",
        (
            "unit/index_build/test_publish.py::test_a_crash_at_any_write_leaves_the_old_snapshot_and_a_rerun_completes",
            "unit/index_build/test_publish.py::test_publishers_of_several_processes_end_with_one_intact_chain",
            "faults/test_kills.py::test_f1_killed_at_every_point_the_lake_ends_at_the_same_content",
        ),
    ),
    Fault(
        "F15",
        "rollback or removal while a server loads",
        "nothing young, current or previous is removed",
        (
            "unit/index_build/test_publish.py::test_garbage_is_old_spare_and_never_served",
            "unit/serving/test_snapshot.py::test_swaps_under_load_fail_no_request_and_free_the_old",
        ),
    ),
    Fault(
        "F16",
        "the disk is full",
        "one sentence, the old snapshot stays, a rerun completes",
        ("faults/test_full_disk.py::test_f16_a_full_disk_ends_in_a_sentence_and_a_rerun_completes",),
    ),
    Fault(
        "F17",
        "clocks that jump or differ",
        "order by sequence; a clear error",
        (
            "integration/lakehouse/storage/test_s3_servers.py::test_a_clock_an_hour_off_is_told_by_the_doctor",
            "unit/lakehouse/ingest/test_landing.py::test_batches_are_in_strict_order_whatever_the_clock",
        ),
    ),
    Fault(
        "F18",
        "a poison object",
        "quarantine and an alert, the rest goes on",
        (
            "spark/lakehouse/bronze/test_load.py::"
            "test_f18_a_damaged_object_goes_to_quarantine_with_an_alert_and_the_rest_goes_on",
        ),
    ),
    Fault(
        "F21",
        "VACUUM during a long read",
        "the reader ends, or gets an error that names the file",
        (
            "spark/lakehouse/ops/test_maintenance.py::"
            "test_f21_a_reader_of_a_vacuumed_version_gets_an_error_that_names_the_file",
        ),
    ),
)
