-- Grants from the ledger of 0007: shared out fairly, closed early, and stopped by what somebody says.

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

-- Fairness. Who got less than it wanted stands in a queue of its partner. On each limit, in this order:
--   1. who got nothing for a while: a floor each, the longest wait first. "A while" is long enough that all floors
--      together take no more than half of what the limit lets through;
--   2. requests (a planner waits), 3. ticks and master reads: each the one with the lowest turn, so that all who wait
--      get the same; the longest wait first among equals.
-- The order is the same on every limit, so the first of it always gets something: nobody waits in a circle. A call for one
-- that is away (told to come back later, or late) is kept only where it would be missing at its return.
create type sync.place as (turn bigint, wanted bigint, owed bigint, later boolean, mine boolean);

create function sync.places(l sync.limit_spec, p_partner text, p_organization text, p_class text, now_at timestamptz)
    returns sync.place[]
    language plpgsql stable as $$
declare
    -- For how long a call that is granted now stays counted.
    horizon interval := case when l.counts = 'in_flight' then interval '2 seconds' else coalesce(l.tolerance, l.per) end;
    grace interval := greatest(interval '2 seconds', least(horizon, interval '30 seconds'));
begin
    return (
        with waiting as materialized (
            -- n: also those who are away, or a floor would grow as others are served.
            select d.*, count(*) over () as n, greatest(d.served_at, d.since_at) as waits_since_at,
                d.ready_at <= now_at and d.returns_at < now_at + 0.9 * horizon and now_at <= d.returns_at + grace as counts
            from sync.rate_demand d
            where d.partner = p_partner and d.wanted > 0 and l.bucket_id = any (d.buckets) and d.expires_at > now_at
        ), judged as (
            select w.*,
                case when served_at <= now_at - greatest(l.per, interval '1 second', 2.0 * n / l.requests * l.per)
                    then least(wanted, greatest(1, l.requests / (2 * n))) else 0 end as owed
            from waiting w where counts
        )
        select array_agg((turn + owed, wanted - owed, owed, call_class <> 'request',
                (organization, call_class) = (p_organization, p_class))::sync.place
            order by waits_since_at, organization, call_class)
        from judged);
end $$;

-- Up to which turn so many calls go when the lowest turns get them first, and how many are then left for one more each.
create function sync.level_of(peers sync.place[], calls bigint, out level bigint, out spare bigint)
    language plpgsql immutable as $$
begin
    with edge as (
        select e.at, sum(e.step) as step
        from (select turn as at, 1 as step from unnest(peers) union all select turn + wanted, -1 from unnest(peers)) e
        group by e.at
    ), line as (
        select at, sum(step) over (order by at) as slope, coalesce(lead(at) over (order by at) - at, 0) as width from edge
    ), filled as (
        select at, slope, sum(slope * width) over (order by at) - slope * width as before from line
    )
    select at + div(calls - before, slope), mod(calls - before, slope) into level, spare
    from filled where before <= calls and slope > 0 order by at desc limit 1;
end $$;

-- How much of the room on one limit is for this caller, and how many calls are ahead of its next one.
create function sync.fair_share(l sync.limit_spec, room bigint, p_partner text, p_organization text, p_class text,
    now_at timestamptz, out calls bigint, out ahead bigint)
    language plpgsql stable as $$
declare
    places sync.place[] := sync.places(l, p_partner, p_organization, p_class, now_at);
    peers sync.place[] := '{}';
    me sync.place;
    d sync.place;
    left_over bigint := room;
    standing record;
    older bigint;
begin
    foreach d in array places loop
        if d.mine then
            me := d;
            calls := greatest(0, least(d.owed, left_over));
        end if;
        left_over := left_over - d.owed;
    end loop;
    peers := array(select p from unnest(places) p where p.later = me.later and p.wanted > 0);
    select coalesce(sum(p.owed) filter (where not p.mine), 0), coalesce(sum(p.wanted) filter (where me.later and not p.later), 0)
    into ahead, older from unnest(places) p;
    left_over := left_over - older;
    ahead := ahead + older;
    if left_over > 0 and me.wanted > 0 then
        standing := sync.level_of(peers, left_over);
        select count(*) into older
        from unnest(peers) with ordinality p (turn, wanted, owed, later, mine, at)
        where p.turn <= standing.level and p.turn + p.wanted > standing.level
            and p.at < (select m.at from unnest(peers) with ordinality m (turn, wanted, owed, later, mine, at) where m.mine);
        calls := calls + least(me.wanted, greatest(0, standing.level - me.turn))
            + case when me.turn <= standing.level and me.turn + me.wanted > standing.level and older < standing.spare
                then 1 else 0 end;
    end if;
    select ahead + coalesce(sum(least(p.wanted, greatest(0, me.turn - me.owed + fair_share.calls + 1 - p.turn))), 0) into ahead
    from unnest(peers) p where not p.mine;
end $$;

-- Takes a place in the queue, or keeps it. One that comes begins where those who wait stand, not before them.
create function sync.join_queue(p_partner text, p_organization text, p_class text, p_wanted integer, p_buckets bigint[],
    now_at timestamptz) returns void
    language plpgsql volatile as $$
begin
    insert into sync.rate_demand as d
    select p_partner, p_organization, p_class, p_wanted, p_buckets, now_at,
        coalesce(min(o.turn) filter (where o.wanted > 0), max(o.turn), 0), '-infinity', now_at, now_at, 'limit',
        now_at + interval '30 seconds'
    from sync.rate_demand o
    where o.partner = p_partner and o.expires_at > now_at and (o.call_class = 'request') = (p_class = 'request') and o.buckets && p_buckets
    on conflict (partner, organization, call_class) do update
        set wanted = excluded.wanted, buckets = excluded.buckets, turn = greatest(d.turn, excluded.turn),
            since_at = case when d.wanted = 0 then now_at else d.since_at end,
            ready_at = now_at, returns_at = now_at, expires_at = excluded.expires_at;
end $$;

-- Notes what it got. Who has all that it wanted keeps its turn for a minute, so that asking for little, often, is no
-- way to the front. A tick comes again within a minute, the others at the time they are told.
create function sync.note_turn(p_partner text, p_organization text, p_class text, p_calls bigint, p_wanted bigint,
    p_ready_at timestamptz, p_retry_at timestamptz, p_reason text, now_at timestamptz) returns void
    language plpgsql volatile as $$
declare
    back_at timestamptz := case p_class when 'tick' then greatest(p_retry_at, now_at + interval '1 minute') else p_retry_at end;
begin
    -- Others' rows only where nobody holds them: without a shared limit no lock orders two callers here.
    delete from sync.rate_demand d
    using (select partner, organization, call_class from sync.rate_demand
           where partner = p_partner and expires_at <= now_at for update skip locked) gone
    where (d.partner, d.organization, d.call_class) = (gone.partner, gone.organization, gone.call_class);
    update sync.rate_demand d
    set wanted = p_wanted, turn = d.turn + p_calls, served_at = case when p_calls > 0 then now_at else d.served_at end,
        ready_at = coalesce(p_ready_at, now_at), returns_at = coalesce(back_at, now_at), reason = coalesce(p_reason, d.reason),
        expires_at = case when p_wanted = 0 then now_at + interval '1 minute'
            when back_at = 'infinity' then now_at + interval '5 minutes'
            else back_at + case p_class when 'tick' then interval '15 seconds' else interval '30 seconds' end end
    where (d.partner, d.organization, d.call_class) = (p_partner, p_organization, p_class);
end $$;

-- For organizations that one process will ask for, one after the other: from the first call on the room is shared among
-- all of them, and whoever comes first takes no more than its part.
create function sync.queue_up(p_partner text, p_organizations text[], p_class text, p_wanted integer, p_limits text[],
    p_jitter_seconds double precision) returns void
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    waiting record;
begin
    for waiting in
        select * from unnest(p_organizations, p_limits) u (organization, limits) order by organization
    loop
        perform sync.join_queue(p_partner, waiting.organization, p_class, p_wanted,
            (sync.binding_of(p_partner, waiting.limits, p_jitter_seconds)).buckets, sync.limiter_now());
    end loop;
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

-- The partner said stop (rule 8). Never longer than an hour, never shortened. No scope named: the organization first, and
-- the vendor when another organization was told so too and its pause still runs or is less than a minute old.
create function sync.pause(p_partner text, p_organization text, p_until_at timestamptz, p_scope text)
    returns table (scope text, until_at timestamptz)
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    now_at timestamptz;
begin
    perform set_config('synchronous_commit', 'on', true);
    -- Two organizations at the same moment must see each other.
    perform pg_advisory_xact_lock(hashtextextended('sync.pause/' || p_partner, 0));
    now_at := sync.limiter_now();
    until_at := least(p_until_at, now_at + interval '1 hour');
    scope := case when p_scope = 'vendor' then 'vendor' else 'organization' end;
    if p_scope is null and exists (
        select from sync.rate_pause o
        where o.partner = p_partner and o.scope = 'organization' and o.owner <> p_organization and o.guessed
          and (o.until_at > now_at or o.noted_at > now_at - interval '1 minute')) then
        scope := 'vendor';
    end if;
    insert into sync.rate_pause as p
    select p_partner, s, case s when 'vendor' then '' else p_organization end, pause.until_at, now_at, p_scope is null
    from unnest(array ['organization', scope]) s where s = scope or p_scope is null
    group by s
    on conflict on constraint rate_pause_pkey do update
        set until_at = greatest(p.until_at, excluded.until_at), noted_at = excluded.noted_at, guessed = excluded.guessed;
    select max(p.until_at) into until_at from sync.rate_pause p
    where p.partner = p_partner and p.scope = pause.scope and p.owner in ('', p_organization);
    return next;
end $$;

-- How many calls a limit counts now, in calls for each `per`.
create function sync.calls_counted(l sync.limit_spec, granted bigint, now_at timestamptz) returns double precision
    language plpgsql stable as $$
declare
    span interval := greatest(l.per, l.tolerance);
begin
    if l.counts = 'in_flight' then
        return (select coalesce(sum(e.calls), 0) from sync.rate_lease e where e.bucket_id = l.bucket_id and e.expires_at > now_at);
    elsif l.counts = 'fixed_window' then
        return granted - sync.logged_before(l.bucket_id, (sync.fixed_window(l, now_at)).starts_at);
    end if;
    return (granted - sync.logged_by(l.bucket_id, now_at - span)) * extract(epoch from l.per) / extract(epoch from span);
end $$;

-- A 429 says that fewer calls fit than the file allows: somebody else uses the partner's quota, or the file is wrong. The
-- fullest limit of the scopes that were meant holds a little less than what was in its window, for five minutes or 500
-- calls, whichever is longer, and twice as long as before when a raise has met the 429. One 429 takes away about half
-- at most, so that a stray one does not stop us. p_granted_at: of the refused call; calls granted before the last lesson
-- teach nothing new. p_unsent: how many calls of its grant did not get through.
create function sync.learn(binding sync.rate_binding, p_scopes text[], p_granted_at timestamptz, p_unsent integer) returns void
    language plpgsql volatile as $$
declare
    held sync.held_buckets := sync.hold_buckets(binding.buckets);
    l sync.limit_spec;
    fullest sync.limit_spec;
    used double precision;
    counted double precision;
begin
    if exists (select from sync.rate_limit e join unnest(binding.limits) b on b.id = e.id where e.learned_at >= p_granted_at) then
        return;
    end if;
    foreach l in array binding.limits loop
        continue when l.counts = 'told_only' or l.scope <> all (p_scopes);
        l := sync.narrowed(l, held.now_at);
        used := greatest(0, sync.calls_counted(l, (held.granted)[array_position(held.ids, l.bucket_id)], held.now_at) - p_unsent);
        if counted is null or used / l.requests > counted / fullest.requests then
            fullest := l;
            counted := used;
        end if;
    end loop;
    update sync.rate_limit e
    set learned = case when e.cost is null then greatest(1, floor(v.learned)) else v.learned end,
        learned_at = held.now_at,
        hold = least(interval '4 hours', case when e.raised_at > e.learned_at and e.raised_at + 4 * e.hold > held.now_at
            then 2 * e.hold else greatest(e.hold, interval '5 minutes', 500 / v.learned * e.per) end),
        -- The partner's token bucket is empty, whatever ours says.
        level_full_at = coalesce(held.now_at + e.tolerance, e.level_full_at), level_cost = e.cost, level_at = held.now_at,
        level_total = (held.logged)[array_position(held.ids, e.bucket_id)]
    from (select greatest(0.45 * most, least(0.9 * counted, case when fullest.cost is null then 0.9 else 0.7 end * most)) as learned
          from (select least(requests, learned, case when told_until_at > held.now_at then told_requests end)::double precision as most
                from sync.rate_limit where id = fullest.id) p) v
    where e.id = fullest.id;
    update sync.rate_limit set hold_until_at = learned_at + hold where id = fullest.id;
    update sync.rate_bucket set narrowed = true where id = fullest.bucket_id;
end $$;

-- A call of this grant was answered with 429: everybody stops (sync.pause), and the limits learn.
create function sync.refused(p_partner text, p_organization text, p_until_at timestamptz, p_scope text, p_limits text,
    p_jitter_seconds double precision, p_granted_at timestamptz, p_unsent integer)
    returns table (scope text, until_at timestamptz)
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    binding sync.rate_binding := sync.binding_of(p_partner, p_limits, p_jitter_seconds);
    meant text[];
begin
    select s.scope, s.until_at into refused.scope, refused.until_at
    from sync.pause(p_partner, p_organization, p_until_at, p_scope) s;
    meant := case when refused.scope = 'vendor' then array ['vendor', 'endpoint']
        when p_scope is not null then array [p_scope] else array ['vendor', 'organization', 'office', 'endpoint'] end;
    if not exists (select from unnest(binding.limits) l where l.scope = any (meant) and l.counts <> 'told_only') then
        meant := array ['vendor', 'organization', 'office', 'endpoint'];
    end if;
    perform sync.learn(binding, meant, p_granted_at, p_unsent);
    return next;
end $$;

-- What the partner's RateLimit fields say: [{"limit": its place in p_limits, from 1, "requests", "left", "until_at"}]. A
-- policy smaller than the file holds for ten minutes or its window, an hour at most, unless it is told again; what is left
-- holds until the partner counts anew, an hour at most. Calls that others hold and may still make are taken off.
create function sync.told(p_partner text, p_organization text, p_limits text, p_jitter_seconds double precision, p_told jsonb)
    returns void
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    binding sync.rate_binding := sync.binding_of(p_partner, p_limits, p_jitter_seconds);
    held sync.held_buckets := sync.hold_buckets(binding.buckets);
    latest timestamptz := held.now_at + interval '1 hour';
    t record;
begin
    perform set_config('synchronous_commit', 'on', true);
    for t in select * from jsonb_to_recordset(p_told) as t ("limit" integer, requests integer, "left" bigint, until_at timestamptz) loop
        update sync.rate_limit e
        set told_requests = case when t.requests < e.requests then greatest(1, t.requests) end,
            told_until_at = case when t.requests < e.requests
                then least(latest, held.now_at + greatest(interval '10 minutes', e.per)) end
        where e.id = ((binding.limits)[t."limit"]).id and t.requests is not null;
        -- Told again about the same window, the smaller figure counts: answers do not arrive in the order of the calls.
        update sync.rate_limit e
        set left_calls = least(
                greatest(0, t."left" - (select coalesce(sum(o.calls), 0) from sync.rate_open o where o.bucket_id = e.bucket_id)),
                case when e.left_until_at > held.now_at and abs(extract(epoch from e.left_until_at - least(t.until_at, latest))) <= 2
                    then e.left_calls end),
            left_until_at = least(t.until_at, latest)
        where e.id = ((binding.limits)[t."limit"]).id and t."left" is not null and t.until_at > held.now_at;
    end loop;
    update sync.rate_bucket set narrowed = true where id = any (held.ids);
end $$;

-- Who waits for the limits of a partner, since when, until when (null: until somebody lets it go) and why.
create view sync.waiting as
select partner, organization, call_class, since_at as since, nullif(returns_at, 'infinity') as opens_at, reason
from sync.rate_demand where wanted > 0 and expires_at > sync.limiter_now();

revoke execute on all functions in schema sync from public;
grant execute on function sync.acquire, sync.finish_grant, sync.pause, sync.refused, sync.told, sync.queue_up
    to sync_extract, sync_push, sync_onboarding;
grant select on sync.waiting to sync_run, sync_reader;
grant execute on function sync.limiter_now to sync_run, sync_reader;
