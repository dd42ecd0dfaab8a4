"""Evidence of any shape: reasons add up to the score, a way leads from one end to the other over what joins."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.contracts.evidence import WORDS
from serving.evidence import Told
from tests.serving_factories import evidence_row, judged, signal

MERGE = 2.5
ACCOUNTS = [("x", "a"), ("instagram", "b"), ("youtube", "c"), ("tiktok", "d"), ("x", "e")]
bits = st.integers(-640, 960).map(lambda steps: steps / 64)
signals = st.lists(st.tuples(st.sampled_from(sorted(WORDS)), bits), min_size=1, max_size=6)


@st.composite
def told(draw: st.DrawFn) -> Told:
    owners = {account: draw(st.sampled_from(["c_1", "c_2"])) for account in ACCOUNTS}
    rows, creators = {}, {}
    for left, right in combinations(ACCOUNTS, 2):
        if not draw(st.booleans()):
            continue
        one, other = owners[left], owners[right]
        reasons = [signal(*reason) for reason in draw(signals)] if draw(st.integers(0, 5)) else []
        decided = [judged(len(rows) + 1, "link")] if one == other and (not reasons or draw(st.booleans())) else []
        row = evidence_row(
            one, left, right, *reasons, other_creator_id=other if one != other else None, judgements=decided
        )
        ends = tuple((row[f"{side}_platform"], row[f"{side}_id"]) for side in ("left", "right"))
        if reasons or decided:
            rows[ends] = row
    for account, creator in owners.items():
        creators[account[0], "-".join(account)] = creator
    return Told(creators, rows)


@given(told())
def test_reasons_add_up_to_the_score(found: Told) -> None:
    for ends, row in found.rows.items():
        edge = found.edge(ends)
        assert sum(reason.log_odds for reason in edge.reasons) == (edge.log_odds or 0.0)
        is_one = found.creators[ends[0]] == found.creators[ends[1]]
        is_strong = row["log_odds"] is not None and row["log_odds"] >= MERGE
        assert edge.is_joining == (is_one and (is_strong or bool(row["judgements"])))


@given(told())
def test_a_way_leads_over_what_joins(found: Told) -> None:
    for left, right in combinations(sorted(found.creators), 2):
        path = found.explain(left, right).path
        if not path:
            continue
        at = left
        for link in path:
            assert at in (link.left, link.right)
            assert link.judgement or link.log_odds >= MERGE
            assert found.edge((link.left, link.right)).is_joining
            at = link.right if at == link.left else link.left
        assert at == right
        assert all({one.left, one.right} & {two.left, two.right} for one, two in pairwise(path))
