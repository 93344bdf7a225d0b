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
    select r.partner, r.organization, r.entity, s.expectation, (r.at at time zone 'Asia/Tokyo')::date,
        (array_agg(s.dimension order by r.at desc, r.run_key desc))[1],
        (array_agg(s.severity order by r.at desc, r.run_key desc))[1],
        count(*)::integer, sum(s.evaluated)::bigint, sum(s.failed)::bigint
    from quality.run r
    join quality.result s on s.partner = r.partner and s.organization = r.organization and s.entity = r.entity
        and s.run_key = r.run_key
    where (p_partner is null or r.partner = p_partner) and (p_entity is null or r.entity = p_entity)
      and (p_day is null or (r.at >= p_day::timestamp at time zone 'Asia/Tokyo'
          and r.at < (p_day + 1)::timestamp at time zone 'Asia/Tokyo'))
    group by r.partner, r.organization, r.entity, s.expectation, (r.at at time zone 'Asia/Tokyo')::date
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

-- Why a record cannot be released, as a code of the catalogue; null when it can. Nothing personal is shown.
create function quarantine.release_refusal(p_id bigint) returns text
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select case
        when q.id is null or q.status <> 'open' then 'release_not_waiting'
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
create or replace function quarantine.release_record(p_id bigint, p_who text, p_reason text) returns boolean
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    found quarantine.row;
begin
    select * into found from quarantine.row q where q.id = p_id for update;
    if quarantine.release_refusal(p_id) is not null then
        return false;
    end if;
    insert into quarantine.release (quarantine_id, content, released_by, reason)
    values (p_id, md5(found.staged::text), p_who, p_reason);
    perform quarantine.audited(p_who, 'release_record', found.partner, found.organization, found.entity, p_id, 1, p_reason);
    return true;
end $$;

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
