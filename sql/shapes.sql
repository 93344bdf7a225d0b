-- The shape of a listing's records (writer: sync_extract), written with its pages.

-- name: known_paths
-- What an earlier task has written of this slice.
select distinct path
from staging.slice_field
where (partner, organization, entity, run_key) = (%(partner)s, %(organization)s, %(entity)s, %(run_key)s)

-- name: clear_fields
-- A slice replaces whatever older runs left of the same organization and entity.
delete from staging.slice_field
where (partner, organization, entity) = (%(partner)s, %(organization)s, %(entity)s)

-- name: drop_tables
-- Names below an object that turned out to be a table are data, and go.
delete from staging.slice_field f
using unnest(%(tables)s::text[]) t (path)
where (f.partner, f.organization, f.entity, f.run_key) = (%(partner)s, %(organization)s, %(entity)s, %(run_key)s)
    and starts_with(f.path, t.path || '.')

-- name: add_fields
-- What the pages of this transaction had, on top of the pages before them.
insert into staging.slice_field as f (partner, organization, entity, run_key, path, type, seen)
select %(partner)s, %(organization)s, %(entity)s, %(run_key)s, n.path, n.type, n.seen
from unnest(%(paths)s::text[], %(types)s::text[], %(seen)s::bigint[]) n (path, type, seen)
on conflict (partner, organization, entity, run_key, path, type) do update set seen = f.seen + excluded.seen
