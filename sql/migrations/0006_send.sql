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

create function sync.missing_keys(partner text, organization text, visit jsonb, needs text[]) returns text[]
    language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(need order by need), '{}')
    from unnest(needs) need
    where visit ->> (need || '_id') is not null
      and not exists (
          select from canonical.partner_key k
          where (k.partner, k.organization, k.entity, k.canonical_id)
              = ($1, $2, need, (visit ->> (need || '_id'))::bigint))
$$;

-- A withdraw of what the partner does not hold needs no call: created and cancelled before it was sent (rule 6).
create function sync.needs_call(t sync.todo) returns boolean
    language sql stable set search_path = pg_catalog, pg_temp as $$
    select t.action = 'put' or exists (
        select from sync.held h
        where (h.partner, h.visit_id, h.week, h.office_id) = (t.partner, t.visit_id, t.week, t.office_id))
$$;

-- With a week: the items of the visits that have one in that week, so that a visit that moves into it is taken back from
-- its old week in the same push. Without: everything that is due.
create function sync.claimable(partner text, organization text, needs text[], only_week date) returns setof sync.todo
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select t.*
    from sync.todo t
    join sync.change_history c on c.visit_id = t.visit_id and c.version = t.version
    where t.partner = $1 and t.organization = $2 and t.blocked_at_change is null
      -- A value of its own, or the index could not be entered by it.
      and t.due_at <= (select clock_timestamp())
      and (only_week is null or exists (
          select from sync.todo here
          where here.partner = t.partner and here.visit_id = t.visit_id and here.week = only_week))
      and not exists (
          select from sync.push_attempt a
          where a.partner = t.partner and a.visit_id = t.visit_id and a.state in ('claimed', 'sent', 'unknown'))
      and sync.needs_call(t)
      and (t.action = 'withdraw' or (
          sync.missing_keys($1, $2, c.visit, needs) = '{}'
          and not exists (
              select from sync.todo before
              where before.partner = t.partner and before.visit_id = t.visit_id and before.action = 'withdraw')))
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
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
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

-- Claims the items of these visits; the row lock on the head makes the claimed version the one that stands (rule 2).
create function sync.claim(p_partner text, p_organization text, p_owner bigint, p_visits text[], p_needs text[],
    p_run_key text) returns setof sync.push_attempt
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    visits text[];
begin
    -- Before the heads: who closes, reopens or releases a week is done, or has not begun.
    perform sync.lock_organization(p_organization, true);
    visits := sync.lock_heads(p_visits);
    perform sync.refresh_todo(visits);
    insert into sync.push_result (partner, organization, office_id, visit_id, version, week, action, generation, outcome,
        code, run_key)
    select p_partner, c.organization, c.office_id, c.visit_id, c.version, c.week,
        case when c.cancelled then 'withdraw' else 'put' end, r.generation, 'superseded', 'superseded', p_run_key
    from sync.change_history c
    join sync.visit_head h on h.visit_id = c.visit_id and c.version < h.version
    join sync.release r on r.partner = p_partner and r.office_id = c.office_id and r.week = c.week
    where c.visit_id = any (visits)
      and not exists (select from sync.push_result d where d.final and d.partner = p_partner
                        and d.visit_id = c.visit_id and d.version = c.version)
      -- Another pusher may have claimed it since it was listed: the answer on its way says what became of that version.
      and not exists (select from sync.push_attempt a where a.partner = p_partner and a.visit_id = c.visit_id
                        and a.state in ('claimed', 'sent', 'unknown'))
    on conflict do nothing;
    return query
    insert into sync.push_attempt (partner, organization, office_id, visit_id, version, week, action, generation,
        idempotency_key, owner)
    select distinct on (t.visit_id) t.partner, t.organization, t.office_id, t.visit_id, t.version, t.week, t.action,
        t.generation,
        md5(concat_ws('|', t.partner, t.visit_id, t.version, t.week, t.action, t.generation))::uuid, p_owner
    from sync.claimable(p_partner, p_organization, p_needs, null) t
    where t.visit_id = any (visits)
    order by t.visit_id, t.week
    on conflict (partner, visit_id) where state in ('claimed', 'sent', 'unknown') do nothing
    returning *;
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
    p_settle_after_seconds double precision) returns setof sync.push_attempt
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update sync.push_attempt a
    set owner = p_owner, settle_at = clock_timestamp() + make_interval(secs => p_settle_after_seconds)
    from (select id from sync.push_attempt
          where partner = p_partner and organization = p_organization and state = 'unknown'
            and settle_at <= clock_timestamp()
          order by settle_at limit p_limit for update skip locked) due
    where a.id = due.id
    returning a.*
$$;

-- Written and committed before the call leaves. An attempt that was given up meanwhile is not returned: do not send it.
create function sync.mark_sent(p_attempts bigint[], p_owner bigint, p_settle_after_seconds double precision)
    returns setof bigint
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update sync.push_attempt
    set state = 'sent', calls = calls + 1, sent_at = clock_timestamp(),
        settle_at = clock_timestamp() + make_interval(secs => p_settle_after_seconds)
    where id = any (p_attempts) and owner = p_owner and state in ('claimed', 'unknown')
    returning id
$$;

create function sync.settle_one(a sync.push_attempt, item jsonb, p_run_key text, p_max_attempts integer) returns text
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    outcome text := item ->> 'outcome';
    counted boolean := coalesce((item ->> 'counted')::boolean, false);
    used integer;
    passed integer;
begin
    select count(*) filter (where r.counted), count(*) filter (where r.outcome = 'retry' and r.code <> 'waiting_for_limit')
    into used, passed
    from sync.push_result r
    where r.visit_id = a.visit_id and (r.partner, r.week, r.action, r.version, r.generation)
        = (a.partner, a.week, a.action, a.version, a.generation);
    if outcome = 'retry' and counted and used + 1 >= p_max_attempts then
        outcome := 'dead';
    end if;
    insert into sync.push_result (attempt_id, partner, organization, office_id, visit_id, version, week, action, generation,
        outcome, counted, code, status, fields, present, partner_ref, run_key)
    values (a.id, a.partner, a.organization, a.office_id, a.visit_id, a.version, a.week, a.action, a.generation, outcome,
        counted, item ->> 'code', (item ->> 'status')::integer,
        array(select jsonb_array_elements_text(coalesce(item -> 'fields', '[]'))),
        coalesce((item ->> 'present')::boolean, case outcome when 'accepted' then true when 'withdrawn' then false end),
        item ->> 'partner_ref', p_run_key)
    on conflict do nothing;
    -- Parked: with neither key nor read-back only a person can say what happened; the visit stays claimed until then.
    update sync.push_attempt b
    set state = case outcome when 'unknown' then 'unknown' else 'settled' end,
        settle_at = case when (item ->> 'parked')::boolean then 'infinity' else b.settle_at end
    where b.id = a.id;
    perform sync.refresh_todo(array [a.visit_id]);
    -- What was read back and not found goes again at once; what failed for a passing reason waits 5 s, 10 s ... 10 min.
    update sync.todo t
    set due_at = greatest((item ->> 'retry_at')::timestamptz, clock_timestamp() + case
        when counted or item ->> 'code' = 'waiting_for_limit' then interval '0'
        else make_interval(secs => least(600, 5 * 2 ^ least(passed, 8))) end)
    where outcome = 'retry' and (t.partner, t.visit_id, t.week, t.action, t.version, t.generation)
        = (a.partner, a.visit_id, a.week, a.action, a.version, a.generation);
    return outcome;
end $$;

-- What became of an attempt: {"attempt", "outcome", "counted", "parked", "code", "status", "fields", "present",
-- "partner_ref", "retry_at"}. One a transaction: a product edits its visits in any order, and who waits for the lock of
-- one visit may hold no other's.
create function sync.settle(p_item jsonb, p_owner bigint, p_run_key text, p_max_attempts integer) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    attempt bigint := (p_item ->> 'attempt')::bigint;
    a sync.push_attempt;
begin
    perform from sync.visit_head h
    where h.visit_id = (select b.visit_id from sync.push_attempt b where b.id = attempt) for no key update;
    select * into a from sync.push_attempt b
    where b.id = attempt and b.owner = p_owner and b.state in ('claimed', 'sent', 'unknown')
    for update;
    if not found then
        return null;
    end if;
    return sync.settle_one(a, p_item, p_run_key, p_max_attempts);
end $$;

revoke execute on all functions in schema sync from public;
grant usage on sequence sync.push_owner to sync_push;
grant execute on function sync.become_owner, sync.claimable, sync.close_without_call, sync.claim, sync.recover,
    sync.take_unknown, sync.mark_sent, sync.settle to sync_push;
grant execute on function sync.blocked to sync_push, sync_release, sync_run;
grant execute on function sync.missing_keys to sync_release;
