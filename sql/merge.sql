-- The merge's statements that are the same for each entity (writer: sync_merge); the MERGE of each entity is in
-- merge_<entity>.sql. {canonical} is canonical.<entity>, {rows} staging.<entity>, {accepted} quality.accepted_<entity>.

-- name: take_turn
-- One merge at a time for an organization and entity: two that mint the same new key would collide.
-- For this transaction only: no nested loops, because rows that were written a moment ago have no statistics, and the
-- planner takes 100,000 of them for one (minutes instead of a second); and memory to hash them in.
select pg_advisory_xact_lock(hashtextextended(concat_ws('|', 'merge', %(organization)s::text, %(entity)s::text), 0)),
    set_config('enable_nestloop', 'off', true), set_config('work_mem', '64MB', true)

-- name: find_merge
-- What this slice's merge did, if it has been done.
select state, inserted, updated, unchanged, tombstoned, held
from canonical.slice_merge
where (partner, organization, entity, run_key) = (%(partner)s, %(organization)s, %(entity)s, %(run_key)s)

-- name: record_merge
-- In the merge's own transaction, so that a rerun returns these figures and not zeros.
insert into canonical.slice_merge (partner, organization, entity, run_key, state, inserted, updated, unchanged, tombstoned,
    held)
values (%(partner)s, %(organization)s, %(entity)s, %(run_key)s, %(state)s, %(inserted)s, %(updated)s, %(unchanged)s,
    %(tombstoned)s, %(held)s)

-- name: staged_facts
-- What is in staging beside what was counted and judged.
select count(*) as staged, max(row_id) as last_row_id, count(*) filter (where source_key is null) as without_key,
    (select last_row_id from quality.run
     where (partner, organization, entity, run_key) = (%(partner)s, %(organization)s, %(entity)s, %(run_key)s)
    ) as judged_row_id
from {rows}
where (partner, organization, run_key) = (%(partner)s, %(organization)s, %(run_key)s)

-- name: count_live
-- What the guard measures against.
select count(*) as live
from {canonical}
where organization = %(organization)s and deleted_at is null

-- name: own_keys
-- Keys that were joined while another partner was the master are this partner's own from now on.
update canonical.crosswalk
set mastered = true
where (partner, organization, entity) = (%(partner)s, %(organization)s, %(entity)s) and not mastered

-- name: mint
-- An id for each key that has none: the one that a person has joined it to, else a new one, in the order of the keys.
with accepted as materialized (
    select partner, organization, source_key
    from {accepted}
    where (partner, organization, run_key) = (%(partner)s, %(organization)s, %(run_key)s) and not deleted
), joined_by_a_person as (
    select k.source_key, k.canonical_id
    from canonical.key_map k
    where (k.partner, k.organization, k.entity) = (%(partner)s, %(organization)s, %(entity)s)
        and not exists (
            select from canonical.crosswalk taken
            where (taken.partner, taken.organization, taken.entity, taken.canonical_id)
                = (k.partner, k.organization, k.entity, k.canonical_id))
), minted as (
    insert into canonical.crosswalk (partner, organization, entity, source_key, canonical_id, mastered, first_run_key)
    select n.partner, n.organization, %(entity)s, n.source_key,
        coalesce(n.canonical_id, nextval('canonical.id_seq')), true, %(run_key)s
    from (
        select a.partner, a.organization, a.source_key, j.canonical_id
        from accepted a
        left join joined_by_a_person j using (source_key)
        where not exists (
            select from canonical.crosswalk x
            where (x.partner, x.organization, x.entity, x.source_key)
                = (%(partner)s, %(organization)s, %(entity)s, a.source_key))
        order by a.source_key
    ) n
    on conflict do nothing
)
select count(*) as accepted from accepted

-- name: tombstone_deleted
-- The partner says by the record itself that it is gone.
update {canonical} c
set active = false, deleted_at = now(), updated_at = now()
from {accepted} s
join canonical.crosswalk x
    on (x.partner, x.organization, x.entity, x.source_key) = (s.partner, s.organization, %(entity)s, s.source_key)
where (s.partner, s.organization, s.run_key) = (%(partner)s, %(organization)s, %(run_key)s)
    and s.deleted and c.id = x.canonical_id and c.deleted_at is null

-- name: note_present
-- Listed again, be it only to land in quarantine: not absent.
update canonical.crosswalk x
set absent_since_run_key = null
where (x.partner, x.organization, x.entity) = (%(partner)s, %(organization)s, %(entity)s)
    and x.absent_since_run_key is not null
    and exists (
        select from {rows} s
        where (s.partner, s.organization, s.run_key, s.source_key)
            = (%(partner)s, %(organization)s, %(run_key)s, x.source_key))

-- name: note_absent
-- Absent from a complete full slice for the first time.
update canonical.crosswalk x
set absent_since_run_key = %(run_key)s
where (x.partner, x.organization, x.entity) = (%(partner)s, %(organization)s, %(entity)s)
    and x.absent_since_run_key is null
    and not exists (
        select from {rows} s
        where (s.partner, s.organization, s.run_key, s.source_key)
            = (%(partner)s, %(organization)s, %(run_key)s, x.source_key))

-- name: tombstone_absent
-- Absent since the complete full slice of an earlier run, and again in this one.
update {canonical} c
set active = false, deleted_at = now(), updated_at = now()
from canonical.crosswalk x
where (x.partner, x.organization, x.entity) = (%(partner)s, %(organization)s, %(entity)s)
    and x.absent_since_run_key <> %(run_key)s and c.id = x.canonical_id and c.deleted_at is null

-- name: move_watermark
-- To the greatest source time, never past the start of the listing (a record dated in the future would hide every
-- later change), less the overlap. A reload that began after the old watermark would leave a gap: it moves nothing.
insert into canonical.watermark as w (partner, organization, entity, source_at, run_key)
select l.partner, l.organization, l.entity,
    least(max(s.source_updated_at), l.started_at) - make_interval(secs => %(overlap_seconds)s), l.run_key
from staging.slice l
join {rows} s on (s.partner, s.organization, s.run_key) = (l.partner, l.organization, l.run_key)
where (l.partner, l.organization, l.entity, l.run_key) = (%(partner)s, %(organization)s, %(entity)s, %(run_key)s)
    and (l.mode = 'full' or exists (
        select from canonical.watermark before
        where (before.partner, before.organization, before.entity) = (l.partner, l.organization, l.entity)
          and before.source_at >= l.since_at))
group by l.partner, l.organization, l.entity, l.run_key
having max(s.source_updated_at) is not null
on conflict (partner, organization, entity) do update
set source_at = excluded.source_at, run_key = excluded.run_key
where excluded.source_at > w.source_at

-- name: join_by_identifier
-- A partner that is not the master: its keys by the identifier that both hold, where each side has exactly one.
with theirs as (
    select min(a.source_key) as source_key, i.identity
    from {accepted} a
    cross join lateral (select jsonb_agg(to_jsonb(a) -> f order by f) as identity from unnest(%(match_by)s::text[]) f) i
    where (a.partner, a.organization, a.run_key) = (%(partner)s, %(organization)s, %(run_key)s) and not a.deleted
        and not i.identity @> '[null]'
    group by i.identity
    having count(*) = 1
), ours as (
    select min(c.id) as canonical_id, i.identity
    from {canonical} c
    cross join lateral (select jsonb_agg(to_jsonb(c) -> f order by f) as identity from unnest(%(match_by)s::text[]) f) i
    where c.organization = %(organization)s and c.deleted_at is null and not i.identity @> '[null]'
    group by i.identity
    having count(*) = 1
)
insert into canonical.crosswalk (partner, organization, entity, source_key, canonical_id, mastered, first_run_key)
select %(partner)s, %(organization)s, %(entity)s, t.source_key, o.canonical_id, false, %(run_key)s
from theirs t
join ours o using (identity)
where not exists (
    select from canonical.partner_key k
    where (k.partner, k.organization, k.entity) = (%(partner)s, %(organization)s, %(entity)s)
      and (k.canonical_id = o.canonical_id or k.source_key = t.source_key))
order by t.source_key
on conflict do nothing

-- name: count_joined
-- How many of the slice's records have one of our ids.
select count(*) as joined
from {accepted} a
where (a.partner, a.organization, a.run_key) = (%(partner)s, %(organization)s, %(run_key)s) and not a.deleted
    and exists (
        select from canonical.partner_key k
        where (k.partner, k.organization, k.entity, k.source_key) = (a.partner, a.organization, %(entity)s, a.source_key))
