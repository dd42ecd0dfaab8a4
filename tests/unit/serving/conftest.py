"""Two worlds: a small one with known people (flat index), and an IVF one of random documents in two shards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serving_oracle as oracle
from serving_factories import (
    DIMENSIONS,
    ago,
    build,
    document,
    niches,
    profile,
    risk,
    serving_settings,
    word_encoder,
)

from serving.search import Searcher
from serving.snapshot import Snapshot

IVF_ROWS = 800
TOPICS = 12


def people() -> list[dict[str, Any]]:
    """Creators that tests know by name."""
    return [
        document(
            "c_messi",
            profile(
                "instagram",
                "leomessi",
                display_name="Leo Messi",
                followers_count=400_000_000,
                er_followers_ratio=0.02,
                country_code="AR",
                is_verified=True,
                last_post_at=ago(2),
            ),
            profile("tiktok", "leo.tok", display_name="Leo", followers_count=5_000),
            doc_text="leo messi football player",
            quality_score=0.8,
            anomaly_score=0.1,
            category_labels=["Sports with a ball"],
            **niches(("sports", 0.9)),
        ),
        document(
            "c_cr7",
            profile("instagram", "cristiano", display_name="Cristiano Ronaldo", followers_count=500_000_000),
            doc_text="cristiano ronaldo football player",
            **niches(("sports", 0.8), ("fashion", 0.3)),
        ),
        document(
            "c_vegan",
            profile(
                "youtube", "vegan_kitchen", display_name="Vegan Kitchen", followers_count=12_000, last_post_at=ago(60)
            ),
            doc_text="vegan cooking recipes",
            has_email=True,
            **niches(("vegan", 0.7), ("food_cooking", 0.6)),
            **risk("drugs_tobacco_alcohol", "low"),
        ),
        document("c_cafe", profile("x", "ines", display_name="Inés Café"), doc_text="coffee and cafés"),
        document("c_tokyo", profile("youtube", "tokyo", display_name="東京グルメ旅"), doc_text="tokyo food tour"),
        document(
            "c_private",
            profile("instagram", "hidden", display_name="Hidden One", is_private=True, followers_count=10),
            doc_text="football in private",
        ),
    ]


@pytest.fixture(scope="session")
def people_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    history = [
        {
            "creator_id": "c_messi",
            "platform": "instagram",
            "platform_account_id": "instagram-leomessi",
            "metric_date": ago(days).date(),
            "followers_count": 400_000_000 - days,
            "source_code": "test",
        }
        for days in (0, 30)
    ]
    return build(folder, people(), aliases={"c_old_messi": "c_messi"}, history=history)


@pytest.fixture(scope="session")
def searcher(people_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searcher]:
    home = tmp_path_factory.mktemp("home")
    found = Searcher(Snapshot.open(people_folder, serving_settings(home), encoder=word_encoder()))
    yield found
    found.close()


@pytest.fixture(scope="session")
def ivf_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ivf")
    rng, noise = random.Random(5), np.random.default_rng(5)
    topics = noise.standard_normal((TOPICS, DIMENSIONS))
    documents = [oracle.random_document(rng, number) for number in range(IVF_ROWS)]
    for doc in documents:
        vector = topics[rng.randrange(TOPICS)] + 0.7 * noise.standard_normal(DIMENSIONS)
        doc["vector"] = (vector / np.linalg.norm(vector)).astype(np.float32).tolist()
    return build(folder, documents, spec={"flat_max_rows": 100, "rows_per_list": 40, "shard_max_rows": 450})


@pytest.fixture(scope="session")
def ivf_searcher(ivf_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searcher]:
    home = tmp_path_factory.mktemp("ivf_home")
    found = Searcher(Snapshot.open(ivf_folder, serving_settings(home), encoder=word_encoder()))
    yield found
    found.close()
