-- The ledger of calls granted against each partner's limits (design, 5: rules 7, 8 and 10; design, 6), and what each limit
-- lets through. Nobody writes these tables directly: sync.acquire grants, sync.finish_grant and sync.pause narrow (0008).

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

-- What stops the calls of an organization at now_at, whatever the limits leave: nothing is granted before until_at ('infinity':
-- until somebody lets it go), by reason 'paused', 'circuit_open' or 'held'. most_calls: where it does not stop them, at most
-- so many are granted at once (null: no bound).
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

revoke execute on all functions in schema sync from public;
