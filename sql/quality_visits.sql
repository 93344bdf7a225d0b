-- Checks across entities (writer: sync_validate): visits to come beside the patients and practitioners that they name.
-- They are the product's rows, so nothing of them is quarantined. The batch has one row a visit.

-- name: read_organizations
-- The organizations of the run whose patients or practitioners this partner masters, and of which it has sent something.
select distinct m.organization
from sync.link_master m
join staging.slice l on (l.partner, l.organization) = (m.partner, m.organization)
where m.partner = %(partner)s and m.entity in ('patient', 'practitioner') and m.organization = any (%(organizations)s)
  and l.run_key = %(run_key)s and l.entity in ('patient', 'practitioner') and l.state in ('complete', 'incomplete')
  and (l.records > 0 or l.mode = 'full')
order by m.organization

-- name: make_visits
-- What is judged of visits. What this partner does not master is null, and is not judged.
create temp table batch (
    row_id bigint, quarantine_id bigint, organization text not null, source_key text not null, fingerprint text,
    times_in_order boolean, patient_known boolean, patient_active boolean, patient_valid boolean, practitioner_known boolean,
    practitioner_active boolean, practitioner_valid boolean, alone boolean
)

-- name: fill_visits
-- A master's row is what it will be after this run's merge: what was judged good a moment ago stands before the
-- canonical row.
with visit as (
    select v.visit_id, v.organization, v.patient_id, v.practitioner_id, v.start_at, v.end_at,
        (v.start_at at time zone 'Asia/Tokyo')::date as day
    from schedule.visit v
    where v.organization = any (%(organizations)s) and v.status <> 'cancelled' and v.start_at > now()
), mastered as (
    select m.organization, bool_or(m.entity = 'patient') as patients, bool_or(m.entity = 'practitioner') as practitioners
    from sync.link_master m
    where m.partner = %(partner)s and m.organization = any (%(organizations)s)
    group by m.organization
), patient as (
    select c.id, c.organization, coalesce(not a.deleted, c.deleted_at is null) as there,
        case when a.source_key is null then c.active else coalesce(a.active, true) end as active,
        case when a.source_key is null then c.valid_from else a.valid_from end as valid_from,
        case when a.source_key is null then c.valid_to else a.valid_to end as valid_to
    from canonical.patient c
    left join canonical.crosswalk x on x.canonical_id = c.id and x.partner = %(partner)s and x.entity = 'patient'
    left join quality.accepted_patient a on (a.partner, a.organization, a.source_key) = (x.partner, x.organization, x.source_key)
        and a.run_key = %(run_key)s
    where c.id in (select patient_id from visit)
), practitioner as (
    select c.id, c.organization, coalesce(not a.deleted, c.deleted_at is null) as there,
        case when a.source_key is null then c.active else coalesce(a.active, true) end as active,
        case when a.source_key is null then c.valid_from else a.valid_from end as valid_from,
        case when a.source_key is null then c.valid_to else a.valid_to end as valid_to
    from canonical.practitioner c
    left join canonical.crosswalk x on x.canonical_id = c.id and x.partner = %(partner)s and x.entity = 'practitioner'
    left join quality.accepted_practitioner a
        on (a.partner, a.organization, a.source_key) = (x.partner, x.organization, x.source_key) and a.run_key = %(run_key)s
    where c.id in (select practitioner_id from visit)
)
insert into batch (organization, source_key, times_in_order, patient_known, patient_active, patient_valid, practitioner_known,
    practitioner_active, practitioner_valid, alone)
select v.organization, v.visit_id, v.start_at < v.end_at,
    case when m.patients then p.there and p.organization = v.organization end,
    case when m.patients and p.there then p.active end,
    case when m.patients and p.there then v.day between coalesce(p.valid_from, v.day) and coalesce(p.valid_to, v.day) end,
    case when m.practitioners then s.there and s.organization = v.organization end,
    case when m.practitioners and s.there then s.active end,
    case when m.practitioners and s.there then v.day between coalesce(s.valid_from, v.day) and coalesce(s.valid_to, v.day) end,
    case when m.practitioners and v.practitioner_id is not null then
        coalesce(max(v.end_at) over before_it <= v.start_at, true)
        and coalesce(min(v.start_at) over after_it >= v.end_at, true) end
from visit v
join mastered m using (organization)
left join patient p on p.id = v.patient_id
left join practitioner s on s.id = v.practitioner_id
window before_it as (partition by v.practitioner_id order by v.start_at, v.visit_id
        rows between unbounded preceding and 1 preceding),
    after_it as (partition by v.practitioner_id order by v.start_at, v.visit_id rows between 1 following and unbounded following)

-- name: forget_failing
-- Visits that no longer fail, are over, or are cancelled.
delete from quarantine.failing_key k
where k.partner = %(partner)s and k.entity = 'visit' and k.organization = any (%(organizations)s)
  and not exists (
      select from failing f
      where f.organization = k.organization and f.source_key = k.source_key and k.expectation = any (f.failed))
