-- Whose turn it is on a limit that does not let everybody through, for sync.acquire (0008), and who waits.

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

-- Who waits for the limits of a partner, since when, until when (null: until somebody lets it go) and why.
create view sync.waiting as
select partner, organization, call_class, since_at as since, nullif(returns_at, 'infinity') as opens_at, reason
from sync.rate_demand where wanted > 0 and expires_at > sync.limiter_now();

revoke execute on all functions in schema sync from public;
grant execute on function sync.queue_up to sync_extract, sync_push, sync_onboarding;
grant select on sync.waiting to sync_run, sync_reader;
grant execute on function sync.limiter_now to sync_run, sync_reader;
