-- Quality as people read it: the texts of the expectations, one finding for one cause, and figures by day.
-- Writer of quality.*: validate. Days are days in Asia/Tokyo.

-- Visits are judged too, across entities; nothing of them is quarantined.
alter table quality.run drop constraint run_entity_check,
    add constraint run_entity_check check (entity in ('office', 'practitioner', 'patient', 'visit'));
create index on quality.run (partner, at);
create index on quality.run (run_key);

create table quality.expectation (
    entity text not null,
    expectation text not null,
    -- null: what is judged is the slice as a whole, not a field.
    column_name text,
    dimension text not null,
    severity text not null,
    owner text not null,
    ja text not null,
    en text not null,
    updated_at timestamptz not null default now(),
    primary key (entity, expectation)
);
comment on table quality.expectation is 'The committed suites as texts, written by each validation, so that a reader of the database needs no file.';

create table quality.finding (
    id bigint generated always as identity primary key,
    partner sync.code not null,
    organization sync.code not null,
    entity text not null,
    expectation text not null,
    severity text not null check (severity in ('critical', 'warning', 'info')),
    opened_run_key text not null,
    opened_at timestamptz not null default now(),
    last_run_key text not null,
    last_seen_at timestamptz not null default now(),
    -- How many runs have met it, and what the last of them counted.
    runs integer not null default 1,
    evaluated integer not null,
    failed integer not null,
    closed_run_key text,
    closed_at timestamptz,
    check (num_nonnulls(closed_run_key, closed_at) in (0, 2))
);
create unique index finding_open on quality.finding (partner, organization, entity, expectation) where closed_at is null;
create index on quality.finding (partner, organization, entity, opened_at);
create index on quality.finding (opened_run_key);
comment on table quality.finding is 'One row for one cause: opened by the first run in which an expectation failed, closed by the next one in which all that was judged passed.';

-- Derived from quality.result, and made again for the day of each run.
create table quality.day (
    partner sync.code not null,
    organization sync.code not null,
    entity text not null,
    expectation text not null,
    day date not null,
    dimension text not null,
    severity text not null,
    runs integer not null,
    evaluated bigint not null,
    failed bigint not null,
    primary key (partner, organization, entity, expectation, day)
);
create table quality.day_score (
    partner sync.code not null,
    entity text not null,
    day date not null,
    dimension text not null,
    severity text not null,
    evaluated bigint not null,
    failed bigint not null,
    primary key (partner, entity, day, dimension, severity)
);
create index on quality.day_score (day);

-- How much a value counts in a score: a critical failure keeps a record out, an info changes nothing.
create function quality.weight(severity text) returns integer
    language sql immutable parallel safe
    return case severity when 'critical' then 5 when 'warning' then 2 when 'info' then 1 end;

-- A person lets a record in although it fails a critical expectation: this content of it, and no other.
create table quarantine.release (
    id bigint generated always as identity primary key,
    quarantine_id bigint not null references quarantine.row (id),
    -- md5 of the record as it was staged: a record that changed is judged afresh.
    content text not null,
    released_by text not null,
    reason text not null check (length(btrim(reason)) between 5 and 500),
    at timestamptz not null default now(),
    unique (quarantine_id, content)
);

-- Append-only: who has looked at a value or let a record in. subject: our own id of what was looked at.
create schema audit;
create table audit.event (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    who text not null check (length(btrim(who)) between 1 and 200),
    action text not null check (action in ('unmask_record', 'unmask_keys', 'download_csv', 'release_record')),
    partner sync.code not null,
    organization text not null default '',
    entity text not null default '',
    subject bigint,
    rows integer not null,
    reason text
);
create index on audit.event (partner, at);
create trigger append_only before update or delete or truncate on audit.event
    for each statement execute function schedule.refuse('what happened stays; say what is so now by a new row');
comment on table audit.event is 'Each look at a personal value of the quarantine, each download and each release, written in the same transaction.';

grant select, insert, update, delete on quality.expectation, quality.finding, quality.day, quality.day_score to sync_validate;
grant select on quality.finding, quality.expectation to sync_run;
grant select on quarantine.release to sync_validate;
grant execute on function quality.weight to sync_validate;
