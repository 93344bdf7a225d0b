"""The partners and the line that judge others do what they say."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from faults.verdict import never_sent, overtaken
from judge.running import asked, running

VISIT = {"external_id": "v1", "note": "r1"}


def call(address: str, method: str, path: str, *, body: object = None, **headers: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON of one call on a connection of its own."""
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=5)) as connection:
        connection.request(method, path, body=json.dumps(body) if body else None, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else {}


@pytest.fixture
def keyed() -> Iterator[str]:
    with running("visit_partner", style="keyed", work_seconds=0) as address:
        yield address


def test_the_same_key_makes_one_visit_and_another_key_makes_two(keyed: str) -> None:
    key = {"Idempotency-Key": "a"}
    assert call(keyed, "POST", "/visits", body=VISIT, **key) == call(keyed, "POST", "/visits", body=VISIT, **key)
    assert asked(keyed, "/judge/twice") == {}
    call(keyed, "POST", "/visits", body=VISIT, **{"Idempotency-Key": "b"})
    assert asked(keyed, "/judge/twice") == {"v1": 2}


def test_a_visit_that_is_taken_away_and_made_again_is_not_there_twice(keyed: str) -> None:
    _, made = call(keyed, "POST", "/visits", body=VISIT)
    assert call(keyed, "DELETE", f"/visits/{made['ref']}")[0] == 204
    call(keyed, "POST", "/visits", body=VISIT)
    assert asked(keyed, "/judge/twice") == {}
    assert len(asked(keyed, "/judge/held")) == 1


def test_a_lost_answer_is_lost_after_the_work_and_a_lost_call_before_it(keyed: str) -> None:
    for losses, held in (({"lost_answers": 0, "lost_calls": 1}, 0), ({"lost_answers": 1, "lost_calls": 0}, 1)):
        gone = pytest.raises((http.client.RemoteDisconnected, ConnectionError))
        with running("dropping_proxy", to=keyed, **losses) as line, gone:
            call(line, "POST", "/visits", body=VISIT)
        assert len(asked(keyed, "/judge/held")) == held


def test_a_counting_partner_refuses_what_is_over_and_says_when_to_come_back() -> None:
    limits = json.dumps([{"scope": "vendor", "requests": 1, "per_seconds": 30}])
    with running("counting_partner", limits=limits, says="fields", jitter_seconds=0, work_seconds=0) as address:
        assert call(address, "PUT", "/visits/v1", body=VISIT)[0] == 200
        assert call(address, "PUT", "/visits/v2", body=VISIT)[0] == 429
        assert [allowed for _, _, allowed, _ in asked(address, "/judge/arrivals")] == [True, False]


def entry(revision: str, *, done: int, did: str = "changed") -> dict[str, Any]:
    return {"visit": "v1", "revision": revision, "done": done, "did": did}


def test_a_put_that_is_done_after_a_newer_one_has_been_overtaken() -> None:
    assert overtaken([entry("r1", done=1), entry("r2", done=2), entry("r2", done=3)]) == 0
    assert overtaken([entry("r1", done=2), entry("r2", done=1)]) == 1


def test_a_result_without_a_call_behind_it_is_found() -> None:
    accepted = {"visit_id": "v1", "outcome": "accepted", "revision": 2}
    assert never_sent([accepted], [entry("r2", done=1)]) == 0
    assert never_sent([accepted], [entry("r1", done=1)]) == 1
    withdrawn = accepted | {"outcome": "withdrawn"}
    assert never_sent([withdrawn], [entry("r1", done=1)]) == 1
    assert never_sent([withdrawn], [entry("r1", done=1), entry("r1", done=2, did="removed")]) == 0
