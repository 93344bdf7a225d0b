-- Schedules out: change history (writer: capture), releases (writer: the first task of a push), attempts and results
-- (writer: push). The to-do table is derived from the view sync.pending and can be rebuilt at any time.

create table sync.change_history (
    visit_id text not null,
    version integer not null,
    revision bigint not null,
    organization sync.code not null,
    office_id bigint not null,
    week sync.week not null,
    cancelled boolean not null,
    visit jsonb not null,
    changed_at timestamptz not null default now(),
    primary key (visit_id, version)
);
-- One head a visit. Its row lock is what orders capture, claim and settle of a visit against each other.
create table sync.visit_head (
    visit_id text primary key,
    version integer not null,
    organization sync.code not null,
    office_id bigint not null,
    patient_id bigint not null,
    practitioner_id bigint,
    week sync.week not null,
    cancelled boolean not null
);
create index on sync.visit_head (office_id, week);
create index on sync.link (organization);

create table sync.push_request (
    id bigint generated always as identity primary key,
    partner sync.code not null,
    organization sync.code not null,
    office_ids bigint[] not null,
    week sync.week not null,
    mode text not null check (mode in ('changes', 'resend', 'weekly', 'on_finalize')),
    requested_by text not null,
    run_key text not null,
    requested_at timestamptz not null default now(),
    unique (partner, organization, week, run_key)
);
-- What the requests come to: an office's week that may leave, and how often it was asked for anew.
create table sync.release (
    partner sync.code not null,
    office_id bigint not null,
    week sync.week not null,
    organization sync.code not null,
    generation integer not null,
    released_at timestamptz not null default now(),
    primary key (partner, office_id, week)
);

create table sync.push_attempt (
    id bigint generated always as identity primary key,
    partner sync.code not null,
    organization sync.code not null,
    office_id bigint not null,
    visit_id text not null,
    version integer not null,
    week sync.week not null,
    action text not null check (action in ('put', 'withdraw')),
    generation integer not null,
    idempotency_key uuid not null,
    state text not null default 'claimed' check (state in ('claimed', 'sent', 'unknown', 'settled', 'given_up')),
    -- The advisory lock that the sending session holds; whoever gets it knows that the owner is dead.
    owner bigint not null,
    claimed_at timestamptz not null default clock_timestamp(),
    sent_at timestamptz,
    settle_at timestamptz,
    calls integer not null default 0
);
-- The claim (rule 4): one open attempt for a partner and a visit, written before the call.
create unique index push_attempt_claim on sync.push_attempt (partner, visit_id) where state in ('claimed', 'sent', 'unknown');
create index on sync.push_attempt (partner, organization, settle_at) where state in ('claimed', 'sent', 'unknown');

create table sync.push_result (
    id bigint generated always as identity primary key,
    attempt_id bigint references sync.push_attempt (id),
    partner sync.code not null,
    organization sync.code not null,
    office_id bigint not null,
    visit_id text not null,
    version integer not null,
    week sync.week not null,
    action text not null check (action in ('put', 'withdraw')),
    generation integer not null,
    outcome text not null check (outcome in
        ('accepted', 'rejected', 'dead', 'superseded', 'nothing_to_do', 'withdrawn', 'retry', 'unknown')),
    -- Whether a retry uses up one of the item's attempts: waiting for a limit or an unreachable partner does not.
    counted boolean not null default false,
    final boolean not null generated always as (outcome not in ('retry', 'unknown')) stored,
    code text,
    status integer,
    fields text[],
    -- What is known after this about the partner's side: it holds the visit in some form, or does not; null: nothing new.
    present boolean,
    partner_ref text,
    run_key text,
    at timestamptz not null default clock_timestamp()
);
create unique index push_result_final on sync.push_result (partner, visit_id, week, action, version, generation) where final;
create index push_result_held on sync.push_result (visit_id, partner, id desc) where present is not null;
create index on sync.push_result (office_id, week, partner) where present;
create index on sync.push_result (visit_id, partner);
create index on sync.push_result (run_key, organization);
create index push_result_failed on sync.push_result (partner, organization, week) where outcome in ('rejected', 'dead');

create table sync.todo (
    partner sync.code not null,
    visit_id text not null,
    week sync.week not null,
    action text not null,
    version integer not null,
    generation integer not null,
    organization sync.code not null,
    office_id bigint not null,
    due_at timestamptz not null default clock_timestamp(),
    -- The partner had no key for whom the visit names when its keys had changed so often (sync.key_change); else null.
    blocked_at_change bigint,
    primary key (visit_id, partner, week, action)
);
-- What is blocked lies apart, so that a tick never walks over it.
create index todo_ready on sync.todo (partner, organization, due_at, visit_id) where blocked_at_change is null;
create index todo_blocked on sync.todo (partner, organization, blocked_at_change) where blocked_at_change is not null;
create index todo_withdraw on sync.todo (partner, organization) where action = 'withdraw';

-- How often the keys of an organization at a partner have changed, and for which entities the partner wants keys (null: not
-- told yet, or a key was taken away, so that every row is looked at again). What was blocked at an earlier count has to be
-- looked at again. A count and not a time: who counts up holds the row until its commit, so none is ever missed.
create table sync.key_change (
    partner sync.code not null,
    organization sync.code not null,
    changes bigint not null default 0,
    needs text[],
    primary key (partner, organization)
);

-- One row when the partner lacks a key for whom a visit names. In a FROM the planner sees through it: it has no settings of
-- its own and is called by definer functions only.
create function sync.lacks_key(partner text, organization text, needs text[], office_id bigint, patient_id bigint,
    practitioner_id bigint) returns setof boolean
    language sql stable as $$
    select true
    from (values ('office', $4), ('patient', $5), ('practitioner', $6)) n (entity, id)
    where n.id is not null and ($3 is null or n.entity = any ($3))
      and not exists (
          select from canonical.crosswalk c
          where c.canonical_id = n.id and c.partner = $1 and c.organization = $2 and c.entity = n.entity)
      and not exists (
          select from canonical.key_map m
          where m.partner = $1 and m.organization = $2 and m.entity = n.entity and m.canonical_id = n.id)
    limit 1
$$;

-- What a partner holds of a visit now, as the last answer or read-back said. The head's lock orders the results of a visit.
create view sync.held as
select r.partner, r.visit_id, r.week, r.office_id, r.organization, r.version, r.partner_ref
from sync.push_result r
where r.present
  and not exists (
      select from sync.push_result later
      where later.visit_id = r.visit_id and later.partner = r.partner and later.id > r.id and later.present is not null);

-- One item anew: a person asks again for what was rejected or given up, or a repair for what the partner lost.
create table sync.requeue (
    partner sync.code not null,
    visit_id text not null,
    week sync.week not null,
    reason text not null,
    requested_by text not null,
    run_key text not null,
    at timestamptz not null default clock_timestamp(),
    primary key (partner, visit_id, week, run_key)
);

-- Every item that the released, finalized weeks come to now, delivered or not: the visit as it stands, in its own week,
-- and, where the partner holds it in a released week that it has left, its withdraw from there (rule 6). A reopened week
-- holds both. The generation grows with each resend of the week and each requeue of the visit in it, so no two are ever
-- the same. What stands in a lateral with a limit is looked up by its key, row by row, whatever the statistics say: a
-- bulk write meets plans that were made when the tables were empty.
create view sync.item as
select l.partner, h.visit_id, i.week, i.action, h.version,
    r.generation + (
        select count(*) from sync.requeue q
        where (q.partner, q.visit_id, q.week) = (l.partner, h.visit_id, i.week))::integer as generation,
    h.organization, i.office_id
from sync.visit_head h
cross join lateral (
    select k.partner from sync.link k
    where k.organization = h.organization and k.enabled and 'schedule' = any (k.directions) offset 0
) l
left join lateral (
    select k.office_id, k.week, k.present
    from sync.push_result k
    where k.visit_id = h.visit_id and k.partner = l.partner and k.present is not null
    order by k.id desc limit 1
) held on true
cross join lateral (
    select h.office_id, h.week, case when h.cancelled then 'withdraw' else 'put' end as action
    -- Moved to another office and cancelled there: what the old office's week holds is taken back, once.
    where not (h.cancelled and coalesce(held.present and held.week = h.week and held.office_id <> h.office_id, false))
    union all
    select held.office_id, held.week, 'withdraw'
    where held.present and (held.office_id, held.week) <> (h.office_id, h.week)
) i
cross join lateral (
    select k.generation from sync.release k
    where k.partner = l.partner and k.office_id = i.office_id and k.week = i.week limit 1
) r
join lateral (
    select k.state from schedule.week_state k
    where k.office_id = i.office_id and k.week = i.week order by k.step desc limit 1
) w on w.state = 'finalized';

-- The definition of what is to be delivered (design, 4): items without a final result.
create view sync.pending as
select i.*
from sync.item i
left join lateral (
    select true as found from sync.push_result k
    where k.final and k.partner = i.partner and k.visit_id = i.visit_id and k.week = i.week and k.action = i.action
      and k.version = i.version and k.generation = i.generation
    limit 1
) done on true
where done.found is null;

-- Makes the to-do rows of these visits what the view says, and wakes whoever listens for a partner that gets work.
-- Whatever the statistics say and however many visits there are, the rows are found by their indexes: a plan is made once a
-- session, often while the tables are still small.
create function sync.refresh_todo(visits text[]) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    partners text[];
begin
    if cardinality(visits) > 1 then
        -- Always in this order: two refreshes never wait for each other in a circle.
        perform from (
            select from sync.todo t where t.visit_id = any (visits)
            order by t.visit_id, t.partner, t.week, t.action for update) locked;
    end if;
    delete from sync.todo t
    where t.visit_id = any (visits)
      and (select true from sync.pending p
           where (p.partner, p.visit_id, p.week, p.action) = (t.partner, t.visit_id, t.week, t.action) limit 1) is null;
    with written as (
        insert into sync.todo as t (partner, visit_id, week, action, version, generation, organization, office_id,
            blocked_at_change)
        select p.partner, p.visit_id, p.week, p.action, p.version, p.generation, p.organization, p.office_id,
            case when blocked.so then coalesce(k.changes, 0) end
        from sync.pending p
        cross join lateral (select * from sync.visit_head where visit_head.visit_id = p.visit_id limit 1) h
        left join lateral (
            select * from sync.key_change c where (c.partner, c.organization) = (p.partner, p.organization) limit 1) k on true
        left join lateral sync.lacks_key(p.partner, p.organization, k.needs, h.office_id, h.patient_id, h.practitioner_id)
            blocked (so) on p.action = 'put'
        where p.visit_id = any (visits)
        order by p.visit_id, p.partner, p.week, p.action
        on conflict (visit_id, partner, week, action) do update set
            version = excluded.version, generation = excluded.generation, office_id = excluded.office_id,
            due_at = excluded.due_at, blocked_at_change = excluded.blocked_at_change
        where (t.version, t.generation, t.office_id)
            is distinct from (excluded.version, excluded.generation, excluded.office_id)
        returning t.partner
    )
    select array_agg(distinct w.partner) into partners from written w;
    -- Only for new work: who notifies takes a lock of the whole server at its commit. The same notice twice in a
    -- transaction is one.
    perform pg_notify('partner_sync_todo', p) from unnest(partners) p;
end $$;

-- Finalize, release and link changes exclude captures of the same organization: neither would see the other's
-- uncommitted row, and an item would be missed.
create function sync.lock_organization(organization text, shared boolean) returns void
    language plpgsql as $$
begin
    -- With an older snapshot what the other has committed meanwhile would be missed, silently.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'visits, weeks and releases are written at isolation level read committed'
            using errcode = 'feature_not_supported';
    end if;
    if shared then
        perform pg_advisory_xact_lock_shared(hashtextextended('sync.organization:' || organization, 0));
    else
        perform pg_advisory_xact_lock(hashtextextended('sync.organization:' || organization, 0));
    end if;
end $$;

create function sync.visits_of_week(office bigint, monday date) returns text[]
    language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(visit_id), '{}') from (
        select visit_id from sync.visit_head where office_id = office and week = monday
        union
        select visit_id from sync.push_result where office_id = office and week = monday and present
        union
        select visit_id from sync.push_attempt
        where office_id = office and week = monday and state in ('claimed', 'sent', 'unknown')
    ) v
$$;

-- For whoever holds the organization's lock alone. The answer of a visit in flight may be settled at this moment: its
-- head is locked first, so that one of the two sees what the other wrote. The claims wait for the organization's lock.
create function sync.refresh_week(office bigint, monday date) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    visits text[] := sync.visits_of_week(office, monday);
begin
    perform from (
        select from sync.visit_head h
        where h.visit_id = any (visits) and exists (
            select from sync.push_attempt a where a.visit_id = h.visit_id and a.state in ('claimed', 'sent', 'unknown'))
        order by h.visit_id for no key update) locked;
    perform sync.refresh_todo(sync.visits_of_week(office, monday));
end $$;
