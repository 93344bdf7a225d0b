"""The task of ``check_partner``: whether a partner can be reached, and what its records look like, masked."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context

from partner_sync_airflow.cut_chain import CutChain
from partner_sync_airflow.operators.base import doors
from partner_sync_airflow.partner_files import partner_named


class CheckPartnerOperator(BaseOperator):
    """Checks the partner that the form names, with the key of one linked organization; returns the masked report."""

    def execute(self, context: Context) -> dict[str, Any]:
        from partner_sync.errors import ConfigError
        from partner_sync.links import linked_organizations
        from partner_sync.steps.check import check_partner

        with CutChain():
            partner = partner_named(str(context["params"]["partner"]).strip())
            codes = [str(context["params"]["organization"] or "")]
            with doors().connect("extract") as conn:
                links = linked_organizations(conn, partner=partner.slug, direction="master", codes=codes)
            if not links:
                raise ConfigError(problem=f"No organization is linked to {partner.slug} yet: `make link` adds one.")
            return check_partner(doors(), partner, link=links[0])
