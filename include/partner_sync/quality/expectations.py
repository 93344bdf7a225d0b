"""Great Expectations on a batch, over the connection that made it.

The library's engine is handed the open connection (so that it sees the temporary tables, and never a password) and
asked for counts only: its own way to failing keys is one query and a list in memory for each expectation. The keys are
fetched by one pass over the batch, put together from the conditions that the library itself has built for the suite;
``validate`` compares its counts with the library's.

The library is imported inside functions: that takes seconds and 200 MB.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row, tuple_row

from partner_sync.database import Connection, translate
from partner_sync.errors import DatabaseAwayError, DataQualityError
from partner_sync.quality.batch import TABLE
from partner_sync.quality.suites import Suite

if TYPE_CHECKING:
    import sqlalchemy
    from sqlalchemy.sql.elements import ColumnElement

#: Counts, and no values at all.
_COUNTS = {"catch_exceptions": True, "result_format": {"result_format": "BASIC", "partial_unexpected_count": 0}}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the library found for an expectation: values judged, and failed."""

    evaluated: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Figures by the code of the expectation, and the library's own results, which hold counts only."""

    figures: Mapping[str, Figures]
    results: Sequence[Any]


@contextmanager
def _lent(conn: Connection) -> Iterator[sqlalchemy.Engine]:
    """A SQLAlchemy engine whose one connection is ``conn``; it is neither closed nor changed.

    Not inside a transaction block: the engine rolls back when it is done, which psycopg refuses there.
    """
    import sqlalchemy
    from sqlalchemy.pool import StaticPool

    class Lent(StaticPool):
        """A pool of the one connection that was lent."""

        def dispose(self) -> None:
            """The library disposes of its engine whenever it is collected; the connection is not its to close."""

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: conn, poolclass=Lent, use_native_hstore=False
    )
    conn.row_factory = tuple_row  # type: ignore[assignment]  # SQLAlchemy reads rows by place
    try:
        yield engine
    except sqlalchemy.exc.DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise translate(error.orig) from None
        raise
    finally:
        conn.row_factory = dict_row


def judge(conn: Connection, suite: Suite, *, parameters: Mapping[str, object]) -> Judgement:
    """Run the suite on the batch and note every failing record in the table ``failing``.

    Raises DataQualityError when an expectation could not be evaluated (rule 11), DatabaseAwayError.
    """
    with _quiet(), _lent(conn) as engine:
        validator = _validator(engine)
        configurations = _configurations(validator, suite, parameters=parameters)
        results = validator.graph_validate(configurations=configurations, runtime_configuration=_COUNTS)
        figures = {each.expectation_config.meta["code"]: found for each in results if (found := _figures(each))}
        _refuse_unevaluated(conn, suite, figures=figures)
        # What nothing fails need not be looked for: the pass costs by the conditions that it tries.
        failing = [each for each in configurations if figures[each.meta["code"]].failed]
        _note_failing(engine, _conditions(validator, failing))
    return Judgement(figures=figures, results=results)


@contextmanager
def _quiet() -> Iterator[None]:
    """No telemetry, and no log lines: the library writes out the errors of statements, with their values."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _validator(engine: sqlalchemy.Engine) -> Any:
    from great_expectations.core.batch import Batch
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )
    from great_expectations.execution_engine import SqlAlchemyExecutionEngine
    from great_expectations.execution_engine.sqlalchemy_batch_data import SqlAlchemyBatchData
    from great_expectations.validator.validator import Validator

    context = EphemeralDataContext(
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
        )
    )
    execution = SqlAlchemyExecutionEngine(engine=engine, create_temp_table=False)
    data = SqlAlchemyBatchData(execution_engine=execution, table_name=TABLE)
    return Validator(execution_engine=execution, batches=[Batch(data=data)], data_context=context)


def _configurations(validator: Any, suite: Suite, *, parameters: Mapping[str, object]) -> list[Any]:
    from great_expectations import ExpectationSuite

    from partner_sync.quality import custom_expectations  # noqa: F401 - defines what a suite may name

    loaded = ExpectationSuite(**suite.document)
    configurations: list[Any] = validator.process_expectations_for_validation(
        loaded.expectation_configurations, dict(parameters)
    )
    return configurations


def _figures(result: Any) -> Figures | None:
    """None when the expectation raised: whatever it holds then, it is no count."""
    found = result.result
    if "unexpected_count" not in found or "element_count" not in found:
        return None
    return Figures(
        evaluated=found["element_count"] - (found.get("missing_count") or 0), failed=found["unexpected_count"]
    )


def _conditions(validator: Any, configurations: list[Any]) -> dict[str, ColumnElement[bool]]:
    """For each code the SQL condition under which the library counts a record as failing.

    One that the library could not build is absent; the counts then disagree, and the run fails.
    """
    metrics = {each.meta["code"]: _condition_metric(validator, each) for each in configurations}
    resolved, _ = validator.compute_metrics(list(metrics.values()))
    return {code: resolved[metric.id][0] for code, metric in metrics.items() if metric.id in resolved}


def _condition_metric(validator: Any, configuration: Any) -> Any:
    """The metric of the condition beside the metric of its count, which every column expectation has."""
    from great_expectations.validator.metric_configuration import MetricConfiguration

    expectation = configuration.to_domain_obj()
    wanted = expectation.get_validation_dependencies(
        execution_engine=validator.execution_engine, runtime_configuration=_COUNTS
    )
    counted = wanted.metric_configurations[f"{expectation.map_metric}.unexpected_count"]
    return MetricConfiguration(
        metric_name=f"{expectation.map_metric}.condition",
        metric_domain_kwargs=counted.metric_domain_kwargs,
        metric_value_kwargs=counted.metric_value_kwargs,
    )


def _refuse_unevaluated(conn: Connection, suite: Suite, *, figures: Mapping[str, Figures]) -> None:
    missing = [rule.code for rule in suite.rules if rule.code not in figures]
    if missing and conn.broken:
        raise DatabaseAwayError(sqlstate="08006")
    if missing:
        raise DataQualityError(suite=suite.entity, count=len(missing), expectations=", ".join(missing))


def _note_failing(engine: sqlalchemy.Engine, conditions: Mapping[str, ColumnElement[bool]]) -> None:
    """One pass: each record that fails anything, with the codes of what it fails."""
    import sqlalchemy as sa
    from sqlalchemy.dialects.postgresql import array

    if not conditions:
        return
    codes = array([sa.case((condition, code)) for code, condition in conditions.items()])
    places = ("row_id", "quarantine_id", "organization", "source_key", "fingerprint")
    found: Any = (
        sa.select(*map(sa.column, places), sa.func.array_remove(codes, None))
        .select_from(sa.table(TABLE))
        .where(sa.or_(*conditions.values()))
    )
    target = sa.table("failing", *map(sa.column, (*places, "failed")))
    with engine.begin() as session:
        session.execute(sa.insert(target).from_select([*places, "failed"], found))
