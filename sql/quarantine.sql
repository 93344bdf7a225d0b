-- The quarantine (writer: sync_validate): what goes in, waits, and comes back. The temporary tables are those of quality.sql.

-- name: find_releases
-- Whether anybody has released anything of these; most runs are done here.
select exists (
    select from quarantine.release l
    join quarantine.row q on q.id = l.quarantine_id
    where q.partner = %(partner)s and q.entity = %(entity)s and q.organization = any (%(organizations)s)) as any

-- name: mark_released
-- Of the records that fail something critical, those that a person has let in with just this content. released_from: the
-- quarantine row that a merge has still to take it from. A key that is listed with several contents is none of them.
with candidate as materialized (
    select f.row_id, coalesce(f.row_id, -f.quarantine_id) as place, l.content, q.id, md5(q.staged::text) as kept_content,
        q.status = 'open' or q.returned_run_key = %(run_key)s or (q.returned_as in ('kept', 'released') and not exists (
            select from canonical.slice_merge m
            where m.partner = q.partner and m.organization = q.organization and m.entity = q.entity
              and m.run_key = q.returned_run_key and m.state = 'merged')) as unmerged
    from quarantine.release l
    join quarantine.row q on q.id = l.quarantine_id
    join failing f on f.organization = q.organization and f.source_key = q.source_key
        and (f.quarantine_id is null or f.quarantine_id = q.id)
    where q.partner = %(partner)s and q.entity = %(entity)s and q.organization = any (%(organizations)s)
      and f.failed && %(critical)s
), listed as (
    select s.row_id, md5(jsonb_build_array(to_jsonb(s) - '{{row_id,page,raw,run_key}}'::text[])::text) as content
    from {rows} s
    where s.partner = %(partner)s and s.run_key = %(run_key)s and s.organization = any (%(organizations)s)
      and coalesce(s.row_id in (select row_id from candidate where row_id is not null), false)
), found as (
    select c.place, max(c.id) filter (where c.unmerged and c.kept_content = c.content) as released_from
    from candidate c
    left join listed s on s.row_id = c.row_id
    join batch b on coalesce(b.row_id, -b.quarantine_id) = c.place and b.key_copies = 1
    where c.content = case when c.row_id is null then c.kept_content else s.content end
    group by c.place
)
update failing f
set released = true, released_from = n.released_from
from found n
where coalesce(f.row_id, -f.quarantine_id) = n.place

-- name: reopen
-- Let back in by this run's earlier judgement, or by a run that was never merged, and listed anew with a fault.
update quarantine.row q
set status = 'open', returned_at = null, returned_run_key = null, returned_as = null
from (select distinct organization, source_key from failing
      where quarantine_id is null and failed && %(critical)s and not released) f
where q.partner = %(partner)s and q.entity = %(entity)s and q.organization = f.organization
  and q.source_key = f.source_key and q.status = 'returned'
  and (q.returned_run_key = %(run_key)s or (q.returned_as in ('kept', 'released') and not exists (
        select from canonical.slice_merge m
        where m.partner = q.partner and m.organization = q.organization and m.entity = q.entity
          and m.run_key = q.returned_run_key and m.state = 'merged')))

-- name: quarantine_listed
-- One row a key (or a keyless record), with every copy; a second validation of the same run changes nothing.
insert into quarantine.row as q (partner, organization, entity, source_key, fingerprint, reasons, staged, raw,
    first_run_key, last_run_key)
select %(partner)s, f.organization, %(entity)s, f.source_key, f.fingerprint,
    (select jsonb_agg(e order by e ->> 'expectation') from jsonb_array_elements(%(expectations)s::jsonb) e
     where e ->> 'expectation' = any (string_to_array(string_agg(array_to_string(f.failed, ','), ','), ','))),
    jsonb_agg(to_jsonb(s) - '{{row_id,page,raw,run_key}}'::text[] order by s.row_id),
    jsonb_agg(s.raw order by s.row_id), %(run_key)s, %(run_key)s
from failing f
join {rows} s on s.row_id = f.row_id and s.partner = %(partner)s and s.run_key = %(run_key)s
    and s.organization = any (%(organizations)s)
    and coalesce(s.row_id in (
        select row_id from failing where quarantine_id is null and failed && %(critical)s and not released), false)
where f.quarantine_id is null and f.failed && %(critical)s and not f.released
group by f.organization, f.source_key, f.fingerprint
on conflict (partner, organization, entity, source_key, fingerprint) where status = 'open' do update
set reasons = excluded.reasons, staged = excluded.staged, raw = excluded.raw, last_seen_at = now(),
    last_run_key = excluded.last_run_key
where (q.reasons, q.staged, q.raw, q.last_run_key)
    is distinct from (excluded.reasons, excluded.staged, excluded.raw, excluded.last_run_key)

-- name: keep_waiting
-- Judged again and still at fault.
with again as (
    select quarantine_id, string_to_array(string_agg(array_to_string(failed, ','), ','), ',') as failed
    from failing where quarantine_id is not null group by quarantine_id
    having bool_or(failed && %(critical)s and not released)
), found as (
    select a.quarantine_id, (
        select jsonb_agg(e order by e ->> 'expectation') from jsonb_array_elements(%(expectations)s::jsonb) e
        where e ->> 'expectation' = any (a.failed)) as reasons
    from again a
)
update quarantine.row q
set status = 'open', reasons = f.reasons, returned_at = null, returned_run_key = null, returned_as = null
from found f
where q.id = f.quarantine_id and (q.status, q.reasons) is distinct from ('open', f.reasons)

-- name: let_back_in
-- Judged again and good now: merged from quarantine by this run.
update quarantine.row q
set status = 'returned', returned_at = now(), returned_run_key = %(run_key)s, returned_as = 'kept'
from (select distinct quarantine_id from batch where quarantine_id is not null) b
where q.id = b.quarantine_id and q.returned_run_key is distinct from %(run_key)s
  and not exists (select from failing f where f.quarantine_id = b.quarantine_id and f.failed && %(critical)s)

-- name: let_released_in
-- A person has let it in as it is: merged from quarantine by this run, also where it is listed anew.
update quarantine.row q
set status = 'returned', returned_at = now(), returned_run_key = %(run_key)s, returned_as = 'released'
from failing f
where q.id = f.released_from and (q.returned_run_key, q.returned_as) is distinct from (%(run_key)s, 'released')

-- name: let_newer_in
-- The partner has sent a newer record of the key that is good or that a person has released, or has deleted it.
update quarantine.row q
set status = 'returned', returned_at = now(), returned_run_key = %(run_key)s, returned_as = l.how
from (
    select b.organization, b.source_key, 'newer' as how
    from batch b
    where b.quarantine_id is null and b.source_key is not null
      -- The keys that wait are few: the batch need not be joined as a whole.
      and coalesce(b.source_key in (
          select w.source_key from quarantine.row w
          where w.partner = %(partner)s and w.entity = %(entity)s and w.organization = any (%(organizations)s)
            and w.source_key is not null and (w.status = 'open' or w.returned_as in ('kept', 'released'))), false)
      and not exists (
          select from failing f
          where f.row_id = b.row_id and f.failed && %(critical)s and (not f.released or f.released_from is not null))
    union all
    select a.organization, a.source_key, 'deleted' from aside a where not a.repeated and a.source_key is not null
) l
where q.partner = %(partner)s and q.entity = %(entity)s and q.organization = l.organization
  and q.source_key = l.source_key
  and (q.status = 'open' or (q.returned_as in ('kept', 'released') and not exists (
        select from canonical.slice_merge m
        where m.partner = q.partner and m.organization = q.organization and m.entity = q.entity
          and m.run_key = q.returned_run_key and m.state = 'merged')))

-- name: forget_failing_keys
-- Keys that were judged again and no longer fail the expectation.
with judged as (
    select organization, source_key from batch where source_key is not null
    union
    select organization, source_key from aside where not repeated
)
delete from quarantine.failing_key k
using judged j
where k.partner = %(partner)s and k.entity = %(entity)s and k.organization = j.organization
  and k.source_key = j.source_key
  and not exists (
      select from failing f
      where f.organization = k.organization and f.source_key = k.source_key and k.expectation = any (f.failed))

-- name: forget_unlisted_keys
-- Where everything was listed, what does not fail now fails no more, be it that the partner lists it no longer.
delete from quarantine.failing_key k
where k.partner = %(partner)s and k.entity = %(entity)s and k.organization = any (%(whole)s)
  and not exists (
      select from failing f
      where f.organization = k.organization and f.source_key = k.source_key and k.expectation = any (f.failed))

-- name: note_failing_keys
-- Keys that fail an expectation, at most 1,000 of each and organization.
insert into quarantine.failing_key as k (partner, organization, entity, expectation, source_key, first_run_key,
    last_run_key)
select %(partner)s, organization, %(entity)s, code, source_key, %(run_key)s, %(run_key)s
from (
    select f.organization, code, f.source_key,
        row_number() over (partition by f.organization, code order by f.source_key) as nth
    from (select distinct organization, source_key, failed from failing where source_key is not null) f
    cross join lateral unnest(f.failed) code
    where code = any (%(noted)s)
    group by f.organization, code, f.source_key
) numbered
where nth <= 1000
on conflict (partner, organization, entity, expectation, source_key) do update
set last_seen_at = now(), last_run_key = excluded.last_run_key
where k.last_run_key <> excluded.last_run_key
