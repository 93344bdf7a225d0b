"""Who may see what, by Airflow's own rights, so that each auth manager's roles keep their meaning (decision 33).

- reading: the right to read the runs of a partner's DAG (simple: viewer and above; FAB: Viewer and above, by DAG).
- values of the quarantine: the right to edit connections. Who has it can reach the partner with its own key, and every
  record there (simple: op, admin; FAB: Op, Admin).
- the list of looks: the right to read Airflow's audit log (FAB: Admin), and with the simple auth manager, in which
  every viewer has that, the role admin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from fastapi import Depends, HTTPException, Request, status

from partner_sync.report.same_origin import is_ours


@dataclass(frozen=True)
class Visitor:
    """A person who is logged in, and what Airflow lets them do."""

    user: Any

    @property
    def name(self) -> str:
        """The login, as the audit knows it."""
        return str(self.user.get_name())

    def may_see(self, partner: str) -> bool:
        """Whether this partner's figures are for them."""
        return _may_read_runs(self.user, DagDetails(id=f"{partner}__master_sync"))

    @property
    def may_unmask(self) -> bool:
        """Whether values of the quarantine are for them: unmask, download, release."""
        return bool(get_auth_manager().is_authorized_connection(method="PUT", user=self.user))

    @property
    def may_audit(self) -> bool:
        """Whether they may read who has looked at what."""
        if isinstance(self.user, SimpleAuthManagerUser):
            return (self.user.role or "").lower() == "admin"
        manager = get_auth_manager()
        return bool(manager.is_authorized_dag(method="GET", access_entity=DagAccessEntity.AUDIT_LOG, user=self.user))


def visitor(user: GetUserDep) -> Visitor:
    """Who asks; raises HTTPException 401 without a login and 403 without the right to read any run.

    Never judged by a DAG id out of the request, as Airflow's own dependency does: the caller would choose it.
    """
    if not _may_read_runs(user, None):
        raise HTTPException(status.HTTP_403_FORBIDDEN)
    return Visitor(user)


def _may_read_runs(user: Any, details: DagDetails | None) -> bool:
    manager = get_auth_manager()
    return bool(manager.is_authorized_dag(method="GET", access_entity=DagAccessEntity.RUN, details=details, user=user))


Reader = Annotated[Visitor, Depends(visitor)]


def unmasker(person: Reader) -> Visitor:
    """Raises HTTPException 403 for who may not see values."""
    if not person.may_unmask:
        raise HTTPException(status.HTTP_403_FORBIDDEN)
    return person


def auditor(person: Reader) -> Visitor:
    """Raises HTTPException 403 for who may not read the list of looks."""
    if not person.may_audit:
        raise HTTPException(status.HTTP_403_FORBIDDEN)
    return person


Unmasker = Annotated[Visitor, Depends(unmasker)]
Auditor = Annotated[Visitor, Depends(auditor)]


def from_this_site(request: Request, _person: Reader) -> None:
    """Browsers send the login's cookie with whatever any page makes them ask: raises HTTPException 403 for other sites.

    A bearer token is sent by nobody but its owner.
    """
    if request.method in {"GET", "HEAD"} or request.headers.get("authorization", "").lower().startswith("bearer "):
        return
    if not is_ours(request.headers, hosts=_own_hosts(request)):
        raise HTTPException(status.HTTP_403_FORBIDDEN)


def _own_hosts(request: Request) -> set[str]:
    return {request.headers.get("host", ""), urlsplit(conf.get("api", "base_url", fallback="")).netloc} - {""}
