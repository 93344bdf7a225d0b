"""One call of a push on its way and back: in a thread of its own, without the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from partner_sync.delivery import verdict
from partner_sync.delivery.claims import Claimed
from partner_sync.delivery.turnstile import Permit, Turnstile
from partner_sync.delivery.verdict import Verdict
from partner_sync.errors import DatabaseAwayError, LimitReachedError, PartnerSyncError
from partner_sync.kinds.interface import Accepted, PartnerKind


@dataclass(frozen=True, kw_only=True)
class Errand:
    """A call for some claimed items (several only in a batch), and the permit on which it leaves. ``repeat``: the very
    same call again, under the key of the one whose answer was lost.
    """

    what: Literal["send", "look_up", "repeat"]
    items: tuple[Claimed, ...]
    permit: Permit


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What came back. ``verdicts``: one for each item; None when the call has surely not left.

    ``left_at``: when the last call left (monotonic), None when none did. ``seconds``: how long the errand took.
    """

    errand: Errand
    verdicts: tuple[Verdict, ...] | None
    left_at: float | None
    seconds: float


def run_errand(kind: PartnerKind, errand: Errand, turnstile: Turnstile) -> Returned:
    """Make the call and judge what comes back.

    Raises DatabaseAwayError when a further grant cannot be asked for: what became of the items is then unknown.
    """
    started = time.monotonic()
    with turnstile.passing(errand.permit):
        try:
            verdicts: tuple[Verdict, ...] | None = _verdicts(kind, errand)
        except LimitReachedError:
            verdicts = None
        return Returned(errand=errand, verdicts=verdicts, left_at=turnstile.left_at, seconds=time.monotonic() - started)


def _verdicts(kind: PartnerKind, errand: Errand) -> tuple[Verdict, ...]:
    first = errand.items[0]
    if errand.what == "send" and kind.batch_size(first.action, named=first.named, held=first.held) > 1:
        return tuple(_sent_together(kind, errand.items))
    judge = {"send": _sent, "look_up": _looked_up, "repeat": _repeated}[errand.what]
    return tuple(judge(kind, one) for one in errand.items)


def _sent(
    kind: PartnerKind, one: Claimed, of_error: Callable[[PartnerSyncError], Verdict] = verdict.of_error
) -> Verdict:
    try:
        return verdict.of_answer(kind.send(one.call), one.call.action)
    except (LimitReachedError, DatabaseAwayError):
        raise
    except PartnerSyncError as error:
        return of_error(error)


def _repeated(kind: PartnerKind, one: Claimed) -> Verdict:
    return _sent(kind, one, verdict.of_failed_repeat)


def _sent_together(kind: PartnerKind, items: Sequence[Claimed]) -> list[Verdict]:
    try:
        answers = kind.send_batch([one.call for one in items])
    except (LimitReachedError, DatabaseAwayError):
        raise
    except PartnerSyncError as error:
        return [verdict.of_error(error)] * len(items)
    return [_judged(answer, one) for answer, one in zip(answers, items, strict=True)]


def _judged(answer: Accepted | PartnerSyncError, one: Claimed) -> Verdict:
    if isinstance(answer, PartnerSyncError):
        return verdict.of_error(answer)
    return verdict.of_answer(answer, one.call.action)


def _looked_up(kind: PartnerKind, one: Claimed) -> Verdict:
    try:
        presence = kind.read_back(one.call, one.look_up)
    except (LimitReachedError, DatabaseAwayError):
        raise
    except PartnerSyncError as error:
        one.look_up.forget()
        return verdict.of_failed_look_up(error)
    one.look_up.forget()
    return verdict.of_presence(presence, one.call.action)
