"""Objects over a store that fails: every write is done once or not at all, and the caller is told which (F3, F4, F6)."""

from __future__ import annotations

import pytest

from lakehouse.errors import IntegrityError
from lakehouse.storage.objects import ObjectStore
from tests.faults.proxy import FaultProxy, Rule, proxied

pytestmark = [pytest.mark.integration, pytest.mark.s3]
MODES = ["503", "500", "409", "reset", "lost", "lost500"]


@pytest.fixture(scope="module")
def proxy(s3):
    with proxied(s3.port) as proxy:
        yield proxy


@pytest.fixture
def objects(s3, proxy: FaultProxy, tmp_path, request) -> ObjectStore:
    proxy.rules = []
    bucket = s3.make_bucket(f"faulty-{request.node.callspec.indices['mode']}-{request.node.originalname[5:9]}")
    return ObjectStore.open(s3.settings(tmp_path, f"{bucket}/lake", s3_endpoint=proxy.endpoint))


@pytest.mark.parametrize("mode", MODES)
def test_once_written_is_written_once_whatever_the_answer(objects, proxy, mode):
    proxy.rules = [rule := Rule(mode, "PUT", times=2)]
    digest = objects.put_once("a", b"content")
    assert rule.hits == 2
    assert objects.get_verified("a", digest) == b"content"
    with pytest.raises(IntegrityError, match="exists with other content"):
        objects.put_once("a", b"other")


@pytest.mark.parametrize("mode", MODES)
def test_pointer_moves_once_and_says_so(objects, proxy, mode):
    proxy.rules = [rule := Rule(mode, "PUT", times=2)]
    assert objects.swap("p", b"1", expected=None)
    proxy.rules.append(Rule(mode, "PUT", times=2))
    assert objects.swap("p", b"2", expected=b"1")
    assert rule.hits == 2
    assert objects.get("p") == b"2"
    assert not objects.swap("p", b"3", expected=b"1")


@pytest.mark.parametrize("mode", ["503", "reset", "lost"])
def test_reads_and_lists_are_tried_again(objects, proxy, mode):
    objects.put_once("a", b"content")
    proxy.rules = [rule := Rule(mode, "GET", times=3)]
    assert objects.get("a") == b"content"
    assert [info.key for info in objects.list("")] == ["a"]
    assert rule.hits == 3
