"""A partner that judges its limits by what arrives: ``python -m judge.counting_partner --limits '[{...}]'``.

It takes any visit; ``judge.visit_partner --limits`` keeps them too. A call arrives after a random way of up to
``--jitter-seconds``, is counted exactly
(``judge.allowances``), and is answered 429 when one limit does not allow it. The bearer token names the organization.
``--says``: ``fields`` (RateLimit fields with every answer, and Retry-After), ``retry_after``, or ``nothing``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from judge.allowances import Allowance, Allowed, allowance, allowed_of
from judge.wire import Handler, Message, Reply, serve, serve_connection

SAYS = ("fields", "retry_after", "nothing")


@dataclass(frozen=True)
class Arrival:
    """One call: when it was counted, whose it was, and whether it was allowed."""

    at: float
    organization: str
    allowed: bool
    in_flight: int


class CountingPartner:
    """Stands before ``work`` and keeps every arrival; ``GET /judge/arrivals`` lists them."""

    def __init__(
        self, limits: list[Allowed], work: Handler, *, says: str = "retry_after", jitter_seconds: float = 0.0, seed: int
    ) -> None:
        self._limits = limits
        self._work = work
        self._says = says
        self._jitter_seconds = jitter_seconds
        self._random = random.Random(seed)
        self._states: dict[tuple[int, str], Allowance] = {}
        self._running = 0
        self.arrivals: list[Arrival] = []

    async def handle(self, request: Message) -> Reply:
        if request.path == "/judge/arrivals":
            return Reply(body=[[one.at, one.organization, one.allowed, one.in_flight] for one in self.arrivals])
        if request.path.startswith("/judge/"):
            return await self._work(request)
        await asyncio.sleep(self._random.uniform(0, self._jitter_seconds))
        at = time.time()
        organization = request.headers.get("authorization", "").removeprefix("Bearer ")
        binding = list(self._binding(request, organization))
        wait_seconds = max((state.wait_seconds(at) for _, state in binding), default=0.0)
        self.arrivals.append(Arrival(at, organization, wait_seconds == 0.0, self._running))
        if wait_seconds:
            return Reply(429, {"error": "rate_limited"}, self._refusal(wait_seconds) | self._fields(binding, at))
        for _, state in binding:
            state.count(at)
        fields = self._fields(binding, at)
        self._running += 1
        reply = await self._work(request)
        self._running -= 1
        for _, state in binding:
            state.ended()
        return replace(reply, headers=fields)

    def _binding(self, request: Message, organization: str) -> Iterator[tuple[Allowed, Allowance]]:
        endpoint = f"{request.method} {request.path.rpartition('/')[0]}/{{key}}"
        owners = {"vendor": "", "organization": organization, "endpoint": endpoint}
        if request.body:
            owners["office"] = f"{organization}/{request.json.get('office')}"
        for number, limit in enumerate(self._limits):
            if limit.scope in owners and limit.endpoint in {None, endpoint}:
                state = self._states.setdefault((number, owners[limit.scope]), allowance(limit))
                yield limit, state

    def _refusal(self, wait_seconds: float) -> dict[str, str]:
        return {} if self._says == "nothing" else {"Retry-After": str(max(1, math.ceil(wait_seconds)))}

    def _fields(self, binding: list[tuple[Allowed, Allowance]], at: float) -> dict[str, str]:
        """RateLimit fields of draft-ietf-httpapi-ratelimit-headers-11, one quota for each limit."""
        if self._says != "fields":
            return {}
        named = [(f'"{limit.scope}-{limit.counts}"', limit, state) for limit, state in binding]
        policies = [f"{name};q={limit.requests};w={math.ceil(limit.per_seconds)}" for name, limit, _ in named]
        quotas = [
            f"{name};r={max(0, state.left(at))};t={math.ceil(state.wait_seconds(at) or limit.per_seconds)}"
            for name, limit, state in named
        ]
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(quotas)}


def any_visit(work_seconds: float, *, seed: int) -> Handler:
    """Takes whatever comes, after a while."""
    chance = random.Random(seed)

    async def work(request: Message) -> Reply:
        await asyncio.sleep(chance.uniform(0.5, 1.5) * work_seconds)
        return Reply(200, {"ref": request.path.rpartition("/")[2]})

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limits", required=True, help="a JSON list of judge.allowances.Allowed")
    parser.add_argument("--says", choices=SAYS, default="retry_after")
    parser.add_argument("--jitter-seconds", type=float, default=0.05)
    parser.add_argument("--work-seconds", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    partner = CountingPartner(
        [allowed_of(document) for document in json.loads(chosen.limits)],
        any_visit(chosen.work_seconds, seed=chosen.seed),
        says=chosen.says,
        jitter_seconds=chosen.jitter_seconds,
        seed=chosen.seed,
    )
    asyncio.run(serve(lambda reader, writer: serve_connection(reader, writer, partner.handle)))


if __name__ == "__main__":
    main()
