"""A sending process as a worker has one: it pushes until it is ended, or killed at any moment.

Only public doors of the core: a connection of its own for each push, the organization's access, ``push_organization``.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess

from faults.processes import begun
from partner_sync.database import connect
from partner_sync.delivery.push import PushWork, push_organization
from partner_sync.errors import DatabaseAwayError, LimitReachedError, PartnerUnavailableError, SettlingError
from partner_sync.kinds.interface import Access, Gate, PartnerKind
from partner_sync.kinds.registry import open_kind
from partner_sync.limiter import CallClass
from partner_sync.partners.model import Partner

QUIET_SECONDS = 0.2
AGAIN_SECONDS = 0.3
#: The status of a sender that met an error which it may not meet.
FAILED = 3


@dataclass(frozen=True, kw_only=True)
class Sending:
    """What a sender is told: where the database and the partner are, and for whom it sends."""

    push_url: str
    base_url: str
    partner: Partner
    organization: str
    call_class: CallClass = "tick"
    #: At most so long between two looks, whatever the push says it waits for.
    longest_wait_seconds: float = AGAIN_SECONDS


def started(*sendings: Sending) -> BaseProcess:
    """A running process that sends for all of these at the same time."""
    return begun(send, sendings)


def send(sendings: Sequence[Sending]) -> None:
    """Push for ever, one thread for each of ``sendings``; one that fails ends the process (status FAILED)."""
    threads = [threading.Thread(target=_endless, args=(sending,)) for sending in sendings[1:]]
    for thread in threads:
        thread.start()
    _endless(sendings[0])


def _endless(sending: Sending) -> None:
    run = 0
    try:
        while True:
            run += 1
            time.sleep(_push(sending, run_key=f"sender-{os.getpid()}-{run}"))
    finally:
        # A thread that ends with an error must not leave a process that looks alive.
        traceback.print_exc()
        os._exit(FAILED)


def _push(sending: Sending, *, run_key: str) -> float:
    """One push; returns the seconds to wait before the next."""

    def opened(gate: Gate) -> PartnerKind:
        access = Access(base_url=sending.base_url, secret=sending.organization)
        return open_kind(sending.partner, access, gate)

    work = PushWork(
        partner=sending.partner,
        organization=sending.organization,
        run_key=run_key,
        call_class=sending.call_class,
    )
    try:
        with connect(sending.push_url) as conn:
            push_organization(conn, work, open_kind=opened)
    except (LimitReachedError, SettlingError) as waiting:
        left = (waiting.retry_at - datetime.now(UTC)).total_seconds() if waiting.retry_at else AGAIN_SECONDS
        return min(max(left, 0.0), sending.longest_wait_seconds)
    except (PartnerUnavailableError, DatabaseAwayError):
        return AGAIN_SECONDS
    return QUIET_SECONDS
