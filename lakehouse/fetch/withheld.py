"""Accounts that nobody may ask for: their owners asked to be forgotten. Known by keyed digests alone (`lakehouse/silver/erased.py`)."""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse.fetch.task import FetchTask
from lakehouse.identity.nodes import NO_ID
from lakehouse.silver.erased import erased_subjects, is_erased
from lakehouse.silver.handles import handle_key
from lakehouse.storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Withheld:
    """Digests of erased accounts, and the pepper of the lake that made them."""

    erased: frozenset[str] = frozenset()
    pepper: bytes = b""

    @classmethod
    def of(cls, objects: ObjectStore, pepper: bytes) -> Withheld:
        """Those of a lake, as of now."""
        return cls(erased_subjects(objects), pepper)

    def places(self, task: FetchTask, platform: str, kind: str) -> list[int]:
        """Places of a task's keys that must not be asked for: by their id or their handle, as the endpoint's `kind` says."""
        if not self.erased or kind == "none":
            return []
        return [at for at, key in enumerate(task.keys) if self._is_any(platform, _names(task, key, kind))]

    def _is_any(self, platform: str, names: list[str]) -> bool:
        return any(is_erased(platform, name, pepper=self.pepper, erased=self.erased) for name in names)


def _names(task: FetchTask, key: str, kind: str) -> list[str]:
    """Ids that silver may know the account of a key by."""
    if kind == "id":
        return [key]
    known = task.id_of(key)
    return [f"{NO_ID}{handle_key(key) or key}", *([known] if known else [])]
