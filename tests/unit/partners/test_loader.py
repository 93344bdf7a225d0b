"""Partner files read from text: all problems together, each with its line."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from partner_made import document
from partner_sync.partners.converters import out_converter
from partner_sync.partners.loader import Problem, load_partner, load_partners
from partner_sync.partners.model import Partner

COMMITTED = Path(__file__).resolve().parents[3] / "include" / "partners"


def problems_of(folder: Path, text: str, name: str = "trial.yaml") -> tuple[Problem, ...]:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    loaded = load_partner(file)
    assert not isinstance(loaded, Partner)
    return loaded


def text(**top: object) -> str:
    return yaml.safe_dump(document(**top), allow_unicode=True, sort_keys=False)


def line_of(text_: str, part: str) -> int:
    return next(number for number, line in enumerate(text_.splitlines(), 1) if part in line)


def changed(old: str, new: str) -> str:
    whole = text()
    assert old in whole
    return whole.replace(old, new, 1)


def test_the_committed_files_have_no_problem() -> None:
    found = load_partners(COMMITTED)
    assert found.broken == {}
    assert {"honoka", "tsubaki"} <= found.partners.keys()


def test_the_two_committed_partners_differ_in_the_scope_of_their_limit() -> None:
    partners = load_partners(COMMITTED).partners
    scopes = {slug: {limit.scope for limit in partner.limits} for slug, partner in partners.items()}
    assert scopes["honoka"] == {"organization"}
    assert scopes["tsubaki"] == {"vendor"}


def test_a_file_gives_a_frozen_partner_with_the_stem_as_slug(tmp_path: Path) -> None:
    file = tmp_path / "trial.yaml"
    file.write_text(text(), encoding="utf-8")
    partner = load_partner(file)
    assert isinstance(partner, Partner)
    assert partner.slug == "trial"
    with pytest.raises(ValueError, match="frozen"):
        partner.shards = 3  # type: ignore[misc]  # frozen: it must raise


def test_a_wrong_key_is_named_with_its_line_and_a_near_one(tmp_path: Path) -> None:
    whole = changed("read_seconds", "read_second")
    found = problems_of(tmp_path, whole)
    assert [problem.line for problem in found] == [line_of(whole, "read_second")]
    assert "timeouts.read_second: is not a known key; did you mean `read_seconds`?" in str(found[0])


def test_all_problems_of_a_file_come_together_in_the_order_of_its_lines(tmp_path: Path) -> None:
    whole = changed("style: bearer", "style: magic").replace("requests: 60", "requests: 0")
    whole = whole.replace("convert: date\n", "convert: dates\n").replace("name: name", "nome: name")
    whole = whole.replace("owner:\n  team: integration\n", "")
    found = problems_of(tmp_path, whole)
    assert [problem.line for problem in found] == sorted(problem.line for problem in found)
    joined = "\n".join(map(str, found))
    for part in ("owner: is missing", "auth", "limits.0.requests", "birth_date.convert"):
        assert part in joined


def test_what_depends_on_other_keys_is_told_although_some_of_them_are_wrong(tmp_path: Path) -> None:
    whole = changed("requests: 60", "requests: 0").replace("method: PUT", "method: put").replace("key: id", "keys: id")
    whole = whole.replace("family_name: name", "family_nome: name").replace("convert: datetime", "convert: moment")
    whole = whole.replace("patient: patient_key", "patient: patient_kex")
    found = {str(problem).split(": ")[1] for problem in problems_of(tmp_path, whole)}
    assert found == {
        "limits.0.requests",
        "push.put.method",
        "push.map.when.start.convert",
        "push.map.patient",
        "master.entities.patient.key",
        "master.entities.patient.keys",
        "master.entities.patient.map.family_nome",
    }


def test_all_that_a_push_contradicts_comes_together(tmp_path: Path) -> None:
    whole = text(push={"watch": True, "live": False, "post": {"method": "POST", "path": "/v1/visits/{ref}"}})
    found = "\n".join(map(str, problems_of(tmp_path, whole)))
    for part in ("`watch` starts", "needs `partner_ref`", "`post` cannot use {ref}"):
        assert part in found


def test_what_only_follows_from_another_mistake_is_not_told(tmp_path: Path) -> None:
    whole = changed("connect_seconds: 1", "connect_second: 1").replace("path: /v1/patients", "path: v1/patients")
    whole += "grant_ttl_seconds: 4\n"
    found = {str(problem).split(": ")[1] for problem in problems_of(tmp_path, whole)}
    assert found == {"timeouts.connect_second", "master.entities.patient.path"}


@given(drawn=st.data())
def test_a_mistake_is_told_whatever_else_is_wrong_in_other_sections(drawn: st.DataObject) -> None:
    mistakes = {
        "owner.team": ("team: integration", "team: 5"),
        "auth": ("style: bearer", "style: magic"),
        "timeouts.read_seconds": ("read_seconds: 1", "read_seconds: 0"),
        "limits.0.scope": ("scope: organization", "scope: all"),
        "master.entities.patient.paging.size_value": ("size_value: 2", "size_value: 0"),
        "master.entities.patient.map.birth_date.convert": ("convert: date\n", "convert: dates\n"),
        "push.withdraw.method": ("method: DELETE", "method: delete"),
        "push.map.status.codes": ("codes: visit_status_digit", "codes: none"),
        "push.map.patient": ("patient: patient_key", "patient: patient_kex"),
    }
    chosen = drawn.draw(st.sets(st.sampled_from(sorted(mistakes)), min_size=1))
    whole = text()
    for name in chosen:
        assert mistakes[name][0] in whole
        whole = whole.replace(*mistakes[name], 1)
    with tempfile.TemporaryDirectory() as folder:
        found = {str(problem).split(": ")[1] for problem in problems_of(Path(folder), whole)}
    assert found == chosen


def places_in(data: object, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in pairs:
        yield (*here, key)
        yield from places_in(value, (*here, key))


VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(0, 9) | st.sampled_from(["", "/v1/{key}", "cursor", "{x}", "a.b"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["from", "path", "style"]), inner),
    max_leaves=4,
)


@given(drawn=st.data())
def test_a_file_is_a_partner_or_problems_whatever_stands_in_it(drawn: st.DataObject) -> None:
    whole = deepcopy(document())
    for place in drawn.draw(st.lists(st.sampled_from(sorted(places_in(whole), key=str)), min_size=1, max_size=4)):
        section: Any = whole
        for step in place[:-1]:
            section = section.get(step, {}) if isinstance(section, dict) else {}
        if isinstance(section, dict):
            section[place[-1]] = drawn.draw(VALUES)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trial.yaml"
        file.write_text(yaml.safe_dump(whole, allow_unicode=True), encoding="utf-8")
        loaded = load_partner(file)
    assert isinstance(loaded, Partner) or loaded


def test_a_near_key_is_one_of_the_same_section(tmp_path: Path) -> None:
    # `record_at` is a key too, of push.read_back.
    found = problems_of(tmp_path, changed("records_at: data", "record_at: data"))
    assert "record_at: is not a known key; did you mean `records_at`?" in str(found[0])


def test_a_near_key_is_one_of_the_chosen_style(tmp_path: Path) -> None:
    paging = {"style": "cursor", "next_at": "next", "offest": "page"}
    (found,) = problems_of(tmp_path, text(entity={"paging": paging}))
    assert str(found).endswith("offest: is not a known key")


def test_a_wrong_source_is_named_with_a_near_one(tmp_path: Path) -> None:
    (found,) = problems_of(tmp_path, changed("from: start_at", "from: starts_at"))
    assert "starts_at is not a field of a visit; did you mean `start_at`?" in str(found)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("requests: 60", "requests: many"),
        ("requests: 60", "requests: 0"),
        ("read_seconds: 1", "read_seconds: 10000"),
        ("team: integration", "team: ''"),
        ("style: bearer", "style: magic"),
        ("style: bearer", "stile: bearer"),
        ("map:\n        family_name: name", "map: {}\n      map2:\n        family_name: name"),
        ("codes: visit_status_digit", "codes: [a]"),
        ("limits:\n", "limits: []\nlimit:\n"),
        ("scope: organization", "scope: organisation"),
        ("zone: Asia/Tokyo", "zone: Asia/Tokyo\n      value: [a]"),
    ],
)
def test_a_problem_is_told_in_our_own_words(tmp_path: Path, old: str, new: str) -> None:
    found = "\n".join(map(str, problems_of(tmp_path, changed(old, new))))
    assert not re.search(r"should|[Ii]nput|Tuple|validation|is not valid", found)


def test_a_file_may_hold_a_code_table_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "trial.yaml"
    file.write_text(changed("codes: visit_status_digit", "codes: {'P': planned, 'X': cancelled}"), encoding="utf-8")
    partner = load_partner(file)
    assert isinstance(partner, Partner)
    assert partner.push is not None
    convert = out_converter(partner.push.map["status"])
    assert (convert("planned"), convert("cancelled")) == ("P", "X")


def test_a_field_that_is_not_canonical_is_named_with_its_line(tmp_path: Path) -> None:
    whole = changed("birth_date:", "birthday:")
    found = problems_of(tmp_path, whole)
    assert [(problem.line, "is not a canonical field" in problem.message) for problem in found] == [
        (line_of(whole, "birthday:"), True)
    ]


def test_a_broken_file_leaves_the_others_running(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(text(), encoding="utf-8")
    (tmp_path / "bad.yaml").write_text("name: [", encoding="utf-8")
    found = load_partners(tmp_path)
    assert list(found.partners) == ["good"]
    assert list(found.broken) == ["bad"]


def test_two_files_with_one_slug_are_both_refused(tmp_path: Path) -> None:
    for name in ("twin.yaml", "twin.yml"):
        (tmp_path / name).write_text(text(), encoding="utf-8")
    found = load_partners(tmp_path)
    assert found.partners == {}
    assert [problem.file.name for problem in found.broken["twin"]] == ["twin.yaml", "twin.yml"]
    assert "two files have the slug twin" in str(found.broken["twin"][0])


@pytest.mark.parametrize("name", ["Trial.yaml", "9lives.yaml", "a.yaml", "with-dash.yaml", f"{'a' * 32}.yaml"])
def test_a_name_that_is_no_slug_is_a_problem(tmp_path: Path, name: str) -> None:
    assert "must be a slug" in str(problems_of(tmp_path, text(), name)[0])


def test_a_key_that_is_no_more_says_so_once(tmp_path: Path) -> None:
    (found,) = problems_of(tmp_path, text() + "base_url_from: connection\n")
    assert "base_url_from: is no key any more" in str(found)
    assert "connection; leave it out" in str(found)


def test_a_slug_does_not_stand_in_the_file(tmp_path: Path) -> None:
    assert "does not stand in the file" in str(problems_of(tmp_path, text() + "slug: other\n")[0])


def test_a_key_that_stands_twice_is_a_problem_at_the_second(tmp_path: Path) -> None:
    whole = text() + "kind: rest_json\n"
    (found,) = problems_of(tmp_path, whole)
    assert (found.line, "kind: stands here twice" in found.message) == (len(whole.splitlines()), True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ja: 試し", "ja: NO"),
        ("ja: 試し", "ja: on"),
        ("ja: 試し", "ja: 2026-11-23"),
        ("ja: 試し", "ja: 18:00"),
        ("ja: 試し", "ja: 0123"),
        ("ja: 試し", "ja: 1_000"),
        ("ja: 試し", "ja: .nan"),
        ("ja: 試し", "ja:"),
        ("ja: 試し", "ja: ~"),
        ("ja: 試し", "NO: 試し"),
        ("ja: 試し", "ja: &x 試し\n  en2: *x"),
        ("ja: 試し", "<<: {ja: 試し}"),
        ("ja: 試し", "ja: !!python/name:os.system ''"),
        ("ja: 試し", "? [a]\n  : 試し"),
        ("ja: 試し", "? {a: {b: [c, d]}}\n  : {e: [f]}"),
        ("ja: 試し", "&x ja: 試し\n  *x : 試し"),
    ],
)
def test_what_yaml_would_bend_is_reported_where_it_stands(tmp_path: Path, old: str, new: str) -> None:
    whole = changed(old, new)
    lines = {problem.line for problem in problems_of(tmp_path, whole)}
    assert lines & {2, 3}


def test_what_follows_a_value_that_nobody_reads_is_read_as_it_stands(tmp_path: Path) -> None:
    whole = f"secrets: {{a: [{{b: c}}], d: {{}}}}\nkind: [[]]\n{text()}kind: {{e: f}}\nshards: 0\n"
    last = len(whole.splitlines())
    found = [(problem.line, problem.message.partition(":")[0]) for problem in problems_of(tmp_path, whole)]
    assert {(1, "secrets"), (2, "kind"), (line_of(whole, "kind: rest_json"), "kind"), (last, "shards")} <= set(found)


def test_a_second_document_is_a_problem_where_it_begins(tmp_path: Path) -> None:
    whole = f"{text()}---\n{text()}"
    (found,) = problems_of(tmp_path, whole)
    assert (found.line, "second document" in found.message) == (line_of(whole, "---"), True)


def test_a_bent_value_is_one_problem_and_not_two(tmp_path: Path) -> None:
    assert len(problems_of(tmp_path, changed("ja: 試し", "ja: NO"))) == 1


@pytest.mark.parametrize(
    "line",
    ["password: hunter22", "api_key: hunter22", "client_secret: hunter22", "owner2: Bearer hunter2222222",
     "url: https://me:hunter22@host/"],
)  # fmt: skip
def test_what_looks_like_a_secret_is_refused_and_not_repeated(tmp_path: Path, line: str) -> None:
    found = problems_of(tmp_path, f"{text()}{line}\n")
    assert any("looks like a secret" in problem.message for problem in found)
    assert "hunter" not in "".join(map(str, found))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"text", b"\xff\xfe\x00", b"a: [", b"\ta: b", b"a: b\n---\nc: d", b"&a [*a]"]
)
def test_what_is_no_partner_file_is_a_problem_and_never_an_exception(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "trial.yaml"
    file.write_bytes(content)
    loaded = load_partner(file)
    assert not isinstance(loaded, Partner)
    assert loaded


def test_a_file_that_is_gone_and_a_folder_are_problems(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    assert list(load_partners(tmp_path).broken) == ["folder"]
    assert load_partner(tmp_path / "gone.yaml")


def test_a_folder_that_is_not_there_has_no_partners(tmp_path: Path) -> None:
    assert load_partners(tmp_path / "none").partners == {}


@pytest.mark.parametrize("deep", ["[" * 250_000, "- " * 100_000, "a: " + "{a: " * 50_000, "a: " + "[" * 30 + "]" * 30])
def test_deep_nesting_is_a_problem_and_does_not_end_the_process(tmp_path: Path, deep: str) -> None:
    assert "too deeply" in str(problems_of(tmp_path, deep)[0])


def test_a_very_large_file_is_a_problem(tmp_path: Path) -> None:
    assert "larger than" in str(problems_of(tmp_path, "# " * 200_000)[0])
