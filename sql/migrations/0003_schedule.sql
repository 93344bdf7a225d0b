-- The scheduling product's door (writer: the product). A visit belongs to the week of its start in Asia/Tokyo (rule 6).

create function schedule.week_of(moment timestamptz) returns date
    language sql immutable parallel safe
    return date_trunc('week', moment at time zone 'Asia/Tokyo')::date;

create table schedule.visit (
    -- The product's own id: it stands in logs and URLs, so it may carry no personal value.
    visit_id text primary key check (visit_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    revision bigint not null check (revision > 0),
    organization sync.code not null references sync.organization (code),
    office_id bigint not null references canonical.office (id),
    patient_id bigint not null references canonical.patient (id),
    practitioner_id bigint references canonical.practitioner (id),
    service_code text,
    start_at timestamptz not null,
    end_at timestamptz not null,
    status text not null default 'planned' check (status in ('planned', 'performed', 'cancelled')),
    actual_start_at timestamptz,
    actual_end_at timestamptz,
    note text,
    updated_at timestamptz not null default now(),
    check (start_at < end_at),
    check (actual_start_at < actual_end_at)
);
create index on schedule.visit (office_id, start_at);

create table schedule.week_state (
    office_id bigint not null references canonical.office (id),
    week sync.week not null,
    -- Counted under the organization's lock, so the highest is the current state.
    step integer not null default 0,
    organization sync.code not null references sync.organization (code),
    state text not null check (state in ('finalized', 'reopened')),
    -- The product's own counter of the week's state, if it has one: what is not newer than a known one is not taken.
    revision bigint check (revision > 0),
    changed_by text not null,
    changed_at timestamptz not null default now(),
    primary key (office_id, week, step)
);

create view schedule.week_finalized as
select w.organization, w.office_id, w.week
from schedule.week_state w
where w.state = 'finalized'
  and not exists (
      select from schedule.week_state later
      where later.office_id = w.office_id and later.week = w.week and later.step > w.step
  );
comment on view schedule.week_finalized is 'Offices and weeks that are closed by a planner (FIX) and not reopened since.';

create function schedule.refuse() returns trigger language plpgsql as $$
begin
    raise exception '% of %.% is refused: %', tg_op, tg_table_schema, tg_table_name, tg_argv[0]
        using errcode = 'feature_not_supported';
end $$;
create trigger no_truncate before truncate on schedule.visit
    for each statement execute function schedule.refuse('it would bypass the change history; delete the rows');
create trigger append_only before update or delete or truncate on schedule.week_state
    for each statement execute function schedule.refuse('weeks are finalized and reopened by new rows');

-- The newest word on a visit that came through schedule.apply, also of one that was deleted before it was ever seen.
create table schedule.applied_revision (
    visit_id text primary key,
    revision bigint not null,
    deleted boolean not null
);

-- For a product with its own database: {"visits": [...], "deleted": [...], "weeks": [...]}, idempotent by visit and
-- revision. Documents may come late, twice and in any order; a week's state is ordered only by its revision, if it has one.
-- Returns how many visits changed or went.
create function schedule.apply(document jsonb) returns integer
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    put text[];
    gone text[];
    gone_revisions bigint[];
    changed integer;
    deleted integer;
begin
    select array_agg(t.visit_id) filter (where not t.deleted), array_agg(t.visit_id) filter (where t.deleted),
        array_agg(t.revision) filter (where t.deleted)
    into put, gone, gone_revisions
    from schedule.take_revisions(document) t;
    insert into schedule.visit as v (visit_id, revision, organization, office_id, patient_id, practitioner_id, service_code,
        start_at, end_at, status, actual_start_at, actual_end_at, note)
    select distinct on (n.visit_id) n.visit_id, n.revision, n.organization, n.office_id, n.patient_id, n.practitioner_id,
        n.service_code, n.start_at, n.end_at, coalesce(n.status, 'planned'), n.actual_start_at, n.actual_end_at, n.note
    from jsonb_populate_recordset(null::schedule.visit, coalesce(document -> 'visits', '[]')) n
    where n.visit_id = any (put)
    order by n.visit_id, n.revision desc
    on conflict (visit_id) do update set
        revision = excluded.revision, organization = excluded.organization, office_id = excluded.office_id,
        patient_id = excluded.patient_id, practitioner_id = excluded.practitioner_id, service_code = excluded.service_code,
        start_at = excluded.start_at, end_at = excluded.end_at, status = excluded.status,
        actual_start_at = excluded.actual_start_at, actual_end_at = excluded.actual_end_at, note = excluded.note,
        updated_at = now()
    where v.revision < excluded.revision;
    get diagnostics changed = row_count;
    -- What capture keeps of a deleted visit names the revision that deleted it.
    update schedule.visit v set revision = d.revision
    from unnest(gone, gone_revisions) d (visit_id, revision)
    where v.visit_id = d.visit_id and v.revision < d.revision;
    delete from schedule.visit v
    using unnest(gone, gone_revisions) d (visit_id, revision)
    where v.visit_id = d.visit_id and v.revision = d.revision;
    get diagnostics deleted = row_count;
    insert into schedule.week_state (office_id, week, organization, state, revision, changed_by)
    select distinct on (n.office_id, n.week) n.office_id, n.week, n.organization, n.state, n.revision, n.changed_by
    from rows from (jsonb_to_recordset(coalesce(document -> 'weeks', '[]')) as (
        office_id bigint, week date, organization text, state text, revision bigint, changed_by text)) with ordinality
        n (office_id, week, organization, state, revision, changed_by, nth)
    where n.revision is not null or (n.state = 'finalized') is distinct from exists (
        select from schedule.week_finalized f where f.office_id = n.office_id and f.week = n.week)
    order by n.office_id, n.week, n.revision desc nulls last, n.nth desc;
    return changed + deleted;
end $$;

grant select, insert, update, delete on schedule.visit to sync_product;
grant select, insert on schedule.week_state to sync_product;
grant select, insert, update on schedule.applied_revision to sync_product;
grant select on schedule.week_finalized to sync_product, sync_release, sync_push, sync_run;
grant usage on schema schedule to sync_push;
grant select on sync.organization to sync_product;
