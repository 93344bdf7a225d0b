-- What became of each run's steps, and the open causes that a person has to look at (design, rule 9).
-- Nobody writes these tables directly.

-- Numbers only: a text could carry what a partner's record says into a run note (rule 15).
create function sync.only_counts(counts jsonb) returns boolean
    language sql immutable set search_path = pg_catalog, pg_temp as $$
    select jsonb_typeof(counts) = 'object' and not exists (
        select from jsonb_each(case jsonb_typeof(counts) when 'object' then counts else '{}' end) c
        where jsonb_typeof(c.value) <> 'number' or c.key !~ '^[a-z][a-z0-9_.]{0,62}$')
$$;

-- Append-only. organization and entity are '' for what concerns all of them.
create table sync.run_event (
    id bigint generated always as identity primary key,
    partner sync.code not null,
    run_key text not null,
    dag text not null,
    step text not null check (step ~ '^[a-z][a-z_]{0,62}$'),
    organization text not null default '' check (organization ~ '^([a-z0-9][a-z0-9_-]{0,62})?$'),
    entity text not null default '' check (entity in ('', 'office', 'practitioner', 'patient', 'visit')),
    outcome text not null check (outcome in ('ok', 'failed', 'skipped', 'held', 'waiting')),
    code text not null check (code ~ '^[a-z][a-z0-9_]{0,62}$'),
    counts jsonb not null default '{}' check (sync.only_counts(counts)),
    at timestamptz not null default clock_timestamp()
);
create index on sync.run_event (partner, run_key, step, organization, entity, id desc);
create index on sync.run_event (partner, organization, at);
create trigger append_only before update or delete or truncate on sync.run_event
    for each statement execute function schedule.refuse('what happened stays; say what is so now by a new row');

-- What counts: the latest word on each key. A task that failed for an organization and then, tried again, succeeded has
-- said both; the run shows the success.
create view sync.run_outcome as
select distinct on (partner, run_key, step, organization, entity) *
from sync.run_event order by partner, run_key, step, organization, entity, id desc;

-- Says what became of a key; a retry that says the same adds nothing. Returns whether it was news.
create function sync.record_outcome(p_partner text, p_run_key text, p_dag text, p_step text, p_organization text,
    p_entity text, p_outcome text, p_code text, p_counts jsonb) returns boolean
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_advisory_xact_lock(hashtextextended(concat_ws('/', 'sync.record_outcome', p_partner, p_run_key, p_organization), 0));
    if exists (
        select from sync.run_outcome o
        where (o.partner, o.run_key, o.step, o.organization, o.entity) = (p_partner, p_run_key, p_step, p_organization, p_entity)
          and (o.outcome, o.code, o.counts) = (p_outcome, p_code, p_counts)) then
        return false;
    end if;
    insert into sync.run_event (partner, run_key, dag, step, organization, entity, outcome, code, counts)
    values (p_partner, p_run_key, p_dag, p_step, p_organization, p_entity, p_outcome, p_code, p_counts);
    return true;
end $$;

-- One open row for one cause, from the run that met it first to the next good run of that step of that organization.
create table sync.incident (
    id bigint generated always as identity primary key,
    partner sync.code not null,
    organization text not null default '',
    step text not null,
    code text not null,
    opened_run_key text not null,
    opened_at timestamptz not null default clock_timestamp(),
    last_run_key text not null,
    last_seen_at timestamptz not null default clock_timestamp(),
    runs integer not null default 1,
    notified_to text[] not null default '{}',
    notified_at timestamptz,
    closed_run_key text,
    closed_at timestamptz
);
create unique index incident_open on sync.incident (partner, organization, step, code) where closed_at is null;
create index on sync.incident (partner, opened_run_key);

-- The unique index decides which of two runs at one time has opened it.
create function sync.open_incident(p_partner text, p_organization text, p_step text, p_code text, p_run_key text)
    returns setof sync.incident
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    insert into sync.incident as i (partner, organization, step, code, opened_run_key, last_run_key)
    values (p_partner, p_organization, p_step, p_code, p_run_key, p_run_key)
    on conflict (partner, organization, step, code) where closed_at is null do update
        set runs = i.runs + (i.last_run_key <> excluded.last_run_key)::integer,
            last_run_key = excluded.last_run_key, last_seen_at = excluded.last_seen_at
    returning *
$$;

create function sync.close_incidents(p_partner text, p_organization text, p_step text, p_run_key text)
    returns setof sync.incident
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update sync.incident set closed_at = clock_timestamp(), closed_run_key = p_run_key
    where partner = p_partner and organization = p_organization and step = p_step and closed_at is null
    returning *
$$;

-- Takes the right to tell somebody: each incident is handed out once for each address.
create function sync.claim_notice(p_incidents bigint[], p_to text) returns setof sync.incident
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update sync.incident set notified_to = notified_to || p_to, notified_at = clock_timestamp()
    where id = any (p_incidents) and p_to <> all (notified_to)
    returning *
$$;

revoke execute on all functions in schema sync from public;
grant execute on function sync.record_outcome to sync_extract, sync_validate, sync_merge, sync_release, sync_push, sync_run;
grant execute on function sync.open_incident, sync.close_incidents, sync.claim_notice to sync_run;
grant select on sync.run_event, sync.run_outcome, sync.incident to sync_run, sync_reader;
grant usage on schema sync to sync_reader;
