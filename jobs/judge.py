"""The command of judgements: what people decide about accounts, written to the log, listed, taken back."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence

from jobs.subjects import accounts_of
from lakehouse.contracts.evidence import Judgement, Kind
from lakehouse.errors import PermanentError
from lakehouse.identity.judgements import Said, read, record, standing
from lakehouse.settings import load_settings
from lakehouse.storage.lake import Lake
from lakehouse.storage.probe import require_fence


def judge(kind: str, subjects: Sequence[str], *, by: str = "", note: str = "") -> int:
    """Write a judgement; it counts from the next run on.

    Args:
        kind: `link`, `unlink`, `freeze` or `undo`.
        subjects: accounts as `platform:id` or `platform:@handle`; of a freeze a creator's id, of an undo a number.
        by: who judges; the user of this machine without.
        note: why.

    Raises:
        PermanentError: a subject is none, or the judgement contradicts one that stands.
        NotFoundError: the lake knows no such account or creator.
    """
    lake = Lake(load_settings())
    if lake.objects.layout.is_s3:
        require_fence(lake.objects)
    who = by or getpass.getuser()
    if kind == Kind.UNDO:
        if len(subjects) != 1 or not subjects[0].isdecimal():
            raise PermanentError("An undo needs the number of one judgement; `creatorlake judge list` tells them.")
        said = Said(Kind.UNDO, of=int(subjects[0]), by=who, note=note)
    else:
        accounts = tuple(dict.fromkeys(account for subject in subjects for account in accounts_of(lake, subject)))
        said = Said(Kind(kind), accounts, by=who, note=note)
    made = record(lake.objects, said)
    _say(f"{_told(made)}. It counts from the next run on.")
    return 0


def listed(*, with_all: bool = False) -> int:
    """Print the judgements that stand, or all of them."""
    log = read(Lake(load_settings()).objects)
    for one in log if with_all else standing(log):
        _say(" | ".join(part for part in (_told(one), one.by, one.at, one.note) if part))
    return 0


def _told(one: Judgement) -> str:
    what = str(one.of) if one.kind is Kind.UNDO else ", ".join(":".join(account) for account in one.accounts)
    return f"Judgement {one.number}: {one.kind} {what}".rstrip()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
