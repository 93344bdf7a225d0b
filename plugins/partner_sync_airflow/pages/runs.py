"""One run, and the ways to it from Airflow's own pages."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from partner_sync_airflow.dag_runs import bounded_id
from partner_sync_airflow.pages.asking import Person, report_for
from partner_sync_airflow.pages.rendering import link, page

routes = APIRouter()


@routes.get("/runs/{partner}/{run_key:path}")
def one_run(request: Request, person: Person, partner: str, run_key: str) -> Response:
    """What one run judged; a run that judged nothing, or nothing yet, says so."""
    if not person.may_see(partner):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    with report_for(person) as (report, partners):
        if partner not in {row["partner"] for row in partners}:
            slices, results, findings = [], [], []
        else:
            asked = {"partner": partner, "run_key": run_key}
            slices = report.rows("report.run_slices", **asked)
            results = report.rows("report.run_results", **asked) if slices else []
            findings = report.rows("report.run_findings", **asked) if slices else []
    return page(
        request,
        "run.html",
        section="overview",
        partner=partner,
        run_key=run_key,
        slices=slices,
        results=results,
        findings=findings,
    )


@routes.get("/of-run")
def of_run(request: Request, person: Person, dag: str = "", run: str = "") -> Response:
    """From a DAG run's tab in Airflow to its page here."""
    partner = dag.partition("__")[0]
    return RedirectResponse(link(request, "runs", partner, bounded_id(f"{dag}/{run}")), HTTPStatus.SEE_OTHER)


@routes.get("/of-dag")
def of_dag(request: Request, person: Person, dag: str = "") -> Response:
    """From a DAG's tab in Airflow to its partner here; to all partners, where there is none of that name."""
    partner = dag.partition("__")[0]
    with report_for(person) as (_, partners):
        known = partner in {row["partner"] for row in partners}
    return RedirectResponse(link(request, "partners", partner) if known else link(request, ""), HTTPStatus.SEE_OTHER)
