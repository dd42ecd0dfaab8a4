"""Settings of the service: `CREATORLAKE_SERVE_*` beside the lake's own `CREATORLAKE_*`. Read once, frozen."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from lakehouse.settings import Settings, cores, kept_secret, load_settings

CURSOR_KEY_FILE = "cursor_key"
WEB_FOLDER = Path(__file__).with_name("web")


class ServingSettings(BaseSettings):
    """Everything the service can be told. Each field is `CREATORLAKE_SERVE_<NAME>` in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="CREATORLAKE_SERVE_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    lake: Settings = Field(default_factory=load_settings, description="Where the snapshots are; from `CREATORLAKE_*`")
    poll_seconds: float = Field(default=5.0, gt=0, description="Pause between looks at CURRENT, in seconds")
    max_body_bytes: int = Field(
        default=1024 * 1024, ge=1024, description="Longest request body; 10,000 handles need 300 kB"
    )
    threads: int = Field(default=2, ge=1, description="Threads of a query: DuckDB and shards")
    workers: int = Field(
        default=1, ge=1, description="Processes that answer, each on about one core; what they read is in memory once"
    )
    cursor_key: SecretStr | None = Field(
        default=None, description="Secret that signs cursors; empty means a file in the home"
    )
    web_folder: Path = Field(default=WEB_FOLDER, description="Folder of the search page")

    @property
    def turns(self) -> int:
        """Rankings by vectors at a time in one process, so that all processes together have one for each core.

        More would only pass the interpreter's lock around. Their work is bounded; what may have to score every match waits for
        no turn and takes none. The briefest have one turn more, among themselves (`pages.py`).
        """
        return max(cores() // self.workers, 1)

    def cursor_secret(self) -> bytes:
        """Key of cursor signatures: the setting, or a random one kept in `{home}`; replicas need the setting."""
        if self.cursor_key:
            return self.cursor_key.get_secret_value().encode()
        return kept_secret(self.lake.home / CURSOR_KEY_FILE)
