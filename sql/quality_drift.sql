-- The known shape of what a partner sends (writer: sync_validate), brought in line with what this run's slices had.

-- name: note_fields
-- A path that is new is known from now on; a type that is new is a change, but not from null: that is no type. What was
-- counted twice for one record, an array's elements, has a share of 1.
with slice as (
    select l.partner, l.organization, l.entity, l.run_key, l.mode, r.seen as records
    from staging.slice l
    join staging.slice_field r using (partner, organization, entity, run_key)
    where l.partner = %(partner)s and l.entity = %(entity)s and l.run_key = %(run_key)s
      and l.organization = any (%(organizations)s) and l.state in ('complete', 'incomplete') and r.path = ''
), seen as (
    select l.organization, l.mode, f.path,
        coalesce(array_agg(f.type order by f.type) filter (where f.type <> 'null'), '{{}}') as types,
        least(1, sum(f.seen) / l.records)::real as share
    from slice l
    join staging.slice_field f using (partner, organization, entity, run_key)
    where f.path <> ''
    group by l.organization, l.mode, l.records, f.path
)
insert into quality.field as k (partner, organization, entity, path, types, share, from_the_start, first_run_key, last_run_key)
select %(partner)s, s.organization, %(entity)s, s.path, s.types, s.share,
    not exists (
        select from quality.field known
        where (known.partner, known.organization, known.entity) = (%(partner)s, s.organization, %(entity)s)
          and known.first_run_key <> %(run_key)s),
    %(run_key)s, %(run_key)s
from seen s
on conflict (partner, organization, entity, path) do update
set types = array(select distinct t from unnest(k.types || excluded.types) t order by t),
    share = case when exists (select from slice l where l.organization = k.organization and l.mode = 'full')
        then excluded.share else k.share end,
    changed_at = case when k.types <> '{{}}' and not excluded.types <@ k.types then now() else k.changed_at end,
    changed_run_key = case when k.types <> '{{}}' and not excluded.types <@ k.types then %(run_key)s else k.changed_run_key end,
    changed_from = case when k.types <> '{{}}' and not excluded.types <@ k.types then k.types else k.changed_from end,
    last_seen_at = case when k.last_run_key = %(run_key)s then k.last_seen_at else now() end,
    last_run_key = %(run_key)s, vanished_at = null, vanished_run_key = null

-- name: note_vanished
-- Not there where it should have been: in a complete full listing that would have had at least five of it, or that was
-- half made of it; in a complete incremental one that would have had twenty.
update quality.field k
set vanished_at = now(), vanished_run_key = %(run_key)s
from staging.slice l
join staging.slice_field r using (partner, organization, entity, run_key)
where l.partner = %(partner)s and l.entity = %(entity)s and l.run_key = %(run_key)s and l.organization = any (%(organizations)s)
    and l.state = 'complete' and r.path = ''
    and (k.partner, k.organization, k.entity) = (l.partner, l.organization, l.entity) and k.vanished_at is null
    and (k.share * r.seen >= case l.mode when 'full' then 5 else 20 end or (l.mode = 'full' and k.share >= 0.5))
    and not exists (
        select from staging.slice_field f
        where (f.partner, f.organization, f.entity, f.run_key, f.path) = (l.partner, l.organization, l.entity, l.run_key, k.path))
    and %(most_paths)s > (
        select count(distinct f.path) from staging.slice_field f
        where (f.partner, f.organization, f.entity, f.run_key) = (l.partner, l.organization, l.entity, l.run_key))

-- name: forget_vanished
-- Gone for 30 days: should it come back, it is new.
delete from quality.field
where partner = %(partner)s and entity = %(entity)s and organization = any (%(organizations)s)
    and vanished_at < now() - interval '30 days'
