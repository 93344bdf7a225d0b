"""The front door: counts every call, knows the caller, keeps the limit, and lets the faults strike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sandbox.answers import Answer, RefusedError, header, json_answer
from sandbox.faults import Fault
from sandbox.idempotency import fingerprint
from sandbox.limits import Standing
from sandbox.received import Call
from sandbox.spoiling import spoil
from sandbox.world import World

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Front:
    """An ASGI application around the makers' routes; control calls and the life cycle pass untouched."""

    def __init__(self, inner: App, world: World) -> None:
        self._inner = inner
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/practice/"):
            await self._inner(scope, receive, send)
            return
        visit = _Exchange(self._inner, self._world, scope, await _body(receive))
        answer = await visit.answer()
        if answer is None:
            await _cut(scope, receive)
        elif visit.cuts_body:
            visit.call.status = answer.status
            await _send(answer, send, half=True)
            await _cut(scope, receive, flush=True)
        else:
            visit.call.status = answer.status
            await _send(answer, send)


class _Exchange:
    """One call on its way through."""

    def __init__(self, inner: App, world: World, scope: Scope, body: bytes) -> None:
        headers = dict(scope["headers"])
        self._inner = inner
        self._world = world
        self._scope = scope
        self._body = body
        self._idempotency_key = header(headers, "Idempotency-Key")
        self._organization = world.keys.owner(header(headers, "Authorization"))
        self.call: Call = world.received.arrived(
            scope["method"], scope["path"], self._organization, self._idempotency_key
        )
        self._fault: Fault | None = world.faults.take(scope["method"], scope["path"], self._organization)
        if self._fault is not None:
            self.call.fault = self._fault.kind

    @property
    def cuts_body(self) -> bool:
        return self._struck_by("cut_body")

    def _struck_by(self, *kinds: str) -> bool:
        return self._fault is not None and self._fault.kind in kinds

    async def answer(self) -> Answer | None:
        """The answer, or None when the connection is to be cut without one."""
        if self._struck_by("drop_before"):
            return None
        instead = self._instead()
        if instead is not None:
            return instead
        answer = await self._limited()
        if self._fault is not None:
            answer = await self._spoilt(answer, self._fault)
        return None if self._struck_by("drop_after") else answer

    def _instead(self) -> Answer | None:
        """What a fault answers in place of the work."""
        fault = self._fault
        if fault is None:
            return None
        retry_after = () if fault.retry_after_seconds is None else (("retry-after", str(fault.retry_after_seconds)),)
        if fault.kind == "status":
            return json_answer(fault.status, self._world.maker.error_body("system_error"), *retry_after)
        if fault.kind == "rate_storm":
            scope = {} if fault.scope is None else {"scope": fault.scope}
            return json_answer(429, self._world.maker.error_body("rate_limited", **scope), *retry_after)
        if fault.kind == "redirect":
            return json_answer(302, self._world.maker.error_body("moved"), ("location", fault.to))
        return None

    async def _limited(self) -> Answer:
        """Sign-in and limit, in the maker's order, then the work."""
        unauthorized = json_answer(401, self._world.maker.error_body("unauthorized"))
        if self._organization is None and self._world.limiter.scope == "organization":
            return unauthorized
        standing = self._world.limiter.take(self._organization)
        if not standing.granted:
            return self._with_fields(self._too_many(standing), standing)
        answer = unauthorized if self._organization is None else await self._idempotent(self._organization)
        return self._with_fields(answer, standing)

    def _too_many(self, standing: Standing) -> Answer:
        says = self._world.settings.say_scope
        # 'alternate': calls whose number is even hear no scope.
        unsaid = says == "never" or (says == "alternate" and self.call.number % 2 == 0)
        scope = {} if unsaid else {"scope": self._world.limiter.scope}
        body = self._world.maker.error_body("rate_limited", **scope)
        return json_answer(429, body, ("retry-after", str(standing.retry_after)))

    def _with_fields(self, answer: Answer, standing: Standing) -> Answer:
        """The header fields of draft-ietf-httpapi-ratelimit-headers-11, when they are switched on."""
        if not self._world.settings.rate_limit_fields:
            return answer
        scope, limit = self._world.limiter.scope, self._world.limiter.limit
        return answer.with_headers(
            ("ratelimit-policy", f'"{scope}";q={limit.requests};w={limit.per_seconds:g}'),
            ("ratelimit", f'"{scope}";r={standing.remaining};t={standing.retry_after}'),
        )

    async def _idempotent(self, organization: str) -> Answer:
        """The work, done once for each idempotency key where the maker has them."""
        key, method = self._idempotency_key, self._scope["method"]
        if not self._world.maker.idempotent or method not in {"PUT", "DELETE"} or (key is None and method == "DELETE"):
            return await self._work()
        if key is None:
            return json_answer(400, self._world.maker.error_body("idempotency_key_missing"))
        return await self._once(organization, key, fingerprint(method, self._scope["path"], self._body))

    async def _once(self, organization: str, key: str, request: str) -> Answer:
        keys = self._world.idempotency
        try:
            stored = keys.begin(organization, key, request)
        except RefusedError as refusal:
            return json_answer(refusal.status, self._world.maker.error_body(refusal.code))
        if stored is not None:
            return stored
        finished = False
        try:
            answer = await self._work()
            if answer.status < 500:
                self._world.keep_answer(organization, key, request, answer)
                finished = True
        finally:
            if not finished:
                keys.give_up(organization, key)
        return answer

    async def _work(self) -> Answer:
        """The maker's own work; a hang lies inside it, so that an idempotency key is seen running."""
        if self._fault is not None and self._fault.kind == "hang_before":
            await asyncio.sleep(self._fault.seconds)
        answer = await self._asked(self._scope["query_string"])
        if self._fault is not None and self._fault.kind == "hang_after":
            await asyncio.sleep(self._fault.seconds)
        return answer

    async def _spoilt(self, answer: Answer, fault: Fault) -> Answer:
        maker = self._world.maker
        if fault.kind not in {"repeated_page", "loop_page"} or answer.status != 200:
            return spoil(answer, fault, maker=maker, template=self.call.template)
        query = self._scope["query_string"].decode()
        first = await self._asked(maker.first_page_query(query).encode())
        if fault.kind == "loop_page":
            return maker.looped(first, url=f"{self._base_url()}{self._scope['path']}?{query}")
        return maker.repeated(first, answer)

    def _base_url(self) -> str:
        host = header(dict(self._scope["headers"]), "Host")
        return f"{self._scope['scheme']}://{host}"

    async def _asked(self, query: bytes) -> Answer:
        """What the routes answer to this call with a query string."""
        state = {**self._scope.get("state", {}), "organization": self._organization}
        scope = {**self._scope, "query_string": query, "state": state}
        return await _call(self._inner, scope, self._body)


async def _call(app: App, scope: Scope, body: bytes) -> Answer:
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    headers = [(name.decode(), value.decode()) for name, value in messages[0]["headers"]]
    kept = tuple((name, value) for name, value in headers if name not in {"content-length", "content-type"})
    content = b"".join(message.get("body", b"") for message in messages[1:])
    return Answer(messages[0]["status"], content, dict(headers).get("content-type", ""), kept)


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(answer: Answer, send: Send, *, half: bool = False) -> None:
    headers = [(name.encode(), value.encode()) for name, value in answer.headers]
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    if answer.content_type:
        headers.append((b"content-type", answer.content_type.encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = answer.body[: len(answer.body) // 2] if half else answer.body
    await send({"type": "http.response.body", "body": body, "more_body": half})


async def _cut(scope: Scope, receive: Receive, *, flush: bool = False) -> None:
    """End the connection, with what was written (flush) or at once; returns when it is gone."""
    transport = scope["practice.transport"]
    if flush:
        transport.close()
    else:
        transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
