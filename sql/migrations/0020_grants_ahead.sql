-- Grants ahead: a call over a limit that lets one through at a time is granted a moment before it may leave. And a shorter
-- way for the usual grant.

-- The clock as it was read after the locks; now_at is later where somebody has been granted a later moment already.
alter type sync.held_buckets add attribute clock_at timestamptz;

-- When a grant that nobody has finished moves to the ledger: not before somebody may still say when its calls left.
alter table sync.rate_open add column closes_at timestamptz not null default 'infinity';

-- plain_for: the shortest window where all limits are sliding windows (else null). used_at: not more than a day and a
-- thousand calls late.
alter table sync.rate_binding add column plain_for interval, add column used_at timestamptz not null default now();
delete from sync.rate_binding;

-- A grant that takes the place of another keeps its row, which no index must have to follow.
alter table sync.rate_open drop constraint rate_open_pkey;
create index rate_open_of_bucket on sync.rate_open (bucket_id);

-- Called for each grant: without settings of its own it is a part of the statement.
create or replace function sync.limiter_now() returns timestamptz
    language sql volatile as 'select pg_catalog.clock_timestamp()';

-- The turnstile of buckets, in the order of their ids, until the end of the transaction. Not a lock on their rows: that writes
-- them once more, and hands over in two steps.
create function sync.lock_buckets(p_buckets bigint[]) returns void
    language plpgsql volatile as $$
declare
    bucket bigint;
begin
    foreach bucket in array p_buckets loop
        perform pg_advisory_xact_lock(1817, bucket::integer);
    end loop;
end $$;

-- Finds or makes the buckets and limits that bind a call, and remembers them under the digest of their text. p_limits:
-- [{"scope", "owner", "requests", "per_seconds", "counts", "zone", "anchor", "burst"}].
create or replace function sync.bind_limits(p_partner text, p_digest uuid, p_limits jsonb, p_jitter interval) returns sync.rate_binding
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    made sync.limit_spec;
    binding sync.rate_binding := (p_partner, p_digest, '{}', '{}', '{}', null, sync.limiter_now());
    l jsonb;
begin
    -- One at a time, before any bucket is locked: two callers that meet new limits can never wait for each other.
    perform pg_advisory_xact_lock(hashtextextended('sync.bind_limits/' || p_partner, 0));
    for l in select jsonb_array_elements(p_limits) loop
        insert into sync.rate_bucket (partner, scope, owner) values (p_partner, l ->> 'scope', l ->> 'owner')
        on conflict do nothing;
        made := sync.limit_spec_of(l, (select id from sync.rate_bucket
            where partner = p_partner and scope = l ->> 'scope' and owner = l ->> 'owner'), p_jitter);
        insert into sync.rate_limit (bucket_id, counts, requests, per, jitter, zone, anchor, cost, tolerance)
        select made.bucket_id, made.counts, made.requests, made.per, made.jitter, made.zone, made.anchor, made.cost, made.tolerance
        on conflict do nothing;
        select e.id into made.id from sync.rate_limit e
        where (e.bucket_id, e.counts, e.requests, e.per, e.jitter, e.zone, e.anchor)
                = (made.bucket_id, made.counts, made.requests, made.per, made.jitter, made.zone, made.anchor)
            and e.cost is not distinct from made.cost and e.tolerance is not distinct from made.tolerance;
        binding.limits := binding.limits || made;
    end loop;
    select coalesce(array_agg(distinct bucket_id), '{}'),
        coalesce(array_agg(distinct bucket_id) filter (where counts not in ('in_flight', 'told_only')), '{}')
    into binding.buckets, binding.counted from unnest(binding.limits);
    select min(per) into binding.plain_for from unnest(binding.limits) where counts <> 'told_only'
    having bool_and(counts = 'sliding_window');
    update sync.rate_bucket b set leased = true
    from unnest(binding.limits) w where b.id = w.bucket_id and w.counts = 'in_flight' and not b.leased;
    insert into sync.rate_binding select (binding).* on conflict do nothing;
    -- What a changed partner file has left behind; whoever still needs it binds it again.
    delete from sync.rate_binding where partner = p_partner and used_at < binding.used_at - interval '30 days';
    return binding;
end $$;

-- Moves grants that nobody will finish any more to the ledger, before anything else is written: it is in the order of time.
create or replace function sync.close_expired(p_buckets bigint[], now_at timestamptz) returns void
    language plpgsql volatile as $$
begin
    with gone as (
        delete from sync.rate_open where bucket_id = any (p_buckets) and closes_at <= now_at
        returning bucket_id, grant_id, calls, leaves_by_at
    ), moved as (
        insert into sync.rate_ledger
        select g.bucket_id, greatest(g.leaves_by_at, b.logged_at),
            b.logged + sum(g.calls) over (partition by g.bucket_id order by g.leaves_by_at, g.grant_id), g.calls
        from gone g join sync.rate_bucket b on b.id = g.bucket_id
        returning bucket_id, calls, left_at
    )
    update sync.rate_bucket b
    set last_at = now_at, logged = logged + (select coalesce(sum(m.calls), 0) from moved m where m.bucket_id = b.id),
        logged_at = coalesce((select max(m.left_at) from moved m where m.bucket_id = b.id), logged_at),
        first_expiry_at = coalesce(
            (select min(o.closes_at) from sync.rate_open o where o.bucket_id = b.id and o.closes_at > now_at), 'infinity')
    where b.id = any (p_buckets);
end $$;

drop function sync.write_grant(sync.held_buckets, sync.rate_binding, bigint, bigint, timestamptz, timestamptz);

-- Writes a grant of p_calls (0: none) on its buckets, and what hold_buckets has closed: into the ledger when its calls leave
-- at once, else among the open ones.
create function sync.write_grant(held sync.held_buckets, binding sync.rate_binding, p_grant bigint, p_calls bigint,
    p_expires_at timestamptz, p_closes_at timestamptz, p_lease_until_at timestamptz) returns void
    language plpgsql volatile as $$
declare
    at_once boolean := p_expires_at <= held.now_at;
begin
    update sync.rate_bucket b
    set last_at = held.now_at,
        granted = granted + case when id = any (binding.buckets) then p_calls else 0 end,
        logged = logged + case when id = any (held.closed) then held.calls_closed else 0 end
            + case when at_once and id = any (binding.counted) then p_calls else 0 end,
        logged_at = case when at_once and p_calls > 0 then held.now_at else greatest(logged_at, held.left_at) end,
        first_expiry_at = case when at_once then first_expiry_at else least(first_expiry_at, p_closes_at) end
    where id = any (held.ids);
    if p_calls = 0 then
        return;
    elsif at_once then
        insert into sync.rate_ledger
        select b.id, held.now_at, b.logged, p_calls from sync.rate_bucket b where b.id = any (binding.counted);
    else
        insert into sync.rate_open select c, p_grant, p_calls, p_expires_at, p_closes_at from unnest(binding.counted) c;
    end if;
    if p_lease_until_at is not null then
        insert into sync.rate_lease
        select distinct l.bucket_id, p_grant, p_calls, p_lease_until_at from unnest(binding.limits) l where l.counts = 'in_flight';
    end if;
end $$;

create or replace function sync.finish_grant(p_grant bigint, p_buckets bigint[], p_left_at timestamptz default null) returns void
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
declare
    none sync.rate_binding := (null, null, '{}', '{}', '{}', null, null);
begin
    perform sync.write_grant(sync.hold_buckets(p_buckets, p_grant, p_left_at), none, null, 0, '-infinity', '-infinity', null);
end $$;

-- Locks buckets, always in the same order, and reads the clock after that. p_finished: a grant that ends here, whose last
-- call left at p_left_at (null: now); in the ledger not before the last row, which is in the order of time.

create or replace function sync.hold_buckets(p_buckets bigint[], p_finished bigint default null, p_left_at timestamptz default null)
    returns sync.held_buckets
    language plpgsql volatile as $$
declare
    held sync.held_buckets;
    first_expiry_at timestamptz;
    logged_at timestamptz;
    leased boolean;
begin
    perform sync.lock_buckets(array(select distinct unnest(p_buckets) order by 1));
    select array_agg(b.id), array_agg(b.granted), array_agg(b.logged), bool_or(b.narrowed), sync.limiter_now(),
        max(b.last_at), min(b.first_expiry_at), max(b.logged_at), bool_or(b.leased)
    into held.ids, held.granted, held.logged, held.narrowed, held.clock_at, held.now_at, first_expiry_at, logged_at, leased
    from (select * from sync.rate_bucket where id = any (p_buckets) order by id) b;
    held.now_at := greatest(held.now_at, held.clock_at);
    if first_expiry_at <= held.now_at then
        perform sync.close_expired(held.ids, held.now_at);
        select array_agg(b.logged order by b.id), max(b.logged_at) into held.logged, logged_at
        from sync.rate_bucket b where b.id = any (held.ids);
    end if;
    if p_finished is not null then
        held.left_at := least(held.now_at, greatest(logged_at, coalesce(p_left_at, held.now_at)));
        with gone as (
            delete from sync.rate_open where bucket_id = any (held.ids) and grant_id = p_finished returning bucket_id, calls
        ), moved as (
            insert into sync.rate_ledger
            select g.bucket_id, held.left_at, (held.logged)[array_position(held.ids, g.bucket_id)] + g.calls, g.calls from gone g
            returning bucket_id, calls
        )
        select array_agg(bucket_id), max(calls) into held.closed, held.calls_closed from moved;
    end if;
    if leased then
        delete from sync.rate_lease where bucket_id = any (held.ids) and (grant_id = p_finished or expires_at <= held.now_at);
    end if;
    return held;
end $$;

drop function sync.prune(sync.held_buckets, bigint);

-- Rows that no limit counts any more go in bulk, each thousand calls; the last of them stays, as the sum to begin from.
create function sync.prune(held sync.held_buckets, binding sync.rate_binding, p_calls bigint) returns void
    language plpgsql volatile as $$
declare
    bucket bigint;
    kept_from_at timestamptz;
begin
    for n in 1 .. cardinality(held.ids) loop
        continue when (held.granted)[n] / 1000 = ((held.granted)[n] + p_calls) / 1000;
        bucket := (held.ids)[n];
        select max(e.left_at) into kept_from_at from sync.rate_ledger e
        where e.bucket_id = bucket and e.left_at <= held.now_at - (
            select max(greatest(l.per, l.tolerance) + l.jitter) from sync.rate_limit l where l.bucket_id = bucket);
        delete from sync.rate_ledger where bucket_id = bucket and left_at < kept_from_at;
        update sync.rate_binding set used_at = held.now_at
        where (partner, digest) = (binding.partner, binding.digest) and used_at < held.now_at - interval '1 day';
    end loop;
end $$;

-- The usual way of a grant: one that all its windows let through as a whole takes the place of the one that it ends, in its
-- row among the open ones. grant_id null: it is not that easy, and nothing is written. Many simple statements on purpose:
-- to set up one that does everything takes longer than all of them.
create function sync.renewed(binding sync.rate_binding, p_count integer, p_hold interval, p_finished bigint,
    p_left_at timestamptz, out grant_id bigint, out granted_at timestamptz, out rooms bigint[])
    language plpgsql volatile as $$
declare
    held sync.held_buckets;
    first_expiry_at timestamptz;
    logged_at timestamptz;
    l sync.limit_spec;
    gone bigint;
    room bigint;
begin
    perform sync.lock_buckets(binding.buckets);
    select array_agg(b.id), array_agg(b.granted), array_agg(b.logged), max(b.last_at), min(b.first_expiry_at), max(b.logged_at),
        bool_or(b.narrowed or b.leased or b.granted / 1000 <> (b.granted + p_count) / 1000), sync.limiter_now()
    into held.ids, held.granted, held.logged, held.now_at, first_expiry_at, logged_at, held.narrowed, held.clock_at
    from sync.rate_bucket b where b.id = any (binding.buckets);
    held.left_at := least(held.clock_at, greatest(logged_at, coalesce(p_left_at, held.clock_at)));
    -- Calls that have left their window by now make room, which the long way counts; it also prunes, each thousand calls.
    if held.narrowed or held.now_at > held.clock_at or first_expiry_at <= held.clock_at
        or held.left_at <= held.clock_at - binding.plain_for then
        return;
    end if;
    if exists (select from sync.rate_demand where partner = binding.partner)
        or exists (select from sync.rate_pause p where p.partner = binding.partner and p.until_at > held.clock_at)
        or exists (select from sync.circuit where partner = binding.partner)
        or exists (select from sync.hold h where h.partner = binding.partner and h.held) then
        return;
    end if;
    foreach l in array binding.limits loop
        room := l.requests;
        if l.counts = 'sliding_window' then
            select e.total into gone from sync.rate_ledger e
            where e.bucket_id = l.bucket_id and e.left_at <= held.clock_at - l.per - l.jitter
            order by e.left_at desc, e.total desc limit 1;
            room := l.requests - (held.granted)[array_position(held.ids, l.bucket_id)] + coalesce(gone, 0);
        end if;
        if room < p_count then
            return;
        end if;
        rooms := rooms || room;
    end loop;
    select max(o.calls) into held.calls_closed from sync.rate_open o
    where o.bucket_id = any (binding.counted) and o.grant_id = p_finished having count(*) = cardinality(binding.counted);
    if held.calls_closed is null then
        return;
    end if;
    grant_id := nextval('sync.rate_grant');
    granted_at := held.clock_at;
    update sync.rate_open o
    set grant_id = renewed.grant_id, calls = p_count, leaves_by_at = renewed.granted_at + p_hold, closes_at = renewed.granted_at + p_hold
    where o.bucket_id = any (binding.counted) and o.grant_id = p_finished;
    insert into sync.rate_ledger
    select c, held.left_at, (held.logged)[array_position(held.ids, c)] + held.calls_closed, held.calls_closed
    from unnest(binding.counted) c;
    update sync.rate_bucket b
    set last_at = renewed.granted_at, granted = b.granted + p_count,
        first_expiry_at = least(b.first_expiry_at, renewed.granted_at + p_hold),
        logged = b.logged + case when b.id = any (binding.counted) then held.calls_closed else 0 end,
        logged_at = held.left_at
    where b.id = any (binding.buckets);
end $$;

-- When the limits that let one call through at a time are all open, by what is known to have left and may still leave, and
-- how much later a call may leave. Nulls: none of the limits is such a one. A call that waits for its grant
-- with everything ready would lose the way to the database and back each time, of a distance that is hardly longer.
create function sync.slot_of(binding sync.rate_binding, held sync.held_buckets, out opens_at timestamptz, out slack interval)
    language plpgsql volatile as $$
declare
    l sync.limit_spec;
begin
    foreach l in array binding.limits loop
        continue when sync.slack_of(l) is null;
        if held.narrowed then
            l := sync.narrowed(l, held.now_at);
        end if;
        opens_at := greatest(opens_at, sync.level_full_at(l, held.now_at) + l.cost - l.tolerance);
        slack := greatest(slack, sync.slack_of(l));
    end loop;
end $$;

drop function sync.acquire(text, text, text, integer, text, double precision, double precision, double precision, bigint,
    bigint[], timestamptz);

-- Up to p_count calls over all limits that bind them, by the clock read after the locks. p_hold_seconds: for how long after
-- the grant its calls may leave; p_lease_seconds: after how long a call in flight is given up. Nothing is ever given back:
-- a call that did not leave stays counted. p_finished: an earlier grant that is finished in the same breath, whose last
-- call left at p_left_at. p_lead_seconds: granted_at may be so far ahead of the clock (clock_at), where one call goes at a
-- time; nothing leaves before it. Such a call has little more than that to leave: until then nobody knows its moment.
create function sync.acquire(p_partner text, p_organization text, p_class text, p_count integer, p_limits text,
    p_jitter_seconds double precision, p_hold_seconds double precision, p_lease_seconds double precision,
    p_finished bigint default null, p_finished_buckets bigint[] default null, p_left_at timestamptz default null,
    p_lead_seconds double precision default 0,
    -- Not a table of one row, which would cost a fifth more.
    out grant_id bigint, out calls bigint, out granted_at timestamptz, out expires_at timestamptz, out retry_at timestamptz,
    out reason text, out buckets bigint[], out rooms bigint[], out clock_at timestamptz)
    -- Plans are kept by the session: one made while the tables are small must not scan them when they are large, and
    -- planning anew for each array of buckets costs five times what the statements do.
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
declare
    binding sync.rate_binding := sync.binding_of(p_partner, p_limits, p_jitter_seconds);
    held sync.held_buckets;
    stop record;
    queue record;
    room record;
    again_at timestamptz;
    lead interval := sync.seconds(p_lead_seconds);
    slot_at timestamptz;
    slack interval;
begin
    if current_setting('transaction_isolation') <> 'read committed' or p_count < 1 then
        raise exception 'acquire needs read committed and a count of at least 1' using errcode = 'invalid_parameter_value';
    end if;
    perform set_config('synchronous_commit', 'on', true);
    if binding.plain_for is not null and p_finished_buckets = binding.buckets and p_hold_seconds > 0 then
        select r.grant_id, r.granted_at, r.rooms into grant_id, granted_at, rooms
        from sync.renewed(binding, p_count, sync.seconds(p_hold_seconds), p_finished, p_left_at) r;
        if grant_id is not null then
            calls := p_count;
            expires_at := granted_at + sync.seconds(p_hold_seconds);
            buckets := binding.buckets;
            clock_at := granted_at;
            return;
        end if;
    end if;
    held := sync.hold_buckets(binding.buckets || p_finished_buckets, p_finished, p_left_at);
    granted_at := held.now_at;
    clock_at := held.clock_at;
    if held.narrowed then
        perform sync.raise_learned(held);
    end if;
    stop := sync.stop_of(p_partner, p_organization, granted_at);
    if stop.until_at = 'infinity' then
        -- Somebody has to let it go: no time to name, and no place in the queue meanwhile.
        delete from sync.rate_demand d where (d.partner, d.organization, d.call_class) = (p_partner, p_organization, p_class);
        if p_finished is not null then
            perform sync.write_grant(held, binding, null, 0, granted_at, granted_at, null);
        end if;
        calls := 0;
        expires_at := granted_at;
        reason := stop.reason;
        buckets := binding.buckets;
        rooms := '{}';
        return;
    end if;
    select count(*) > 0 as known, coalesce(bool_or(d.wanted > 0 and d.expires_at > acquire.granted_at
            and (d.organization, d.call_class) <> (p_organization, p_class)), false) as others
    into queue from sync.rate_demand d where d.partner = p_partner;
    if queue.others then
        perform sync.join_queue(p_partner, p_organization, p_class, p_count, binding.buckets, granted_at);
    end if;
    room := sync.room_of(held, binding, p_count, p_organization, p_class, queue.others, granted_at + sync.seconds(p_hold_seconds));
    if p_lead_seconds > 0 then
        select s.opens_at, s.slack into slot_at, slack from sync.slot_of(binding, held) s;
        if room.room < 1 and stop.until_at <= granted_at and slot_at > granted_at and slot_at <= clock_at + 1.2 * lead then
            held.now_at := slot_at;
            room := sync.room_of(held, binding, p_count, p_organization, p_class, queue.others,
                held.now_at + sync.seconds(p_hold_seconds));
            if room.room < 1 then
                held.now_at := granted_at;
            end if;
            granted_at := held.now_at;
        end if;
    end if;
    expires_at := least(room.expires_at, greatest(granted_at, clock_at + lead) + slack);
    calls := case when stop.until_at > granted_at then 0 else greatest(0, least(room.room, stop.most_calls)) end;
    if calls > 0 or p_finished is not null then
        grant_id := case when calls > 0 then nextval('sync.rate_grant') end;
        perform sync.write_grant(held, binding, grant_id, calls, expires_at, room.expires_at,
            case when room.leased then granted_at + sync.seconds(p_lease_seconds) end);
        perform sync.prune(held, binding, calls);
        if calls > 0 and stop.most_calls is not null then
            perform sync.take_probe(p_partner, p_organization, granted_at);
        end if;
    end if;
    if held.narrowed then
        update sync.rate_limit l set left_calls = l.left_calls - acquire.calls
        from unnest(binding.limits) b where l.id = b.id and l.left_until_at > acquire.granted_at;
    end if;
    if calls < p_count then
        reason := coalesce(stop.reason, case when room.told then 'paused' else 'limit' end);
        again_at := sync.retry_of(binding, room.ahead, greatest(granted_at, stop.until_at), granted_at);
        if slack is not null and stop.until_at <= granted_at then
            again_at := case when again_at > clock_at + lead then again_at - lead
                when slot_at > clock_at + 1.2 * lead then slot_at - lead else again_at end;
        end if;
        retry_at := nullif(again_at, 'infinity');
        if not queue.others then
            perform sync.join_queue(p_partner, p_organization, p_class, p_count, binding.buckets, granted_at);
        end if;
    end if;
    if queue.known or calls < p_count then
        -- Who got a part of what it asked for asks for as much again, as a rule: it is in the middle of its work.
        perform sync.note_turn(p_partner, p_organization, p_class, calls, case when calls < p_count then p_count else 0 end,
            sync.limits_open_at(binding.limits, 0, greatest(granted_at, stop.until_at), granted_at, false), again_at, reason,
            granted_at);
    end if;
    buckets := binding.buckets;
    rooms := room.rooms;
end $$;

revoke execute on all functions in schema sync from public;
grant execute on function sync.acquire to sync_extract, sync_push, sync_onboarding;
