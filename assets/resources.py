"""Dagster resources: the lake, opened once a process from the settings."""

from __future__ import annotations

from dagster import ConfigurableResource
from pydantic import PrivateAttr

from lakehouse.settings import Settings, load_settings
from lakehouse.storage.lake import Lake
from lakehouse.storage.objects import ObjectStore
from lakehouse.storage.probe import require_fence


class LakeResource(ConfigurableResource):  # type: ignore[type-arg]
    """Gives assets the lake. `lake` and `input_folder` override the environment when set."""

    lake: str = ""
    input_folder: str = ""

    _opened: Lake | None = PrivateAttr(default=None)

    @property
    def settings(self) -> Settings:
        """Settings from the environment and this resource's configuration."""
        return load_settings(lake=self.lake or None, input=self.input_folder or None)

    def objects(self) -> ObjectStore:
        """The lake's objects alone: no Spark, no probe."""
        return ObjectStore.open(self.settings)

    def checked_objects(self) -> ObjectStore:
        """The lake's objects alone, for writing: a bucket must first show that it does not overwrite.

        Raises:
            PermanentError: it does.
        """
        objects = self.objects()
        if objects.layout.is_s3:
            require_fence(objects)
        return objects

    def open(self) -> Lake:
        """The lake, opened on first use; a bucket must first show that it does not overwrite.

        Raises:
            PermanentError: it does.
        """
        if self._opened is None:
            self.checked_objects()
            self._opened = Lake(self.settings)
        return self._opened
