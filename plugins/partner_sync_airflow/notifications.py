"""Who hears of a failure: whose turn it is and what to do next, in Japanese and English, once for one cause.

Once more when the cause has lasted for as many runs as the catalogue says, as ``escalated`` for the team's lead, and
once when it is over.

Every alert goes to the log, and to the Airflow connection ``partner_sync_alerts`` (http; its host is the whole URL)
where there is one: a POST of JSON with ``text`` (as Slack's incoming webhooks take it) and the same facts in fields.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier
from airflow.sdk.definitions.context import Context

from partner_sync.errors import FormError, PartnerSyncError
from partner_sync.partners.model import Partner
from partner_sync_airflow.approvals import Question, question_of
from partner_sync_airflow.causes import OrganizationsStoppedError
from partner_sync_airflow.merge_approvals import MergeQuestion, merge_question_of
from partner_sync_airflow.report_links import report_url

if TYPE_CHECKING:
    from partner_sync.incidents import Cause, Stage
    from partner_sync.quality.digest import Digest

CONNECTION_ID = "partner_sync_alerts"
_TIMEOUT_SECONDS = 10.0
_LEVELS: Mapping[Stage, int] = {"met": logging.WARNING, "lasting": logging.ERROR, "over": logging.INFO}


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One cause, for people. ``organizations`` are our codes; empty when the whole step failed.

    ``stage``: met, lasting (met again and again), or over. ``escalated``: the team's lead has to hear of it.
    ``url``: the page of the run, where there is one; the text ends with it.
    """

    text: str
    partner: str
    organizations: tuple[str, ...]
    step: str
    code: str
    owner: str
    severity: str
    stage: str
    escalated: bool
    channel: str | None
    dag_id: str
    run_id: str
    url: str | None


class PartnerSyncNotifier(BaseNotifier):
    """Tells of a failed task: one alert for each cause that nobody has been told of, one more when it lasts.

    :param partner: the partner's slug.
    :param alert: the channel that the partner file names for its owner.
    :param names: the partner's name in Japanese and in English, for people.
    """

    def __init__(self, *, partner: str, alert: str | None = None, names: tuple[str, str] | None = None) -> None:
        super().__init__()
        self.partner = partner
        self.alert = alert
        self.names = names

    def notify(self, context: Context) -> None:
        """Send what is new; a receiver that is away is logged and fails nothing.

        What somebody mistyped is no matter of the team: the run's note tells them.
        """
        from partner_sync_airflow.causes import untold_causes

        if isinstance(context.get("exception"), FormError):
            return
        for cause, stage in untold_causes(context, partner=self.partner):
            self._send(cause, context, stage=stage, level=logging.ERROR)

    def tell(self, context: Context, causes: Iterable[Cause], *, stage: Stage) -> None:
        """Send what fails no task and nobody was told of: a notice, that a cause lasts, that it is over."""
        from partner_sync_airflow.causes import untold

        for cause in untold(causes, stage=stage):
            self._send(cause, context, stage=stage, level=_LEVELS[stage])

    def tell_findings(self, context: Context, digest: Digest) -> None:
        """Send what is new of the data's quality as one message; nothing when there is no news."""
        from partner_sync.incidents import Cause
        from partner_sync.quality.digest import digest_text

        if not digest.news:
            return
        japanese, english = self.names or (None, None)
        texts = [digest_text(digest, "ja", partner_name=japanese), digest_text(digest, "en", partner_name=english)]
        cause = Cause(
            partner=self.partner,
            step="validate",
            code="quality_findings",
            organizations=digest.organizations,
            incident_ids=(),
        )
        stage: Stage = "met" if digest.opened else "over"
        alert = self._alert_of(cause, context, text="\n\n".join(texts), stage=stage)
        alert = replace(alert, severity=digest.worst)
        self.log.log(_LEVELS[stage], "%s", alert.text)
        self._post(alert)

    def _send(self, cause: Cause, context: Context, *, stage: Stage, level: int) -> None:
        text = self._text(cause, context.get("exception"), stage=stage)
        alert = self._alert_of(cause, context, text=text, stage=stage)
        self.log.log(level, "%s", alert.text)
        self._post(alert)

    def _alert_of(self, cause: Cause, context: Context, *, text: str, stage: Stage = "met") -> Alert:
        from partner_sync.catalogue import entry
        from partner_sync.incidents import is_for_the_lead

        ti, found, url = context["ti"], entry(cause.code), report_url(context)
        return Alert(
            text=f"{text}\n\n{url}" if url else text,
            partner=self.partner,
            organizations=tuple(code for code in cause.organizations if code),
            step=cause.step,
            code=cause.code,
            owner=found.owner,
            severity="info" if stage == "over" else found.severity,
            stage=stage,
            escalated=is_for_the_lead(cause, stage),
            channel=self.alert,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            url=url,
        )

    def _text(self, cause: Cause, error: object, *, stage: Stage = "met") -> str:
        from partner_sync.incidents import message

        japanese, english = self.names or (None, None)
        parts = [
            message(cause, "ja", partner_name=japanese, stage=stage),
            message(cause, "en", partner_name=english, stage=stage),
        ]
        if isinstance(error, PartnerSyncError) and not isinstance(error, OrganizationsStoppedError):
            # Our own errors carry no value of a record: near matches, problems with their lines and the like.
            parts.append(str(error))
        return "\n\n".join(parts)

    def _post(self, alert: Alert) -> None:
        import httpx

        from partner_sync_airflow.hooks.lookup import find_connection

        connection = find_connection(CONNECTION_ID)
        if connection is None or not connection.host:
            return
        body: dict[str, Any] = asdict(alert)
        try:
            answer = httpx.post(
                connection.host, json=body, timeout=_TIMEOUT_SECONDS, headers=_headers(connection.password)
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self.log.warning("The alert was not sent: %s.", type(error).__name__)
            return
        if not answer.is_success:
            self.log.warning("The alert was not sent: its receiver answered %s.", answer.status_code)


def notifier_of(partner: Partner) -> PartnerSyncNotifier:
    """The notifier for a partner, as its file names the channel and the partner."""
    names = (partner.name.ja, partner.name.en)
    return PartnerSyncNotifier(partner=partner.slug, alert=partner.owner.alert, names=names)


class QuestionNotifier(PartnerSyncNotifier):
    """Tells of a push that waits for a person: its plan, and where to answer."""

    code = "approval_wanted"

    def question(self, context: Context) -> Question | MergeQuestion:
        """What the run asks."""
        return question_of(context)

    def notify(self, context: Context) -> None:
        """Send it; a receiver that is away is logged and fails nothing: the question stands in Airflow's UI."""
        from airflow.providers.standard.operators.hitl import HITLOperator

        from partner_sync.incidents import Cause

        question = self.question(context)
        cause = Cause(
            partner=self.partner,
            step=context["ti"].task_id,
            code=self.code,
            organizations=tuple(question.organizations),
            incident_ids=(),
        )
        try:
            where = HITLOperator.generate_link_to_ui_from_context(context=context)
        except ValueError:  # Airflow has not been told its own address (api.base_url).
            where = f"{context['ti'].dag_id}, {context['ti'].run_id}"
        text = "\n\n".join([self._text(cause, None), question.subject, question.body, where])
        self.log.info("%s", text)
        self._post(self._alert_of(cause, context, text=text))


class MergeQuestionNotifier(QuestionNotifier):
    """Tells of a merge that waits for a person: its figures, and where to answer."""

    code = "merge_approval_wanted"

    def question(self, context: Context) -> MergeQuestion:
        return merge_question_of(context)


def _headers(password: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {password}"} if password else {}
