-- Grants from the ledger of 0007: shared out fairly, closed early, and stopped by what the partner says.

-- Fairness on one limit. Who waits stands in a queue: requests (a planner waits) before ticks and master reads, then the
-- oldest first. Each organization's floor on a limit that several share is requests / organizations that want something,
-- at least one, in each window.
--   up to its floor    a call only leaves the floors of those before it in the queue (of its own organization: all)
--   beyond its floor   it leaves everything to those before it, and their floors to those behind it
-- The first in the queue, or else the first that is below its floor, always gets something: nobody waits in a circle.
create function sync.fair_room(l sync.limit_spec, room bigint, p_partner text, p_organization text, p_class text,
    now_at timestamptz) returns bigint
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    shared boolean := l.scope in ('vendor', 'endpoint');
    since timestamptz := coalesce((
        select since_at from sync.rate_demand
        where (partner, organization, call_class) = (p_partner, p_organization, p_class) and expires_at > now_at), now_at);
    share bigint;
    below_floor bigint;
    floors_before bigint;
    kept bigint;
begin
    select greatest(1, l.requests / count(distinct o)) into share
    from (select organization::text as o from sync.rate_demand
          where partner = p_partner and ready_at <= now_at and expires_at > now_at union select p_organization) w;
    with used as (
        select organization, sum(calls) as calls from sync.rate_ledger
        where shared and bucket_id = l.bucket_id and leaves_by_at > now_at - l.per group by organization
    ), waiting as (
        select d.wanted,
            ((d.call_class <> 'request')::integer, d.since_at, d.organization::text)
                < ((p_class <> 'request')::integer, since, p_organization) as before,
            d.organization = p_organization as own,
            case when d.organization = p_organization then 0
                else least(d.wanted, greatest(0, share - coalesce(u.calls, 0))) end as owed
        from sync.rate_demand d left join used u on u.organization = d.organization
        where d.partner = p_partner and d.ready_at <= now_at and d.expires_at > now_at
          and (d.organization, d.call_class) <> (p_organization, p_class)
          and (shared or d.organization = p_organization)
    )
    select share - coalesce((select calls from used where organization = p_organization), 0)
            - coalesce(sum(w.wanted) filter (where w.before and w.own), 0),
        coalesce(sum(case when w.own then w.wanted else w.owed end) filter (where w.before), 0),
        coalesce(sum(case when w.before then w.wanted else w.owed end), 0)
    into below_floor, floors_before, kept
    from waiting w;
    return greatest(room - kept, case when shared then least(below_floor, room - floors_before) else 0 end, 0);
end $$;

-- A caller that got less than it wanted waits in the queue; one that got all of it does not. A tick comes again within a
-- minute, the others at the time they are told.
create function sync.note_demand(p_partner text, p_organization text, p_class text, p_missing integer,
    p_ready_at timestamptz, p_retry_at timestamptz, now_at timestamptz) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    delete from sync.rate_demand d
    where p_missing = 0 and (d.partner, d.organization, d.call_class) = (p_partner, p_organization, p_class);
    -- Others' rows only where nobody holds them: without a shared limit no lock orders two callers here.
    delete from sync.rate_demand d
    using (select partner, organization, call_class from sync.rate_demand
           where partner = p_partner and expires_at <= now_at for update skip locked) gone
    where (d.partner, d.organization, d.call_class) = (gone.partner, gone.organization, gone.call_class);
    if p_missing = 0 then
        return;
    end if;
    insert into sync.rate_demand values (p_partner, p_organization, p_class, p_missing, now_at, p_ready_at,
        case p_class when 'tick' then now_at + interval '75 seconds' else coalesce(p_retry_at, now_at) + interval '30 seconds' end)
    on conflict (partner, organization, call_class) do update
        set wanted = excluded.wanted, ready_at = excluded.ready_at, expires_at = excluded.expires_at;
end $$;

-- The log of a bucket is kept as long as any limit on it counts. One statement: this is the hottest path.
create function sync.write_grant(specs sync.limit_spec[], p_grant bigint, p_organization text, p_calls integer,
    p_granted_at timestamptz, p_leaves_by_at timestamptz) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    with bucket as materialized (
        select l.bucket_id as id, p_granted_at - max(l.per + l.jitter) as kept_from_at from unnest(specs) l group by 1
    ), touched as (
        update sync.rate_bucket b set last_at = p_granted_at from bucket where b.id = bucket.id
    ), pruned as (
        delete from sync.rate_ledger e using bucket where e.bucket_id = bucket.id and e.leaves_by_at < bucket.kept_from_at
    )
    insert into sync.rate_ledger
    select id, p_grant, p_organization, p_calls, p_granted_at, p_leaves_by_at from bucket;
end $$;

-- Up to p_count calls over all limits that bind them, by the clock read after the locks. p_limits:
-- [{"scope", "owner", "requests", "per_seconds", "counts", "zone", "anchor", "burst"}]. p_hold_seconds: for how long after
-- the grant its calls may leave. Nothing is ever given back: a call that did not leave stays counted.
create function sync.acquire(p_partner text, p_organization text, p_class text, p_count integer, p_limits jsonb,
    p_jitter_seconds double precision, p_hold_seconds double precision)
    returns table (grant_id bigint, calls integer, granted_at timestamptz, expires_at timestamptz, retry_at timestamptz,
        reason text, buckets bigint[])
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    specs sync.limit_spec[];
    l sync.limit_spec;
    room bigint := p_count;
    fair bigint := p_count;
    here bigint;
    stop record;
    waiting boolean;
begin
    if current_setting('transaction_isolation') <> 'read committed' or p_count < 1 then
        raise exception 'acquire needs read committed and a count of at least 1' using errcode = 'invalid_parameter_value';
    end if;
    perform set_config('synchronous_commit', 'on', true);
    specs := sync.lock_limits(p_partner, p_limits, sync.seconds(p_jitter_seconds));
    buckets := array(select distinct s.bucket_id from unnest(specs) s);
    select greatest(sync.limiter_now(), (select max(b.last_at) from sync.rate_bucket b where b.id = any (buckets))),
        exists (select from sync.rate_demand d where d.partner = p_partner)
    into granted_at, waiting;
    stop := sync.stop_of(p_partner, p_organization, granted_at);
    expires_at := granted_at + sync.seconds(p_hold_seconds);
    foreach l in array specs loop
        -- Fairness shares out all the room that a limit has, not only the part that was asked for.
        here := sync.limit_room(l, granted_at);
        room := least(room, here);
        if waiting then
            fair := least(fair, sync.fair_room(l, here, p_partner, p_organization, p_class, granted_at));
        end if;
        if l.counts = 'fixed_window' then
            expires_at := least(expires_at, (sync.fixed_window(l, granted_at)).ends_at - l.jitter);
        end if;
    end loop;
    calls := case when stop.until_at > granted_at then 0 else greatest(0, least(room, fair, stop.most_calls)) end;
    if calls > 0 then
        grant_id := nextval('sync.rate_grant');
        perform sync.write_grant(specs, grant_id, p_organization, calls, granted_at, expires_at);
        if stop.most_calls is not null then
            perform sync.take_probe(p_partner, p_organization, granted_at);
        end if;
    end if;
    if calls < p_count then
        reason := coalesce(stop.reason, 'limit');
    end if;
    if stop.until_at = 'infinity' then
        -- Somebody has to let it go: no time to name, and no place in the queue meanwhile.
        perform sync.note_demand(p_partner, p_organization, p_class, 0, null, null, granted_at);
        return next;
        return;
    end if;
    if calls < p_count then
        retry_at := sync.limits_open_at(specs, greatest(granted_at, stop.until_at), granted_at);
        if retry_at = granted_at then
            -- There is room, kept for those before us: look again when they have had the time to take it.
            retry_at := granted_at + interval '1 second';
        end if;
    end if;
    if waiting or calls < p_count then
        perform sync.note_demand(p_partner, p_organization, p_class, p_count - calls,
            sync.limits_open_at(array(select s from unnest(specs) s where s.scope not in ('vendor', 'endpoint')),
                greatest(granted_at, stop.until_at), granted_at), retry_at, granted_at);
    end if;
    return next;
end $$;

-- All calls of a grant that will ever leave have left: from now on it is counted from now, no longer from its expiry.
create function sync.finish_grant(p_grant bigint, p_buckets bigint[]) returns void
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    now_at timestamptz;
begin
    perform 1 from sync.rate_bucket where id = any (p_buckets) order by id for update;
    -- Not before the bucket's last grant: levels have been folded up to there.
    select greatest(sync.limiter_now(), max(last_at)) into now_at from sync.rate_bucket where id = any (p_buckets);
    update sync.rate_bucket set last_at = now_at where id = any (p_buckets);
    update sync.rate_ledger set leaves_by_at = now_at
    where bucket_id = any (p_buckets) and grant_id = p_grant and leaves_by_at > now_at;
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

revoke execute on all functions in schema sync from public;
grant execute on function sync.acquire, sync.finish_grant, sync.pause to sync_extract, sync_push, sync_onboarding;
