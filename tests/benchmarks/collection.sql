-- Fills the tables as years of work would, set by set and without triggers. {visits} visits have two versions each; the
-- shapes beside them are the same at every size.

-- 1,000 organizations, each with two offices, 100 patients and 10 practitioners, known to one partner.
insert into sync.organization (code, name) select format('org-%s', o), 'Organization' from generate_series(1, 1000) o;
insert into sync.link (partner, organization, connection_id, directions)
select 'honoka', code, 'none', array ['schedule'] from sync.organization;
insert into canonical.office (id, organization)
select 10 * o + n, format('org-%s', o) from generate_series(1, 1000) o, generate_series(1, 2) n;
insert into canonical.patient (id, organization)
select 1000000 + 1000 * o + n, format('org-%s', o) from generate_series(1, 1000) o, generate_series(1, 100) n;
insert into canonical.practitioner (id, organization)
select 9000000 + 1000 * o + n, format('org-%s', o) from generate_series(1, 1000) o, generate_series(1, 10) n;
insert into canonical.crosswalk (partner, organization, entity, source_key, canonical_id, mastered, first_run_key)
select 'honoka', organization, entity, format('K-%s', id), id, true, 'first'
from (
    select organization, 'office' as entity, id from canonical.office
    union all select organization, 'patient', id from canonical.patient
    union all select organization, 'practitioner', id from canonical.practitioner
) people
-- Every tenth patient of the first organization and all of the second have no key.
where not (entity = 'patient' and (organization = 'org-2' or organization = 'org-1' and id % 10 = 0));

-- Which visits there are: of the past (a fifth in weeks that nobody has released yet), and the fixed shapes.
create unlogged table public.planned as
select format('v-%s', lpad(i::text, 9, '0')) as visit_id, i % 1000 + 1 as o, i / 1000 as nth, 'past' as shape,
    date '2026-11-16' - 7 * (i / 1000 / 100)::integer as week,
    case when (i % 1000 + i / 1000 / 100) % 5 = 0 then 'unreleased' when i % 100 = 7 then 'dead' else 'accepted' end as state
from generate_series(0::bigint, {visits} - 1) i
union all
select format('plan-%s', i), 1, i, 'plan', date '2026-11-23', 'pending' from generate_series(1, 1000) i
union all
select format('blocked-%s', i), 2, i, 'blocked', date '2026-11-23', 'pending' from generate_series(1, {blocked}) i
union all
select format('later-%s', i), 3, i, 'later', date '2026-11-23', 'pending' from generate_series(1, {later}) i
union all
select format('work-%s', i), 4 + i % 200, i, 'work', date '2026-11-23', 'pending' from generate_series(1, 4000) i;

insert into schedule.week_state (office_id, week, step, organization, state, changed_by)
select distinct 10 * o + 1 + nth % 2, week, 1, format('org-%s', o), 'finalized', 'planner' from public.planned;
insert into sync.release (partner, office_id, week, organization, generation)
select distinct 'honoka', 10 * o + 1 + nth % 2, week, format('org-%s', o), 1
from public.planned where state <> 'unreleased';

insert into schedule.visit (visit_id, revision, organization, office_id, patient_id, practitioner_id, start_at, end_at)
select visit_id, 2, format('org-%s', o), 10 * o + 1 + nth % 2, 1000000 + 1000 * o + 1 + nth % 100,
    9000000 + 1000 * o + 1 + nth % 10, week + interval '10 hours', week + interval '11 hours'
from public.planned;
insert into sync.visit_head (visit_id, version, organization, office_id, patient_id, practitioner_id, week, cancelled)
select p.visit_id, 2, v.organization, v.office_id, v.patient_id, v.practitioner_id, p.week, false
from public.planned p join schedule.visit v using (visit_id);
insert into sync.change_history (visit_id, version, revision, organization, office_id, week, cancelled, visit)
select w.visit_id, version, version, w.organization, w.office_id, w.week, false, w.visit
from (
    select v.visit_id, v.organization, v.office_id, p.week, to_jsonb(v) as visit
    from public.planned p join schedule.visit v using (visit_id)
    order by visit_id
) w, generate_series(1, 2) version;

insert into sync.push_attempt (partner, organization, office_id, visit_id, version, week, action, generation,
    idempotency_key, state, owner, sent_at, settle_at, calls)
select 'honoka', v.organization, v.office_id, v.visit_id, version, p.week, 'put', 1, md5(p.visit_id || version)::uuid,
    'settled', 1, now(), now(), 1
from public.planned p join schedule.visit v using (visit_id), generate_series(1, 2) version
where p.state in ('accepted', 'dead') and (version = 2 or p.nth % 2 = 0);
insert into sync.push_result (attempt_id, partner, organization, office_id, visit_id, version, week, action, generation,
    outcome, code, present, run_key)
select a.id, a.partner, a.organization, a.office_id, a.visit_id, a.version, a.week, 'put', 1, outcome, outcome,
    case when outcome = 'accepted' then true end, 'run'
from sync.push_attempt a
join public.planned p using (visit_id)
cross join lateral (select case when p.state = 'dead' and a.version = 2 then 'dead' else 'accepted' end as outcome) o
order by a.id;
