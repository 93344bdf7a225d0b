-- claim -> send -> verify (rules 2-4). These functions are push's only door to the visit heads' locks.

create sequence sync.push_owner as integer;

-- A pusher's session holds this lock as long as it lives (or its connection does: a lost lock proves nothing about a
-- POST that is still on its way, which is why sent attempts become unknown and wait for their settle time).
create function sync.become_owner() returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    owner integer := nextval('sync.push_owner');
begin
    perform pg_advisory_lock(7350, owner);
    return owner;
end $$;

-- A withdraw of what the partner does not hold needs no call: created and cancelled before it was sent (rule 6).
create function sync.needs_call(t sync.todo) returns boolean
    language sql stable set search_path = pg_catalog, pg_temp as $$
    select t.action = 'put' or exists (
        select from sync.held h
        where (h.partner, h.visit_id, h.week, h.office_id) = (t.partner, t.visit_id, t.week, t.office_id))
$$;

-- One row when nothing but its time keeps an item from leaving: no call for the visit is on its way, the partner holds what
-- is to be taken back, what it holds in another week has been, and it has keys for whom the visit names (rules 3, 6, 14).
-- Without a search_path of its own, as sync.claimable: only so the planner sees through it.
create function sync.may_leave(partner text, organization text, visit_id text, week date, office_id bigint, action text,
    version integer, needs text[]) returns setof boolean
    language sql stable as $$
    select true
    where not exists (
            select from sync.push_attempt a
            where a.partner = $1 and a.visit_id = $3 and a.state in ('claimed', 'sent', 'unknown'))
        and case $6
        when 'withdraw' then exists (
                select from sync.held h where (h.partner, h.visit_id, h.week, h.office_id) = ($1, $3, $4, $5))
        else not exists (
                select from sync.todo before
                where before.partner = $1 and before.visit_id = $3 and before.action = 'withdraw')
            and not exists (
                select from sync.change_history c cross join unnest($8) need
                where c.visit_id = $3 and c.version = $7 and c.visit ->> (need || '_id') is not null
                  and not exists (
                      select from canonical.partner_key k
                      where k.partner = $1 and k.organization = $2 and k.entity = need
                        and k.canonical_id = (c.visit ->> (need || '_id'))::bigint))
        end
$$;

-- With a week: the items of the visits that have one in that week, so that a visit that moves into it is taken back from
-- its old week in the same push. Without: everything that is due. The planner sees through this function, so that a limit
-- behind it makes it short; for whoever has select on what it reads.
create function sync.claimable(partner text, organization text, needs text[], only_week date) returns setof sync.todo
    language sql stable as $$
    select t.*
    from sync.todo t
    cross join lateral sync.may_leave(t.partner, t.organization, t.visit_id, t.week, t.office_id, t.action, t.version, $3)
    where t.partner = $1 and t.organization = $2 and t.blocked_at_change is null
      -- A value of its own, or the index could not be entered by it.
      and t.due_at <= (select clock_timestamp())
      and ($4 is null or exists (
          select from sync.todo here
          where here.partner = t.partner and here.visit_id = t.visit_id and here.week = $4))
    order by t.due_at, t.visit_id
$$;

create function sync.lock_heads(visits text[]) returns text[]
    language sql volatile set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(visit_id), '{}') from (
        select visit_id from sync.visit_head where visit_id = any (visits) order by visit_id for no key update skip locked
    ) locked
$$;

-- Closes, without a call, what needs none; a visit that is being edited at this moment is left for the next time.
create function sync.close_without_call(p_partner text, p_organization text, p_run_key text) returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
    as $$
declare
    visits text[];
    closed integer;
begin
    perform sync.lock_organization(p_organization, true);
    select coalesce(array_agg(t.visit_id), '{}') into visits
    from sync.todo t
    where t.partner = p_partner and t.organization = p_organization and t.action = 'withdraw' and not sync.needs_call(t)
      and not exists (
          select from sync.push_attempt a
          where a.partner = t.partner and a.visit_id = t.visit_id and a.state in ('claimed', 'sent', 'unknown'));
    visits := sync.lock_heads(visits);
    perform sync.refresh_todo(visits);
    insert into sync.push_result (partner, organization, office_id, visit_id, version, week, action, generation, outcome,
        code, run_key)
    select t.partner, t.organization, t.office_id, t.visit_id, t.version, t.week, t.action, t.generation, 'nothing_to_do',
        'nothing_to_do', p_run_key
    from sync.todo t
    where t.partner = p_partner and t.visit_id = any (visits) and not sync.needs_call(t)
      and not exists (
          select from sync.push_attempt a
          where a.partner = t.partner and a.visit_id = t.visit_id and a.state in ('claimed', 'sent', 'unknown'))
    on conflict do nothing;
    get diagnostics closed = row_count;
    perform sync.refresh_todo(visits);
    return closed;
end $$;

-- The settings on the functions below: they work on some tens of visits at a time, found by their indexes whatever the
-- statistics say, and a plan is made once a session, often while the tables are still small.

-- Claims the items of these visits; the row lock on the head makes the claimed version the one that stands (rule 2).
-- With p_settle_after_seconds the claim says at once that the call leaves (see mark_sent): one commit instead of two.
create function sync.claim(p_partner text, p_organization text, p_owner bigint, p_visits text[], p_needs text[],
    p_run_key text, p_settle_after_seconds double precision default null) returns setof sync.push_attempt
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
    as $$
declare
    visits text[];
begin
    -- Before the heads: who closes, reopens or releases a week is done, or has not begun.
    perform sync.lock_organization(p_organization, true);
    visits := sync.lock_heads(p_visits);
    insert into sync.push_result (partner, organization, office_id, visit_id, version, week, action, generation, outcome,
        code, run_key)
    select p_partner, c.organization, c.office_id, c.visit_id, c.version, c.week,
        case when c.cancelled then 'withdraw' else 'put' end, r.generation, 'superseded', 'superseded', p_run_key
    from sync.visit_head h
    join sync.change_history c on c.visit_id = h.visit_id and c.version < h.version
    join sync.release r on r.partner = p_partner and r.office_id = c.office_id and r.week = c.week
    where h.visit_id = any (visits) and h.version > 1
      and not exists (select from sync.push_result d where d.final and d.partner = p_partner
                        and d.visit_id = c.visit_id and d.version = c.version)
      -- Another pusher may have claimed it since it was listed: the answer on its way says what became of that version.
      and not exists (select from sync.push_attempt a where a.partner = p_partner and a.visit_id = c.visit_id
                        and a.state in ('claimed', 'sent', 'unknown'))
    on conflict do nothing;
    return query
    insert into sync.push_attempt (partner, organization, office_id, visit_id, version, week, action, generation,
        idempotency_key, owner, state, calls, sent_at, settle_at)
    select distinct on (t.visit_id) t.partner, t.organization, t.office_id, t.visit_id, t.version, t.week, t.action,
        t.generation,
        md5(concat_ws('|', t.partner, t.visit_id, t.version, t.week, t.action, t.generation))::uuid, p_owner,
        case when p_settle_after_seconds is null then 'claimed' else 'sent' end,
        (p_settle_after_seconds is not null)::integer,
        case when p_settle_after_seconds is not null then clock_timestamp() end,
        clock_timestamp() + make_interval(secs => p_settle_after_seconds)
    from unnest(visits) v
    -- One visit after the other, by the index; the limit keeps the planner from another order.
    cross join lateral (select i.* from sync.todo i where i.visit_id = v and i.partner = p_partner limit 100) t
    join sync.visit_head h on h.visit_id = v and h.version = t.version
    cross join lateral sync.may_leave(t.partner, t.organization, t.visit_id, t.week, t.office_id, t.action, t.version, p_needs)
    where t.organization = p_organization and t.due_at <= clock_timestamp()
    order by t.visit_id, t.week
    on conflict (partner, visit_id) where state in ('claimed', 'sent', 'unknown') do nothing
    returning *;
end $$;

-- What is to be sent for claimed attempts: a put carries the claimed version, a withdraw what the partner holds.
-- alone: the partner has refused this item as part of a batch.
create function sync.calls(p_attempts bigint[])
    returns table (id bigint, visit_id text, action text, week date, idempotency_key text, organization text,
        office_id bigint, partner_ref text, service_code text, start_at timestamptz, end_at timestamptz, status text,
        actual_start_at timestamptz, actual_end_at timestamptz, note text, office_key text, patient_key text,
        practitioner_key text, alone boolean)
    language sql stable as $$
    select a.id, a.visit_id, a.action, a.week, a.idempotency_key::text, a.organization, a.office_id,
        held.partner_ref, v.service_code, v.start_at, v.end_at, v.status, v.actual_start_at, v.actual_end_at, v.note,
        office.source_key, patient.source_key, practitioner.source_key,
        exists (
            select from sync.push_result r
            where r.code = 'batch_refused' and r.visit_id = a.visit_id
              and (r.partner, r.week, r.action, r.version, r.generation)
                = (a.partner, a.week, a.action, a.version, a.generation))
    from sync.push_attempt a
    left join sync.held held on held.partner = a.partner and held.visit_id = a.visit_id
    join sync.change_history c on c.visit_id = a.visit_id
        and c.version = case a.action when 'withdraw' then coalesce(held.version, a.version) else a.version end
    cross join lateral jsonb_populate_record(null::schedule.visit, c.visit) v
    left join canonical.partner_key office on (office.partner, office.organization, office.entity, office.canonical_id)
        = (a.partner, a.organization, 'office', v.office_id)
    left join canonical.partner_key patient on (patient.partner, patient.organization, patient.entity, patient.canonical_id)
        = (a.partner, a.organization, 'patient', v.patient_id)
    left join canonical.partner_key practitioner
        on (practitioner.partner, practitioner.organization, practitioner.entity, practitioner.canonical_id)
        = (a.partner, a.organization, 'practitioner', v.practitioner_id)
    where a.id = any (p_attempts)
    order by a.id
$$;

-- Claims, says that the calls leave, and gives what is to be sent: one round trip and one commit for a batch.
create function sync.claim_to_send(p_partner text, p_organization text, p_owner bigint, p_visits text[], p_needs text[],
    p_run_key text, p_settle_after_seconds double precision)
    returns table (id bigint, visit_id text, action text, week date, idempotency_key text, organization text,
        office_id bigint, partner_ref text, service_code text, start_at timestamptz, end_at timestamptz, status text,
        actual_start_at timestamptz, actual_end_at timestamptz, note text, office_key text, patient_key text,
        practitioner_key text, alone boolean)
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
    as $$
declare
    attempts bigint[];
begin
    attempts := array(select c.id from sync.claim(p_partner, p_organization, p_owner, p_visits, p_needs, p_run_key,
        p_settle_after_seconds) c);
    -- A statement of its own: it sees what was committed while the claim waited for the organization's lock.
    return query select * from sync.calls(attempts);
end $$;

-- What dead sessions left: not yet sent is given up, sent becomes unknown and waits for its settle time.
create function sync.recover(p_partner text, p_owner bigint, p_run_key text) returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    recovered integer;
begin
    with dead as (
        select o.owner
        from (select distinct a.owner from sync.push_attempt a
              where a.partner = p_partner and a.state in ('claimed', 'sent') and a.owner <> p_owner offset 0) o
        where pg_try_advisory_xact_lock(7350, o.owner::integer)
    ), left_behind as (
        update sync.push_attempt a
        set state = case a.state when 'claimed' then 'given_up' else 'unknown' end
        from dead
        where a.owner = dead.owner and a.partner = p_partner and a.state in ('claimed', 'sent')
        returning a.*
    ), noted as (
        insert into sync.push_result (attempt_id, partner, organization, office_id, visit_id, version, week, action,
            generation, outcome, code, run_key)
        select id, partner, organization, office_id, visit_id, version, week, action, generation, 'unknown',
            'outcome_unknown', p_run_key
        from left_behind where state = 'unknown'
    )
    select count(*) into recovered from left_behind;
    return recovered;
end $$;

-- Takes unknown attempts whose settle time has come; moving that time is the lease against a second verifier.
create function sync.take_unknown(p_partner text, p_organization text, p_owner bigint, p_limit integer,
    p_settle_after_seconds double precision, p_only bigint[] default null) returns setof sync.push_attempt
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update sync.push_attempt a
    set owner = p_owner, settle_at = clock_timestamp() + make_interval(secs => p_settle_after_seconds)
    from (select id from sync.push_attempt
          where partner = p_partner and organization = p_organization and state = 'unknown'
            and settle_at <= clock_timestamp() and (p_only is null or id = any (p_only))
          order by settle_at limit p_limit for update skip locked) due
    where a.id = due.id
    returning a.*
$$;

-- Written and committed before the call leaves. An attempt that was given up meanwhile is not returned: do not send it.
-- The settle time of a call that leaves later than this is set anew when its answer is known to be lost; until then it is
-- counted from here, so p_settle_after_seconds holds the time for which the call's grant lets it leave.
create function sync.mark_sent(p_attempts bigint[], p_owner bigint, p_settle_after_seconds double precision)
    returns setof bigint
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update sync.push_attempt
    set state = 'sent', calls = calls + 1, sent_at = clock_timestamp(),
        settle_at = clock_timestamp() + make_interval(secs => p_settle_after_seconds)
    where id = any (p_attempts) and owner = p_owner and state in ('claimed', 'unknown')
    returning id
$$;

-- These calls have surely not left: the items are free again. A lost answer that was to be looked up, or sent again under
-- its key, stays one.
create function sync.give_up(p_attempts bigint[], p_owner bigint) returns void
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update sync.push_attempt
    set state = case when state = 'unknown' or calls > 1 then 'unknown' else 'given_up' end,
        calls = calls - (state = 'sent')::integer, settle_at = clock_timestamp()
    where id = any (p_attempts) and owner = p_owner and state in ('claimed', 'sent', 'unknown')
$$;

-- Writes what became of attempts whose visits' heads the caller has locked, and which are its own.
create function sync.settle_items(p_items jsonb, p_run_key text, p_max_attempts integer) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    visits text[];
    again bigint[];
begin
    with item as (
        select a.id, a.partner, a.organization, a.office_id, a.visit_id, a.version, a.week, a.action, a.generation,
            a.state, i.outcome as said, coalesce(i.counted, false) as counted, coalesce(i.parked, false) as parked,
            i.code, i.status, i.fields, i.present, i.partner_ref, i.settle_seconds
        from jsonb_to_recordset(p_items) i (attempt bigint, outcome text, counted boolean, parked boolean, code text,
            status integer, fields text[], present boolean, partner_ref text, settle_seconds double precision)
        join sync.push_attempt a on a.id = i.attempt
    ), judged as (
        select i.*, before.lookups,
            case when i.said = 'retry' and i.counted and before.used + 1 >= p_max_attempts then 'dead' else i.said
            end as outcome,
            -- Nobody is asked for ever: what cannot be found out is for a person.
            i.said = 'unknown' and (i.parked
                or i.state = 'unknown' and i.counted and before.useless + 1 >= p_max_attempts) as for_a_person
        from item i
        cross join lateral (
            select count(*) filter (where r.counted and r.outcome = 'retry') as used,
                count(*) filter (where r.attempt_id = i.id and r.outcome = 'unknown' and r.counted) as useless,
                count(*) filter (where r.attempt_id = i.id and r.outcome = 'unknown') as lookups
            from sync.push_result r
            where i.said in ('retry', 'unknown') and r.visit_id = i.visit_id
              and (r.partner, r.week, r.action, r.version, r.generation)
                = (i.partner, i.week, i.action, i.version, i.generation)) before
    ), written as (
        insert into sync.push_result (attempt_id, partner, organization, office_id, visit_id, version, week, action,
            generation, outcome, counted, code, status, fields, present, partner_ref, run_key)
        select j.id, j.partner, j.organization, j.office_id, j.visit_id, j.version, j.week, j.action, j.generation,
            j.outcome, j.counted, case when j.for_a_person then 'outcome_unknown_person' else j.code end, j.status,
            coalesce(j.fields, '{}'), there.present,
            -- An answer that does not name the visit again does not make its name unknown.
            coalesce(j.partner_ref, case when there.present then (
                select h.partner_ref from sync.held h where h.partner = j.partner and h.visit_id = j.visit_id) end),
            p_run_key
        from judged j
        cross join lateral (
            select coalesce(j.present, case j.outcome when 'accepted' then true when 'withdrawn' then false end) as present
        ) there
        order by j.id
        on conflict do nothing
    ), closed as (
        update sync.push_attempt b
        set state = case j.outcome when 'unknown' then 'unknown' else 'settled' end,
            settle_at = case
                when j.for_a_person then 'infinity'
                when j.outcome <> 'unknown' or j.settle_seconds is null then b.settle_at
                -- Looked up in vain: again after the settle time, twice that, and so on up to an hour.
                else clock_timestamp() + make_interval(secs => case j.state
                    when 'unknown' then least(3600, j.settle_seconds * 2 ^ least(greatest(j.lookups - 1, 0), 12))
                    else j.settle_seconds end) end
        from judged j
        where b.id = j.id
    )
    select array_agg(distinct j.visit_id), array_agg(j.id) filter (where j.outcome = 'retry') into visits, again
    from judged j;
    perform sync.refresh_todo(visits);
    if again is null then
        return;
    end if;
    -- What was read back and not found, and what was refused with others, goes again at once; what failed for a passing reason waits 5 s, 10 s ... 10 min.
    update sync.todo t
    set due_at = greatest(i.retry_at, clock_timestamp() + case when i.counted or i.code = 'batch_refused' then interval '0'
        else make_interval(secs => least(600, 5 * 2 ^ least(passed.before, 8))) end)
    from jsonb_to_recordset(p_items) i (attempt bigint, counted boolean, code text, retry_at timestamptz)
    join sync.push_attempt a on a.id = i.attempt and a.id = any (again)
    cross join lateral (
        select count(*) - 1 as before from sync.push_result r
        where r.outcome = 'retry' and r.visit_id = a.visit_id
          and (r.partner, r.week, r.action, r.version, r.generation)
            = (a.partner, a.week, a.action, a.version, a.generation)) passed
    where (t.partner, t.visit_id, t.week, t.action, t.version, t.generation)
        = (a.partner, a.visit_id, a.week, a.action, a.version, a.generation);
end $$;

-- What became of attempts: [{"attempt", "outcome", "counted", "parked", "code", "status", "fields", "present",
-- "partner_ref", "retry_at", "settle_seconds"}]. Returns those that are not written yet because their visit is being
-- edited: a product edits its visits in any order, so who holds the lock of one visit may wait for no other's.
create function sync.settle_free(p_items jsonb, p_owner bigint, p_run_key text, p_max_attempts integer)
    returns setof bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
    as $$
declare
    free text[];
    ours jsonb;
begin
    free := sync.lock_heads(array(
        select a.visit_id from jsonb_to_recordset(p_items) i (attempt bigint)
        join sync.push_attempt a on a.id = i.attempt and a.owner = p_owner));
    select jsonb_agg(i) into ours
    from jsonb_array_elements(p_items) i
    where exists (
        select from sync.push_attempt a
        where a.id = (i ->> 'attempt')::bigint and a.visit_id = any (free) and a.owner = p_owner
          and a.state in ('claimed', 'sent', 'unknown'));
    if ours is not null then
        perform sync.settle_items(ours, p_run_key, p_max_attempts);
    end if;
    return query
    select a.id from jsonb_to_recordset(p_items) i (attempt bigint)
    join sync.push_attempt a on a.id = i.attempt and a.owner = p_owner and a.state in ('claimed', 'sent', 'unknown')
    where a.visit_id <> all (free);
end $$;

-- The same for one attempt, in a transaction of its own, which waits until nobody edits the visit. Returns whether the
-- attempt was still this pusher's.
create function sync.settle(p_item jsonb, p_owner bigint, p_run_key text, p_max_attempts integer) returns boolean
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
    as $$
declare
    attempt bigint := (p_item ->> 'attempt')::bigint;
begin
    perform from sync.visit_head h
    where h.visit_id = (select b.visit_id from sync.push_attempt b where b.id = attempt) for no key update;
    perform from sync.push_attempt b
    where b.id = attempt and b.owner = p_owner and b.state in ('claimed', 'sent', 'unknown')
    for update;
    if not found then
        return false;
    end if;
    perform sync.settle_items(jsonb_build_array(p_item), p_run_key, p_max_attempts);
    return true;
end $$;

revoke execute on all functions in schema sync from public;
grant usage on sequence sync.push_owner to sync_push;
grant execute on function sync.become_owner, sync.may_leave, sync.claimable, sync.close_without_call, sync.claim,
    sync.claim_to_send, sync.calls, sync.recover, sync.take_unknown, sync.mark_sent, sync.give_up, sync.settle_free, sync.settle to sync_push;
