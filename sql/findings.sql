-- What the report reads of a validation (writer: sync_validate): texts, findings, figures by day. The scores of a run
-- come as four arrays of the same length; {texts} below are the expectations as JSON.

-- name: plan_by_index
-- For the rest of the transaction: these tables have statistics, and a day is a small part of them.
select set_config('enable_nestloop', 'on', true)

-- name: record_texts
-- Only what differs is written: validations of many partners share these rows.
insert into quality.expectation as e (entity, expectation, column_name, dimension, severity, owner, ja, en)
select %(entity)s, t.expectation, t.column_name, t.dimension, t.severity, t.owner, t.ja, t.en
from jsonb_to_recordset(%(texts)s::jsonb)
    t (expectation text, column_name text, dimension text, severity text, owner text, ja text, en text)
where not exists (
    select from quality.expectation k
    where (k.entity, k.expectation) = (%(entity)s, t.expectation)
      and (k.column_name, k.dimension, k.severity, k.owner, k.ja, k.en)
        is not distinct from (t.column_name, t.dimension, t.severity, t.owner, t.ja, t.en))
order by t.expectation
on conflict (entity, expectation) do update
set column_name = excluded.column_name, dimension = excluded.dimension, severity = excluded.severity,
    owner = excluded.owner, ja = excluded.ja, en = excluded.en, updated_at = now()

-- name: reopen_findings
-- An earlier judgement of this run has closed them, and now it fails: nothing was over.
update quality.finding f
set closed_run_key = null, closed_at = null, closed_told_at = null
from unnest(%(of_organization)s::text[], %(of_expectation)s::text[], %(failed)s::integer[])
    j (organization, expectation, failed)
where f.partner = %(partner)s and f.entity = %(entity)s and f.organization = j.organization
  and f.expectation = j.expectation and f.closed_run_key = %(run_key)s and j.failed > 0
  and not exists (
      select from quality.finding o
      where (o.partner, o.organization, o.entity, o.expectation) = (f.partner, f.organization, f.entity, f.expectation)
        and (o.closed_at is null or o.id > f.id))

-- name: note_failures
-- Opens a finding, or moves it on; before the run's earlier scores go. A run that is judged again counts once, also when
-- others have come in between. At most 1,000 failing keys are kept of each (quarantine.note_failing_keys), none of infos.
with judged as (
    select s.organization, s.expectation, s.evaluated, s.failed, t.severity,
        t.severity <> 'info' and s.failed <= 1000 as all_kept, s.organization = any (%(whole)s::text[]) as whole
    from unnest(%(of_organization)s::text[], %(of_expectation)s::text[], %(evaluated)s::integer[], %(failed)s::integer[])
        s (organization, expectation, evaluated, failed)
    join jsonb_to_recordset(%(texts)s::jsonb) t (expectation text, severity text) using (expectation)
    where s.failed > 0
)
insert into quality.finding as f (partner, organization, entity, expectation, severity, opened_run_key, last_run_key,
    evaluated, failed, known_all)
select %(partner)s::text, j.organization, %(entity)s::text, j.expectation, j.severity, %(run_key)s, %(run_key)s, j.evaluated,
    j.failed, j.all_kept
from judged j
where not exists (
    select from quality.finding o
    join quality.result r on (r.partner, r.organization, r.entity, r.expectation)
        = (o.partner, o.organization, o.entity, o.expectation) and r.run_key = %(run_key)s and r.failed > 0
    join quality.run u on (u.partner, u.organization, u.entity, u.run_key)
        = (r.partner, r.organization, r.entity, r.run_key) and u.at >= o.opened_at
    where (o.partner, o.organization, o.entity, o.expectation)
        = (%(partner)s::text, j.organization, %(entity)s::text, j.expectation)
      and o.closed_at is null and o.last_run_key <> %(run_key)s)
order by j.organization, j.expectation
on conflict (partner, organization, entity, expectation) where closed_at is null do update
set severity = excluded.severity, runs = f.runs + (f.last_run_key <> excluded.last_run_key)::integer,
    last_run_key = excluded.last_run_key,
    last_seen_at = case when f.last_run_key = excluded.last_run_key then f.last_seen_at else now() end,
    evaluated = excluded.evaluated, failed = excluded.failed,
    known_all = excluded.known_all and (f.known_all or excluded.organization::text = any (%(whole)s::text[]))
where (f.severity, f.last_run_key, f.evaluated, f.failed)
    is distinct from (excluded.severity, excluded.last_run_key, excluded.evaluated, excluded.failed)

-- name: close_findings
-- Everything judged has passed, and nothing that was known to fail was left out of it; or nothing is there any more that
-- could fail: no such value in a list of everything, no visit to come (decision 0031).
update quality.finding f
set closed_run_key = %(run_key)s, closed_at = now()
from unnest(%(organizations)s::text[]) o (organization)
cross join jsonb_to_recordset(%(texts)s::jsonb) t (expectation text, judged_whole boolean)
left join unnest(%(of_organization)s::text[], %(of_expectation)s::text[], %(evaluated)s::integer[], %(failed)s::integer[])
    s (organization, expectation, evaluated, failed) using (organization, expectation)
where f.partner = %(partner)s and f.entity = %(entity)s and f.organization = o.organization
  and f.expectation = t.expectation and f.closed_at is null and coalesce(s.failed, 0) = 0
  and case
        when s.evaluated > 0 then t.judged_whole or o.organization = any (%(whole)s::text[])
            or (f.known_all and not exists (
                select from quarantine.failing_key k
                where (k.partner, k.organization, k.entity, k.expectation)
                    = (f.partner, f.organization, f.entity, f.expectation)))
        else %(entity)s = 'visit' or (not t.judged_whole and o.organization = any (%(whole)s::text[]))
      end

-- name: days_of_run
-- The days in Asia/Tokyo that a run's scores stand under.
select distinct (at at time zone 'Asia/Tokyo')::date as day from quality.run
where partner = %(partner)s and entity = %(entity)s and run_key = %(run_key)s and organization = any (%(organizations)s)

-- name: forget_day
-- Figures that are made again; null is all.
delete from quality.day
where (%(partner)s::text is null or partner = %(partner)s) and (%(entity)s::text is null or entity = %(entity)s)
  and (%(day)s::date is null or day = %(day)s)

-- name: make_day
-- One row an organization, expectation and day, from the runs; null is all.
insert into quality.day (partner, organization, entity, expectation, day, dimension, severity, runs, evaluated, failed)
select partner, organization, entity, expectation, day, dimension, severity, runs, evaluated, failed
from quality.figures_by_day(%(partner)s, %(entity)s, %(day)s)

-- name: forget_day_score
-- Sums that are made again; null is all.
delete from quality.day_score
where (%(partner)s::text is null or partner = %(partner)s) and (%(entity)s::text is null or entity = %(entity)s)
  and (%(day)s::date is null or day = %(day)s)

-- name: make_day_score
-- Sums over organizations and expectations, from quality.day; null is all.
insert into quality.day_score (partner, entity, day, dimension, severity, evaluated, failed)
select partner, entity, day, dimension, severity, sum(evaluated)::bigint, sum(failed)::bigint from quality.day
where (%(partner)s::text is null or partner = %(partner)s) and (%(entity)s::text is null or entity = %(entity)s)
  and (%(day)s::date is null or day = %(day)s)
group by partner, entity, day, dimension, severity

-- name: whole_slices
-- The organizations of which this run has listed everything, and no other run has listed since.
select s.organization from staging.slice s
where s.partner = %(partner)s and s.entity = %(entity)s and s.run_key = %(run_key)s
  and s.organization = any (%(organizations)s) and s.mode = 'full' and s.state = 'complete'
  and s.run_key = (
      select n.run_key from staging.slice n
      where (n.partner, n.organization, n.entity) = (s.partner, s.organization, s.entity)
      order by n.started_at desc, n.run_key desc limit 1)

-- name: claim
-- As sync_run: what the digest has to tell of a partner; each is handed out once.
select c.over, f.organization, f.entity, f.expectation, f.severity, coalesce(f.owner, 'us') as owner, f.evaluated,
    f.failed, coalesce(f.ja, f.expectation) as ja, coalesce(f.en, f.expectation) as en
from quality.claim_findings(%(partner)s) c
join report.finding f on f.id = c.id
