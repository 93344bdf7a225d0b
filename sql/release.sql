-- name: offices_of_week
-- The offices of an organization that have visits in a week or a state for it, and whether the week is finalized.
select o.id as office_id, o.name, f.office_id is not null as finalized,
    (select count(*) from sync.visit_head h where h.office_id = o.id and h.week = %(week)s and not h.cancelled)::integer
        as visits
from canonical.office o
left join schedule.week_finalized f on f.office_id = o.id and f.week = %(week)s
where o.organization = %(organization)s
  and (f.office_id is not null
       or exists (select from sync.visit_head h where h.office_id = o.id and h.week = %(week)s))
order by o.id;

-- name: request_push
-- The release of finalized offices; a retry of the same run adds nothing.
insert into sync.push_request (partner, organization, office_ids, week, mode, requested_by, run_key)
values (%(partner)s, %(organization)s, %(office_ids)s, %(week)s, %(mode)s, %(requested_by)s, %(run_key)s)
on conflict (partner, organization, week, run_key) do nothing;

-- name: planned_calls
-- One row for each item that a push of this week would send; reason (a code of the catalogue) says why one cannot leave.
select visit_id, office_id, action, named, reason
from sync.planned_calls(%(partner)s, %(organization)s, %(week)s, %(needs)s, %(resend)s, %(only)s::text[]);

-- name: seconds_until_gone
-- Seconds until the last of so many calls may leave, by what the ledger has granted and what the partner has said; null
-- while a person holds them.
select sync.seconds_until_gone(%(partner)s, %(organization)s, %(limits)s, %(jitter_seconds)s, %(calls)s) as seconds;

-- name: asked_by_run
-- Whether a run has asked for a week of all these organizations already: run again it starts no new generation.
select count(*) = cardinality(%(organizations)s::text[]) as asked
from sync.push_request
where partner = %(partner)s and organization = any (%(organizations)s) and week = %(week)s and run_key = %(run_key)s;

-- name: sample_calls
-- What would be sent for some visits, for the masked bodies of a dry run.
select c.visit_id, 'put' as action, c.week, md5(c.visit_id)::uuid::text as idempotency_key, c.organization, c.office_id,
    null as partner_ref, v.service_code, v.start_at, v.end_at, v.status, v.actual_start_at, v.actual_end_at, v.note,
    office.source_key as office_key, patient.source_key as patient_key, practitioner.source_key as practitioner_key
from sync.change_history c
join sync.visit_head h on h.visit_id = c.visit_id and h.version = c.version
cross join lateral jsonb_populate_record(null::schedule.visit, c.visit) v
left join canonical.partner_key office on (office.partner, office.organization, office.entity, office.canonical_id)
    = (%(partner)s, c.organization, 'office', v.office_id)
left join canonical.partner_key patient on (patient.partner, patient.organization, patient.entity, patient.canonical_id)
    = (%(partner)s, c.organization, 'patient', v.patient_id)
left join canonical.partner_key practitioner
    on (practitioner.partner, practitioner.organization, practitioner.entity, practitioner.canonical_id)
    = (%(partner)s, c.organization, 'practitioner', v.practitioner_id)
where c.visit_id = any (%(visits)s)
order by c.visit_id;
