"""Judgements without the library: a test says which records fail, and the rest is as in life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from partner_sync.database import Connection
from partner_sync.quality import batch, quarantine
from partner_sync.quality.batch import Judged
from partner_sync.quality.record import Score, record
from partner_sync.quality.suites import Owner, Rule, Severity, Suite
from postgres.staged import PARTNER, Staged


def rule(code: str = "phone_number_shape", *, severity: Severity = "warning", owner: Owner = "partner") -> Rule:
    return Rule(
        code=code,
        column="phone",
        dimension="accuracy",
        severity=severity,
        owner=owner,
        ja="電話番号の形になっている。",
        en="The phone number looks like one.",
        judges_empty=False,
    )


@dataclass
class Judging:
    """Judges slices of offices by what a test says of their keys."""

    staged: Staged
    rule: Rule

    @cached_property
    def conn(self) -> Connection:
        return self.staged.database.connect("validate")

    def judge(
        self,
        run_key: str,
        failing: Mapping[str, bool],
        *,
        full: bool = True,
        organization: str = "aoba",
        waiting: Sequence[str] = (),
    ) -> None:
        """A run that listed these keys; ``failing`` says which fail the rule, and so do those of ``waiting``."""
        rows = [{"source_key": key} for key in failing]
        mode = "full" if full else "incremental"
        self.staged.slice(rows, entity="office", organization=organization, run_key=run_key, mode=mode)
        self.judge_again(run_key, failing, organization=organization, waiting=waiting)

    def judge_again(
        self, run_key: str, failing: Mapping[str, bool], *, organization: str = "aoba", waiting: Sequence[str] = ()
    ) -> None:
        failing = {**failing, **dict.fromkeys(waiting, True)}
        conn, suite = self.conn, Suite(entity="office", rules=(self.rule,), document={})
        with batch.prepared(conn):
            asked = Judged(
                conn=conn,
                partner=PARTNER,
                run_key=run_key,
                entity="office",
                organizations=[organization],
                cp932_partners=[],
            )
            work = batch.judged(asked)
            batch.fill(work)
            conn.execute(
                "insert into failing (row_id, quarantine_id, organization, source_key, fingerprint, failed)"
                " select row_id, quarantine_id, organization, source_key, fingerprint, array[%s] from batch"
                " where source_key = any (%s)",
                [self.rule.code, [key for key, fails in failing.items() if fails]],
            )
            score = Score(
                organization=organization,
                expectation=self.rule.code,
                evaluated=len(failing),
                failed=sum(failing.values()),
            )
            with conn.transaction():
                work.run("quality.take_turn")
                quarantine.settle(work, suite)
                record(work, suite, scores=[score])
