"""Every failure that a person sees has an owner, a sentence in both languages, and a next action (design, rule 16)."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from partner_sync import errors
from partner_sync.catalogue import Entry, Text, entries, entry, sentence
from partner_sync.incidents import Cause, message

OUTCOME_CODES = [
    "accepted",
    "withdrawn",
    "nothing_to_do",
    "superseded",
    "rejected",
    "dead",
    "outcome_unknown",
    "outcome_unknown_person",
    "lost_call_differs",
    "blocked_no_key",
    *(f"no_key_{entity}" for entity in ("office", "patient", "practitioner")),
    *(f"{entity}_in_quarantine" for entity in ("office", "patient", "practitioner")),
    "slice_held",
    "slice_incomplete",
    "merged",
    "extracted",
    "validated",
    "not_finalized",
    "unexpected",
]


def below(kind: type[errors.PartnerSyncError]) -> list[type[errors.PartnerSyncError]]:
    """The core's errors; those of the plugins, if they are imported, end a run and are told in other words."""
    children = [child for child in kind.__subclasses__() if child.__module__.startswith("partner_sync.")]
    return [kind, *(each for child in children for each in below(child))]


@pytest.mark.parametrize("kind", below(errors.PartnerSyncError), ids=lambda kind: kind.__name__)
def test_every_error_has_its_own_entry(kind: type[errors.PartnerSyncError]) -> None:
    assert entry(kind.code).code == kind.code


@pytest.mark.parametrize("code", OUTCOME_CODES)
def test_every_outcome_has_its_own_entry(code: str) -> None:
    assert entry(code).code == code


@pytest.mark.parametrize("found", entries().values(), ids=lambda found: found.code)
class TestEachEntry:
    """What every entry of the catalogue keeps to."""

    def test_uses_the_closed_lists(self, found: Entry) -> None:
        assert found.owner in {"user", "partner", "us"}
        assert found.severity in {"critical", "warning", "info"}
        assert found.retry in {"none", "policy", "tick"}
        assert found.escalate_after is None or found.escalate_after >= 1

    def test_speaks_both_languages_in_whole_sentences(self, found: Entry) -> None:
        for text in (found.what, found.next_action):
            assert text.ja.endswith("。")
            assert re.search("[ぁ-ん]", text.ja)
            assert text.en.endswith(".")
            assert text.en.isascii()

    def test_asks_for_no_other_facts_than_partner_and_organization(self, found: Entry) -> None:
        for text in (found.what.ja, found.what.en, found.next_action.ja, found.next_action.en):
            assert {name for _, name, _, _ in Formatter().parse(text) if name} <= {"partner", "organization"}

    def test_both_languages_name_the_same_facts(self, found: Entry) -> None:
        named = [{name for _, name, _, _ in Formatter().parse(text) if name} for text in (found.what.ja, found.what.en)]
        # A Japanese sentence may leave out what the context says, never the other way round.
        assert named[0] >= named[1] - {"partner"}


def test_an_unknown_code_is_unexpected_and_never_a_key_error() -> None:
    assert entry("never_heard_of").code == "unexpected"


def test_a_sentence_says_what_happened_and_what_to_do_next() -> None:
    assert sentence("partner_auth", "en", partner="Honoka records", organization="aoba") == (
        "Honoka records does not accept the key of aoba: it is wrong, has expired or lacks a right. Only this"
        " organization is stopped. Check or renew the key at Honoka records and give it to the administrator of the"
        " link; after it is replaced, run the sync again."
    )


def test_a_sentence_without_facts_stays_readable() -> None:
    assert sentence("partner_unreachable", "ja").startswith("連携先につながりません。")
    assert sentence("partner_unreachable", "en").startswith("The partner cannot be reached.")


def test_a_brace_in_a_fact_is_no_placeholder() -> None:
    assert Text(ja="{partner}", en="{partner}").fill("en", partner="{secret}") == "{secret}"


def test_a_message_names_partner_organizations_step_whose_turn_it_is_and_what_to_do() -> None:
    cause = Cause(
        partner="honoka", step="extract", code="partner_auth", organizations=("aoba", "botan"), incident_ids=(1, 2)
    )
    assert message(cause, "ja", partner_name="ほのか記録").splitlines()[:3] == [
        "連携先: ほのか記録 (honoka)",
        "法人: aoba, botan",
        "工程: 取得",
    ]
    english = message(cause, "en")
    assert "Whose turn: the customer's planner or administrator" in english
    assert "Next: Check or renew the key at honoka" in english
