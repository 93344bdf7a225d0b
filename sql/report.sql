-- What the pages read (login: sync_page), from the views of schema report, and the audited functions of the quarantine.
-- A statement that takes partners reads only what the person may see. Days are days in Asia/Tokyo.

-- name: begin_page
-- One snapshot for all figures of a page, nothing written, and an end to a query that takes too long.
set transaction isolation level repeatable read read only; set local statement_timeout = '20s'

-- name: today
-- The day in Asia/Tokyo.
select (now() at time zone 'Asia/Tokyo')::date as today

-- name: partners
-- Each partner with its last run.
select partner, last_run_at, last_run_key from report.partner order by partner

-- name: open_findings
-- How many causes are open, by partner and severity.
select partner, severity, count(*) as findings from report.finding
where open and partner = any (%(partners)s)
group by partner, severity

-- name: open_quarantine
-- How many records wait, and since when the oldest does, by partner.
select partner, count(*) as records, min(first_seen_at) as oldest_at from report.quarantine
where status = 'open' and partner = any (%(partners)s)
group by partner

-- name: overview_scores
-- Weights by partner and day for the trend, and by partner and dimension for the last days.
select partner, day, dimension, sum(weight_evaluated)::bigint as evaluated, sum(weight_failed)::bigint as failed,
    coalesce(sum(weight_evaluated) filter (where day >= %(recent)s), 0)::bigint as recent_evaluated,
    coalesce(sum(weight_failed) filter (where day >= %(recent)s), 0)::bigint as recent_failed
from report.score_day
where partner = any (%(partners)s) and day >= %(since)s
group by grouping sets ((partner, day), (partner, dimension))
order by partner, day

-- name: slices
-- The organizations and entities that a partner has been validated for, with the last run of each. A walk, one step each.
with recursive walk as (
    (select organization, entity from report.run where partner = %(partner)s order by organization, entity limit 1)
    union all
    select n.organization, n.entity from walk w
    cross join lateral (
        select r.organization, r.entity from report.run r
        where r.partner = %(partner)s and (r.organization, r.entity) > (w.organization, w.entity)
        order by r.organization, r.entity limit 1) n
)
select organization, entity from walk

-- name: recent_runs
-- The last runs of a partner, newest first, all organizations together: found among its last rows, summed over all.
with last as materialized (
    select run_key, at from report.run
    where partner = %(partner)s and entity = %(entity)s order by at desc limit 600
), chosen as materialized (
    select run_key from last group by run_key order by max(at) desc limit 12
)
select r.run_key, max(r.at) as at, sum(r.evaluated)::bigint as evaluated, sum(r.quarantined)::bigint as quarantined,
    sum(r.returned)::bigint as returned, sum(r.waiting)::bigint as waiting
from chosen c
join report.run r using (run_key)
where r.partner = %(partner)s and r.entity = %(entity)s
group by r.run_key
order by at desc

-- name: entity_scores
-- Weights of an entity of a partner by day and dimension.
select day, dimension, sum(weight_evaluated)::bigint as evaluated, sum(weight_failed)::bigint as failed
from report.score_day
where partner = %(partner)s and entity = %(entity)s and day >= %(since)s
group by day, dimension
order by day

-- name: entity_scores_of_organization
-- The same for one organization, from its expectations.
select day, dimension, sum(d.evaluated * w.weight)::bigint as evaluated, sum(d.failed * w.weight)::bigint as failed
from report.expectation_day d
join (values ('critical', 5), ('warning', 2), ('info', 1)) w (severity, weight) using (severity)
where partner = %(partner)s and organization = %(organization)s and entity = %(entity)s and day >= %(since)s
group by day, dimension
order by day

-- name: expectations
-- The expectations of an entity.
select expectation, column_name, dimension, severity, owner, ja, en, weight from report.expectation
where entity = %(entity)s
order by weight desc, dimension, expectation

-- name: expectation_days
-- What was judged and failed, by expectation and day. Empty organization: all.
select expectation, day, sum(evaluated)::bigint as evaluated, sum(failed)::bigint as failed, sum(runs)::bigint as runs
from report.expectation_day
where partner = %(partner)s and entity = %(entity)s and day >= %(since)s
  and (%(organization)s::text = '' or organization = %(organization)s)
  and (%(expectation)s::text = '' or expectation = %(expectation)s)
group by expectation, day
order by expectation, day

-- name: findings_by_expectation
-- The open causes of an entity, all organizations or one.
select expectation, count(*) as findings, min(opened_at) as opened_at, max(last_seen_at) as last_seen_at,
    sum(failed)::bigint as failed, sum(evaluated)::bigint as evaluated
from report.finding
where open and partner = %(partner)s and entity = %(entity)s
  and (%(organization)s::text = '' or organization = %(organization)s)
group by expectation

-- name: findings_open
-- Open causes, those that were met last first, a page of them.
select * from report.finding
where open and partner = any (%(partners)s) and (%(entity)s::text = '' or entity = %(entity)s)
  and (%(organization)s::text = '' or organization = %(organization)s)
  and (%(expectation)s::text = '' or expectation = %(expectation)s)
  and (%(severity)s::text = '' or severity = %(severity)s)
order by last_seen_at desc, id
limit %(limit)s offset %(offset)s

-- name: findings_closed
-- Closed causes, the latest first, a page of them.
select * from report.finding
where not open and partner = any (%(partners)s) and (%(entity)s::text = '' or entity = %(entity)s)
  and (%(organization)s::text = '' or organization = %(organization)s)
  and (%(expectation)s::text = '' or expectation = %(expectation)s)
  and (%(severity)s::text = '' or severity = %(severity)s)
order by closed_at desc, id
limit %(limit)s offset %(offset)s

-- name: failing_records
-- The records that fail an expectation now, by our own ids, a page of them.
select organization, coalesce(canonical_id::text, visit_id) as our_id, key_length, first_seen_at, last_seen_at
from report.failing_key
where partner = %(partner)s and entity = %(entity)s and expectation = %(expectation)s
  and (%(organization)s::text = '' or organization = %(organization)s)
order by organization, first_seen_at, our_id
limit %(limit)s offset %(offset)s

-- name: drift
-- Fields of a partner's records that are new, changed or gone, the latest first.
select organization, path, status, types, changed_from, share, last_seen_at,
    case status when 'vanished' then vanished_at when 'changed' then changed_at else first_seen_at end as since_at
from report.drift
where partner = %(partner)s and entity = %(entity)s and status <> 'known'
  and (%(organization)s::text = '' or organization = %(organization)s)
order by since_at desc, path, organization
limit 50

-- name: run_slices
-- What one run judged.
select organization, entity, at, evaluated, quarantined, returned, waiting from report.run
where run_key = %(run_key)s and partner = %(partner)s
order by organization, entity

-- name: run_results
-- One run's expectations, all organizations together, those that fail first.
select r.entity, r.expectation, r.dimension, r.severity, r.owner, sum(r.evaluated)::bigint as evaluated,
    sum(r.failed)::bigint as failed, count(*) filter (where r.failed > 0) as organizations, max(e.ja) as ja, max(e.en) as en
from report.result r
left join report.expectation e using (entity, expectation)
where r.run_key = %(run_key)s and r.partner = %(partner)s
group by r.entity, r.expectation, r.dimension, r.severity, r.owner
order by sum(r.failed) = 0, array_position(array['critical', 'warning', 'info'], r.severity), sum(r.failed) desc, r.entity,
    r.expectation

-- name: run_findings
-- Causes that a run has opened or closed.
select id, organization, entity, expectation, severity, ja, en, opened_at, failed, closed_at,
    opened_run_key = %(run_key)s as opened_here
from report.finding
where partner = %(partner)s and (opened_run_key = %(run_key)s or closed_run_key = %(run_key)s)
order by closed_at is not null, opened_at, id
limit 200

-- name: quarantine_places
-- Where records wait.
select partner, organization, entity, count(*) as records, min(first_seen_at) as oldest_at from report.quarantine
where status = 'open' and partner = any (%(partners)s)
group by partner, organization, entity
order by partner, organization, entity

-- name: quarantine_rows
-- Records that wait, the oldest first, a page of them.
select id, partner, organization, entity, first_seen_at, last_seen_at, copies, has_key, reasons, released_at
from report.quarantine
where status = 'open' and partner = any (%(partners)s)
  and (%(organization)s::text = '' or organization = %(organization)s)
  and (%(entity)s::text = '' or entity = %(entity)s)
order by first_seen_at, id
limit %(limit)s offset %(offset)s

-- name: quarantine_row
-- One record.
select id, partner, organization, entity, status, first_seen_at, last_seen_at, first_run_key, last_run_key, returned_at,
    returned_as, copies, has_key, reasons, released_at
from report.quarantine
where id = %(id)s

-- name: record_shape
-- The record's field names, types and lengths.
select quarantine.record_shape(%(id)s) as shape

-- name: record_content
-- Names the content that is shown, so that a release is of what was looked at.
select quarantine.record_content(%(id)s) as content

-- name: all_expectations
-- The sentences of all expectations.
select entity, expectation, ja, en from report.expectation

-- name: read_record
-- One record as it came; written down as a look of %(who)s.
select source_key, staged, raw from quarantine.read_record(%(id)s, %(who)s)

-- name: read_keys
-- The partner's keys that fail an expectation; written down as a look of %(who)s.
select source_key, first_seen_at, last_seen_at
from quarantine.read_keys(%(partner)s, %(organization)s, %(entity)s, %(expectation)s, %(who)s)

-- name: read_open
-- The records of an organization that wait, for a file; written down as a download of %(who)s.
select id, entity, source_key, first_seen_at, reasons, staged, raw
from quarantine.read_open(%(partner)s, %(organization)s, %(entity)s, %(who)s)

-- name: audit
-- Who has looked at what, the latest first, a page of it.
select at, who, action, partner, organization, entity, subject, rows, reason from report.audit
where %(partner)s::text = '' or partner = %(partner)s
order by at desc, id desc
limit %(limit)s offset %(offset)s
