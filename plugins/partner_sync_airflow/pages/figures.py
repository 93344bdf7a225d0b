"""Pages with figures: all partners, one partner and entity, one expectation, the causes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from partner_sync.report import reading
from partner_sync.report.reading import Chosen, Report, Row
from partner_sync_airflow.pages.asking import Code, Narrowed, PageNumber, Person, report_for
from partner_sync_airflow.pages.rendering import page

routes = APIRouter()
Days = Annotated[Literal["30", "90", "365"], Query()]
ENTITIES = ("patient", "practitioner", "office", "visit")


@routes.get("/")
def overview(
    request: Request, person: Person, name: Code = "", order: Literal["worst", "name"] = "worst", number: PageNumber = 1
) -> Response:
    """All partners at a glance."""
    with report_for(person) as (report, partners):
        found = [row for row in partners if name.strip().lower() in row["partner"]]
        now = reading.standing(report)
        if order == "worst":
            found.sort(key=lambda row: now.badness(row["partner"]), reverse=True)
        start = (number - 1) * reading.PAGE_PARTNERS
        shown = reading.glances(report, found[start : start + reading.PAGE_PARTNERS], now)
    return page(
        request,
        "overview.html",
        section="overview",
        shown=shown,
        now=now,
        count=len(found),
        name=name,
        order=order,
        number=number,
        more=len(found) > start + reading.PAGE_PARTNERS,
        recent_days=reading.RECENT_DAYS,
        trend_days=reading.TREND_DAYS,
    )


@routes.get("/partners/{partner}")
def one_partner(request: Request, person: Person, partner: str, narrowed: Narrowed, days: Days = "90") -> Response:
    """One partner and entity: scores, expectations, causes, drift."""
    with report_for(person, partner=partner) as (report, _):
        slices = report.rows("report.slices", partner=partner)
        choice = _entity_of(slices, narrowed)
        values: dict[str, Any] = {
            "scores": reading.entity_scores(report, partner, choice, days=int(days)),
            "expectations": reading.expectation_figures(report, partner, choice, days=reading.TREND_DAYS),
            "closed": _causes(report, "closed", Chosen(choice.organization, choice.entity), 1).rows[:10],
            "drift": report.rows(
                "report.drift", partner=partner, entity=choice.entity, organization=choice.organization
            ),
            "runs": report.rows("report.recent_runs", partner=partner, entity=choice.entity),
        }
    return page(
        request,
        "partner.html",
        section="overview",
        partner=partner,
        choice=choice,
        entities=[entity for entity in ENTITIES if entity in {row["entity"] for row in slices}],
        organizations=sorted({row["organization"] for row in slices}),
        days=int(days),
        recent_days=reading.RECENT_DAYS,
        **values,
    )


def _entity_of(slices: list[Row], narrowed: Chosen) -> Chosen:
    """What is asked for, or the first entity that there is; raises HTTPException 404 for what is not there."""
    known = {row["entity"] for row in slices}
    entity = narrowed.entity or next((each for each in ENTITIES if each in known), "")
    organizations = {row["organization"] for row in slices} | {""}
    if entity not in known or narrowed.organization not in organizations:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return Chosen(narrowed.organization, entity)


@routes.get("/partners/{partner}/{entity}/{expectation}")
def one_expectation(
    request: Request, person: Person, *, partner: str, entity: str, expectation: str, organization: Code = "",
    number: PageNumber = 1,
) -> Response:  # fmt: skip
    """One expectation: a year of history, the records that fail it now, its causes."""
    choice = Chosen(organization, entity, expectation)
    with report_for(person, partner=partner) as (report, _):
        found = reading.expectation_figures(report, partner, choice, days=365)
        if not found:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        narrowed = {"partner": partner, "entity": entity, "expectation": expectation, "organization": organization}
        values: dict[str, Any] = {
            "failing": report.page_of("report.failing_records", number, **narrowed),
            "open_causes": _causes(report, "open", choice, 1).rows,
            "closed_causes": _causes(report, "closed", choice, 1).rows,
            "organizations": sorted({row["organization"] for row in report.rows("report.slices", partner=partner)}),
        }
    return page(
        request,
        "expectation.html",
        section="overview",
        partner=partner,
        entity=entity,
        organization=organization,
        figures=found[0],
        recent_days=reading.RECENT_DAYS,
        keys=None,
        **values,
    )


@routes.get("/findings")
def causes(
    request: Request, person: Person, *, narrowed: Narrowed, partner: Code = "",
    state: Literal["open", "closed"] = "open", number: PageNumber = 1,
) -> Response:  # fmt: skip
    """Causes, open or closed."""
    with report_for(person, partner=partner) as (report, _):
        listed = _causes(report, state, narrowed, number)
    return page(
        request, "findings.html", section="findings", partner=partner, choice=narrowed, state=state, listed=listed
    )


def _causes(report: Report, state: str, choice: Chosen, number: int) -> reading.Listed:
    return report.page_of(
        f"report.findings_{state}",
        number,
        partners=report.partners,
        entity=choice.entity,
        organization=choice.organization,
        expectation=choice.expectation,
        severity=choice.severity,
    )
