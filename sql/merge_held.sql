-- What the guard of a merge looks at, and what is kept of a merge that it holds (writer: sync_merge). {canonical} is
-- canonical.<entity>, {history} its history.

-- name: unusual_records
-- By how many records this slice has fewer or more than is usual, where its judgement says that this is too much.
select greatest(u.fewest - l.records, 0) as fewer, greatest(l.records - u.most, 0) as more
from staging.slice l
join quality.result r using (partner, organization, entity, run_key)
cross join lateral quality.usual_records(l.partner, l.organization, l.entity, l.run_key) u
where (l.partner, l.organization, l.entity, l.run_key) = (%(partner)s, %(organization)s, %(entity)s, %(run_key)s)
  and r.expectation = %(unusual)s and r.failed > 0

-- name: count_removed_with_visits
-- Patients removed by this transaction who have visits to come.
select count(*) as with_visits
from {canonical} c
where c.organization = %(organization)s and c.deleted_at = now() and c.id in (
    select v.patient_id from schedule.visit v
    where v.organization = %(organization)s and v.status <> 'cancelled' and v.start_at > now())

-- name: sample_touched
-- Our own ids of some rows that this transaction has changed, and removed; what it has inserted has no history.
select array(
        select c.id from {canonical} c
        where c.organization = %(organization)s and c.updated_at = now() and c.deleted_at is null
          and exists (select from {history} h where h.id = c.id and h.replaced_at = now())
        order by c.id limit 20) as changed_ids,
    array(
        select c.id from {canonical} c
        where c.organization = %(organization)s and c.deleted_at = now()
        order by c.id limit 20) as removed_ids

-- name: held_since_merged
-- The held merges of this organization and entity, in their order, since one of the same mode was merged: one cause, or
-- one that grows.
select m.run_key, m.held
from canonical.slice_merge m
where (m.partner, m.organization, m.entity) = (%(partner)s, %(organization)s, %(entity)s) and m.held ->> 'mode' = %(mode)s
    and m.merged_at > coalesce((
        select max(good.merged_at)
        from canonical.slice_merge good
        join staging.slice l using (partner, organization, entity, run_key)
        where (good.partner, good.organization, good.entity) = (m.partner, m.organization, m.entity)
          and good.state = 'merged' and l.mode = %(mode)s), '-infinity')
order by m.merged_at, m.run_key
