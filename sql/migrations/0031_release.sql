-- What a validation writes for the report, a released record's way back in, and what was told of a finding.

-- A finding is closed by what still fails. known_all: every record that fails it is in quarantine.failing_key, so that
-- a run which judged only some records can tell. *_told_at: when the digest said so.
alter table quality.finding
    add column known_all boolean not null default false,
    add column opened_told_at timestamptz,
    add column closed_told_at timestamptz;
create index finding_untold on quality.finding (partner)
    where (closed_at is null and opened_told_at is null) or (closed_at is not null and closed_told_at is null);

-- Takes the right to tell of a partner's findings: each opening and each end is handed out once. The end of what nobody
-- was told of is not told.
create function quality.claim_findings(p_partner text) returns table (id bigint, over boolean)
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    with opened as (
        update quality.finding f set opened_told_at = clock_timestamp()
        where f.partner = p_partner and f.closed_at is null and f.opened_told_at is null
        returning f.id
    ), closed as (
        update quality.finding f set closed_told_at = clock_timestamp()
        where f.partner = p_partner and f.closed_at is not null and f.closed_told_at is null
          and f.opened_told_at is not null
        returning f.id
    )
    select o.id, false from opened o union all select c.id, true from closed c
$$;
revoke execute on function quality.claim_findings from public;
grant execute on function quality.claim_findings to sync_run;

-- The definition of quality.day; null is all. One body that the planner takes into the query: a day reads its own runs.
-- What a run said of dimension and severity last on a day is what the day says.
create function quality.figures_by_day(p_partner text, p_entity text, p_day date) returns setof quality.day
    language sql stable as $$
    select f.partner, f.organization, f.entity, f.expectation, f.day,
        (array_agg(f.dimension order by f.last_at desc, f.dimension))[1],
        (array_agg(f.severity order by f.last_at desc, f.severity))[1],
        sum(f.runs)::integer, sum(f.evaluated)::bigint, sum(f.failed)::bigint
    from (
        select r.partner, r.organization, r.entity, s.expectation, (r.at at time zone 'Asia/Tokyo')::date as day,
            s.dimension, s.severity, count(*) as runs, sum(s.evaluated) as evaluated, sum(s.failed) as failed,
            max(r.at) as last_at
        from quality.run r
        join quality.result s on s.partner = r.partner and s.organization = r.organization and s.entity = r.entity
            and s.run_key = r.run_key
        where (p_partner is null or r.partner = p_partner) and (p_entity is null or r.entity = p_entity)
          and (p_day is null or (r.at >= p_day::timestamp at time zone 'Asia/Tokyo'
              and r.at < (p_day + 1)::timestamp at time zone 'Asia/Tokyo'))
        group by r.partner, r.organization, r.entity, s.expectation, (r.at at time zone 'Asia/Tokyo')::date,
            s.dimension, s.severity
    ) f
    group by f.partner, f.organization, f.entity, f.expectation, f.day
$$;
revoke execute on function quality.figures_by_day from public;
grant execute on function quality.figures_by_day to sync_validate;

-- A released record is merged from its quarantine row until a merge has taken it ('released', as 'kept'); when the same
-- content is listed afterwards it passes.
alter table quarantine.row drop constraint row_returned_as_check,
    add constraint row_returned_as_check check (returned_as in ('kept', 'newer', 'deleted', 'released'));

create or replace view quality.accepted_office as
select s.partner, s.organization, s.run_key, s.source_key, s.source_updated_at, s.deleted,
    s.office_number, s.name, s.kana, s.postal_code, s.address, s.phone, s.active, s.extra
from staging.office s
join quality.run r on r.partner = s.partner and r.organization = s.organization and r.entity = 'office'
    and r.run_key = s.run_key and s.row_id <= r.last_row_id
where not exists (
    select from quality.left_out l
    where l.partner = s.partner and l.organization = s.organization and l.entity = 'office' and l.run_key = s.run_key
      and l.row_id = s.row_id)
union all
select q.partner, q.organization, q.returned_run_key, q.source_key, k.source_updated_at, false,
    k.office_number, k.name, k.kana, k.postal_code, k.address, k.phone, k.active, k.extra
from quarantine.row q
cross join lateral jsonb_populate_record(null::staging.office, q.staged -> 0) k
where q.entity = 'office' and q.returned_as in ('kept', 'released');

create or replace view quality.accepted_practitioner as
select s.partner, s.organization, s.run_key, s.source_key, s.source_updated_at, s.deleted,
    s.office_key, s.family_name, s.given_name, s.family_kana, s.given_kana, s.role, s.license_number,
    s.valid_from, s.valid_to, s.active, s.extra
from staging.practitioner s
join quality.run r on r.partner = s.partner and r.organization = s.organization and r.entity = 'practitioner'
    and r.run_key = s.run_key and s.row_id <= r.last_row_id
where not exists (
    select from quality.left_out l
    where l.partner = s.partner and l.organization = s.organization and l.entity = 'practitioner'
      and l.run_key = s.run_key and l.row_id = s.row_id)
union all
select q.partner, q.organization, q.returned_run_key, q.source_key, k.source_updated_at, false,
    k.office_key, k.family_name, k.given_name, k.family_kana, k.given_kana, k.role, k.license_number,
    k.valid_from, k.valid_to, k.active, k.extra
from quarantine.row q
cross join lateral jsonb_populate_record(null::staging.practitioner, q.staged -> 0) k
where q.entity = 'practitioner' and q.returned_as in ('kept', 'released');

create or replace view quality.accepted_patient as
select s.partner, s.organization, s.run_key, s.source_key, s.source_updated_at, s.deleted,
    s.office_key, s.family_name, s.given_name, s.family_kana, s.given_kana, s.birth_date, s.gender, s.postal_code,
    s.prefecture, s.city, s.street, s.phone, s.insurer_number, s.insured_number, s.care_level,
    s.valid_from, s.valid_to, s.active, s.extra
from staging.patient s
join quality.run r on r.partner = s.partner and r.organization = s.organization and r.entity = 'patient'
    and r.run_key = s.run_key and s.row_id <= r.last_row_id
where not exists (
    select from quality.left_out l
    where l.partner = s.partner and l.organization = s.organization and l.entity = 'patient' and l.run_key = s.run_key
      and l.row_id = s.row_id)
union all
select q.partner, q.organization, q.returned_run_key, q.source_key, k.source_updated_at, false,
    k.office_key, k.family_name, k.given_name, k.family_kana, k.given_kana, k.birth_date, k.gender, k.postal_code,
    k.prefecture, k.city, k.street, k.phone, k.insurer_number, k.insured_number, k.care_level,
    k.valid_from, k.valid_to, k.active, k.extra
from quarantine.row q
cross join lateral jsonb_populate_record(null::staging.patient, q.staged -> 0) k
where q.entity = 'patient' and q.returned_as in ('kept', 'released');

-- Names the content of a record, for whoever has seen it: what is released is what was looked at.
create function quarantine.record_content(p_id bigint) returns text
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select md5(q.staged::text) from quarantine.row q where q.id = p_id
$$;
revoke execute on function quarantine.record_content from public;
grant execute on function quarantine.record_content to sync_page;

-- Why a record cannot be released, as a code of the catalogue; null when it can. Nothing personal is shown.
-- p_content: the content that was looked at; null: whatever it is now.
create function quarantine.release_refusal(p_id bigint, p_content text default null) returns text
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select case
        when q.id is null or q.status <> 'open' then 'release_not_waiting'
        when p_content <> md5(q.staged::text) then 'release_changed'
        when q.source_key is null then 'release_without_key'
        when jsonb_array_length(q.staged) <> 1 then 'release_several_copies'
        when coalesce((q.staged -> 0 ->> 'deleted')::boolean, false) then 'release_of_a_deletion'
        when exists (select from quarantine.release l where l.quarantine_id = q.id and l.content = md5(q.staged::text))
            then 'release_given'
    end
    from (select p_id as wanted) w left join quarantine.row q on q.id = w.wanted
$$;
revoke execute on function quarantine.release_refusal from public;
grant execute on function quarantine.release_refusal to sync_page;

-- Of two at one time the second is told that it was released already; one release is one event.
drop function quarantine.release_record(bigint, text, text);
create function quarantine.release_record(p_id bigint, p_who text, p_reason text, p_content text default null)
    returns boolean
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    found quarantine.row;
begin
    select * into found from quarantine.row q where q.id = p_id for update;
    if quarantine.release_refusal(p_id, p_content) is not null then
        return false;
    end if;
    insert into quarantine.release (quarantine_id, content, released_by, reason)
    values (p_id, md5(found.staged::text), p_who, p_reason);
    perform quarantine.audited(p_who, 'release_record', found.partner, found.organization, found.entity, p_id, 1, p_reason);
    return true;
end $$;

revoke execute on function quarantine.release_record from public;
grant execute on function quarantine.release_record to sync_page;

-- released_at speaks of the record as it is now: a release of what the partner has changed since is none.
create or replace view report.quarantine as
select q.id, q.partner, q.organization, q.entity, q.status, q.first_seen_at, q.last_seen_at, q.first_run_key, q.last_run_key,
    q.returned_at, q.returned_as, jsonb_array_length(q.raw) as copies, q.source_key is not null as has_key,
    array(select e ->> 'expectation' from jsonb_array_elements(q.reasons) e order by 1) as expectations,
    q.reasons, l.released_at
from quarantine.row q
left join lateral (
    select max(r.at) as released_at from quarantine.release r
    where r.quarantine_id = q.id and r.content = md5(q.staged::text)) l on true;

create view report.organization as select code as organization, name from sync.organization;
comment on view report.organization is '法人 / The organizations'' names, to be joined by their code.';
grant select on report.organization to sync_analyst, sync_page;

-- What each column of the report means, as a BI tool shows it.

comment on column report.expectation.entity is '対象 / office, practitioner, patient or visit.';
comment on column report.expectation.expectation is 'コード / Names the expectation within its entity, for ever.';
comment on column report.expectation.column_name is '項目 / The field judged; null: the list as a whole.';
comment on column report.expectation.dimension is '観点 / completeness, accuracy, uniqueness, consistency or timeliness.';
comment on column report.expectation.severity is '重要度 / critical keeps a record out, warning and info are counted.';
comment on column report.expectation.owner is '担当 / Who acts on a failure: user (the customer), partner, us.';
comment on column report.expectation.ja is '説明 / What is expected, in Japanese.';
comment on column report.expectation.en is 'What is expected, in English.';
comment on column report.expectation.weight is '重み / How much one value counts in a score: critical 5, warning 2, info 1.';
comment on column report.organization.organization is '法人コード / Our own code of the organization.';
comment on column report.organization.name is '法人名 / Its name.';
comment on column report.run.partner is '連携先 / The partner''s slug, as in its file.';
comment on column report.run.organization is '法人コード / Our own code of the organization.';
comment on column report.run.entity is '対象 / office, practitioner, patient or visit.';
comment on column report.run.run_key is '実行 / The DAG run: <DAG id>/<run id>.';
comment on column report.run.at is '検証日時 / When the judgement was written.';
comment on column report.run.evaluated is '判定件数 / Records judged, those that waited in quarantine included.';
comment on column report.run.quarantined is '隔離件数 / Records of this run that failed a critical expectation.';
comment on column report.run.returned is '復帰件数 / Records that left the quarantine by this run.';
comment on column report.run.waiting is '隔離中 / Records in quarantine after this run.';
comment on column report.result.partner is '連携先 / The partner''s slug.';
comment on column report.result.organization is '法人コード / Our own code of the organization.';
comment on column report.result.entity is '対象 / office, practitioner, patient or visit.';
comment on column report.result.run_key is '実行 / The DAG run, as in report.run.';
comment on column report.result.at is '検証日時 / When the judgement was written.';
comment on column report.result.expectation is 'コード / As in report.expectation.';
comment on column report.result.dimension is '観点 / The dimension at the time of the run.';
comment on column report.result.severity is '重要度 / The severity at the time of the run.';
comment on column report.result.owner is '担当 / The owner at the time of the run.';
comment on column report.result.evaluated is '判定件数 / Values judged; empty ones are not, unless emptiness is the question.';
comment on column report.result.failed is '不合格件数 / Values that failed.';
comment on column report.result.passed_share is '合格率 / 0 to 1; null when nothing was judged.';
comment on column report.expectation_day.partner is '連携先 / The partner''s slug.';
comment on column report.expectation_day.organization is '法人コード / Our own code of the organization.';
comment on column report.expectation_day.entity is '対象 / office, practitioner, patient or visit.';
comment on column report.expectation_day.expectation is 'コード / As in report.expectation.';
comment on column report.expectation_day.day is '日 / A day in Asia/Tokyo.';
comment on column report.expectation_day.dimension is '観点 / As the day''s last run had it.';
comment on column report.expectation_day.severity is '重要度 / As the day''s last run had it.';
comment on column report.expectation_day.runs is '実行回数 / Runs of that day.';
comment on column report.expectation_day.evaluated is '判定件数 / Values judged in all runs of the day.';
comment on column report.expectation_day.failed is '不合格件数 / Values that failed in all runs of the day.';
comment on column report.expectation_day.passed_share is '合格率 / 0 to 1; null when nothing was judged.';
comment on column report.score_day.partner is '連携先 / The partner''s slug.';
comment on column report.score_day.entity is '対象 / office, practitioner, patient or visit.';
comment on column report.score_day.day is '日 / A day in Asia/Tokyo.';
comment on column report.score_day.dimension is '観点 / completeness, accuracy, uniqueness, consistency or timeliness.';
comment on column report.score_day.evaluated is '判定件数 / Values judged, without weights.';
comment on column report.score_day.failed is '不合格件数 / Values that failed, without weights.';
comment on column report.score_day.weight_evaluated is '判定の重み / Values judged, each times the weight of its severity.';
comment on column report.score_day.weight_failed is '不合格の重み / Values that failed, each times the weight of its severity.';
comment on column report.score_day.score is '0 から 1 / 1 - weight_failed / weight_evaluated; null when nothing was judged.';
comment on column report.finding.id is '番号 / Our own id of the finding.';
comment on column report.finding.partner is '連携先 / The partner''s slug.';
comment on column report.finding.organization is '法人コード / Our own code of the organization.';
comment on column report.finding.entity is '対象 / office, practitioner, patient or visit.';
comment on column report.finding.expectation is 'コード / As in report.expectation.';
comment on column report.finding.severity is '重要度 / As the last run that met it had it.';
comment on column report.finding.dimension is '観点 / Of the expectation as it is now.';
comment on column report.finding.owner is '担当 / Who acts: user, partner or us.';
comment on column report.finding.column_name is '項目 / The field; null: the list as a whole.';
comment on column report.finding.ja is '説明 / What is expected, in Japanese.';
comment on column report.finding.en is 'What is expected, in English.';
comment on column report.finding.opened_at is '初回 / When the first run met it.';
comment on column report.finding.opened_run_key is '初回の実行 / The run that met it first.';
comment on column report.finding.last_seen_at is '最終 / When a run met it last.';
comment on column report.finding.last_run_key is '最終の実行 / The run that met it last.';
comment on column report.finding.runs is '回数 / How many runs have met it.';
comment on column report.finding.evaluated is '判定件数 / What the last run that met it judged.';
comment on column report.finding.failed is '不合格件数 / What the last run that met it counted.';
comment on column report.finding.closed_at is '解消日時 / When it was over; null while it is open.';
comment on column report.finding.closed_run_key is '解消の実行 / The run in which nothing failed any more.';
comment on column report.finding.open is '未解消 / Whether it is open.';
comment on column report.quarantine.id is '番号 / Our own id of the waiting record; the pages name it by this.';
comment on column report.quarantine.partner is '連携先 / The partner''s slug.';
comment on column report.quarantine.organization is '法人コード / Our own code of the organization.';
comment on column report.quarantine.entity is '対象 / office, practitioner or patient.';
comment on column report.quarantine.status is '状態 / open: it waits; returned: it does not any more.';
comment on column report.quarantine.first_seen_at is '隔離開始 / Since when it waits; its age counts from here.';
comment on column report.quarantine.last_seen_at is '最終受信 / When the partner listed it last.';
comment on column report.quarantine.first_run_key is '隔離した実行 / The run that put it there.';
comment on column report.quarantine.last_run_key is '最終の実行 / The run that listed it last.';
comment on column report.quarantine.returned_at is '解除日時 / When it left; null while it waits.';
comment on column report.quarantine.returned_as is '解除の種類 / kept: it passes now; newer: the partner sent one that passes; deleted: the partner deleted it; released: a person let it in.';
comment on column report.quarantine.copies is '件数 / How many different contents came under its key.';
comment on column report.quarantine.has_key is '番号の有無 / Whether the partner gave it a key.';
comment on column report.quarantine.expectations is '不合格の期待値 / The codes of what it fails.';
comment on column report.quarantine.reasons is 'What it failed: expectation, column, dimension, severity, owner; never a value.';
comment on column report.quarantine.released_at is '手動解除 / When a person released what it holds now; the next run takes it in.';
comment on column report.failing_key.partner is '連携先 / The partner''s slug.';
comment on column report.failing_key.organization is '法人コード / Our own code of the organization.';
comment on column report.failing_key.entity is '対象 / office, practitioner or patient.';
comment on column report.failing_key.expectation is 'コード / As in report.expectation.';
comment on column report.failing_key.canonical_id is '当方の番号 / Our own id of the record; null while it has none.';
comment on column report.failing_key.key_length is '番号の桁数 / The length of the partner''s key, which is personal and not shown.';
comment on column report.failing_key.first_seen_at is '初回 / When it failed first.';
comment on column report.failing_key.last_seen_at is '最終 / When it failed last.';
comment on column report.failing_key.first_run_key is '初回の実行 / The run in which it failed first.';
comment on column report.failing_key.last_run_key is '最終の実行 / The run in which it failed last.';
comment on column report.audit.id is '番号 / Grows with each event.';
comment on column report.audit.at is '日時 / When it was done.';
comment on column report.audit.who is '担当者 / The login of the person.';
comment on column report.audit.action is '操作 / unmask_record, unmask_keys, download_csv or release_record.';
comment on column report.audit.partner is '連携先 / The partner''s slug.';
comment on column report.audit.organization is '法人コード / Our own code; empty: all.';
comment on column report.audit.entity is '対象 / Empty: all.';
comment on column report.audit.subject is '対象の番号 / Our own id of the quarantined record, where it was one.';
comment on column report.audit.rows is '件数 / How many records were shown, downloaded or released.';
comment on column report.audit.reason is '理由 / The reason of a release, or which expectation''s keys were shown.';
comment on column report.drift.partner is '連携先 / The partner''s slug.';
comment on column report.drift.organization is '法人コード / Our own code of the organization.';
comment on column report.drift.entity is '対象 / office, practitioner or patient.';
comment on column report.drift.first_seen_at is '初回 / When a listing had it first.';
comment on column report.drift.first_run_key is '初回の実行 / The run that had it first.';
comment on column report.drift.last_seen_at is '最終 / When a listing had it last.';
comment on column report.drift.last_run_key is '最終の実行 / The run that had it last.';
comment on column report.drift.changed_at is '変化 / When its types changed last.';
comment on column report.drift.changed_run_key is '変化した実行 / The run in which they changed.';
comment on column report.drift.vanished_at is '消失 / Since when full listings have it no longer.';
comment on column report.drift.vanished_run_key is '消失した実行 / The run that missed it first.';
