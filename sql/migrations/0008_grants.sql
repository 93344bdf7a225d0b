-- Grants from the ledger of 0007: taken, finished, and stopped by what somebody says. Who waits gets its turn by 0016; what
-- the partner says narrows the limits by 0017.

-- What stops the calls of an organization at now_at, whatever the limits leave: nothing is granted before until_at
-- ('infinity': until somebody lets it go), by reason 'paused', 'circuit_open' or 'held'. most_calls: where it does not stop
-- them, at most so many are granted at once (null: no bound).
create function sync.stop_of(p_partner text, p_organization text, now_at timestamptz,
    out until_at timestamptz, out reason text, out most_calls integer)
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    select coalesce(max(p.until_at), '-infinity') into until_at
    from sync.rate_pause p
    where p.partner = p_partner
      and ((p.scope = 'vendor' and p.owner = '') or (p.scope = 'organization' and p.owner = p_organization));
    reason := case when until_at > now_at then 'paused' end;
end $$;

-- The first moment at which at least so many calls have left: the row of the ledger that brings them up to it, else now.
-- The calls of open grants leave at once, as a rule: to wait for their expiry would be to come back seconds too late.
create function sync.leaves_at(bucket bigint, p_total bigint, after_at timestamptz, now_at timestamptz) returns timestamptz
    language plpgsql stable as $$
declare
    found_at timestamptz;
begin
    if p_total <= sync.logged_by(bucket, after_at) then
        return null;
    end if;
    select left_at into found_at from sync.rate_ledger
    where bucket_id = bucket and left_at > after_at and total >= p_total order by left_at, total limit 1;
    return coalesce(found_at, now_at);
end $$;

-- The first moment, from from_at on, at which one (narrowed) limit lets so many calls through at once; when it never does,
-- when as many would have gone through one after the other.
create function sync.limit_opens_at(l sync.limit_spec, granted bigint, calls bigint, from_at timestamptz, now_at timestamptz)
    returns timestamptz
    language plpgsql volatile as $$
declare
    bounds record;
    used bigint;
    rounds bigint := (calls - 1) / l.requests;
    need bigint := 1 + (calls - 1) % l.requests;
    at timestamptz := from_at;
begin
    if l.left_calls < 1 then
        at := greatest(at, l.left_until_at);
    end if;
    if l.counts = 'sliding_window' then
        at := greatest(at, l.per + l.jitter
            + sync.leaves_at(l.bucket_id, granted + need - l.requests, now_at - l.per - l.jitter, now_at));
    elsif l.counts = 'fixed_window' then
        bounds := sync.fixed_window(l, at);
        used := case when bounds.starts_at > now_at
            then (select coalesce(sum(o.calls), 0) from sync.rate_open o
                  where o.bucket_id = l.bucket_id and o.leaves_by_at >= bounds.starts_at)
            else granted - sync.logged_before(l.bucket_id, bounds.starts_at) end;
        at := case when at >= bounds.ends_at - l.jitter or used + need > l.requests then bounds.ends_at + l.jitter
            else greatest(at, bounds.starts_at + l.jitter) end;
    elsif l.counts = 'in_flight' then
        -- Nobody knows when a call comes back: soon, as a rule, and when its lease ends at the latest.
        if sync.limit_room(l, granted, now_at) < 1 then
            at := greatest(at, least(now_at + interval '0.5 seconds',
                (select min(e.expires_at) from sync.rate_lease e where e.bucket_id = l.bucket_id and e.expires_at > now_at)));
        end if;
    elsif l.counts <> 'told_only' then
        return greatest(at, sync.level_full_at(l, now_at, true) + calls * l.cost - l.tolerance);
    end if;
    return at + rounds * l.per;
end $$;

-- The first moment at which all of them let one call through, and those that several share so many as are ahead of it
-- besides. A later limit can push the time into the closed edge of a fixed window, so they are asked again until none
-- moves it. Windows that are hardly ever open at one time give a time to ask again, not an endless search.
create function sync.limits_open_at(p_limits sync.limit_spec[], ahead bigint, from_at timestamptz, now_at timestamptz,
    p_shared boolean default true) returns timestamptz
    language plpgsql volatile as $$
declare
    entry record;
    at timestamptz := from_at;
    before timestamptz;
begin
    if from_at = 'infinity' then
        return from_at;
    end if;
    for round in 1 .. 100 loop
        before := at;
        for entry in
            select sync.narrowed((l.*)::sync.limit_spec, now_at) as l, b.granted, l.scope in ('vendor', 'endpoint') as shared
            from unnest(p_limits) l join sync.rate_bucket b on b.id = l.bucket_id
        loop
            if p_shared or not entry.shared then
                at := sync.limit_opens_at(entry.l, entry.granted, 1 + case when entry.shared and round = 1 then ahead else 0 end,
                    at, now_at);
            end if;
        end loop;
        exit when at = before;
    end loop;
    return at;
end $$;

-- The buckets that a caller has locked, as they are at now_at. closed: of these, calls_closed calls have moved to the
-- ledger in this transaction, as left at left_at.
create type sync.held_buckets as (
    ids bigint[], granted bigint[], logged bigint[], narrowed boolean, now_at timestamptz, closed bigint[], calls_closed bigint,
    left_at timestamptz
);

-- Locks buckets, always in the same order, and reads the clock after that. p_finished: a grant that ends here, whose last
-- call left at p_left_at (null: now); in the ledger not before the last row, which is in the order of time.
create function sync.hold_buckets(p_buckets bigint[], p_finished bigint default null, p_left_at timestamptz default null)
    returns sync.held_buckets
    language plpgsql volatile as $$
declare
    held sync.held_buckets;
    first_expiry_at timestamptz;
    logged_at timestamptz;
    leased boolean;
begin
    select array_agg(b.id), array_agg(b.granted), array_agg(b.logged), bool_or(b.narrowed),
        greatest(sync.limiter_now(), max(b.last_at)), min(b.first_expiry_at), max(b.logged_at),
        bool_or(b.leased)
    into held.ids, held.granted, held.logged, held.narrowed, held.now_at, first_expiry_at, logged_at, leased
    from (select * from sync.rate_bucket where id = any (p_buckets) order by id for update) b;
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

-- Writes a grant of p_calls (0: none) on its buckets, and what hold_buckets has closed: into the ledger when its calls leave
-- at once, else among the open ones.
create function sync.write_grant(held sync.held_buckets, binding sync.rate_binding, p_grant bigint, p_calls bigint,
    p_expires_at timestamptz, p_lease_until_at timestamptz) returns void
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
        first_expiry_at = case when at_once then first_expiry_at else least(first_expiry_at, p_expires_at) end
    where id = any (held.ids);
    if p_calls = 0 then
        return;
    elsif at_once then
        insert into sync.rate_ledger
        select b.id, held.now_at, b.logged, p_calls from sync.rate_bucket b where b.id = any (binding.counted);
    else
        insert into sync.rate_open select c, p_grant, p_calls, p_expires_at from unnest(binding.counted) c;
    end if;
    if p_lease_until_at is not null then
        insert into sync.rate_lease
        select distinct l.bucket_id, p_grant, p_calls, p_lease_until_at from unnest(binding.limits) l where l.counts = 'in_flight';
    end if;
end $$;

-- Rows that no limit counts any more go in bulk, each thousand calls; the last of them stays, as the sum to begin from.
create function sync.prune(held sync.held_buckets, p_calls bigint) returns void
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
    end loop;
end $$;

-- What a 429 has taught is raised by a quarter each time that it held for long enough, until the file's own limit binds again.
create function sync.raise_learned(held sync.held_buckets) returns void
    language plpgsql volatile as $$
begin
    update sync.rate_limit
    set learned = (select r from (values (case when cost is null then greatest(learned + 1, floor(learned * 1.25))
            else learned * 1.25 end)) v (r) where r < requests),
        raised_at = held.now_at, hold_until_at = held.now_at + hold
    where bucket_id = any (held.ids) and learned is not null and hold_until_at <= held.now_at;
    update sync.rate_bucket b set narrowed = exists (
        select from sync.rate_limit l where l.bucket_id = b.id
            and (l.learned is not null or l.told_until_at > held.now_at or l.left_until_at > held.now_at))
    where b.id = any (held.ids) and b.narrowed;
end $$;

-- How many of p_count calls all limits of a binding let through. expires_at: cut off at the edge of a fixed window.
-- ahead: calls of others before the next of ours. told: the partner's word is what stops us. leased: calls in flight count.
create function sync.room_of(held sync.held_buckets, binding sync.rate_binding, p_count integer, p_organization text,
    p_class text, contended boolean, inout expires_at timestamptz, out room bigint, out rooms bigint[],
    out ahead bigint, out told boolean, out leased boolean)
    language plpgsql volatile as $$
declare
    l sync.limit_spec;
    here bigint;
    share record;
    fair bigint := p_count;
begin
    room := p_count;
    ahead := 0;
    told := false;
    leased := false;
    foreach l in array binding.limits loop
        if held.narrowed then
            l := sync.narrowed(l, held.now_at);
            told := told or coalesce(l.left_calls < 1, false);
        end if;
        here := sync.limit_room(l, (held.granted)[array_position(held.ids, l.bucket_id)], held.now_at);
        rooms := rooms || here;
        room := least(room, here);
        if contended and l.counts <> 'told_only' then
            -- All the room that a limit has is shared out, not only the part that was asked for.
            share := sync.fair_share(l, here, binding.partner, p_organization, p_class, held.now_at);
            fair := least(fair, share.calls);
            ahead := greatest(ahead, share.ahead);
        end if;
        if l.counts = 'fixed_window' then
            expires_at := least(expires_at, (sync.fixed_window(l, held.now_at)).ends_at - l.jitter);
        end if;
        leased := leased or l.counts = 'in_flight';
    end loop;
    room := least(room, fair);
end $$;

-- When to ask again: not before all limits have room for one call, and then when those ahead have had theirs, or in a
-- minute, as they may not come.
create function sync.retry_of(binding sync.rate_binding, ahead bigint, from_at timestamptz, now_at timestamptz)
    returns timestamptz
    language plpgsql volatile as $$
declare
    opens_at timestamptz := sync.limits_open_at(binding.limits, 0, from_at, now_at);
begin
    if ahead > 0 then
        opens_at := greatest(opens_at, least(sync.limits_open_at(binding.limits, ahead, from_at, now_at), from_at + interval '1 minute'));
    end if;
    -- Room that is kept for those before us: look again when they have had the time to take it.
    return case when opens_at = now_at then now_at + interval '1 second' else opens_at end;
end $$;

-- Up to p_count calls over all limits that bind them, by the clock read after the locks. p_hold_seconds: for how long after
-- the grant its calls may leave; p_lease_seconds: after how long a call in flight is given up. Nothing is ever given back:
-- a call that did not leave stays counted. p_finished: an earlier grant that is finished in the same breath, whose last
-- call left at p_left_at.
create function sync.acquire(p_partner text, p_organization text, p_class text, p_count integer, p_limits text,
    p_jitter_seconds double precision, p_hold_seconds double precision, p_lease_seconds double precision,
    p_finished bigint default null, p_finished_buckets bigint[] default null, p_left_at timestamptz default null)
    returns table (grant_id bigint, calls bigint, granted_at timestamptz, expires_at timestamptz, retry_at timestamptz,
        reason text, buckets bigint[], rooms bigint[])
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
begin
    if current_setting('transaction_isolation') <> 'read committed' or p_count < 1 then
        raise exception 'acquire needs read committed and a count of at least 1' using errcode = 'invalid_parameter_value';
    end if;
    perform set_config('synchronous_commit', 'on', true);
    held := sync.hold_buckets(binding.buckets || p_finished_buckets, p_finished, p_left_at);
    granted_at := held.now_at;
    if held.narrowed then
        perform sync.raise_learned(held);
    end if;
    stop := sync.stop_of(p_partner, p_organization, granted_at);
    if stop.until_at = 'infinity' then
        -- Somebody has to let it go: no time to name, and no place in the queue meanwhile.
        delete from sync.rate_demand d where (d.partner, d.organization, d.call_class) = (p_partner, p_organization, p_class);
        if p_finished is not null then
            perform sync.write_grant(held, binding, null, 0, granted_at, null);
        end if;
        calls := 0;
        expires_at := granted_at;
        reason := stop.reason;
        buckets := binding.buckets;
        rooms := '{}';
        return next;
        return;
    end if;
    select count(*) > 0 as known, coalesce(bool_or(d.wanted > 0 and d.expires_at > acquire.granted_at
            and (d.organization, d.call_class) <> (p_organization, p_class)), false) as others
    into queue from sync.rate_demand d where d.partner = p_partner;
    if queue.others then
        perform sync.join_queue(p_partner, p_organization, p_class, p_count, binding.buckets, granted_at);
    end if;
    room := sync.room_of(held, binding, p_count, p_organization, p_class, queue.others, granted_at + sync.seconds(p_hold_seconds));
    expires_at := room.expires_at;
    calls := case when stop.until_at > granted_at then 0 else greatest(0, least(room.room, stop.most_calls)) end;
    if calls > 0 or p_finished is not null then
        grant_id := case when calls > 0 then nextval('sync.rate_grant') end;
        perform sync.write_grant(held, binding, grant_id, calls, expires_at,
            case when room.leased then granted_at + sync.seconds(p_lease_seconds) end);
        perform sync.prune(held, calls);
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
    return next;
end $$;

-- All calls of a grant that will ever leave have left, and those in flight are back: from now on it is counted from when
-- the last one left (null: now), no longer from its expiry.
create function sync.finish_grant(p_grant bigint, p_buckets bigint[], p_left_at timestamptz default null) returns void
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
declare
    none sync.rate_binding := (null, null, '{}', '{}', '{}');
begin
    perform sync.write_grant(sync.hold_buckets(p_buckets, p_grant, p_left_at), none, null, 0, '-infinity', null);
end $$;

revoke execute on all functions in schema sync from public;
grant execute on function sync.acquire, sync.finish_grant to sync_extract, sync_push, sync_onboarding;
