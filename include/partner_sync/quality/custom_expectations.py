"""What the library has no expectation for, as expectations of its own kind that judge in SQL.

A value is judged by a function of the schema ``quality`` (migration 0028) or by a comparison; an empty value is not
judged. To import this module is to import the library, which takes seconds: only ``expectations`` does, when there is
something to judge. The classes make themselves known to the library by being defined.
"""

# ruff: noqa: TID253 - the one module that is imported late as a whole
from __future__ import annotations

import re
from typing import Any, ClassVar

import sqlalchemy as sa
from great_expectations.compatibility.pydantic import Field
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial
from sqlalchemy.sql.elements import ColumnElement


class _Holds(ColumnMapMetricProvider):
    """``quality.<function>(value)`` is true."""

    function: ClassVar[str]

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, **_facts: Any) -> ColumnElement[bool]:  # noqa: N805 - the library calls it so
        found: ColumnElement[bool] = getattr(sa.func.quality, cls.function)(column)
        return found


class OfficeNumber(_Holds):
    """Ten places, and the check digit of its kind."""

    condition_metric_name = "column_values.office_number"
    function = "office_number_ok"


class ExpectColumnValuesToBeOfficeNumbers(ColumnMapExpectation):
    """Numbers of care offices: ten places, the check digit by the kind in the third (domain facts, c1)."""

    map_metric = "column_values.office_number"


class InsurerNumber(_Holds):
    """Six or eight digits with their check digit."""

    condition_metric_name = "column_values.insurer_number"
    function = "insurer_number_ok"


class ExpectColumnValuesToBeInsurerNumbers(ColumnMapExpectation):
    """Numbers of insurers: six or eight digits whose last one is the check digit M10-W21 of the others."""

    map_metric = "column_values.insurer_number"


class InsuredNumber(_Holds):
    """Ten digits, or H and nine."""

    condition_metric_name = "column_values.insured_number"
    function = "insured_number_ok"


class ExpectColumnValuesToBeInsuredNumbers(ColumnMapExpectation):
    """Numbers of insured persons: ten digits, or H and nine for those on public assistance alone."""

    map_metric = "column_values.insured_number"


class FullWidthKatakana(_Holds):
    """Nothing but full-width katakana, the long-vowel mark, the middle dot and full-width spaces."""

    condition_metric_name = "column_values.full_width_katakana"
    function = "kana_ok"


class ExpectColumnValuesToBeFullWidthKatakana(ColumnMapExpectation):
    """Kana as they are kept: folded to full width."""

    map_metric = "column_values.full_width_katakana"


class PostalCode(_Holds):
    """Seven digits."""

    condition_metric_name = "column_values.postal_code"
    function = "postal_code_ok"


class ExpectColumnValuesToBePostalCodes(ColumnMapExpectation):
    """Postal codes as they are kept: seven digits without a hyphen."""

    map_metric = "column_values.postal_code"


class PhoneNumber(_Holds):
    """Ten or eleven digits from a 0 on, separators aside."""

    condition_metric_name = "column_values.phone_number"
    function = "phone_number_ok"


class ExpectColumnValuesToBePhoneNumbers(ColumnMapExpectation):
    """Japanese phone numbers: ten or eleven digits that begin with 0, once separators are taken away."""

    map_metric = "column_values.phone_number"


class Cp932(_Holds):
    """Every character is one of CP932's."""

    condition_metric_name = "column_values.cp932"
    function = "fits_cp932"


class ExpectColumnValuesToFitCp932(ColumnMapExpectation):
    """Texts that a file in CP932 can hold."""

    map_metric = "column_values.cp932"


class NoTestPerson(_Holds):
    """The name does not stand for somebody made up."""

    condition_metric_name = "column_values.no_test_person"
    function = "no_test_person"


class ExpectColumnValuesToNameNoTestPerson(ColumnMapExpectation):
    """Family names of people, not of those made up to try the software out."""

    map_metric = "column_values.no_test_person"


class NoProblem(ColumnMapMetricProvider):
    """None of these problems among the "field:code field:code" of a record."""

    condition_metric_name = "column_values.no_problem"
    condition_value_keys = ("fields", "codes")

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, fields: list[str], codes: list[str], **_facts: Any) -> ColumnElement[bool]:  # noqa: N805
        # Most records have none, and a pattern costs something also where there is nothing to search.
        return sa.or_(column == "", sa.not_(column.regexp_match(problem_pattern(fields, codes))))


def problem_pattern(fields: list[str], codes: list[str]) -> str:
    """The pattern that finds a problem of one of ``fields`` (with one of ``codes``, if any are named)."""
    named = "|".join(map(re.escape, codes)) if codes else "[a-z0-9_]+"
    return f"(^| )({'|'.join(map(re.escape, fields))}):({named})($| )"


class ExpectColumnValuesToHaveNoProblem(ColumnMapExpectation):
    """Fields that the mapping could read: none of ``fields`` has a problem, or none of ``codes``."""

    fields: list[str]
    codes: list[str] = Field(default_factory=list)

    map_metric = "column_values.no_problem"
    success_keys = ("fields", "codes", "mostly")


class OnOrAfterColumn(ColumnMapMetricProvider):
    """Not before the value of another column; with nothing there to compare it with, it is in order."""

    condition_metric_name = "column_values.on_or_after_column"
    condition_value_keys = ("other_column",)

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, other_column: str, **_facts: Any) -> ColumnElement[bool]:  # noqa: N805
        found: ColumnElement[bool] = column >= sa.func.coalesce(sa.column(other_column), column)
        return found


class ExpectColumnValuesToBeOnOrAfterColumn(ColumnMapExpectation):
    """Dates that do not come before those of ``other_column``."""

    other_column: str

    map_metric = "column_values.on_or_after_column"
    success_keys = ("other_column", "mostly")
