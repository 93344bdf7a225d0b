-- Reconcile: what a partner really holds of a week, against what it should hold. Looking (sightings) and judging are
-- apart: what was seen is written as it comes, so that a wait for the limits loses nothing, and the verdict is computed
-- from our own tables when everything has been seen. Writer: push, through these functions only.

create table sync.reconciliation (
    id bigint generated always as identity primary key,
    partner sync.code not null,
    organization sync.code not null,
    week sync.week not null,
    run_key text not null,
    -- 1: what there is; 2: what is left after a repair, in the same run.
    round integer not null check (round in (1, 2)),
    -- How often the partner's list of the week has been read to its end; where the present reading goes on, since when,
    -- and how many records it had.
    listed integer not null default 0,
    position jsonb,
    listing_at timestamptz not null default clock_timestamp(),
    records integer not null default 0,
    -- Records without a visit id of ours: somebody made them there by hand, and they are none of our business.
    not_ours integer not null default 0,
    same integer not null default 0,
    -- Visits whose rows in sync.todo were not what sync.pending says, and were rebuilt: always 0 unless we have a bug.
    todo_rebuilt integer not null default 0,
    started_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    unique (run_key, partner, organization, week, round)
);
create index on sync.reconciliation (partner, organization, week, id);

create table sync.reconciliation_sighting (
    reconciliation_id bigint not null references sync.reconciliation (id),
    visit_id text not null,
    partner_ref text not null default '',
    -- 1 and 2: in that reading of the list; 3: read back by itself, which confirms.
    pass integer not null check (pass in (1, 2, 3)),
    -- The version that it was compared with; null: the organization has no such visit.
    version integer,
    found text not null check (found in ('same', 'different', 'absent')),
    fields text[] not null default '{}',
    -- The database's clock before the partner was asked.
    asked_at timestamptz not null,
    primary key (reconciliation_id, visit_id, partner_ref, pass)
);

create table sync.reconciliation_item (
    id bigint generated always as identity primary key,
    reconciliation_id bigint not null references sync.reconciliation (id),
    -- Of an extra record that names no visit of the organization, what stands there as its id: the partner's text.
    visit_id text not null,
    what text not null check (what in ('missing', 'extra', 'different', 'unsettled')),
    why text,
    week sync.week,
    office_id bigint,
    version integer,
    partner_ref text,
    fields text[] not null default '{}',
    -- The newest result of the visit when it was judged: what has come later makes the verdict stale.
    newest_result bigint,
    repaired boolean not null default false
);
create index on sync.reconciliation_item (reconciliation_id, what);

-- The to-do table is derived; for one organization, what is wrong in it is rebuilt (design, 4). Returns how many visits.
create function sync.rebuild_todo(p_partner text, p_organization text) returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    wrong text[];
begin
    with pending as (
        select p.visit_id, p.week, p.action, p.version, p.generation, p.office_id
        from sync.pending p where p.partner = p_partner and p.organization = p_organization
    ), todo as (
        select t.visit_id, t.week, t.action, t.version, t.generation, t.office_id
        from sync.todo t where t.partner = p_partner and t.organization = p_organization
    )
    select coalesce(array_agg(distinct d.visit_id), '{}') into wrong
    from ((table pending except table todo) union (table todo except table pending)) d;
    if wrong <> '{}' then
        perform sync.lock_organization(p_organization, false);
        perform sync.refresh_todo(wrong);
    end if;
    return cardinality(wrong);
end $$;

-- Opens a comparison, or finds the one that a task before this one, or its first try, has begun.
create function sync.open_reconciliation(p_partner text, p_organization text, p_week date, p_run_key text, p_round integer)
    returns sync.reconciliation
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    opened sync.reconciliation;
begin
    insert into sync.reconciliation (partner, organization, week, run_key, round, todo_rebuilt)
    values (p_partner, p_organization, p_week, p_run_key, p_round, sync.rebuild_todo(p_partner, p_organization))
    on conflict (run_key, partner, organization, week, round) do nothing;
    select * into opened from sync.reconciliation r
    where (r.run_key, r.partner, r.organization, r.week, r.round)
        = (p_run_key, p_partner, p_organization, p_week, p_round);
    return opened;
end $$;

-- What one page, or one read-back, has shown: [{"visit_id", "partner_ref", "pass", "version", "found", "fields", "asked_at"}].
create function sync.note_sightings(p_id bigint, p_sightings jsonb) returns void
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    insert into sync.reconciliation_sighting as s (reconciliation_id, visit_id, partner_ref, pass, version, found, fields,
        asked_at)
    select distinct on (n.visit_id, coalesce(n.partner_ref, ''), n.pass) p_id, n.visit_id, coalesce(n.partner_ref, ''),
        n.pass, n.version, n.found, coalesce(n.fields, '{}'), n.asked_at
    from jsonb_populate_recordset(null::sync.reconciliation_sighting, p_sightings) n
    where exists (select from sync.reconciliation r where r.id = p_id and r.ended_at is null)
    on conflict (reconciliation_id, visit_id, partner_ref, pass) do update set
        version = excluded.version, found = excluded.found, fields = excluded.fields, asked_at = excluded.asked_at
$$;

-- How far the list has been read; {"position", "records", "not_ours", "ended"}. The end begins the next reading.
create function sync.note_page(p_id bigint, p_page jsonb) returns sync.reconciliation
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update sync.reconciliation r
    set position = nullif(p_page -> 'position', 'null'),
        records = r.records + (p_page ->> 'records')::integer,
        not_ours = case when r.listed = 0 then r.not_ours + (p_page ->> 'not_ours')::integer else r.not_ours end,
        listed = r.listed + (p_page ->> 'ended')::boolean::integer
    where r.id = p_id and r.ended_at is null
    returning *
$$;

-- Before a list is read from its beginning: what the broken reading before has shown does not count.
create function sync.begin_listing(p_id bigint) returns sync.reconciliation
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    begun sync.reconciliation;
begin
    update sync.reconciliation r
    set position = null, records = 0, listing_at = clock_timestamp(),
        not_ours = case when r.listed = 0 then 0 else r.not_ours end
    where r.id = p_id and r.ended_at is null
    returning * into begun;
    delete from sync.reconciliation_sighting s
    where s.reconciliation_id = p_id and s.pass = begun.listed + 1;
    return begun;
end $$;

-- How our tables stand on visits at a partner: 'accepted' (it should be there as it is), 'gone' (it should not), or why
-- nothing can be said yet.
create function sync.standing(p_partner text, p_organization text, p_visits text[], p_needs text[])
    returns table (visit_id text, version integer, week date, office_id bigint, standing text, held boolean, held_ref text,
        newest_result bigint, last_call_at timestamptz)
    language sql stable set search_path = pg_catalog, pg_temp as $$
    select h.visit_id, h.version, h.week, h.office_id,
        case
            when a.state = 'unknown' and a.settle_at = 'infinity' then 'parked'
            when a.state = 'unknown' then 'unknown'
            when a.state is not null then 'in_flight'
            when exists (select from sync.todo t where t.partner = p_partner and t.visit_id = h.visit_id) then
                case when not h.cancelled and exists (
                        select from sync.lacks_key(
                            p_partner, p_organization, p_needs, h.office_id, h.patient_id, h.practitioner_id))
                    then 'blocked' else 'pending' end
            when done.outcomes && array ['rejected', 'dead'] then
                case when 'dead' = any (done.outcomes) then 'dead' else 'rejected' end
            when done.put is not null then done.put
            when done.outcomes is null and held.visit_id is not null then 'held_back'
            else 'gone'
        end,
        held.visit_id is not null, held.partner_ref, newest.id, newest.last_call_at
    from sync.visit_head h
    left join sync.push_attempt a
        on a.partner = p_partner and a.visit_id = h.visit_id and a.state in ('claimed', 'sent', 'unknown')
    left join lateral (
        select array_agg(r.outcome) as outcomes, max(r.outcome) filter (where i.action = 'put') as put
        from sync.item i
        join sync.push_result r on r.final
            and (r.partner, r.visit_id, r.week, r.action, r.version, r.generation)
                = (i.partner, i.visit_id, i.week, i.action, i.version, i.generation)
        where i.partner = p_partner and i.visit_id = h.visit_id) done on true
    left join sync.held held on held.partner = p_partner and held.visit_id = h.visit_id
    left join lateral (
        select max(r.id) as id, max(r.at) filter (where r.attempt_id is not null) as last_call_at
        from sync.push_result r where r.partner = p_partner and r.visit_id = h.visit_id) newest on true
    where h.visit_id = any (p_visits) and h.organization = p_organization
$$;

-- The verdict on every visit that should be there in the week or was seen there. What was sent, or answered, less than
-- the settle time before the partner was asked is no difference yet; neither is what nothing has confirmed.
create function sync.reconciliation_verdicts(p_id bigint, p_needs text[], p_settle_after_seconds double precision)
    returns table (visit_id text, what text, why text, week date, office_id bigint, version integer, partner_ref text,
        fields text[], newest_result bigint, confirmed boolean)
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with run as (
        select * from sync.reconciliation r where r.id = p_id
    ), sighting as (
        select s.* from sync.reconciliation_sighting s, run where s.reconciliation_id = p_id and s.pass in (run.listed, 3)
    ), concerned as (
        select i.visit_id
        from run
        join sync.release r on (r.partner, r.organization, r.week) = (run.partner, run.organization, run.week)
        join sync.visit_head h on h.office_id = r.office_id and h.week = r.week
        cross join lateral (
            select k.visit_id from sync.item k
            where k.visit_id = h.visit_id and k.partner = run.partner and k.week = run.week and k.action = 'put' limit 1) i
        union
        select s.visit_id from sighting s
    ), standing as (
        select s.* from run,
            sync.standing(run.partner, run.organization, array(select c.visit_id from concerned c), p_needs) s
    ), looked as (
        -- One look a visit: the newest, and of several records the one that we know by its name.
        select distinct on (s.visit_id) s.*
        from sighting s left join standing st on st.visit_id = s.visit_id
        order by s.visit_id, s.pass desc, s.partner_ref = st.held_ref desc nulls last, s.found = 'same' desc, s.partner_ref
    ), judged as (
        select c.visit_id,
            -- Refused because it is gone there: what the refusal could not say, the look does.
            case when st.standing in ('rejected', 'dead') and st.held and coalesce(l.found, 'absent') = 'absent'
                then 'accepted' else st.standing end as standing,
            st.week, st.office_id, st.version, st.newest_result, l.fields, nullif(l.partner_ref, '') as partner_ref, coalesce(l.pass = 3, false) or run.listed > 1 as confirmed,
            coalesce(l.found, 'absent') as found,
            l.partner_ref <> '' and st.held_ref is not null and l.partner_ref <> st.held_ref as renamed,
            -- Where there is no list, whoever was not looked at yet has to be.
            coalesce(st.last_call_at > coalesce(l.asked_at, case when run.listed > 0 then run.listing_at end)
                - make_interval(secs => p_settle_after_seconds), false)
                or coalesce(l.found <> 'absent' and l.version is distinct from st.version, false) as too_new,
            exists (select from sync.visit_head h where h.visit_id = c.visit_id) as known
        from run, concerned c
        left join standing st on st.visit_id = c.visit_id
        left join looked l on l.visit_id = c.visit_id
    ), said as (
        select j.*, case
                when j.standing is null then 'extra'
                when j.standing = 'gone' and j.found = 'absent' then 'same'
                when j.standing not in ('accepted', 'gone') then 'unsettled'
                when j.standing = 'accepted' and j.found = 'same' and not coalesce(j.renamed, false) then 'same'
                when j.too_new then 'unsettled'
                when j.standing = 'gone' then 'extra'
                when j.found = 'absent' then 'missing'
                else 'different'
            end as what
        from judged j
    )
    select s.visit_id, s.what,
        case
            when s.standing is null then case when s.known then 'other_organization' else 'unknown_visit' end
            when s.what = 'unsettled' then case when s.standing in ('accepted', 'gone') then 'too_new' else s.standing end
            when s.what = 'extra' then 'taken_back'
            when s.what = 'same' and s.standing = 'gone' then 'gone'
            when s.what = 'different' and s.renamed then 'renamed'
        end,
        s.week, s.office_id, s.version, s.partner_ref, coalesce(s.fields, '{}'), s.newest_result,
        s.confirmed or s.what in ('same', 'unsettled') or s.standing is null
    from said s
    union all
    -- More than one record of a visit. The engine never makes a second one; which of them is to go a person decides.
    select d.visit_id, 'extra', 'duplicate', st.week, st.office_id, st.version, d.partner_ref, d.fields, st.newest_result,
        true
    from sighting d
    join standing st on st.visit_id = d.visit_id
    join run on d.pass = run.listed
    where d.partner_ref <> (
        select kept.partner_ref from sighting kept
        where kept.visit_id = d.visit_id and kept.pass = run.listed
        order by kept.partner_ref = st.held_ref desc nulls last, kept.found = 'same' desc, kept.partner_ref limit 1)
$$;

-- Writes the verdicts down and ends the comparison; what was seen is not needed any more.
create function sync.end_reconciliation(p_id bigint, p_needs text[], p_settle_after_seconds double precision) returns void
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from sync.reconciliation r where r.id = p_id and r.ended_at is null for update;
    if not found then
        return;
    end if;
    with verdict as materialized (
        select * from sync.reconciliation_verdicts(p_id, p_needs, p_settle_after_seconds)
    ), written as (
        insert into sync.reconciliation_item (reconciliation_id, visit_id, what, why, week, office_id, version,
            partner_ref, fields, newest_result)
        select p_id, v.visit_id, case when v.confirmed then v.what else 'unsettled' end,
            case when v.confirmed then v.why else 'too_new' end, v.week, v.office_id, v.version, v.partner_ref, v.fields,
            v.newest_result
        from verdict v where v.what <> 'same' order by v.visit_id
    )
    update sync.reconciliation r
    set ended_at = clock_timestamp(),
        same = (select count(*) from verdict v where v.what = 'same' and v.why is null and v.week = r.week)
    where r.id = p_id;
    delete from sync.reconciliation_sighting s where s.reconciliation_id = p_id;
end $$;

-- Makes our belief what was found and asks for the visits anew: what is missing or different is put again, what is there
-- and should not be is taken back, all by the usual claim, send and verify. A visit about which anything has happened since
-- the verdict is left alone. p_missing_is_sure: a visit that is sent again because it is missing cannot stand there twice.
-- Returns how many are on their way.
create function sync.repair_reconciliation(p_id bigint, p_missing_is_sure boolean, p_requested_by text) returns integer
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    run sync.reconciliation;
    items bigint[];
    asked record;
begin
    select * into strict run from sync.reconciliation r where r.id = p_id and r.ended_at is not null;
    perform sync.lock_organization(run.organization, false);
    -- The answers of visits in flight come under this lock.
    perform from (
        select from sync.visit_head h
        where h.visit_id in (select i.visit_id from sync.reconciliation_item i where i.reconciliation_id = p_id)
          and h.organization = run.organization
        order by h.visit_id for no key update) locked;
    select coalesce(array_agg(i.id), '{}') into items
    from sync.reconciliation_item i
    join sync.visit_head h on h.visit_id = i.visit_id and h.version = i.version
    where i.reconciliation_id = p_id and not i.repaired
      and (i.what = 'different' or i.what = 'missing' and p_missing_is_sure or i.why = 'taken_back')
      and i.newest_result = (
          select max(r.id) from sync.push_result r where r.partner = run.partner and r.visit_id = i.visit_id)
      and not exists (select from sync.todo t where t.partner = run.partner and t.visit_id = i.visit_id)
      and not exists (
          select from sync.push_attempt a
          where a.partner = run.partner and a.visit_id = i.visit_id and a.state in ('claimed', 'sent', 'unknown'));
    -- What is taken back is taken back from the week, and the office, in which it was sent last, best in this one.
    insert into sync.push_result (partner, organization, office_id, visit_id, version, week, action, generation, outcome,
        code, present, partner_ref, run_key)
    select run.partner, run.organization, sent.office_id, i.visit_id, sent.version, sent.week, sent.action,
        sent.generation, 'retry', 'reconciled', i.what <> 'missing',
        case when i.what <> 'missing' then coalesce(i.partner_ref, held.partner_ref) end, run.run_key || '/repair'
    from sync.reconciliation_item i
    cross join lateral (
        (select x.office_id, x.version, x.week, x.action, x.generation
         from sync.item x
         where i.what <> 'extra' and x.partner = run.partner and x.visit_id = i.visit_id and x.action = 'put')
        union all
        (select r.office_id, r.version, r.week, r.action, r.generation
         from sync.push_result r
         where i.what = 'extra' and r.partner = run.partner and r.visit_id = i.visit_id and r.attempt_id is not null
         order by r.week = run.week desc, r.id desc limit 1)
    ) sent
    left join sync.held held on held.partner = run.partner and held.visit_id = i.visit_id
    where i.id = any (items)
    order by i.visit_id;
    for asked in
        select r.week, array_agg(r.visit_id) as visits
        from sync.push_result r
        where r.partner = run.partner and r.run_key = run.run_key || '/repair' and r.code = 'reconciled'
          and r.visit_id in (select i.visit_id from sync.reconciliation_item i where i.id = any (items))
        group by r.week order by r.week
    loop
        perform sync.requeue_visits(run.partner, run.organization, asked.week, asked.visits, 'reconcile', p_requested_by,
            run.run_key);
    end loop;
    update sync.reconciliation_item i
    set repaired = true, week = t.week
    from sync.todo t
    where i.id = any (items) and t.partner = run.partner and t.visit_id = i.visit_id;
    return (select count(*) from sync.reconciliation_item i where i.reconciliation_id = p_id and i.repaired);
end $$;

revoke execute on all functions in schema sync from public;
grant execute on function sync.open_reconciliation, sync.begin_listing, sync.note_sightings, sync.note_page,
    sync.reconciliation_verdicts, sync.end_reconciliation, sync.repair_reconciliation to sync_push;
grant select on sync.reconciliation, sync.reconciliation_item to sync_push, sync_run;
