-- Organizations and their links to partners (design, 2 and 4). One writer: onboarding.

create schema staging;
create schema quarantine;
create schema canonical;
create schema schedule;
create schema sync;
create schema quality;

grant usage on schema staging to sync_extract, sync_validate, sync_merge, sync_onboarding;
grant usage on schema quarantine to sync_validate, sync_merge;
grant usage on schema canonical to sync_validate, sync_merge, sync_onboarding, sync_product, sync_release, sync_push,
    sync_run, sync_reader;
grant usage on schema schedule to sync_product, sync_release, sync_run;
grant usage on schema sync to sync_extract, sync_validate, sync_merge, sync_onboarding, sync_product, sync_release,
    sync_push, sync_run;
grant usage on schema quality to sync_validate, sync_merge, sync_run;

-- A code is written by people in forms and stands in logs: no spaces, no capital letters.
-- The length stands apart: with {0,62} in the pattern the check takes ten times as long, on two columns of every row.
create domain sync.code as text check (length(value) <= 63 and value ~ '^[a-z0-9][a-z0-9_-]*$');
create domain sync.week as date check (extract(isodow from value) = 1);

create table sync.organization (
    code sync.code primary key,
    name text not null,
    created_at timestamptz not null default now()
);

create table sync.link (
    partner sync.code not null,
    organization sync.code not null references sync.organization (code),
    connection_id text not null,
    directions text[] not null check (directions <@ array ['master', 'schedule']),
    release_mode text not null default 'manual' check (release_mode in ('manual', 'weekly', 'on_finalize')),
    enabled boolean not null default true,
    updated_at timestamptz not null default now(),
    primary key (partner, organization)
);

-- Rule 14: the key makes a second master impossible.
create table sync.link_master (
    organization sync.code not null,
    entity text not null check (entity in ('office', 'practitioner', 'patient')),
    partner sync.code not null,
    primary key (organization, entity),
    foreign key (partner, organization) references sync.link (partner, organization) on delete cascade
);

grant select on sync.organization, sync.link, sync.link_master
    to sync_extract, sync_validate, sync_merge, sync_onboarding, sync_release, sync_push, sync_run;
grant insert, update on sync.organization, sync.link to sync_onboarding;
grant insert, delete on sync.link_master to sync_onboarding;
