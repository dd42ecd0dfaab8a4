"""All accounts of a world, to be looked up by id and by handle, and their state at any time: the hidden truth.

Columns stay columns; a `Profile` is made when an account is first asked for and kept for a while. A state is a pure
function of world, life, account and time.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.simulate.accounts import Accounts, chunk_accounts
from lakehouse.simulate.columns import words
from lakehouse.simulate.contacts import GAP
from lakehouse.simulate.draws import Draws, Floats, Ids, Ints
from lakehouse.simulate.handles import find_taken, id_chunks
from lakehouse.simulate.metrics import Metrics
from lakehouse.simulate.platforms.followers import FollowerCurve
from lakehouse.simulate.platforms.handles import Handles, handles_of
from lakehouse.simulate.platforms.life import DAY_SECONDS, Life, fates_of, origin_of, posting_keys
from lakehouse.simulate.posts import CADENCE_DAYS, CADENCE_SPREAD, DORMANT_RATIO
from lakehouse.simulate.profiles import FIRST_OPENED, LAST_OPENED, profile_columns
from lakehouse.simulate.texts import bios
from lakehouse.simulate.vocabulary import NICHE_LABELS
from lakehouse.simulate.world import World

KEPT_PROFILES = 12_000
"""Profiles kept for each platform: 3 kB each with their rendered parts; making one again takes 70 microseconds."""
BIO_COPY = 1 << 41
"""Added to an account's id for the bio that it writes later; far above all ids in use."""
GOLDEN, WORD = 0x9E3779B97F4A7C15, (1 << 64) - 1
"""SplitMix64's step, and its width, on Python's integers."""
LATEST_SHARE = 0.8
"""How far into its interval a later post may slip."""
COLUMNS = (
    "platform_account_id", "handle", "display_name", "bio", "website", "categories", "country", "language", "account_type",
    "links",
)  # fmt: skip
"""Texts that a profile takes from the snapshot's columns; nobody's id is hidden from the platform itself."""
PERSONAL, CREATOR = "personal", "creator"


class Status(StrEnum):
    """What became of an account."""

    ACTIVE = "active"
    PRIVATE = "private"
    SUSPENDED = "suspended"
    DELETED = "deleted"


@dataclass(slots=True)
class Profile:
    """What stays so about an account, and when it changes (Unix seconds). `rendered` holds JSON of its parts."""

    row: int
    account: int
    platform_id: str
    handle: str
    later_handle: str
    display_name: str
    bio: str
    website: str | None
    links: tuple[str, ...]
    category: str | None
    niche: int
    country: str | None
    language: str | None
    account_type: str
    is_verified: bool
    is_private: bool
    is_hidden: bool
    is_age_gated: bool
    has_consent: bool
    created_at: int
    following: int
    content: int
    views: int
    likes: int
    views_a_day: int
    likes_a_day: int
    first_post_at: float
    cadence: float
    post_key: int
    bio_at: float
    renamed_at: float
    deleted_at: float
    suspended_at: float
    restored_at: float
    private_at: float
    hidden_at: float
    typed_at: float
    revoked_at: float
    later_bio: str | None = None
    rendered: dict[Any, str] = field(default_factory=dict)

    def later_posts(self, seconds: float) -> int:
        """Posts published since the newest snapshot."""
        passed = seconds - self.first_post_at
        if passed < 0:
            return 0
        whole = int(passed // self.cadence)
        return whole + (1 if self.post_at(whole) <= seconds else 0)

    def post_at(self, number: int) -> int:
        """When the post of that number since the newest snapshot is published, Unix seconds."""
        slip = LATEST_SHARE * self.fraction(number)
        return int(self.first_post_at + self.cadence * (number + slip))

    def fraction(self, number: int) -> float:
        """A number in [0, 1) that is the account's own for that post."""
        mixed = (self.post_key + (number + 1) * GOLDEN) & WORD
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & WORD
        return float((mixed ^ (mixed >> 31)) >> 11) * 2.0**-53


class State(NamedTuple):
    """An account at a time. `version` changes when a text does, so that rendered parts can be kept."""

    profile: Profile
    version: int
    handle: str
    bio: str
    status: Status
    is_hidden: bool
    account_type: str
    followers: int
    posts_count: int
    views: int
    likes: int

    @property
    def platform_id(self) -> str:
        """The platform's id of the account."""
        return self.profile.platform_id

    @property
    def is_gone(self) -> bool:
        """Deleted or suspended: no platform shows it."""
        return self.status in {Status.DELETED, Status.SUSPENDED}

    def as_dict(self) -> dict[str, Any]:
        """The truth as JSON values."""
        profile = self.profile
        return {
            "platform_account_id": profile.platform_id, "handle": self.handle, "display_name": profile.display_name,
            "bio": self.bio, "website": profile.website, "links": list(profile.links), "country": profile.country,
            "language": profile.language, "account_type": self.account_type, "status": self.status.value,
            "is_verified": profile.is_verified, "is_hidden": self.is_hidden, "is_age_gated": profile.is_age_gated,
            "followers": self.followers, "following": profile.following, "posts_count": self.posts_count,
            "views": self.views, "likes": self.likes,
        }  # fmt: skip


class Book:
    """The accounts of one platform."""

    def __init__(self, world: World, life: Life, chunks: list[Accounts], platform: int) -> None:
        """Index the accounts of one platform, which come in chunks."""
        self.world, self.platform, self.name = world, platform, PLATFORMS[platform]
        self.chunks = chunks
        self._starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])
        self.ids: Ids = np.concatenate([chunk.ids for chunk in chunks])
        self._columns = _columns(world, chunks)
        self._metrics = _metrics(chunks)
        self.fates = fates_of(world, life, self.ids, platform, self._metrics.followers)
        self.curve = FollowerCurve(world, self.ids, self._metrics, self.fates)
        keys = pc.utf8_lower(self._columns["handle"]).to_pylist()
        self.handles: Handles = handles_of(keys, self.ids, self.fates, platform, life.retaken_days)
        self.platform_ids: list[str] = self._columns["platform_account_id"].to_pylist()
        self._rows = {text: row for row, text in enumerate(self.platform_ids)}
        self._profiles: OrderedDict[int, Profile] = OrderedDict()
        self._posting = _posting(world, self.ids, self._metrics.content)

    def __len__(self) -> int:
        """Number of accounts."""
        return len(self.ids)

    def row_of_id(self, platform_id: str) -> int | None:
        """The row of a platform's id."""
        return self._rows.get(platform_id)

    def row_of_handle(self, handle: str, seconds: float) -> int | None:
        """The row that has a handle at a time."""
        return self.handles.row(handle, seconds)

    def one(self, row: int) -> Accounts:
        """The account as a column of one."""
        chunk = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self.chunks[chunk].take(np.array([row - self._starts[chunk]]))

    def profile(self, row: int) -> Profile:
        """What stays so about an account."""
        found = self._profiles.get(row)
        if found is None:
            found = self._profiles[row] = self._made(row)
            if len(self._profiles) > KEPT_PROFILES:
                self._profiles.popitem(last=False)
        return found

    def state(self, row: int, seconds: float) -> State:
        """The account at a time (Unix seconds)."""
        profile = self.profile(row)
        is_rewritten, is_renamed = seconds >= profile.bio_at, seconds >= profile.renamed_at
        passed = max(int(seconds) - self._posting.origin, 0)
        is_personal = profile.account_type == PERSONAL
        flipped = CREATOR if is_personal else PERSONAL
        return State(
            profile=profile,
            version=is_rewritten + 2 * is_renamed,
            handle=profile.later_handle if is_renamed else profile.handle,
            bio=self._later_bio(profile) if is_rewritten else profile.bio,
            status=_status(profile, seconds),
            is_hidden=profile.is_hidden != (seconds >= profile.hidden_at),
            account_type=flipped if seconds >= profile.typed_at else profile.account_type,
            followers=self.curve.of(row, seconds),
            posts_count=profile.content + profile.later_posts(seconds),
            views=profile.views + profile.views_a_day * passed // DAY_SECONDS,
            likes=profile.likes + profile.likes_a_day * passed // DAY_SECONDS,
        )

    def _made(self, row: int) -> Profile:
        values = {name: self._columns[name][row].as_py() for name in COLUMNS}
        metrics, fates, posting = self._metrics, self.fates, self._posting
        chunk = int(np.searchsorted(self._starts, row, side="right")) - 1
        accounts, place = self.chunks[chunk], int(row - self._starts[chunk])
        traits, content = accounts.traits, int(metrics.content[row])
        cadence = float(posting.cadence[row])
        return Profile(
            row=row,
            account=int(self.ids[row]),
            platform_id=values["platform_account_id"],
            handle=values["handle"],
            later_handle=self.handles.later.get(row, values["handle"]),
            display_name=values["display_name"],
            bio=values["bio"] or "",
            website=values["website"],
            links=tuple((values["links"] or "").split(GAP)) if values["links"] else (),
            category=values["categories"],
            niche=int(accounts.owners.niche[place]),
            country=values["country"],
            language=values["language"],
            account_type=values["account_type"] or "",
            is_verified=bool(traits.is_verified[place]),
            is_private=bool(traits.is_private[place]),
            is_hidden=bool(traits.is_hidden[place]),
            is_age_gated=bool(fates.is_age_gated[row]),
            has_consent=bool(fates.has_consent[row]),
            created_at=int(posting.created_at[row]),
            following=int(metrics.following[row]),
            content=content,
            views=int(metrics.views[row]),
            likes=int(metrics.likes[row]),
            views_a_day=_a_day(int(metrics.views[row]), content, cadence),
            likes_a_day=_a_day(int(metrics.likes[row]), content, cadence),
            first_post_at=float(posting.first_at[row]),
            cadence=cadence,
            post_key=int(posting.keys[row]),
            bio_at=float(fates.bio_at[row]),
            renamed_at=self.handles.renamed_at.get(row, float("inf")),
            deleted_at=float(fates.deleted_at[row]),
            suspended_at=float(fates.suspended_at[row]),
            restored_at=float(fates.restored_at[row]),
            private_at=float(fates.private_at[row]),
            hidden_at=float(fates.hidden_at[row]),
            typed_at=float(fates.typed_at[row]) if values["account_type"] in {PERSONAL, CREATOR} else float("inf"),
            revoked_at=float(fates.revoked_at[row]),
        )

    def _later_bio(self, profile: Profile) -> str:
        """The bio that an account writes later; links and addresses of the first one go."""
        if profile.later_bio is None:
            one = self.one(profile.row)
            owners = one.owners
            profile.later_bio = bios(
                Draws(self.world.seed),
                one.ids + np.uint64(BIO_COPY),
                language=owners.language,
                niches=(owners.niche, owners.second_niche),
                country=owners.country,
                is_bland=one.traits.is_bland,
                extra=words([""]),
            )[0].as_py()
        return profile.later_bio


@dataclass(frozen=True, slots=True)
class _Posting:
    """When accounts post after the newest snapshot; arrays of equal length."""

    origin: int
    cadence: Floats
    first_at: Floats
    keys: Ints
    created_at: Ints


@dataclass(frozen=True, slots=True)
class Registry:
    """All accounts of a world."""

    world: World
    life: Life
    books: tuple[Book, ...]

    def book(self, platform: str) -> Book:
        """The accounts of a platform of `PLATFORMS`."""
        return self.books[PLATFORMS.index(platform)]

    def state(self, platform: str, platform_id: str, seconds: float) -> State | None:
        """The truth about an account at a time (Unix seconds); None where there is no such account."""
        book = self.book(platform)
        row = book.row_of_id(platform_id)
        return None if row is None else book.state(row, seconds)

    def states(self, platform: str, seconds: float) -> Iterator[State]:
        """The truth about all accounts of a platform."""
        book = self.book(platform)
        return (book.state(row, seconds) for row in range(len(book)))

    def __len__(self) -> int:
        """Number of accounts on all platforms."""
        return sum(map(len, self.books))


def registry_of(world: World, life: Life) -> Registry:
    """Generate a world into memory: about 1 kB an account."""
    taken = find_taken(world, world.creators_count)
    chunks = [chunk_accounts(world, ids, taken) for ids in id_chunks(0, world.creators_count, world.chunk_creators)]
    books = (Book(world, life, [chunk[place] for chunk in chunks], place) for place in range(len(PLATFORMS)))
    return Registry(world, life, tuple(books))


def niche_label(niche: int) -> str:
    """A niche as people call it."""
    return NICHE_LABELS[niche]


def _status(profile: Profile, seconds: float) -> Status:
    if seconds >= profile.deleted_at:
        return Status.DELETED
    if profile.suspended_at <= seconds < profile.restored_at:
        return Status.SUSPENDED
    is_private = profile.is_private != (seconds >= profile.private_at)
    return Status.PRIVATE if is_private else Status.ACTIVE


def _a_day(total: int, content: int, cadence: float) -> int:
    """Growth of a total of all posts over a day, at the account's own pace of posting."""
    return int(total / max(content, 1) * DAY_SECONDS / cadence)


def _columns(world: World, chunks: list[Accounts]) -> dict[str, pa.Array]:
    found: dict[str, list[pa.Array]] = {name: [] for name in COLUMNS}
    for chunk in chunks:
        columns = profile_columns(world, chunk, world.last_date) | {"platform_account_id": chunk.platform_ids}
        for name in COLUMNS:
            found[name].append(columns[name])
    return {name: pa.concat_arrays([part.cast(pa.string()) for part in parts]) for name, parts in found.items()}


def _metrics(chunks: list[Accounts]) -> Metrics:
    names = [column.name for column in dataclasses.fields(Metrics)]
    return Metrics(**{name: np.concatenate([getattr(chunk.metrics, name) for chunk in chunks]) for name in names})


def _posting(world: World, ids: Ids, content: Ints) -> _Posting:
    """The cadence of the world's own posts goes on; who stopped posting stays silent."""
    draws, origin = Draws(world.seed), origin_of(world)
    cadence = CADENCE_DAYS * DAY_SECONDS * np.exp(CADENCE_SPREAD * draws.normal("cadence", ids))
    is_silent = draws.is_hit("dormant", ids, DORMANT_RATIO) | (content == 0)
    first = origin + cadence * draws.uniform("life/first post", ids)
    return _Posting(
        origin=origin,
        cadence=np.where(is_silent, float("inf"), cadence),
        first_at=np.where(is_silent, float("inf"), first),
        keys=posting_keys(world, ids),
        created_at=FIRST_OPENED + draws.below("opened", ids, LAST_OPENED - FIRST_OPENED),
    )
