-- name: open
-- The comparison of this run and round, begun or found, by the database's clock.
select id, listed, position, records, ended_at is not null as ended
from sync.open_reconciliation(%(partner)s, %(organization)s, %(week)s, %(run_key)s, %(round)s);

-- name: begin_listing
-- The list is read from its beginning.
select id, listed, position, records, ended_at is not null as ended from sync.begin_listing(%(id)s);

-- name: now
-- The database's clock, before the partner is asked.
select clock_timestamp() as at;

-- name: note_sightings
-- What the partner has shown.
select sync.note_sightings(%(id)s, %(sightings)s);

-- name: note_page
-- How far the list has been read.
select id, listed, position, records, ended_at is not null as ended from sync.note_page(%(id)s, %(page)s);

-- name: unconfirmed
-- Visits of which a difference was seen that nothing has confirmed yet.
select visit_id from sync.reconciliation_verdicts(%(id)s, %(needs)s, %(settle_after_seconds)s)
where not confirmed order by visit_id;

-- name: calls
-- These visits of an organization as they stand now, in the partner's keys: what a record is compared with.
select h.visit_id, h.version, 'put' as action, h.week, md5(h.visit_id)::uuid::text as idempotency_key, h.organization,
    held.partner_ref, v.service_code, v.start_at, v.end_at, v.status, v.actual_start_at, v.actual_end_at, v.note,
    office.source_key as office_key, patient.source_key as patient_key, practitioner.source_key as practitioner_key
from sync.visit_head h
join sync.change_history c on c.visit_id = h.visit_id and c.version = h.version
cross join lateral jsonb_populate_record(null::schedule.visit, c.visit) v
left join sync.held held on held.partner = %(partner)s and held.visit_id = h.visit_id
left join canonical.partner_key office on (office.partner, office.organization, office.entity, office.canonical_id)
    = (%(partner)s, h.organization, 'office', v.office_id)
left join canonical.partner_key patient on (patient.partner, patient.organization, patient.entity, patient.canonical_id)
    = (%(partner)s, h.organization, 'patient', v.patient_id)
left join canonical.partner_key practitioner
    on (practitioner.partner, practitioner.organization, practitioner.entity, practitioner.canonical_id)
    = (%(partner)s, h.organization, 'practitioner', v.practitioner_id)
where h.visit_id = any (%(visits)s) and h.organization = %(organization)s
order by h.visit_id;

-- name: end
-- Writes the verdicts and ends the comparison.
select sync.end_reconciliation(%(id)s, %(needs)s, %(settle_after_seconds)s);

-- name: found
-- A comparison in numbers: what, why (by reason), and how many are on their way since the repair.
select r.same, r.not_ours, r.todo_rebuilt, i.what, i.why, count(i.id)::integer as count,
    (count(*) filter (where i.repaired))::integer as repaired
from sync.reconciliation r
left join sync.reconciliation_item i on i.reconciliation_id = r.id
where r.id = %(id)s
group by r.id, i.what, i.why order by i.what, i.why;

-- name: repair
-- Corrects what we believe, and asks for the visits anew.
select r.id, sync.repair_reconciliation(r.id, %(missing_is_sure)s, %(requested_by)s) as repaired
from sync.reconciliation r
where (r.partner, r.organization, r.week, r.run_key, r.round)
    = (%(partner)s, %(organization)s, %(week)s, %(run_key)s, 1) and r.ended_at is not null;

-- name: repaired_weeks
-- The weeks that a repair has touched: a visit that stands in the wrong week at the partner may belong to another one.
select distinct i.week from sync.reconciliation_item i
join sync.reconciliation r on r.id = i.reconciliation_id
where r.partner = %(partner)s and r.run_key = %(run_key)s and r.organization = any (%(organizations)s) and i.repaired
order by i.week;
