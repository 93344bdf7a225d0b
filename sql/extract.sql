-- The extract's statements (writer: sync_extract). {rows} is staging.<entity>.

-- name: find_slice
-- The slice row of this run, if it has one.
select state, mode, since_at, position, pages, records, reported_total, last_page_reached, repeated_page,
    most_records
from staging.slice
where (partner, organization, entity, run_key) = (%(partner)s, %(organization)s, %(entity)s, %(run_key)s)

-- name: read_watermark
-- Where an incremental listing starts; the merge has already taken the overlap off.
select source_at
from canonical.watermark
where (partner, organization, entity) = (%(partner)s, %(organization)s, %(entity)s)

-- name: full_is_due
-- Whether a day has gone by since the last complete full listing.
select not exists (
    select from staging.slice
    where (partner, organization, entity) = (%(partner)s, %(organization)s, %(entity)s)
      and mode = 'full' and state = 'complete' and finished_at > now() - interval '1 day') as due

-- name: begin_slice
-- Opens the slice, or starts it afresh.
insert into staging.slice (partner, organization, entity, run_key, mode, since_at, most_records, fresh_within_hours)
values (%(partner)s, %(organization)s, %(entity)s, %(run_key)s, %(mode)s, %(since_at)s, %(most_records)s,
    %(fresh_within_hours)s)
on conflict (partner, organization, entity, run_key) do update
set mode = excluded.mode, since_at = excluded.since_at, most_records = excluded.most_records,
    fresh_within_hours = excluded.fresh_within_hours, state = 'open', position = null, pages = 0, records = 0,
    reported_total = null, last_page_reached = false, repeated_page = false, started_at = now(), finished_at = null

-- name: clear_rows
-- A slice replaces whatever older runs left of the same organization and entity.
delete from {rows}
where partner = %(partner)s and organization = %(organization)s

-- name: count_rows
-- What is really in staging; a slice row that says otherwise is not believed.
select count(*) as records
from {rows}
where (partner, organization, run_key) = (%(partner)s, %(organization)s, %(run_key)s)

-- name: page_digests
-- One digest a page, of its keys in their order: the same page twice has the same digest.
select md5(string_agg(coalesce(source_key, ''), chr(31) order by row_id)) as digest
from {rows}
where (partner, organization, run_key) = (%(partner)s, %(organization)s, %(run_key)s)
group by page

-- name: advance_slice
-- Notes more pages. No row comes back when another task has read on or replaced the slice meanwhile.
update staging.slice
set pages = pages + %(count)s, records = records + %(records)s, position = %(position)s,
    reported_total = coalesce(%(total)s, reported_total), last_page_reached = %(last_page_reached)s,
    repeated_page = repeated_page or %(repeated_page)s
where (partner, organization, entity, run_key) = (%(partner)s, %(organization)s, %(entity)s, %(run_key)s)
    and state = 'open' and pages = %(pages)s
returning pages

-- name: copy_rows
-- The delimiter is a control character that no name or address holds, so that hardly any cell needs escaping.
copy {rows} ({columns}) from stdin (format text, delimiter E'\x1f', null '')

-- name: finish_slice
-- The verdict on the listing; without a state it stays as it is.
update staging.slice
set state = %(state)s, finished_at = now(), repeated_page = repeated_page or %(repeated_page)s
where (partner, organization, entity, run_key) = (%(partner)s, %(organization)s, %(entity)s, %(run_key)s)
    and state = 'open'

-- name: commit_without_waiting
-- For the pages of one listing; see the caller for why nothing can be lost by it.
set synchronous_commit = off

-- name: commit_waiting
-- Back to what the server says.
reset synchronous_commit
