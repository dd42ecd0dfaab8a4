"""The specification of a synthetic world: how large, how noisy, which days. Values only; nothing is generated here."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.errors import SettingsError

DEFAULT_CREATORS = 2_000
"""Gives about 5,400 accounts: enough for every filter to find something, small enough for a first run."""
DEFAULT_SEED = 7
SNAPSHOT_DATES = (dt.date(2026, 3, 2), dt.date(2026, 4, 1), dt.date(2026, 6, 30))
"""Three looks at every account, over 120 days: growth over 30 and 90 days exists. Fixed, so that bytes are."""
PLATFORM_RATIOS = (0.85, 0.68, 0.65, 0.52)
"""Share of creators with an account on each of `PLATFORMS`: 2.7 accounts a creator."""
MAX_POSTS = 16
"""Most posts per account: post keys keep four bits for the position."""
CHUNK_CREATORS = 16_384
"""Creators generated at a time: about 44,000 accounts and 40 MB of columns."""
FILE_CREATORS = 262_144
"""Creators per file part: about 450 MB of JSON lines a platform and day at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Junk:
    """Rates of planted damage, each a share of rows.

    Attributes:
        line_ratio: extra broken lines, for each kind of broken line.
        duplicate_ratio: rows that stand twice in their file.
        redelivered_ratio: rows of the newest snapshot that stand in a second file too.
        compact_ratio: follower counts written as `409.8K`.
        missing_ratio: follower counts written as `N/A`, `-`, `#VALOR!` or nothing.
        unparsable_ratio: follower counts that are no number; negative ones at half the rate.
        text_ratio: bios with NUL, a lone surrogate or direction marks.
        has_unknown_columns: some files have a column that no mapping names.
    """

    line_ratio: float = 0.0012
    duplicate_ratio: float = 0.004
    redelivered_ratio: float = 0.01
    compact_ratio: float = 0.05
    missing_ratio: float = 0.006
    unparsable_ratio: float = 0.002
    text_ratio: float = 0.012
    has_unknown_columns: bool = True

    @classmethod
    def none(cls) -> Junk:
        """No damage at all."""
        return cls(
            line_ratio=0, duplicate_ratio=0, redelivered_ratio=0, compact_ratio=0, missing_ratio=0, unparsable_ratio=0,
            text_ratio=0, has_unknown_columns=False,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A synthetic world. Equal specifications give equal bytes; ratios are shares of creators or accounts.

    Attributes:
        creators_count: people, brands, media and fan pages.
        seed: another seed, another world.
        snapshot_dates: days on which every account is observed, rising.
        posted_ratio: accounts with posts.
        posts_min: fewest posts of such an account.
        posts_max: most posts of such an account.
        handle_only_ratio: accounts of which no source knows the platform's id.
        listed_ratio: accounts with a known id that a handle-only ranking lists too.
        common_name_ratio: creators who share their name with others.
        twin_ratio: creators whose handle looks like that of somebody else.
        fan_ratio: pages about another creator, linking to that creator.
        wrong_link_ratio: accounts that declare an account which is not theirs.
        risky_ratio: creators with risky content.
        anomalous_ratio: accounts with bought engagement.
        bland_ratio: accounts whose text says nothing about a topic.
        junk: planted damage.
        chunk_creators: creators generated at a time; never changes a byte.
        file_creators: creators per file part.
    """

    creators_count: int = DEFAULT_CREATORS
    seed: int = DEFAULT_SEED
    snapshot_dates: tuple[dt.date, ...] = SNAPSHOT_DATES
    posted_ratio: float = 0.4
    posts_min: int = 5
    posts_max: int = 12
    handle_only_ratio: float = 0.12
    listed_ratio: float = 0.02
    common_name_ratio: float = 0.04
    twin_ratio: float = 0.02
    fan_ratio: float = 0.03
    wrong_link_ratio: float = 0.02
    risky_ratio: float = 0.06
    anomalous_ratio: float = 0.03
    bland_ratio: float = 0.05
    junk: Junk = field(default_factory=Junk)
    chunk_creators: int = CHUNK_CREATORS
    file_creators: int = FILE_CREATORS

    def __post_init__(self) -> None:
        """Refuse what cannot be generated.

        Raises:
            SettingsError: a size or a ratio is out of range.
        """
        if self.creators_count < 1 or self.chunk_creators < 1 or self.file_creators < 1:
            raise SettingsError("A world needs at least one creator, and chunks and files of at least one.")
        if not 1 <= self.posts_min <= self.posts_max <= MAX_POSTS:
            raise SettingsError(f"Posts per account lie between 1 and {MAX_POSTS}.")
        if not self.snapshot_dates or list(self.snapshot_dates) != sorted(set(self.snapshot_dates)):
            raise SettingsError("The snapshot dates must rise, and there must be one.")

    @property
    def last_date(self) -> dt.date:
        """Day of the newest snapshot."""
        return self.snapshot_dates[-1]


PLATFORMS_COUNT = len(PLATFORMS)
INSTAGRAM, TIKTOK, YOUTUBE, X = range(PLATFORMS_COUNT)
"""Positions of the platforms in `PLATFORMS`, which is also their order inside a creator."""
