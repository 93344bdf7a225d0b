"""Who has looked at personal values of the quarantine, downloaded or released them."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from partner_sync_airflow.pages.asking import Code, PageNumber, Person, report_for
from partner_sync_airflow.pages.rendering import page
from partner_sync_airflow.pages.rights import Auditor, auditor

routes = APIRouter(dependencies=[Depends(auditor)])


@routes.get("/audit")
def looks(request: Request, person: Person, _auditor: Auditor, partner: Code = "", number: PageNumber = 1) -> Response:
    """The list, the latest first."""
    with report_for(person) as (report, _):
        listed = report.page_of("report.audit", number, partner=partner)
    return page(request, "audit.html", section="audit", listed=listed, partner=partner)
