-- The ledger of calls granted against each partner's limits (design, 5: rules 7, 8 and 10; design, 6).
-- Nobody writes these tables directly: sync.acquire grants, sync.finish_grant and sync.pause narrow.

-- What a limit counts together: vendor '', an organization, an office, an endpoint. Its row lock is the turnstile.
create table sync.rate_bucket (
    id bigint generated always as identity primary key,
    partner sync.code not null,
    scope text not null check (scope in ('vendor', 'organization', 'office', 'endpoint')),
    owner text not null,
    -- The greatest time granted at: a clock that is set back must not open a window twice.
    last_at timestamptz not null default '-infinity',
    unique (partner, scope, owner)
);

-- The log of grants. Its rows serve every limit on the bucket, so that a changed partner file starts with what was sent.
create table sync.rate_ledger (
    -- No foreign key: it would be a lookup and a row lock more on the hottest path, and buckets are never deleted.
    bucket_id bigint not null,
    grant_id bigint not null,
    organization text not null,
    calls integer not null check (calls > 0),
    granted_at timestamptz not null,
    -- When the last of its calls can leave: windows count from here, because the partner counts arrivals, not grants.
    leaves_by_at timestamptz not null check (leaves_by_at >= granted_at),
    primary key (bucket_id, leaves_by_at, grant_id) include (calls)
);
create sequence sync.rate_grant;

-- Token buckets and spacing: the time at which the bucket is full again, by all rows that left before folded_at.
create table sync.rate_level (
    bucket_id bigint not null references sync.rate_bucket (id),
    cost interval not null,
    full_at timestamptz not null,
    folded_at timestamptz not null,
    primary key (bucket_id, cost)
);

-- Who waits, and since when. A row expires, so that a dead process blocks nobody.
create table sync.rate_demand (
    partner sync.code not null,
    organization sync.code not null,
    call_class text not null check (call_class in ('request', 'tick', 'master')),
    wanted integer not null check (wanted > 0),
    since_at timestamptz not null,
    -- When its own organization's limits let it go: before that, room kept for it on shared limits would be wasted.
    ready_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (partner, organization, call_class)
);

create table sync.rate_pause (
    partner sync.code not null,
    scope text not null check (scope in ('vendor', 'organization')),
    owner text not null,
    until_at timestamptz not null,
    noted_at timestamptz not null,
    -- The partner named no scope: whether it meant the organization or the vendor is a guess.
    guessed boolean not null,
    primary key (partner, scope, owner)
);

-- One limit as it binds one call. cost and tolerance: token_bucket and spaced only.
create type sync.limit_spec as (
    bucket_id bigint, scope text, requests integer, counts text, per interval, jitter interval, zone text, anchor time,
    cost interval, tolerance interval
);

-- The clock of the limiter, a function of its own so that tests can replace it.
create function sync.limiter_now() returns timestamptz
    language sql volatile set search_path = pg_catalog, pg_temp as 'select clock_timestamp()';

create function sync.seconds(amount double precision) returns interval
    language sql immutable parallel safe return make_interval(secs => amount);

-- A token costs per/requests. Calls that left apart can arrive jitter closer together, so the burst is smaller by what
-- jitter refills; where nothing would be left of it, calls are spaced jitter wider instead.
create function sync.limit_spec_of(l jsonb, bucket bigint, jitter interval) returns sync.limit_spec
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
    spec sync.limit_spec;
    burst integer := case l ->> 'counts' when 'spaced' then 1 else coalesce((l ->> 'burst')::integer, (l ->> 'requests')::integer) end;
begin
    spec.bucket_id := bucket;
    spec.scope := l ->> 'scope';
    spec.requests := (l ->> 'requests')::integer;
    spec.counts := l ->> 'counts';
    spec.per := sync.seconds((l ->> 'per_seconds')::double precision);
    spec.jitter := jitter;
    spec.zone := coalesce(l ->> 'zone', 'UTC');
    spec.anchor := coalesce((l ->> 'anchor')::time, '00:00');
    spec.cost := sync.seconds(ceil((l ->> 'per_seconds')::numeric * 1000000 / spec.requests)::double precision / 1000000);
    spec.tolerance := burst * spec.cost - jitter;
    if spec.tolerance < spec.cost then
        spec.cost := spec.cost + jitter;
        spec.tolerance := spec.cost;
    end if;
    return spec;
end $$;

-- The buckets of these limits, made where missing and locked. Made before the first lock and locked by id, each time:
-- two callers can never wait for each other.
create function sync.lock_limits(p_partner text, p_limits jsonb, p_jitter interval) returns sync.limit_spec[]
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    specs sync.limit_spec[];
begin
    if exists (
        select from jsonb_array_elements(p_limits) l
        where not exists (
            select from sync.rate_bucket b
            where b.partner = p_partner and b.scope = l ->> 'scope' and b.owner = l ->> 'owner')) then
        insert into sync.rate_bucket (partner, scope, owner)
        select distinct p_partner, l ->> 'scope', l ->> 'owner' from jsonb_array_elements(p_limits) l order by 2, 3
        on conflict do nothing;
    end if;
    select array_agg(sync.limit_spec_of(locked.l, locked.id, p_jitter)) into specs
    from (
        select l, b.id from jsonb_array_elements(p_limits) l
        join sync.rate_bucket b on b.partner = p_partner and b.scope = l ->> 'scope' and b.owner = l ->> 'owner'
        order by b.id for update of b) locked;
    return coalesce(specs, '{}');
end $$;

-- The fixed window that a moment lies in. Windows of up to a day begin anew at the anchor of each day of the zone;
-- longer ones are counted from the anchor of Monday 1970-01-05.
create function sync.fixed_window(l sync.limit_spec, at timestamptz, out starts_at timestamptz, out ends_at timestamptz)
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    day date := ((at at time zone l.zone) - l.anchor)::date;
    origin timestamptz := ((case when l.per > interval '24 hours' then date '1970-01-05' else day end) + l.anchor) at time zone l.zone;
begin
    starts_at := origin + floor(extract(epoch from at - origin) / extract(epoch from l.per))::double precision * l.per;
    ends_at := starts_at + l.per;
    if l.per <= interval '24 hours' then
        ends_at := least(ends_at, ((day + 1) + l.anchor) at time zone l.zone);
    end if;
end $$;

create function sync.calls_after(bucket bigint, after_at timestamptz) returns bigint
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return (select coalesce(sum(calls), 0) from sync.rate_ledger where bucket_id = $1 and leaves_by_at > $2);
end $$;

create function sync.calls_from(bucket bigint, from_at timestamptz) returns bigint
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return (select coalesce(sum(calls), 0) from sync.rate_ledger where bucket_id = $1 and leaves_by_at >= $2);
end $$;

-- When the bucket will be full again (GCRA's theoretical arrival time): each grant adds its cost at the time it leaves.
-- Rows that have left are folded into the level; open ones are added anew each time, as they may still be narrowed.
create function sync.level_full_at(l sync.limit_spec, now_at timestamptz) returns timestamptz
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    level sync.rate_level;
    open_full_at timestamptz;
    entry record;
begin
    select * into level from sync.rate_level v where v.bucket_id = l.bucket_id and v.cost = l.cost;
    level := (l.bucket_id, l.cost, coalesce(level.full_at, '-infinity'), coalesce(level.folded_at, '-infinity'));
    open_full_at := level.full_at;
    for entry in
        select e.leaves_by_at, e.calls from sync.rate_ledger e
        where e.bucket_id = l.bucket_id and e.leaves_by_at >= level.folded_at order by e.leaves_by_at
    loop
        open_full_at := greatest(open_full_at, entry.leaves_by_at) + entry.calls * l.cost;
        if entry.leaves_by_at < now_at then
            level.full_at := open_full_at;
        end if;
    end loop;
    insert into sync.rate_level values (l.bucket_id, l.cost, level.full_at, now_at)
    on conflict (bucket_id, cost) do update set full_at = excluded.full_at, folded_at = excluded.folded_at;
    return open_full_at;
end $$;

-- How many calls one limit lets through at now_at.
create function sync.limit_room(l sync.limit_spec, now_at timestamptz) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    bounds record;
    wait interval;
begin
    if l.counts = 'sliding_window' then
        return l.requests - sync.calls_after(l.bucket_id, now_at - l.per - l.jitter);
    elsif l.counts = 'fixed_window' then
        bounds := sync.fixed_window(l, now_at);
        if now_at < bounds.starts_at + l.jitter or now_at >= bounds.ends_at - l.jitter then
            return 0;
        end if;
        return l.requests - sync.calls_from(l.bucket_id, bounds.starts_at);
    end if;
    wait := greatest(sync.level_full_at(l, now_at) - now_at, interval '0');
    return floor(extract(epoch from l.tolerance - wait) / extract(epoch from l.cost));
end $$;

-- The first moment, from from_at on, at which one limit lets one call through.
create function sync.limit_opens_at(l sync.limit_spec, from_at timestamptz, now_at timestamptz) returns timestamptz
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    bounds record;
    newest_too_many timestamptz;
begin
    if l.counts = 'sliding_window' then
        select e.leaves_by_at into newest_too_many
        from (select leaves_by_at, sum(calls) over (order by leaves_by_at desc, grant_id) as used
              from sync.rate_ledger where bucket_id = l.bucket_id) e
        where e.used >= l.requests order by e.leaves_by_at desc limit 1;
        return greatest(from_at, newest_too_many + l.per + l.jitter);
    elsif l.counts = 'fixed_window' then
        bounds := sync.fixed_window(l, from_at);
        if from_at >= bounds.ends_at - l.jitter or sync.calls_from(l.bucket_id, bounds.starts_at) >= l.requests then
            return bounds.ends_at + l.jitter;
        end if;
        return greatest(from_at, bounds.starts_at + l.jitter);
    end if;
    return greatest(from_at, sync.level_full_at(l, now_at) + l.cost - l.tolerance);
end $$;

-- The first moment at which all of them let one call through: a later limit can push the time into the closed edge of a
-- fixed window, so they are asked again until none moves it. Windows that are hardly ever open at one time give a time to
-- ask again, not an endless search.
create function sync.limits_open_at(specs sync.limit_spec[], from_at timestamptz, now_at timestamptz) returns timestamptz
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    l sync.limit_spec;
    at timestamptz := from_at;
    before timestamptz;
begin
    for round in 1 .. 100 loop
        before := at;
        foreach l in array specs loop
            at := sync.limit_opens_at(l, at, now_at);
        end loop;
        exit when at = before;
    end loop;
    return at;
end $$;

create function sync.paused_until(p_partner text, p_organization text) returns timestamptz
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return (select coalesce(max(until_at), '-infinity') from sync.rate_pause
            where partner = p_partner and ((scope = 'vendor' and owner = '') or (scope = 'organization' and owner = p_organization)));
end $$;

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
        buckets bigint[])
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    specs sync.limit_spec[];
    l sync.limit_spec;
    room bigint := p_count;
    fair bigint := p_count;
    paused_until timestamptz;
    waiting boolean;
begin
    if current_setting('transaction_isolation') <> 'read committed' or p_count < 1 then
        raise exception 'acquire needs read committed and a count of at least 1' using errcode = 'invalid_parameter_value';
    end if;
    perform set_config('synchronous_commit', 'on', true);
    specs := sync.lock_limits(p_partner, p_limits, sync.seconds(p_jitter_seconds));
    buckets := array(select distinct s.bucket_id from unnest(specs) s);
    select greatest(sync.limiter_now(), (select max(b.last_at) from sync.rate_bucket b where b.id = any (buckets))),
        sync.paused_until(p_partner, p_organization), exists (select from sync.rate_demand d where d.partner = p_partner)
    into granted_at, paused_until, waiting;
    expires_at := granted_at + sync.seconds(p_hold_seconds);
    foreach l in array specs loop
        room := least(room, sync.limit_room(l, granted_at));
        if waiting then
            fair := least(fair, sync.fair_room(l, room, p_partner, p_organization, p_class, granted_at));
        end if;
        if l.counts = 'fixed_window' then
            expires_at := least(expires_at, (sync.fixed_window(l, granted_at)).ends_at - l.jitter);
        end if;
    end loop;
    calls := case when paused_until > granted_at then 0 else greatest(0, least(room, fair)) end;
    if calls > 0 then
        grant_id := nextval('sync.rate_grant');
        perform sync.write_grant(specs, grant_id, p_organization, calls, granted_at, expires_at);
    end if;
    if calls < p_count then
        retry_at := sync.limits_open_at(specs, greatest(granted_at, paused_until), granted_at);
        if retry_at = granted_at then
            -- There is room, kept for those before us: look again when they have had the time to take it.
            retry_at := granted_at + interval '1 second';
        end if;
    end if;
    if waiting or calls < p_count then
        perform sync.note_demand(p_partner, p_organization, p_class, p_count - calls,
            sync.limits_open_at(array(select s from unnest(specs) s where s.scope not in ('vendor', 'endpoint')),
                greatest(granted_at, paused_until), granted_at), retry_at, granted_at);
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
