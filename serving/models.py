"""Requests and answers of the API as strict models. Shapes only: no snapshot, no SQL, no arithmetic.

`docs/api.md` describes the same for people. Names of filters come from `product.md` section 2; what a filter means in SQL
is in `filters.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    model_validator,
)

from lakehouse.contracts.taxonomy import RISK_LEVELS

MAX_LIMIT = 100
DEFAULT_LIMIT = 10
MAX_SEEDS = 10
MAX_QUERY_CHARS = 1_000
MAX_HANDLES = 10_000
MAX_CODES = 300
"""More than all countries of the world."""
MAX_ENTRIES = 100
MAX_ENTRY_CHARS = 200
MAX_DAYS = 36_500
MAX_WEIGHT = 10.0
MAX_CURSOR_CHARS = 512

T = TypeVar("T")


class Strict(BaseModel):
    """No conversion between types, no unknown key."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def _whole(value: object) -> object:
    """JSON writes 1e6 as a float; a whole one is a count."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _fraction(value: float) -> float:
    if value > 1:
        raise ValueError(f"rates are fractions from 0 to 1, so 2 % is 0.02; got {value:g}")
    return value


def read_time(text: str) -> datetime:
    """ISO text as a time in UTC; without an offset it is UTC.

    Raises:
        ValueError: it is no time, or in UTC before the year 1 or after 9999.
    """
    try:
        parsed = datetime.fromisoformat(text)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("a time is ISO 8601 text such as 2026-03-01 or 2026-03-01T12:00:00Z") from error


def _time(value: object) -> object:
    return read_time(value) if isinstance(value, str) else value


def _as_list(key: str) -> BeforeValidator:
    """A bare text or list stands for `{key: [...]}`."""

    def wrap(value: object) -> object:
        if isinstance(value, str):
            return {key: [value]}
        return {key: value} if isinstance(value, list) else value

    return BeforeValidator(wrap)


def without_nulls(value: Any) -> Any:
    """A key with null means the default, as one that was left out."""
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value


def _one_as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


Count = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=2**62)]
Fraction = Annotated[float, Field(ge=0), AfterValidator(_fraction)]
Number = Annotated[float, Field(ge=0)]
Growth = Annotated[float, Field(ge=-1)]
Days = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=MAX_DAYS)]
Time = Annotated[AwareDatetime, BeforeValidator(_time)]
Code = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]
Codes = Annotated[tuple[Code, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)]
SomeCodes = Annotated[Codes, BeforeValidator(_one_as_list), Field(min_length=1, max_length=MAX_CODES)]
Entry = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ENTRY_CHARS)]
Entries = Annotated[
    tuple[Entry, ...],
    BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v),
    BeforeValidator(_one_as_list),
    Field(max_length=MAX_ENTRIES),
]
Handles = Annotated[
    tuple[Entry, ...],
    BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v),
    Field(max_length=MAX_HANDLES),
]
OutTime = Annotated[datetime, PlainSerializer(_iso, return_type=str)]


class Range(Strict, Generic[T]):
    """Inclusive bounds, both optional."""

    min: T | None = None
    max: T | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:  # type: ignore[operator]
            raise ValueError("min is above max")
        return self


class CountRange(Range[Count]):
    """Bounds of a count."""


class FractionRange(Range[Fraction]):
    """Bounds of a rate, 0-1."""


class GrowthRange(Range[Growth]):
    """Bounds of a growth, -1 and up."""


class NumberRange(Range[Number]):
    """Bounds of a number, 0 and up."""


class TimeRange(Range[Time]):
    """Bounds of a time, UTC when no offset is given."""


class Platforms(Strict):
    """A profile on any of them, or on all."""

    any: SomeCodes | None = None
    all: SomeCodes | None = None


class NicheFilter(Strict):
    """Codes or groups; `min_score` applies to `include`, or to the best niche when there is none."""

    include: SomeCodes | None = None
    exclude: Codes = ()
    min_score: Fraction | None = None


class Location(Strict):
    """Where a profile is."""

    country: SomeCodes


class TextFilter(Strict):
    """Words that must or must not occur."""

    include: Entries = ()
    exclude: Entries = ()
    fields: SomeCodes | None = None
    match: Literal["words", "phrase", "prefix"] = "words"


RiskLevel = Literal["none", "low", "medium", "high", "floor"]


class RiskFilter(Strict):
    """Categories that must not occur, and the highest level that may."""

    exclude: Codes = ()
    max_level: RiskLevel | None = None
    categories: SomeCodes | None = None


class Filters(BaseModel):
    """All filters, joined by AND. Further keys are columns of a foreign snapshot or an error (`filters.py`)."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", allow_inf_nan=False)

    platforms: Annotated[Platforms, _as_list("any")] | None = None
    followers: CountRange | None = None
    following: CountRange | None = None
    content_count: CountRange | None = None
    er_followers: FractionRange | None = None
    er_views: FractionRange | None = None
    growth_90d: GrowthRange | None = None
    last_post_at: TimeRange | None = None
    active_within_days: Days | None = None
    max_age_days: Days | None = None
    location: Annotated[Location, _as_list("country")] | None = None
    language: SomeCodes | None = None
    account_type: SomeCodes | None = None
    verified: bool | None = None
    is_private: bool | Literal["any"] | None = None
    followers_total: CountRange | None = None
    posts_per_week: NumberRange | None = None
    niche: Annotated[NicheFilter, _as_list("include")] | None = None
    risk: RiskFilter | None = None
    quality_min: Fraction | None = None
    anomaly_max: Fraction | None = None
    identity_confidence_min: Fraction | None = None
    linked_platforms: SomeCodes | None = None
    has_contact: bool | None = None
    exclude_handles: Handles = ()
    text: Annotated[TextFilter, _as_list("include")] | None = None
    include_unknown: bool = False

    @model_validator(mode="before")
    @classmethod
    def _nulls_are_absent(cls, value: Any) -> Any:
        return without_nulls(value)


COMPONENTS = ("similarity", "lexical", "niche", "engagement", "size", "quality", "recency")
"""What a score is made of, in the order in which contributions are listed before they are sorted."""

Weight = Annotated[float, Field(ge=0, le=MAX_WEIGHT)]


class Weights(Strict):
    """Weight of each component. Defaults let meaning and names decide and the rest break near-ties."""

    similarity: Weight = 0.50
    lexical: Weight = 0.25
    niche: Weight = 0.10
    engagement: Weight = 0.05
    size: Weight = 0.04
    quality: Weight = 0.04
    recency: Weight = 0.02

    def of(self, component: str) -> float:
        """Weight of one component."""
        return float(getattr(self, component))


SORTS: dict[str, str] = {
    "followers": "followers_max_count",
    "followers_total": "followers_total_count",
    "er_followers": "er_followers_ratio",
    "er_views": "er_views_ratio",
    "growth_90d": "growth_90d_ratio",
    "quality": "quality_score",
    "anomaly": "anomaly_score",
    "posts_per_week": "posts_per_week",
    "last_post_at": "last_post_at",
    "platforms_count": "platforms_count",
    "name": "display_name",
}
"""Sort names and the columns behind them."""

RELEVANCE = "relevance"


class Sort(Strict):
    """Order of the hits; `by` is `relevance`, a name of `SORTS`, or a column of a foreign snapshot."""

    by: Code = RELEVANCE
    order: Literal["asc", "desc"] = "desc"


class SearchRequest(Strict):
    """Body of `POST /v1/search`."""

    query: Annotated[str, StringConstraints(max_length=MAX_QUERY_CHARS)] | None = None
    similar_to: Annotated[Codes, BeforeValidator(_one_as_list), Field(max_length=MAX_SEEDS)] = ()
    dissimilar_to: Annotated[Codes, BeforeValidator(_one_as_list), Field(max_length=MAX_SEEDS)] = ()
    domain: Code | None = None
    filters: Filters = Filters()
    weights: Weights = Weights()
    sort: Annotated[Sort, BeforeValidator(lambda v: {"by": v} if isinstance(v, str) else v)] = Sort()
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Field(max_length=MAX_CURSOR_CHARS)] | None = None
    explain: bool = False
    dry_run: bool = False

    @model_validator(mode="before")
    @classmethod
    def _nulls_are_absent(cls, value: Any) -> Any:
        return without_nulls(value)

    @property
    def text(self) -> str:
        """The query without outer white space; empty when there is none."""
        return " ".join((self.query or "").split())


class Answer(BaseModel):
    """Base of everything that is sent."""

    model_config = ConfigDict(frozen=True)


class Contribution(Answer):
    """One part of a score: weight x value = contribution, rounded so that the parts add up."""

    name: str
    weight: float
    value: float
    contribution: float
    text: str


class Label(Answer):
    """A code with its score and name."""

    code: str
    label: str
    score: float


class RiskHit(Answer):
    """A risk tag."""

    code: str
    label: str
    level: str | None
    score: float | None


class ProfileAnswer(Answer):
    """One profile of a creator; everything unknown is null."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    platform: str | None = None
    platform_account_id: str | None = None
    handle: str | None = None
    display_name: str | None = None
    profile_url: str | None = None
    bio: str | None = None
    followers_count: int | None = None
    following_count: int | None = None
    content_count: int | None = None
    er_followers_ratio: float | None = None
    er_views_ratio: float | None = None
    avg_views_count: float | None = None
    avg_likes_count: float | None = None
    avg_comments_count: float | None = None
    is_verified: bool | None = None
    is_private: bool | None = None
    account_type_code: str | None = None
    country_code: str | None = None
    language_code: str | None = None
    quality_score: float | None = None
    anomaly_score: float | None = None
    growth_90d_ratio: float | None = None
    last_post_at: OutTime | None = None
    observed_at: OutTime | None = None
    identity_confidence_score: float | None = None


class CreatorFields(Answer):
    """What is known about a creator, on a card and on its page."""

    creator_id: str
    display_name: str | None = None
    bio: str | None = None
    platforms: list[str] = Field(default_factory=list)
    profiles: list[ProfileAnswer] = Field(default_factory=list)
    niche_code: str | None = None
    niche_label: str | None = None
    niche_score: float | None = None
    niches: list[Label] = Field(default_factory=list)
    risks: list[RiskHit] = Field(default_factory=list)
    followers_total_count: int | None = None
    followers_max_count: int | None = None
    tier: str | None = None
    er_followers_ratio: float | None = None
    er_views_ratio: float | None = None
    growth_90d_ratio: float | None = None
    posts_per_week: float | None = None
    last_post_at: OutTime | None = None
    quality_score: float | None = None
    anomaly_score: float | None = None
    country_codes: list[str] = Field(default_factory=list)
    language_codes: list[str] = Field(default_factory=list)
    category_labels: list[str] = Field(default_factory=list)
    is_verified: bool | None = None
    has_email: bool | None = None
    identity_confidence_score: float | None = None
    as_of: OutTime | None = None
    columns: dict[str, Any] | None = Field(default=None, description="columns of a foreign snapshot")


class SeedSimilarity(Answer):
    """Cosine between a hit and one seed."""

    creator_id: str
    similarity: float


class Hit(CreatorFields):
    """One search result."""

    score: float
    contributions: list[Contribution]
    reasons: list[str]
    seed_similarities: list[SeedSimilarity] = Field(default_factory=list)
    broader: bool = False


class FacetCount(Answer):
    """Creators of the filtered set that carry a code."""

    code: str
    label: str
    count: int


class PlanAnswer(Answer):
    """How the answer was found."""

    name: str
    matches: int
    rows: int
    candidates: int
    stop: str
    ms: float


class SearchResponse(Answer):
    """Answer of `POST /v1/search`."""

    index_version: str
    as_of: str
    total: int
    total_is_exact: bool
    hits: list[Hit]
    next_cursor: str | None
    facets: dict[str, list[FacetCount]]
    weights: Weights
    sort: Sort
    plan: PlanAnswer
    explain: dict[str, Any] | None = None


class CreatorAnswer(CreatorFields):
    """Answer of the creator routes; side tables are as the export made them."""

    requested_id: str
    is_alias: bool
    index_version: str
    aliases: list[str] = Field(default_factory=list)
    score_reasons: list[dict[str, Any]] = Field(default_factory=list)
    accounts: list[dict[str, Any]] = Field(default_factory=list)
    history: list[dict[str, Any]] = Field(default_factory=list)
    posts: list[dict[str, Any]] = Field(default_factory=list)


class AccountNode(Answer):
    """An account, and whose it is."""

    platform: str
    platform_account_id: str
    handle: str | None = None
    display_name: str | None = None
    profile_url: str | None = None
    creator_id: str
    confidence_score: float | None = None
    first_seen_at: OutTime | None = None
    observed_at: OutTime | None = None


class EvidenceEnd(Answer):
    """One end of an edge; `has_profile` says whether its creator can be asked for in this snapshot."""

    platform: str
    platform_account_id: str
    handle: str | None = None
    creator_id: str
    has_profile: bool = True
    observed_at: OutTime | None = None


class EvidencePlace(Answer):
    """What one account showed, in which field, under which link, and when that was seen."""

    value: str | None = None
    field: str | None = None
    url: str | None = None
    first_seen_at: OutTime | None = None
    seen_at: OutTime | None = None


class EvidenceReason(Answer):
    """One signal: base-2 log-odds, in words, and what both sides showed."""

    signal: str
    words: str
    log_odds: float
    left: EvidencePlace | None = None
    right: EvidencePlace | None = None


class EvidenceJudgement(Answer):
    """What people decided."""

    number: int
    kind: str
    at: OutTime | None = None


class EvidenceEdge(Answer):
    """Two accounts that were compared, whose reasons add up to `log_odds`, or that people judged unscored (null)."""

    left: EvidenceEnd
    right: EvidenceEnd
    is_joining: bool
    why: str
    log_odds: float | None
    probability: float | None
    reasons: list[EvidenceReason] = []
    judgements: list[EvidenceJudgement] = []
    model_version: str | None = None


class EvidenceAnswer(Answer):
    """Answer of `GET /v1/creators/{creator_id}/evidence`."""

    creator_id: str
    requested_id: str
    is_alias: bool
    index_version: str
    is_available: bool = Field(description="false where the snapshot was made without evidence")
    merge_log_odds: float | None = None
    accounts: list[AccountNode] = []
    edges: list[EvidenceEdge] = []
    near_misses: list[EvidenceEdge] = []


class PairAnswer(Answer):
    """Answer of `GET /v1/evidence`."""

    index_version: str
    is_available: bool = Field(description="false where the snapshot was made without evidence")
    are_one: bool
    why: str
    merge_log_odds: float | None = None
    left: AccountNode
    right: AccountNode
    scored: EvidenceEdge | None = None
    path: list[EvidenceEdge] = []
    judgements: list[EvidenceJudgement] = []


def levels_above(level: RiskLevel) -> list[str]:
    """Risk levels that exceed `level`; `none` allows no level at all."""
    rising = ("none", *RISK_LEVELS)
    return list(rising[rising.index(level) + 1 :])
