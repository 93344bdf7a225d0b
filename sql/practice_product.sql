-- name: plan_week
-- The practice scheduling product plans a week: one visit for each active patient, a second one for every other patient.
-- The same people give the same visits, so a second run changes nothing.
with staff as (
    select office_id, array_agg(id order by id) as ids
    from canonical.practitioner
    where organization = %(organization)s and active and deleted_at is null
    group by office_id
), visits as (
    select p.id as patient_id, p.office_id, s.ids[1 + p.id %% cardinality(s.ids)] as practitioner_id, n,
        (%(week)s::date + ((p.id + 3 * n) %% 6)::integer + make_interval(hours => 9 + ((p.id + n) %% 8)::integer))
            at time zone 'Asia/Tokyo' as start_at
    from canonical.patient p
    join staff s on s.office_id = p.office_id
    cross join generate_series(0, 1) n
    where p.organization = %(organization)s and p.active and p.deleted_at is null and (n = 0 or p.id %% 2 = 0)
)
select coalesce(schedule.apply(jsonb_build_object('visits', jsonb_agg(jsonb_build_object(
    'visit_id', format('%%s-%%s-%%s-%%s', %(organization)s::text, to_char(%(week)s::date, 'YYYYMMDD'), patient_id, n),
    'revision', 1, 'organization', %(organization)s::text, 'office_id', office_id, 'patient_id', patient_id,
    'practitioner_id', practitioner_id, 'service_code', '131111', 'start_at', start_at,
    'end_at', start_at + interval '1 hour',
    'status', case when %(performed)s then 'performed' else 'planned' end)))), 0) as changed
from visits;

-- name: finalize_week
-- Closes a week for the offices of an organization that have visits in it, but for those that are left open.
select schedule.apply(jsonb_build_object('weeks', coalesce(jsonb_agg(jsonb_build_object(
    'office_id', o.office_id, 'week', %(week)s::date, 'organization', %(organization)s::text, 'state', 'finalized',
    'changed_by', 'practice-planner')), '[]')))
from (
    select distinct v.office_id from schedule.visit v
    where v.organization = %(organization)s and schedule.week_of(v.start_at) = %(week)s
) o
where %(leave_open)s = 0 or o.office_id not in (
    select id from canonical.office where organization = %(organization)s order by id desc limit %(leave_open)s);

-- name: edit_visits
-- Later changes of a planned week: one visit is moved by half an hour (back the next time), one gets a note, one is
-- cancelled.
with chosen as (
    select v.*, row_number() over (order by v.visit_id) as n,
        case extract(minute from v.start_at) when 0 then interval '30 minutes' else interval '-30 minutes' end as shift
    from schedule.visit v
    join schedule.week_finalized f on f.office_id = v.office_id and f.week = schedule.week_of(v.start_at)
    where v.organization = %(organization)s and schedule.week_of(v.start_at) = %(week)s and v.status = 'planned'
    order by v.visit_id limit 3
)
select coalesce(schedule.apply(jsonb_build_object('visits', jsonb_agg(to_jsonb(c) - array ['n', 'shift'] || jsonb_build_object(
    'revision', c.revision + 1,
    'start_at', case n when 1 then c.start_at + c.shift else c.start_at end,
    'end_at', case n when 1 then c.end_at + c.shift else c.end_at end,
    'note', case n when 2 then 'key at the desk' else c.note end,
    'status', case n when 3 then 'cancelled' else c.status end)))), 0) as changed
from chosen c;

-- name: has_patients
-- Whether master data of an organization has come in already.
select exists (select from canonical.patient where organization = %(organization)s) as found;

-- name: a_sent_visit
-- A planned visit of a week that its office has finalized.
select v.visit_id
from schedule.visit v
join schedule.week_finalized f on f.office_id = v.office_id and f.week = schedule.week_of(v.start_at)
where v.organization = %(organization)s and schedule.week_of(v.start_at) = %(week)s and v.status = 'planned'
order by v.visit_id desc limit 1;
