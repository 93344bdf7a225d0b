-- Checks across runs and entities, and the shape of what a partner sends. Writers: extract (staging), validate (quality).

-- What the partner file says of a listing, kept with it: what is judged later is judged by what held when it was read.
alter table staging.slice
    add column most_records integer check (most_records > 0),
    add column fresh_within_hours integer check (fresh_within_hours > 0);
comment on column staging.slice.most_records is 'The partner lists so many records at most: a listing with as many is not complete.';
comment on column staging.slice.fresh_within_hours is 'The newest source time should not be older; null where that is not asked.';

-- Fields of the records of a listing. A name that looks like data is not kept (partner_sync.master.shapes).
create table staging.slice_field (
    partner sync.code not null,
    organization sync.code not null,
    entity text not null check (entity in ('office', 'practitioner', 'patient')),
    run_key text not null,
    path text not null,
    type text not null check (type in ('string', 'number', 'boolean', 'null', 'object', 'array')),
    seen bigint not null check (seen > 0),
    primary key (partner, organization, entity, run_key, path, type)
);
comment on table staging.slice_field is 'Which fields a listing had, of which JSON types, how often; written with its pages. Names only, never a value.';

create table quality.field (
    partner sync.code not null,
    organization sync.code not null,
    entity text not null,
    path text not null,
    -- Every type but null that it has had; null is no type.
    types text[] not null,
    -- The share of records (0 to 1) that had it in the last full listing.
    share real not null,
    -- Of the first listing: there is nothing that it could differ from.
    from_the_start boolean not null,
    first_seen_at timestamptz not null default now(),
    first_run_key text not null,
    last_seen_at timestamptz not null default now(),
    last_run_key text not null,
    changed_at timestamptz,
    changed_run_key text,
    changed_from text[],
    vanished_at timestamptz,
    vanished_run_key text,
    primary key (partner, organization, entity, path),
    check (num_nonnulls(changed_at, changed_run_key, changed_from) in (0, 3)),
    check (num_nonnulls(vanished_at, vanished_run_key) in (0, 2))
);
comment on table quality.field is 'The known shape of what a partner sends: field names and types, never a value.';

-- New, changed and vanished are findings for a while; then it is the shape that is known.
create view report.drift as
select f.partner, f.organization, f.entity, f.path, f.types, f.share,
    case
        when f.vanished_at is not null then 'vanished'
        when f.changed_at > now() - interval '7 days' then 'changed'
        when not f.from_the_start and f.first_seen_at > now() - interval '7 days' then 'new'
        else 'known'
    end as status,
    f.first_seen_at, f.first_run_key, f.last_seen_at, f.last_run_key, f.changed_at, f.changed_run_key, f.changed_from,
    f.vanished_at, f.vanished_run_key
from quality.field f;
comment on view report.drift is '項目の変化 / The fields of what a partner sends, and which are new, changed or vanished. Names and types, never a value.';
comment on column report.drift.path is '項目 / Dotted path; [] are the elements of an array, .* the values of an object whose names are data.';
comment on column report.drift.types is '型 / JSON types that the field has had; null is no type.';
comment on column report.drift.share is '出現率 / Share of records (0 to 1) with the field in the last full listing.';
comment on column report.drift.status is '状態 / new or changed for 7 days; vanished until it is back, or for 30 days; else known.';
comment on column report.drift.changed_from is '以前の型 / The types before the last change.';

-- A year of listings of each organization: the newest, and the full ones, are found without reading the others.
create index slice_newest on staging.slice (partner, organization, entity, started_at desc, run_key desc);
create index slice_full on staging.slice (partner, organization, entity) where mode = 'full' and state = 'complete';

-- How many records are usual: the least and the most of the last five complete full listings that were merged. A held
-- one is not usual, or a hold would end by itself.
create function quality.usual_records(p_partner text, p_organization text, p_entity text, p_run_key text,
    out fewest integer, out most integer) language sql stable set enable_nestloop = on
begin atomic
    select min(l.records), max(l.records)
    from (
        select s.records
        from staging.slice s
        join canonical.slice_merge m using (partner, organization, entity, run_key)
        where (s.partner, s.organization, s.entity) = (p_partner, p_organization, p_entity) and s.run_key <> p_run_key
          and s.mode = 'full' and s.state = 'complete' and m.state = 'merged'
        order by m.merged_at desc
        limit 5
    ) l;
end;

create index on schedule.visit (organization, start_at) where status <> 'cancelled';

revoke execute on function quality.usual_records from public;
grant execute on function quality.usual_records to sync_validate, sync_merge;
grant select, insert, update, delete on staging.slice_field to sync_extract;
grant select on staging.slice_field to sync_validate;
grant select, insert, update, delete on quality.field to sync_validate;
grant usage on schema schedule to sync_validate, sync_merge;
grant select (visit_id, organization, patient_id, practitioner_id, start_at, end_at, status) on schedule.visit to sync_validate;
grant select (organization, patient_id, start_at, status) on schedule.visit to sync_merge;
grant select on report.drift to sync_analyst, sync_page, sync_validate;
grant usage on schema report to sync_validate;
