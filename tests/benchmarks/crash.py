"""What is lost or sent twice when the sender is killed, the database stopped, or Airflow killed: judged by the partner.

100 kills -9 over a push of 2,000 visits, on a line that loses 2 % of the answers after the work and 0.5 % of the calls
before it, while the product edits and cancels; the same with PostgreSQL stopped for ten seconds, and with Airflow's
scheduler and triggerer killed during a push that defers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from faults.airflow_killed import push_on_killed_airflow
from faults.killing import Disturb, Line, Told, goes_away, kills, played
from faults.stoppable_database import StoppableDatabase, stoppable_database
from faults.verdict import Verdict

VISITS = 2_000
AIRFLOW_VISITS = 240
KILLS = 100
EDITS_A_SECOND = 20.0
AWAY_SECONDS = 10.0
RULES = ("lost", "old", "left_behind", "twice", "overtaken", "pending", "open", "given_up", "never_sent")


def report() -> str:
    """A table in Markdown; every figure of the rules should be 0."""
    rules = [rule.replace("_", " ") for rule in RULES]
    titles = ["what", "visits", "kills (with claims)", "answers + calls lost", "calls", *rules]
    lines = [_row(titles), _row(["---", *["---:"] * (len(titles) - 1)])]
    return "\n".join([*lines, *_plays(), _airflow()])


def _plays() -> Iterator[str]:
    with stoppable_database() as database:
        plays: list[tuple[str, str, Callable[[StoppableDatabase], Disturb]]] = [
            ("sender killed, idempotency keys", "keyed", lambda _: kills(KILLS)),
            ("sender killed, read-back only", "read_back", lambda _: kills(KILLS)),
            ("sender killed, PUT by our id", "named", lambda _: kills(KILLS)),
            ("PostgreSQL stopped (fast), keys", "keyed", lambda stopped: _away(stopped, "fast")),
            ("PostgreSQL stopped (immediate), read-back", "read_back", lambda stopped: _away(stopped, "immediate")),
        ]
        for number, (what, style, disturb) in enumerate(plays, start=1):
            line = Line(style=style, seed=number)
            told = played(
                database.place, line, disturb(database), visits=VISITS, edits_a_second=EDITS_A_SECOND, number=number
            )
            yield _told(what, told)


def _away(database: StoppableDatabase, way: str) -> Disturb:
    return goes_away(lambda: database.away(way, seconds=AWAY_SECONDS))


def _told(what: str, told: Told) -> str:
    lost = f"{told.line.get('lost_answers', 0)} + {told.line.get('lost_calls', 0)}"
    counts = [what, f"{VISITS:,}", f"{told.kills} ({told.met_open_claims})", lost, f"{told.verdict.calls:,}"]
    return _row([*counts, *_figures(told.verdict)])


def _airflow() -> str:
    survived = push_on_killed_airflow("keyed", visits=AIRFLOW_VISITS)
    what = f"Airflow killed, run ended {survived.state}, {survived.refused} calls over the limit"
    return _row([what, str(AIRFLOW_VISITS), "4", "2 %", f"{survived.verdict.calls:,}", *_figures(survived.verdict)])


def _figures(verdict: Verdict) -> list[str]:
    return [str(getattr(verdict, rule)) for rule in RULES]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
