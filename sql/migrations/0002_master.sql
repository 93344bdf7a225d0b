-- Master data: staging (writer: extract), canonical rows and their keys at partners (writer: merge).

create table staging.slice (
    partner sync.code not null,
    organization sync.code not null,
    entity text not null check (entity in ('office', 'practitioner', 'patient')),
    run_key text not null,
    mode text not null check (mode in ('full', 'incremental')),
    since_at timestamptz,
    state text not null default 'open' check (state in ('open', 'complete', 'incomplete')),
    -- Where the listing goes on after a deferral or a retry (JSON of the paginator); null at the start.
    position jsonb,
    pages integer not null default 0,
    records integer not null default 0,
    reported_total integer,
    last_page_reached boolean not null default false,
    repeated_page boolean not null default false,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    primary key (partner, organization, entity, run_key)
);
comment on table staging.slice is 'One listing of an entity of one organization by one run; absence may be read only from a complete full one (rule 12).';

create table staging.office (
    row_id bigint generated always as identity,
    partner sync.code not null,
    organization sync.code not null,
    run_key text not null,
    page integer not null,
    source_key text,
    source_updated_at timestamptz,
    deleted boolean not null default false,
    problems jsonb,
    critical_problem text,
    office_number text,
    name text,
    kana text,
    postal_code text,
    address text,
    phone text,
    active boolean,
    extra jsonb not null default '{}',
    raw jsonb
) partition by list (partner);

create table staging.practitioner (
    row_id bigint generated always as identity,
    partner sync.code not null,
    organization sync.code not null,
    run_key text not null,
    page integer not null,
    source_key text,
    source_updated_at timestamptz,
    deleted boolean not null default false,
    problems jsonb,
    critical_problem text,
    office_key text,
    family_name text,
    given_name text,
    family_kana text,
    given_kana text,
    role text,
    license_number text,
    valid_from date,
    valid_to date,
    active boolean,
    extra jsonb not null default '{}',
    raw jsonb
) partition by list (partner);

create table staging.patient (
    row_id bigint generated always as identity,
    partner sync.code not null,
    organization sync.code not null,
    run_key text not null,
    page integer not null,
    source_key text,
    source_updated_at timestamptz,
    deleted boolean not null default false,
    problems jsonb,
    critical_problem text,
    office_key text,
    family_name text,
    given_name text,
    family_kana text,
    given_kana text,
    birth_date date,
    gender text,
    postal_code text,
    prefecture text,
    city text,
    street text,
    phone text,
    insurer_number text,
    insured_number text,
    care_level text,
    valid_from date,
    valid_to date,
    active boolean,
    extra jsonb not null default '{}',
    raw jsonb
) partition by list (partner);

create index on staging.office (organization, run_key);
create index on staging.practitioner (organization, run_key);
create index on staging.patient (organization, run_key);

create function staging.ensure_partition(partner sync.code) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    entity text;
begin
    perform pg_advisory_xact_lock(hashtextextended('staging.ensure_partition', 0));
    foreach entity in array array ['office', 'practitioner', 'patient'] loop
        -- Unlogged: a crash of the server empties it, which extract and merge notice by the slice's count, and it is
        -- read again. What is quarantined or merged is logged.
        execute format('create unlogged table if not exists staging.%I partition of staging.%I for values in (%L)',
                       entity || '__' || partner, entity, partner);
    end loop;
end $$;
revoke execute on function staging.ensure_partition from public;
grant execute on function staging.ensure_partition to sync_onboarding;

create sequence canonical.id_seq;

create table canonical.office (
    id bigint primary key,
    organization sync.code not null,
    office_number text,
    name text,
    kana text,
    postal_code text,
    address text,
    phone text,
    active boolean not null default true,
    extra jsonb not null default '{}',
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);

create table canonical.practitioner (
    id bigint primary key,
    organization sync.code not null,
    office_id bigint references canonical.office (id),
    family_name text,
    given_name text,
    family_kana text,
    given_kana text,
    role text,
    license_number text,
    valid_from date,
    valid_to date,
    active boolean not null default true,
    extra jsonb not null default '{}',
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);

create table canonical.patient (
    id bigint primary key,
    organization sync.code not null,
    office_id bigint references canonical.office (id),
    family_name text,
    given_name text,
    family_kana text,
    given_kana text,
    birth_date date,
    gender text check (gender in ('male', 'female', 'other', 'unknown')),
    postal_code text,
    prefecture text,
    city text,
    street text,
    phone text,
    insurer_number text,
    insured_number text,
    care_level text,
    valid_from date,
    valid_to date,
    active boolean not null default true,
    extra jsonb not null default '{}',
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);

create index on canonical.office (organization);
create index on canonical.practitioner (organization);
create index on canonical.patient (organization);

-- What a row was before it changed. Written by a trigger, so that no merge can forget it.
create table canonical.office_history (id bigint not null, replaced_at timestamptz not null default now(), was jsonb not null);
create table canonical.practitioner_history (like canonical.office_history including defaults);
create table canonical.patient_history (like canonical.office_history including defaults);
create index on canonical.office_history (id);
create index on canonical.practitioner_history (id);
create index on canonical.patient_history (id);

create function canonical.keep_history() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    execute format('insert into canonical.%I (id, was) select b.id, to_jsonb(b) from before b', tg_table_name || '_history');
    return null;
end $$;
create trigger keep_history after update on canonical.office
    referencing old table as before for each statement execute function canonical.keep_history();
create trigger keep_history after update on canonical.practitioner
    referencing old table as before for each statement execute function canonical.keep_history();
create trigger keep_history after update on canonical.patient
    referencing old table as before for each statement execute function canonical.keep_history();

create table canonical.crosswalk (
    partner sync.code not null,
    organization sync.code not null,
    entity text not null check (entity in ('office', 'practitioner', 'patient')),
    source_key text not null,
    canonical_id bigint not null,
    -- False where the partner is not the master and an identifier that both hold joined the two (rule 14).
    mastered boolean not null,
    first_run_key text not null,
    -- The first complete full run in which the key was absent; a second such run tombstones (rule 12).
    absent_since_run_key text,
    primary key (partner, organization, entity, source_key)
);
create index on canonical.crosswalk (canonical_id);

create table canonical.key_map (
    partner sync.code not null,
    organization sync.code not null,
    entity text not null check (entity in ('office', 'practitioner', 'patient')),
    canonical_id bigint not null,
    source_key text not null,
    joined_by text not null,
    joined_at timestamptz not null default now(),
    primary key (partner, organization, entity, canonical_id),
    unique (partner, organization, entity, source_key)
);
comment on table canonical.key_map is 'A person joins a canonical row to a partner''s key; nobody is joined by likeness (rule 14).';

create view canonical.partner_key as
select partner, organization, entity, canonical_id, source_key from canonical.key_map
union all
select c.partner, c.organization, c.entity, c.canonical_id, c.source_key
from canonical.crosswalk c
where not exists (
    select from canonical.key_map k
    where (k.partner, k.organization, k.entity, k.canonical_id) = (c.partner, c.organization, c.entity, c.canonical_id)
);
comment on view canonical.partner_key is 'What a partner calls our row; where a person has said so, that is what counts.';

create table canonical.watermark (
    partner sync.code not null,
    organization sync.code not null,
    entity text not null,
    source_at timestamptz not null,
    run_key text not null,
    primary key (partner, organization, entity)
);

create table canonical.slice_merge (
    partner sync.code not null,
    organization sync.code not null,
    entity text not null,
    run_key text not null,
    state text not null check (state in ('merged', 'held')),
    inserted integer not null,
    updated integer not null,
    unchanged integer not null,
    tombstoned integer not null,
    merged_at timestamptz not null default now(),
    primary key (partner, organization, entity, run_key)
);
comment on table canonical.slice_merge is 'What each merge did, in the same transaction: a rerun reads it instead of counting zero changes.';

grant select on all tables in schema staging to sync_extract, sync_validate, sync_merge;
grant insert, update, delete on staging.slice, staging.office, staging.practitioner, staging.patient to sync_extract;
grant select on all tables in schema canonical to sync_merge;
grant select on canonical.office, canonical.practitioner, canonical.patient to sync_validate, sync_product, sync_reader;
grant select on canonical.crosswalk, canonical.key_map, canonical.partner_key, canonical.watermark, canonical.slice_merge
    to sync_validate, sync_onboarding;
grant select on canonical.watermark to sync_extract;
grant usage on schema canonical to sync_extract;
grant select on canonical.office to sync_release, sync_push;
grant select on canonical.partner_key to sync_release, sync_push;
grant insert, update on canonical.office, canonical.practitioner, canonical.patient, canonical.crosswalk, canonical.watermark,
    canonical.slice_merge to sync_merge;
grant usage on sequence canonical.id_seq to sync_merge;
grant insert, update, delete on canonical.key_map to sync_onboarding;
grant select on canonical.office, canonical.practitioner, canonical.patient to sync_onboarding;
