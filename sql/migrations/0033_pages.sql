-- What the pages in Airflow's UI read beside 0027: each partner's last run, and the shape of a quarantined record.

-- A walk over the partners, one step each: a distinct over a year of runs would read them all.
create view report.partner as
with recursive walk as (
    (select r.partner from quality.run r order by r.partner limit 1)
    union all
    select n.partner from walk w
    cross join lateral (select r.partner from quality.run r where r.partner > w.partner order by r.partner limit 1) n
)
select w.partner, l.at as last_run_at, l.run_key as last_run_key
from walk w
cross join lateral (select r.at, r.run_key from quality.run r where r.partner = w.partner order by r.at desc limit 1) l;
comment on view report.partner is '連携先 / Each partner that has been validated, and its last run.';
comment on column report.partner.partner is '連携先 / The partner''s slug, as in its file.';
comment on column report.partner.last_run_at is '最終実行日時 / When its last judgement was written.';
comment on column report.partner.last_run_key is '最終実行 / The DAG run that wrote it: <DAG id>/<run id>.';

-- The same as partner_sync.masking.masked: names, types and lengths, never a value (rule 15).
create function quarantine.masked(value jsonb) returns jsonb
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    return case jsonb_typeof(value)
        when 'object' then (
            select coalesce(jsonb_object_agg(e.key, quarantine.masked(e.value)), '{}') from jsonb_each(value) e)
        when 'array' then (
            select coalesce(jsonb_agg(quarantine.masked(e.value) order by e.nth), '[]')
            from jsonb_array_elements(value) with ordinality e (value, nth))
        when 'string' then to_jsonb('text(' || length(value #>> '{}') || ')')
        when 'number' then to_jsonb(case when value::text like '%.%' then 'float' else 'int' end)
        when 'boolean' then to_jsonb('bool'::text)
        else to_jsonb('null'::text)
    end;
end $$;

-- The shape of each copy of a record as it came, for the page; nothing personal, so nothing to audit.
create function quarantine.record_shape(p_id bigint) returns jsonb
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select quarantine.masked(q.raw) from quarantine.row q where q.id = p_id
$$;

revoke execute on function quarantine.masked, quarantine.record_shape from public;
grant execute on function quarantine.record_shape to sync_page;
grant select on report.partner to sync_analyst, sync_page;

-- As in 0027, but each key is looked up by the index: canonical.partner_key is a union into which no join is pushed, so a
-- page of 50 keys read every key of the partner.
create or replace view report.failing_key as
select k.partner, k.organization, k.entity, k.expectation, coalesce(j.canonical_id, x.canonical_id) as canonical_id,
    length(k.source_key) as key_length, k.first_seen_at, k.last_seen_at, k.first_run_key, k.last_run_key,
    case when k.entity = 'visit' then k.source_key end as visit_id
from quarantine.failing_key k
left join canonical.key_map j using (partner, organization, entity, source_key)
left join lateral (
    select c.canonical_id from canonical.crosswalk c
    where (c.partner, c.organization, c.entity, c.source_key) = (k.partner, k.organization, k.entity, k.source_key)
      and not exists (
          select from canonical.key_map m
          where (m.partner, m.organization, m.entity, m.canonical_id)
              = (c.partner, c.organization, c.entity, c.canonical_id))) x on true;
comment on column report.failing_key.visit_id is '予定の番号 / The product''s id of a visit that fails; our own, so it is shown.';

-- Long lists, oldest first and newest first, page by page.
create index row_open_by_age on quarantine.row (first_seen_at, id) where status = 'open';
create index row_open_by_partner on quarantine.row (partner, first_seen_at, id) where status = 'open';
-- A partner of many organizations: the days that a page shows, and not the year.
create index day_of_entity on quality.day (partner, entity, day);
create index finding_open_by_partner on quality.finding (partner, last_seen_at desc, id) where closed_at is null;
create index finding_closed_by_partner on quality.finding (partner, closed_at desc, id) where closed_at is not null;
create index finding_closed_run on quality.finding (closed_run_key) where closed_at is not null;
create index quarantine_release_row on quarantine.release (quarantine_id);
create index audit_event_at on audit.event (at desc, id);
