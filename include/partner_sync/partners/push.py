"""The section ``push`` of a partner file: how a visit is sent, taken away and read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from partner_sync.partners.fields import VISIT_FIELDS
from partner_sync.partners.master import Paging
from partner_sync.partners.parts import (
    ByOwnName,
    Condition,
    Cron,
    Disagreement,
    DottedPath,
    HeaderName,
    OutField,
    Part,
    PathTemplate,
    Text,
    near,
    refuse,
)
from partner_sync.partners.visits_list import VisitsList

#: What may stand in a URL, which servers and proxies write into their logs: nothing about a person (design, rule 15).
_IN_URLS = ("visit_id", "organization", "week", "office_key", "start_at", "end_at", "status")
_TYPES_OF = {"text": "text", "integer": "text", "code_map": "text", "date": "date", "datetime": "datetime"}


class Call(Part):
    """One call that changes something. ``{key}`` is our visit id, ``{ref}`` the partner's own name for the visit.

    A success must have one of ``accepted_status`` (default: any 2xx) and a value at ``accepted_at``, when these are
    given: some partners answer 200 with an error in the body. A success that has not is an unknown outcome, and so is
    one that names another visit than ours at ``key_at``.
    """

    method: Literal["PUT", "POST", "PATCH", "DELETE"]
    path: PathTemplate
    idempotency_header: HeaderName | None = None
    send_body: bool | None = None
    accepted_status: Annotated[tuple[int, ...], Field(strict=False)] = ()
    accepted_at: DottedPath | None = None
    key_at: DottedPath | None = None

    @property
    def has_body(self) -> bool:
        return self.method != "DELETE" if self.send_body is None else self.send_body

    @property
    def endpoint(self) -> str:
        return f"{self.method} {self.path}"


class ReadBack(Part):
    """How a visit is read back: by its own path (``{key}``, ``{ref}``), or by a search that gives a list.

    ``parameters`` are the partner's parameter names with the visit's values they carry; a list means equal names.
    ``record_at`` is where one visit is in the answer; ``records_at`` makes the answer a list, in which our visit is the
    record whose value at ``key_at`` is our visit id. ``ref_at`` is where a record has the partner's own name;
    ``absent_when`` says which records count as taken away.
    """

    path: PathTemplate
    parameters: Annotated[Mapping[Text, Text], ByOwnName] = Field(default_factory=dict)
    record_at: DottedPath | None = None
    records_at: DottedPath | None = None
    key_at: DottedPath | None = None
    ref_at: DottedPath | None = None
    paging: Paging | None = None
    absent_when: Condition | None = None

    @model_validator(mode="after")
    def _one_shape(self) -> ReadBack:
        if self.records_at is not None and self.key_at is None:
            raise ValueError("a list (`records_at`) needs `key_at`, to find our visit in it")
        if self.records_at is None and (self.paging or self.key_at):
            raise ValueError("`paging` and `key_at` belong to a list (`records_at`)")
        for value in self.parameters.values():
            if value not in _IN_URLS:
                msg = f"`parameters` stand in the URL and may carry {', '.join(_IN_URLS)} only"
                raise ValueError(msg)
        return self

    @property
    def endpoint(self) -> str:
        return f"GET {self.path}"


class FieldErrors(Part):
    """Where a refusal lists its complaints: a list at ``at``, with the field's name and a code in each."""

    at: DottedPath
    field: DottedPath
    code: DottedPath | None = None


class ItemRefusal(Part):
    """Where one result of a batch says that its visit was refused: a code, and the field it is about."""

    code: DottedPath
    field: DottedPath | None = None


class BatchCall(Part):
    """One call for several visits of one action, at most ``size``.

    An item is the visit as ``map`` writes it, with our visit id at ``key_in`` and the partner's name for it at
    ``ref_in`` when given; to take visits away it is these alone. The list of items goes to ``items_at`` (by itself
    without one), that of results comes at ``results_at``; ours is the one result with our visit id at ``key_at``. It is
    a success when ``ok_when`` holds, a refusal when there is a code at ``error_at``, and else unknown. ``gone_when``:
    the partner no longer has the visit that it had named.
    """

    method: Literal["PUT", "POST", "PATCH", "DELETE"]
    path: PathTemplate
    size: Annotated[int, Field(ge=2, le=1000)]
    items_at: DottedPath | None = None
    key_in: DottedPath | None = None
    ref_in: DottedPath | None = None
    results_at: DottedPath | None = None
    key_at: DottedPath
    ref_at: DottedPath | None = None
    ok_when: Condition
    gone_when: Condition | None = None
    error_at: ItemRefusal | None = None
    idempotency_header: HeaderName | None = None

    @model_validator(mode="after")
    def _for_no_visit_alone(self) -> BatchCall:
        if "{" in self.path:
            raise ValueError("`path` of a batch cannot name one visit")
        return self

    @property
    def endpoint(self) -> str:
        return f"{self.method} {self.path}"


class Batch(Part):
    """The calls that take several visits; what is not given goes one by one."""

    put: BatchCall | None = None
    post: BatchCall | None = None
    withdraw: BatchCall | None = None

    @model_validator(mode="after")
    def _of_something(self) -> Batch:
        if not (self.put or self.post or self.withdraw):
            raise ValueError("needs `put`, `post` or `withdraw`")
        if self.withdraw and not (self.withdraw.key_in or self.withdraw.ref_in):
            raise ValueError("`withdraw` needs `key_in` or `ref_in`: an item has to name its visit")
        return self


def _disagreements(target: str, mapped: OutField) -> list[Disagreement]:
    if mapped.source is None:
        return []
    where = (target,)
    given = VISIT_FIELDS.get(mapped.source)
    if given is None:
        name = f"{mapped.source} is not a field of a visit"
        return [(where, f"{name}{near(mapped.source, VISIT_FIELDS)}; known are {', '.join(VISIT_FIELDS)}")]
    wanted = _TYPES_OF[mapped.convert]
    fits = given == wanted or (given == "datetime" and wanted == "date")
    return [] if fits else [(where, f"the converter {mapped.convert} does not take a {given}")]


def _of_visits(fields: Mapping[str, OutField]) -> Mapping[str, OutField]:
    refuse([found for target, mapped in fields.items() for found in _disagreements(target, mapped)])
    return fields


class Push(Part):
    """Schedules out. ``schedule`` is a cron text in Asia/Tokyo; ``live`` is the tick of each minute; with ``watch``
    a change, a finalized week or a release also starts it at once.

    Without ``post``, ``put`` creates and changes. With it, a visit that the partner has not named yet goes by
    ``post``, and ``partner_ref`` is where the answer names it. A push of more than ``approve_over_calls`` calls asks a
    person first.
    """

    schedule: Cron | None = None
    live: bool = True
    watch: bool = False
    put: Call
    post: Call | None = None
    withdraw: Call
    read_back: ReadBack | None = None
    visits_list: VisitsList | None = Field(default=None, alias="list")
    batch: Batch | None = None
    map: Annotated[Mapping[DottedPath, OutField], Field(min_length=1), AfterValidator(_of_visits)]
    partner_ref: DottedPath | None = None
    errors: FieldErrors | None = None
    max_attempts: PositiveInt = Field(default=8, le=50)
    approve_over_calls: PositiveInt = 5000

    @model_validator(mode="after")
    def _agrees(self) -> Push:
        checks = (_of_watch, _of_refs, _of_batches, _of_gone_visits)
        refuse([((), message) for check in checks for message in check(self)])
        return self

    def call_of(self, action: Literal["put", "withdraw"], *, named: bool, held: bool = False) -> Call:
        """The call for one such visit. What the partner is known to hold, ``named`` or not, is never created again."""
        if action == "withdraw":
            return self.withdraw
        return self.put if named or held or self.post is None else self.post

    def batch_of(self, action: Literal["put", "withdraw"], *, named: bool, held: bool = False) -> BatchCall | None:
        """The call that takes several such visits, if there is one. ``named``: the partner has named the visit;
        ``held``: it is known to hold it.
        """
        if self.batch is None:
            return None
        if held and not named and self.post is not None and action == "put":
            # Its name has to be found first, which is a matter of one visit.
            return None
        if action == "withdraw":
            # Without its name such a visit is looked up first, which is a matter of one visit.
            return (
                self.batch.withdraw if self.batch.withdraw and (named or self.batch.withdraw.ref_in is None) else None
            )
        return self.batch.put if named or self.post is None else self.batch.post

    @property
    def shows_visits(self) -> bool:
        """Whether the partner can show at all what it holds: by a list of a week, or visit by visit."""
        return self.visits_list is not None or self.read_back is not None

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every endpoint that a push or a comparison may call, as method and path template."""
        batch = (self.batch.put, self.batch.post, self.batch.withdraw) if self.batch else ()
        calls = (self.put, self.post, self.withdraw, self.read_back, self.visits_list, *batch)
        return tuple(dict.fromkeys(call.endpoint for call in calls if call is not None))


def _of_watch(push: Push) -> Iterator[str]:
    if push.watch and not push.live:
        yield "`watch` starts the run of `live` earlier: it needs `live: true`"


def _of_refs(push: Push) -> Iterator[str]:
    """Where the partner's names of visits are used before they can be known."""
    calls = [push.put, push.withdraw, *([push.post] if push.post else [])]
    uses_ref = any("{ref}" in call.path for call in calls)
    if (uses_ref or push.post) and push.partner_ref is None:
        yield "`{ref}` or `post` needs `partner_ref`: where the answer names the visit"
    if "{ref}" in push.put.path and push.post is None:
        yield "`put` by {ref} needs `post`, which creates the visit"
    if push.post and "{ref}" in push.post.path:
        yield "`post` cannot use {ref}: the visit has none yet"
    if push.read_back and "{ref}" in push.read_back.path:
        yield "`read_back` by {ref} cannot find a visit whose first answer was lost: use {key} or a search"
    if uses_ref and push.read_back and push.read_back.ref_at is None:
        # What was found without its name could only be created a second time, or never be taken away.
        yield "`read_back` needs `ref_at` where calls go by {ref}: a visit is found with its name, or not"


def _of_batches(push: Push) -> Iterator[str]:
    """Where a batch's visits could not be told apart or looked up."""
    if push.batch is None:
        return
    if push.read_back is None:
        yield "`batch` needs `read_back`: when its answer is lost, each visit is looked up by itself"
    if push.batch.post and (push.post is None or push.batch.post.ref_at is None):
        yield "a `post` in batches needs `post`, and `ref_at`: where a result names the visit"
    ours = any(mapped.source == "visit_id" for mapped in push.map.values())
    for name in ("put", "post", "withdraw"):
        batched: BatchCall | None = getattr(push.batch, name)
        single: Call | None = getattr(push, name)
        if batched and single and "{ref}" in single.path and batched.ref_in is None:
            yield f"`{name}` in batches needs `ref_in`: where an item carries the partner's name of the visit"
        if batched and name != "withdraw" and not (batched.key_in or ours):
            yield f"`{name}` in batches needs `key_in`, or `visit_id` in `map`: an item has to name its visit"


def _of_gone_visits(push: Push) -> Iterator[str]:
    """Where a batch is said to tell of visits that are gone, which cannot be or could not be answered."""
    if push.batch and push.batch.post and push.batch.post.gone_when:
        yield "`gone_when` cannot be said of a `post`: the visit was not there yet"
    if push.batch and push.batch.put and push.batch.put.gone_when and push.post is None:
        yield "`gone_when` of a `put` in batches needs `post`, which creates the visit anew"
