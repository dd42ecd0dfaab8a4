"""Settings of the pipeline: frozen, typed, read from `CREATORLAKE_*` once. The only reader of the environment."""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableError

from lakehouse.errors import SettingsError

ENV_PREFIX = "CREATORLAKE_"
DEFAULT_HOME = ".creatorlake"
PEPPER_FILE = "email_pepper"
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux says how many microseconds of processor time a container has in how many."""
JARS_POINTER = "creatorlake-jars"
"""File in the virtual environment that names the jar folder; written by the set-up."""
PLAIN_PLACE = re.compile(r"[A-Za-z0-9._=/-]+")
"""Bucket and prefix that every engine here spells alike: others are encoded once by one and twice by another."""
AUTO_MODEL = "use-multilingual"


class Settings(BaseSettings):
    """Everything a run can be told. Each field is `CREATORLAKE_<NAME>` in the environment; an empty one is not set."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")

    home: Path = Field(Path(DEFAULT_HOME), description="Folder for the local lake, Dagster's files and caches")
    lake: str = Field("", description="Lake root: a folder or s3://bucket/prefix; empty means `{home}/lake`")
    input: Path | None = Field(None, description="Folder of raw files; empty means the synthetic world")
    mappings_dir: Path | None = Field(None, description="Folder with further file mappings")
    spark_master: str = Field(
        "local[2]", description="Spark master URL; `submitted` leaves Spark as spark-submit set it up"
    )
    spark_driver_memory: str = Field("3g", description="Driver heap; executors' too when embedded")
    spark_jars: Path | None = Field(None, description="Folder with the Delta and S3 jars; empty means the set-up's")
    spark_extra: dict[str, str] = Field(default_factory=dict, description="Further Spark settings, as JSON")
    shuffle_partitions: int = Field(2, ge=1, description="Shuffle partitions when embedded")
    emr_application: str = Field(
        "", description="EMR Serverless application that runs Spark's steps; empty means this process"
    )
    emr_role: str = Field("", description="ARN of the role of its jobs")
    emr_spark: str = Field("", description="Further spark-submit parameters of its jobs; secrets as EMR.secret@name")
    s3_endpoint: str = Field("", description="S3 endpoint of a non-AWS store, for example http://127.0.0.1:4566")
    s3_region: str = Field("us-east-1", description="S3 region")
    s3_access_key_id: SecretStr | None = Field(None, description="S3 key; empty means the default AWS chain")
    s3_secret_access_key: SecretStr | None = Field(None, description="S3 secret")
    encoder_model: str = Field(AUTO_MODEL, description="use-multilingual, minilm or a sentence-transformers folder")
    encoder_device: str = Field("auto", description="auto, cpu or cuda")
    email_pepper: SecretStr | None = Field(None, description="Secret for hashing e-mail addresses; empty means a file")
    snapshots_kept: int = Field(3, ge=2, description="Published snapshots to keep")
    index_full_days: float = Field(
        7,
        ge=0,
        description="Days after which a snapshot's index is built anew instead of renewed; 0 builds it every time",
    )
    index_shard_rows: int = Field(
        25_000_000,
        ge=1,
        description="Most rows of a shard of the index: fewer take less memory and disk to build, and each query longer",
    )
    index_apart: bool = Field(
        False,
        description="Whether a full build of an index of several shards is left to Dagster runs of its own, one a shard",
    )
    simulate_creators: int = Field(2000, ge=10, description="Creators of the synthetic world")
    simulate_platforms: bool = Field(
        True, description="Whether the synthetic world's platforms are asked too, by an emulator beside the run"
    )
    simulate_seed: int = Field(7, description="Seed of the synthetic world")
    vacuum_hours: int = Field(168, ge=0, description="Age in hours from which files that no version names are removed")
    small_table_mib: int = Field(
        4,
        ge=0,
        description="Tables up to this size (MiB) and 25,000 rows are derived whole each night, others by what changed",
    )
    metrics_days: int = Field(
        0, ge=0, description="Days of daily metrics to keep, back from the newest; 0 keeps all, growth needs 120"
    )
    alert_webhook: SecretStr | None = Field(
        None, description="Address that alerts are posted to as JSON, with a `text`"
    )
    dagster_postgres: SecretStr | None = Field(
        None, description="Address of a PostgreSQL database for Dagster's runs; empty means SQLite in the home"
    )
    fetch_credentials: dict[str, SecretStr] = Field(
        default_factory=dict,
        description='Credentials by source, as JSON: {"youtube_api": "..."}; a source with one is asked',
    )
    fetch_credentials_file: Path | None = Field(None, description="YAML or JSON file with further credentials")
    fetch_sources_dir: Path | None = Field(None, description="Folder with further declared sources")
    fetch_urls: dict[str, str] = Field(default_factory=dict, description="Other addresses of sources, as JSON")
    fetch_allowed: tuple[str, ...] = Field(
        (), description="Sources to ask though they ship disabled, as a JSON list; read their notes first"
    )
    fetch_list: Path | None = Field(
        None,
        description="CSV of accounts to ask for though nothing is known of them: platform, platform_account_id, handle",
    )
    fetch_minutes: float = Field(50, gt=0, description="Minutes that one run may spend on fetching")
    fetch_policy: Path | None = Field(None, description="Refresh policy to plan by; empty means the shipped one")
    fetch_ledger: SecretStr | None = Field(
        None,
        description="postgresql:// address of the quota ledger, for several machines; empty means SQLite in the home",
    )
    fetch_queue: SecretStr | None = Field(
        None,
        description="Queue of fetch tasks: a postgresql:// address or sqs://prefix; empty means SQLite in the home",
    )
    sqs_endpoint: str = Field("", description="SQS endpoint of a non-AWS service, for example http://127.0.0.1:4566")
    crash_at: str = Field("", description="For tests: kill the process at a crash point, `name:n`")

    @field_validator(
        "home", "input", "mappings_dir", "spark_jars", "fetch_credentials_file", "fetch_sources_dir", "fetch_policy"
    )
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().resolve() if value is not None else None

    @property
    def lake_root(self) -> str:
        """Absolute local path or `s3://bucket/prefix`, no trailing slash."""
        if self.lake.startswith(("s3://", "s3a://")):
            place = self.lake.split("://", 1)[1].rstrip("/")
            if not PLAIN_PLACE.fullmatch(place):
                raise SettingsError("Bucket and prefix of the lake may hold letters, digits and . _ - = / only.")
            return f"s3://{place}"
        if "://" in self.lake:
            raise SettingsError(f"The lake must be a folder or an s3:// URI, not {self.lake!r}.")
        return str(Path(self.lake).expanduser().resolve()) if self.lake else str(self.home / "lake")

    @property
    def dagster_home(self) -> Path:
        """Folder of Dagster's run storage."""
        return self.home / "dagster"

    @property
    def cache_dir(self) -> Path:
        """Folder for downloaded snapshots and other things that can be fetched again."""
        return self.home / "cache"

    def pepper(self) -> bytes:
        """Secret for e-mail hashes: the setting, or a random one kept in `{home}` with mode 0600."""
        if self.email_pepper is not None:
            return self.email_pepper.get_secret_value().encode()
        return kept_secret(self.home / PEPPER_FILE)

    def jars(self) -> list[Path]:
        """Jar files that Spark needs, sorted.

        Raises:
            SettingsError: the set-up has not put them there.
        """
        folder = self.spark_jars or _jars_folder()
        found = sorted(folder.glob("*.jar")) if folder else []
        if not found:
            raise SettingsError(
                "Spark's Delta and S3 jars are missing: run `make setup`, or set CREATORLAKE_SPARK_JARS."
            )
        return found


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment with `overrides` on top; None means "not given".

    Raises:
        SettingsError: a value is wrong; the sentence names the variable and never repeats the value.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        raise SettingsError("; ".join(_problem(entry["loc"], entry["msg"]) for entry in problems) + ".") from None
    except UnreadableError as error:
        named = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "")
        raise SettingsError(f"{_problem((named,), 'Input should be valid JSON')}.") from None


def _problem(place: tuple[int | str, ...], message: str) -> str:
    return f"{ENV_PREFIX}{str(place[0]).upper()} is wrong: {message.removeprefix('Value error, ')}"


def cores() -> int:
    """Cores that this process may use, of which a container's quota may leave fewer; where the system does not say, all of them."""
    all_of_them = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return all_of_them
    return all_of_them if quota == "max" else max(min(all_of_them, int(quota) // int(period)), 1)


def _jars_folder() -> Path | None:
    pointer = Path(sys.prefix) / JARS_POINTER
    return Path(pointer.read_text(encoding="utf-8").strip()) if pointer.is_file() else None


def kept_secret(path: Path) -> bytes:
    """Create once, exclusively, then read: two processes agree on one secret."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(32), encoding="ascii")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_bytes()
