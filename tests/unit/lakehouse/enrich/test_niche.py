"""Zero-shot niches: taxonomy facts, label support, abstention, and figures on real texts."""

from __future__ import annotations

import csv
from collections import defaultdict

import numpy as np
import pytest

from lakehouse.contracts.taxonomy import NICHES, RISKS
from lakehouse.encoder import Encoder
from lakehouse.enrich.docs import compose
from lakehouse.enrich.labels import content_type_of, label_meanings, niches_of
from lakehouse.enrich.niche import TOP_FLOOR, decide, is_readable, make_prototypes, tag_rows, text_scores

CODES = ("music", "sports", "beauty")
MIN_VIDEOS = 10
CATEGORY_NICHES = {
    "1": "movies_tv anime",
    "10": "music",
    "17": "sports fitness",
    "20": "gaming",
    "22": "lifestyle parenting dating wedding",
    "23": "comedy",
    "24": "pop_culture dance",
    "25": "politics",
    "26": "fashion beauty personal_care body_art food_cooking food_dining vegan interior diy_home gardening crafts",
    "27": "education books careers personal_finance business religion",
    "28": "technology consumer_electronics ai science",
}
"""YouTube category id -> our niches that it covers."""


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load("use-multilingual", device="cpu", threads=1)


def test_taxonomy_has_51_niches_and_unique_codes():
    codes = [niche.code for niche in NICHES]
    assert len(codes) == len(set(codes)) == 52
    assert len({niche.iab_id for niche in NICHES}) == 52
    assert len({risk.code for risk in RISKS}) == len(RISKS)


def test_iab_ids_exist(real_data):
    nodes = (real_data / "taxonomy/iab_3_1/Content_Taxonomy_3.1.tsv").read_text(encoding="utf-8").splitlines()
    known = {line.split("\t", 1)[0] for line in nodes}
    ids = [entry.iab_id for entry in (*NICHES, *RISKS) if not entry.iab_id.startswith("x-")]
    assert [iab_id for iab_id in ids if iab_id not in known] == []


def test_every_label_names_a_known_niche():
    codes = {niche.code for niche in NICHES}
    for label, meaning in label_meanings().items():
        assert meaning.niche in codes, label
        assert 0 < meaning.weight <= 1, label
        assert label == label.casefold()


def test_labels_support_their_niche_and_weak_ones_less():
    assert niches_of(["Sports with a ball", "Entertainment"]) == {"sports": 1.0, "pop_culture": 0.3}
    assert content_type_of(["Shows"]) == "media"
    assert content_type_of(["Shows", "Singer"]) is None


def test_labels_alone_decide_where_the_text_says_nothing():
    tag = decide(None, ["Music", "Dance"], CODES)
    assert [code for code, _ in tag.niches] == ["music", "dance"]


def test_abstains_without_evidence():
    flat = np.full(3, TOP_FLOOR - 0.01)
    assert decide(flat, [], CODES).is_abstained
    assert decide(None, [], CODES).columns() == {
        "niche_code": None,
        "niche_score": None,
        "niches": [],
        "is_abstained": True,
    }


def test_label_raises_a_score_and_never_lowers_it():
    scores = np.array([0.5, 0.3, 0.2])
    plain, helped = dict(decide(scores, [], CODES).niches), dict(decide(scores, ["Sports"], CODES).niches)
    assert helped["sports"] > plain["sports"]
    assert helped["music"] == plain["music"]


@pytest.mark.parametrize(
    ("text", "expected"), [("hello", True), ("привет", True), ("ሰላም", False), ("123 👑", False), ("", False)]
)
def test_scripts_outside_the_vocabulary_are_not_read(text, expected):
    assert is_readable(text) is expected


def test_clear_texts_in_many_languages(encoder):
    wanted = {
        "easy recipes and baking cakes": "food_cooking",
        "reseñas de maquillaje y cosmética": "beauty",
        "entraînement de musculation au gymnase": "fitness",
        "Reisen und Strände auf der ganzen Welt": "travel",
        "дрессировка собак и щенков": "pets",
    }
    prototypes = make_prototypes(encoder)
    scores = text_scores(encoder.encode(list(wanted)), prototypes)
    assert np.allclose(scores.sum(axis=1), 1)
    tags = tag_rows(encoder.encode(list(wanted)), [True] * len(wanted), [()] * len(wanted), prototypes)
    assert [tag.niches[0][0] for tag in tags] == list(wanted.values())


def test_accuracy_on_real_videos(encoder, real_data):
    """The figures in the module's docstring, with room for another encoder build."""
    videos = _videos(real_data / "creators/youtube_trending_2018")
    prototypes = make_prototypes(encoder)
    texts = [compose(name=v["channelTitle"], tags=_tags(v), titles=[v["title"]]) for v in videos]
    category_of = {niche: category for category, names in CATEGORY_NICHES.items() for niche in names.split()}
    scores = text_scores(encoder.encode(texts), prototypes)
    best, top = scores.argmax(axis=1), scores.max(axis=1)
    guess = np.array([category_of.get(prototypes.codes[i], "") for i in best])
    truth = np.array([video["categoryId"] for video in videos])
    assert _macro_f1(truth, guess) > 0.44
    sure = top >= TOP_FLOOR
    assert 0.6 < sure.mean() < 0.8
    assert (truth == guess)[sure].mean() > 0.5
    assert (truth == guess)[sure & (truth != "24")].mean() > 0.7


def _videos(folder):
    by_id = {}
    for path in sorted(folder.glob("*_videos.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                by_id.setdefault(row["video_id"], row)
    grouped = defaultdict(list)
    for row in by_id.values():
        grouped[row["categoryId"]].append(row)
    return [row for category in CATEGORY_NICHES for row in grouped[category] if len(grouped[category]) >= MIN_VIDEOS]


def _tags(video):
    return [] if video["tags"] == "[none]" else video["tags"].split("|")


def _macro_f1(truth, guess):
    scores = []
    for category in set(truth):
        hit = ((truth == category) & (guess == category)).sum()
        scores.append(2 * hit / ((truth == category).sum() + (guess == category).sum()))
    return np.mean(scores)
