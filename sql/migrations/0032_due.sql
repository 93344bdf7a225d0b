-- Shared validation: which runs wait for their slices to be judged by the DAG validate_due (decision 0032).

create table quality.due (
    partner sync.code not null,
    run_key text not null,
    -- The kind of the run's DAG, as its outcomes name it.
    dag text not null,
    organizations text[] not null,
    entities text[] not null,
    state text not null default 'asked' check (state in ('asked', 'judging', 'done', 'failed', 'given_up')),
    -- Counts how often it was asked: a judgement that began before the last asking does not answer it.
    asked integer not null default 1,
    -- How often a judgement was begun; one that takes its process down is not begun for ever.
    attempts integer not null default 0,
    code text check (code ~ '^[a-z][a-z0-9_]{0,62}$'),
    asked_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    check ((code is not null) = (state = 'failed')),
    check ((ended_at is not null) = (state in ('done', 'failed', 'given_up'))),
    primary key (partner, run_key)
);
create index due_open on quality.due (asked_at) where state in ('asked', 'judging');
comment on table quality.due is 'Runs that wait for the shared validation, and what became of those of the last days. Writer: validate.';

grant select, insert, update, delete on quality.due to sync_validate;
grant select on quality.due to sync_run;
