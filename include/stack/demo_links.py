"""Which organizations the demo joins to which practice partner, and with which keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from partner_sync.links import Link, ReleaseMode
from partner_sync.partners.fields import ENTITY_ORDER
from stack.airflow_api import AirflowApi
from stack.installation import Installation
from stack.link import LinkOrder, connection_id_of, join
from stack.practice import PracticePartner

NAMES = {
    "sakura-care": "医療法人さくら会",
    "momiji-care": "もみじ訪問看護株式会社",
    "kaede-care": "社会福祉法人かえで",
    "hinata-care": "ひなたケア合同会社",
}


@dataclass(frozen=True)
class DemoLink:
    """One link of the demo; ``key_is_wrong`` shows what one organization's wrong key does (design, rule 9)."""

    partner: str
    organization: str
    master_of: tuple[str, ...] = ENTITY_ORDER
    release_mode: ReleaseMode = "manual"
    key_is_wrong: bool = False


#: momiji-care has its masters at one partner and sends its visits to both.
LINKS = (
    DemoLink("honoka", "sakura-care"),
    DemoLink("honoka", "momiji-care"),
    DemoLink("honoka", "kaede-care", key_is_wrong=True),
    DemoLink("tsubaki", "hinata-care"),
    DemoLink("tsubaki", "momiji-care", master_of=()),
)


def join_all(installation: Installation, api: AirflowApi, *, partners: dict[str, PracticePartner]) -> None:
    """Make every link of the demo, as `make link` would."""
    for order in orders(partners):
        join(installation, api, order=order)


def orders(partners: dict[str, PracticePartner]) -> Iterator[LinkOrder]:
    """What a person would have typed, with the keys that the practice partners hand out."""
    keys = {profile: partner.keys() for profile, partner in partners.items()}
    for chosen in LINKS:
        key = keys[chosen.partner][chosen.organization]
        link = Link(
            partner=chosen.partner,
            organization=chosen.organization,
            connection_id=connection_id_of(chosen.partner, chosen.organization),
            directions=("master", "schedule"),
            master_of=chosen.master_of,
            release_mode=chosen.release_mode,
        )
        secret = "a key that the partner never gave out" if chosen.key_is_wrong else key["secret"]
        url = partners[chosen.partner].url
        yield LinkOrder(link=link, name=NAMES[chosen.organization], url=url, login=key["login"], key=secret)
