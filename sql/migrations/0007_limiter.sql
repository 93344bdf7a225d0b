-- The ledger of calls granted against each partner's limits (design, 5: rules 7, 8 and 10; design, 6), and what each limit
-- lets through. Nobody writes these tables directly: sync.acquire grants (0008), what the partner says narrows (0017).

-- What a limit counts together: vendor '', an organization, an office, an endpoint. Its row lock is the turnstile: whatever
-- stands on the bucket, in its ledger or its limits is written under it.
create table sync.rate_bucket (
    id bigint generated always as identity primary key,
    partner sync.code not null,
    scope text not null check (scope in ('vendor', 'organization', 'office', 'endpoint')),
    owner text not null,
    -- The greatest time granted at: a clock that is set back must not open a window twice.
    last_at timestamptz not null default '-infinity',
    -- All calls ever granted, and those of them that stand in the ledger; the others are open.
    granted bigint not null default 0,
    logged bigint not null default 0,
    -- When the last row of the ledger left.
    logged_at timestamptz not null default '-infinity',
    -- No open grant expires before.
    first_expiry_at timestamptz not null default 'infinity',
    -- Some limit on it is smaller than the file says, for now; some limit on it counts calls in flight.
    narrowed boolean not null default false,
    leased boolean not null default false,
    unique (partner, scope, owner)
) with (fillfactor = 50);

-- The calls that have left, by the time the last of a grant left: windows count from here, because the partner counts
-- arrivals, not grants. total is the running sum, so that the calls of any window are a difference of two rows, however
-- many lie between. It serves every limit on the bucket: a changed partner file starts with what was sent.
create table sync.rate_ledger (
    -- No foreign key: it would be a lookup and a row lock more on the hottest path, and buckets are never deleted.
    bucket_id bigint not null,
    left_at timestamptz not null,
    total bigint not null,
    calls integer not null check (calls > 0),
    primary key (bucket_id, left_at, total)
);

-- Grants whose calls may still leave; they move to the ledger when they are finished or expire.
create table sync.rate_open (
    bucket_id bigint not null,
    grant_id bigint not null,
    calls integer not null check (calls > 0),
    leaves_by_at timestamptz not null,
    primary key (bucket_id, grant_id)
) with (fillfactor = 50);
create sequence sync.rate_grant;

-- Calls in flight: freed when the grant is finished, or by themselves, so that a dead process holds no place for ever.
create table sync.rate_lease (
    bucket_id bigint not null,
    grant_id bigint not null,
    calls integer not null check (calls > 0),
    expires_at timestamptz not null,
    primary key (bucket_id, grant_id)
);

-- One limit on a bucket, and what the partner has said about it. 'told_only' lets everything through that the partner
-- has not said to be too much.
create table sync.rate_limit (
    id bigint generated always as identity primary key,
    bucket_id bigint not null references sync.rate_bucket (id),
    counts text not null check (
        counts in ('sliding_window', 'fixed_window', 'token_bucket', 'spaced', 'in_flight', 'told_only')),
    requests integer not null,
    per interval not null,
    jitter interval not null,
    zone text not null,
    anchor time not null,
    -- token_bucket and spaced only: what a call costs, and how far the level may be overdrawn.
    cost interval,
    tolerance interval,
    -- Their level: when the bucket is full again, by the rows of the ledger up to level_total
    -- (which left at level_at); reckoned with level_cost.
    level_full_at timestamptz not null default '-infinity',
    level_total bigint not null default 0,
    level_at timestamptz not null default '-infinity',
    level_cost interval,
    -- A policy of the partner that is smaller than the file, while it is told.
    told_requests integer,
    told_until_at timestamptz,
    -- What is left by the partner's own count, until it starts again.
    left_calls bigint,
    left_until_at timestamptz,
    -- What a 429 has taught: so many calls in `per`, raised again from hold_until_at on, each time after as long a hold.
    learned double precision,
    learned_at timestamptz not null default '-infinity',
    raised_at timestamptz not null default '-infinity',
    hold interval not null default '0',
    hold_until_at timestamptz,
    unique nulls not distinct (bucket_id, counts, requests, per, jitter, zone, anchor, cost, tolerance)
) with (fillfactor = 50);

-- A limit as it binds one call. left_calls: by the partner's own count, until left_until_at.
create type sync.limit_spec as (
    id bigint, bucket_id bigint, scope text, counts text, requests integer, per interval, jitter interval, zone text, anchor time,
    cost interval, tolerance interval, left_calls bigint, left_until_at timestamptz
);

-- The limits that bind a call, by the digest of the text that names them: parsed once, not at each call.
create table sync.rate_binding (
    partner sync.code not null,
    digest uuid not null,
    limits sync.limit_spec[] not null,
    buckets bigint[] not null,
    -- Those of the buckets whose calls some limit counts over time.
    counted bigint[] not null,
    primary key (partner, digest)
);

-- Who waits, and since when. A row expires, so that a dead process blocks nobody.
create table sync.rate_demand (
    partner sync.code not null,
    organization sync.code not null,
    call_class text not null check (call_class in ('request', 'tick', 'master')),
    -- 0: it has what it wanted, and is remembered for its turn only.
    wanted integer not null check (wanted >= 0),
    buckets bigint[] not null,
    since_at timestamptz not null,
    -- The turn: calls given while others waited, counted from where the others stood when it came.
    turn bigint not null,
    served_at timestamptz not null default '-infinity',
    -- When its own organization's limits let it go: before that, room kept for it on shared limits would be wasted.
    ready_at timestamptz not null,
    -- When it was told to come again, and why.
    returns_at timestamptz not null,
    reason text not null,
    expires_at timestamptz not null,
    primary key (partner, organization, call_class)
) with (fillfactor = 50);

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
    made sync.limit_spec;
    burst integer := case l ->> 'counts' when 'spaced' then 1 else coalesce((l ->> 'burst')::integer, (l ->> 'requests')::integer) end;
begin
    made.bucket_id := bucket;
    made.scope := l ->> 'scope';
    made.counts := l ->> 'counts';
    made.requests := coalesce((l ->> 'requests')::integer, 2147483647);
    made.per := sync.seconds(coalesce((l ->> 'per_seconds')::double precision, 0));
    made.jitter := jitter;
    made.zone := coalesce(l ->> 'zone', 'UTC');
    made.anchor := coalesce((l ->> 'anchor')::time, '00:00');
    if made.counts in ('token_bucket', 'spaced') then
        made.cost := sync.seconds(
            ceil((l ->> 'per_seconds')::numeric * 1000000 / made.requests)::double precision / 1000000);
        made.tolerance := burst * made.cost - jitter;
        if made.tolerance < made.cost then
            made.cost := made.cost + jitter;
            made.tolerance := made.cost;
        end if;
    end if;
    return made;
end $$;

-- Finds or makes the buckets and limits that bind a call, and remembers them under the digest of their text. p_limits:
-- [{"scope", "owner", "requests", "per_seconds", "counts", "zone", "anchor", "burst"}].
create function sync.bind_limits(p_partner text, p_digest uuid, p_limits jsonb, p_jitter interval) returns sync.rate_binding
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    made sync.limit_spec;
    binding sync.rate_binding := (p_partner, p_digest, '{}', '{}', '{}');
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
    update sync.rate_bucket b set leased = true
    from unnest(binding.limits) w where b.id = w.bucket_id and w.counts = 'in_flight' and not b.leased;
    insert into sync.rate_binding select (binding).* on conflict do nothing;
    return binding;
end $$;

create function sync.binding_of(p_partner text, p_limits text, p_jitter_seconds double precision) returns sync.rate_binding
    language plpgsql volatile as $$
declare
    digest_here uuid := md5(p_jitter_seconds || p_limits);
    binding sync.rate_binding;
begin
    select * into binding from sync.rate_binding where partner = p_partner and digest = digest_here;
    if found then
        return binding;
    end if;
    return sync.bind_limits(p_partner, digest_here, p_limits::jsonb, sync.seconds(p_jitter_seconds));
end $$;

-- How many calls had left by a time (strictly: before it), of all that ever left.
create function sync.logged_by(bucket bigint, at timestamptz) returns bigint
    language plpgsql stable as $$
begin
    return coalesce((
        select total from sync.rate_ledger where bucket_id = $1 and left_at <= $2 order by left_at desc, total desc limit 1), 0);
end $$;

create function sync.logged_before(bucket bigint, at timestamptz) returns bigint
    language plpgsql stable as $$
begin
    return coalesce((
        select total from sync.rate_ledger where bucket_id = $1 and left_at < $2 order by left_at desc, total desc limit 1), 0);
end $$;

-- Moves grants that have expired to the ledger, before anything else is written: it is in the order of time.
create function sync.close_expired(p_buckets bigint[], now_at timestamptz) returns void
    language plpgsql volatile as $$
begin
    with gone as (
        delete from sync.rate_open where bucket_id = any (p_buckets) and leaves_by_at <= now_at
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
            (select min(o.leaves_by_at) from sync.rate_open o where o.bucket_id = b.id and o.leaves_by_at > now_at), 'infinity')
    where b.id = any (p_buckets);
end $$;

-- The limit as it is now: what the partner says, or has taught us, only shrinks it (rule 8).
create function sync.narrowed(l sync.limit_spec, now_at timestamptz) returns sync.limit_spec
    language plpgsql stable as $$
declare
    told sync.rate_limit;
    most double precision;
begin
    select * into told from sync.rate_limit where id = l.id;
    most := least(l.requests, told.learned, case when told.told_until_at > now_at then told.told_requests end);
    if told.left_until_at > now_at then
        l.left_calls := told.left_calls;
        l.left_until_at := told.left_until_at;
    end if;
    if most < l.requests then
        l.cost := l.cost * (l.requests / most);
        l.tolerance := l.tolerance * (l.requests / most);
        l.requests := greatest(1, floor(most));
    end if;
    return l;
end $$;

-- The fixed window that a moment lies in. Windows of up to a day begin anew at the anchor of each day of the zone;
-- longer ones are counted from the anchor of Monday 1970-01-05.
create function sync.fixed_window(l sync.limit_spec, at timestamptz, out starts_at timestamptz, out ends_at timestamptz)
    language plpgsql stable as $$
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

-- When the bucket will be full again (GCRA's theoretical arrival time): each grant adds its cost at the time it leaves.
-- Rows of the ledger are folded into the level once; open ones are added anew each time, as they may still be narrowed.
-- With sums from the end, the recursion full := greatest(full, left_at) + calls * cost is one maximum over the rows.
-- p_soon: open ones leave now, which they nearly always do: for a time to ask again, never for a grant.
create function sync.level_full_at(l sync.limit_spec, now_at timestamptz, p_soon boolean default false) returns timestamptz
    language plpgsql volatile as $$
declare
    level record;
    sum_now bigint := (select logged from sync.rate_bucket where id = l.bucket_id);
    opened bigint;
    latest timestamptz;
begin
    select level_full_at as full_at, level_total as total, level_at as at, level_cost as cost into level
    from sync.rate_limit where id = l.id;
    if level.cost <> l.cost and level.full_at > now_at then
        level.full_at := now_at + (extract(epoch from l.cost) / extract(epoch from level.cost))::double precision
            * (level.full_at - now_at);
    end if;
    if sum_now > level.total or level.cost is distinct from l.cost then
        select max(e.left_at + (sum_now - e.total + e.calls) * l.cost) into latest
        from sync.rate_ledger e
        where e.bucket_id = l.bucket_id and e.left_at >= level.at and e.total > level.total;
        level.full_at := greatest(level.full_at + (sum_now - level.total) * l.cost, latest);
        update sync.rate_limit
        set level_full_at = level.full_at, level_total = sum_now, level_cost = l.cost,
            level_at = coalesce((select max(left_at) from sync.rate_ledger where bucket_id = l.bucket_id), '-infinity')
        where id = l.id;
    end if;
    select sum(o.calls), max(case when p_soon then now_at else o.leaves_by_at end + o.from_here * l.cost) into opened, latest
    from (select calls, leaves_by_at, sum(calls) over (order by leaves_by_at desc, grant_id desc) as from_here
          from sync.rate_open where bucket_id = l.bucket_id) o;
    return greatest(level.full_at + coalesce(opened, 0) * l.cost, latest);
end $$;

-- How many calls one (narrowed) limit lets through at now_at; granted: all calls ever granted on its bucket.
create function sync.limit_room(l sync.limit_spec, granted bigint, now_at timestamptz) returns bigint
    language plpgsql volatile as $$
declare
    bounds record;
    room bigint;
begin
    if l.counts = 'sliding_window' then
        -- Not logged_by: this is the hottest path.
        select e.total into room from sync.rate_ledger e
        where e.bucket_id = l.bucket_id and e.left_at <= now_at - l.per - l.jitter
        order by e.left_at desc, e.total desc limit 1;
        room := l.requests - granted + coalesce(room, 0);
    elsif l.counts = 'fixed_window' then
        bounds := sync.fixed_window(l, now_at);
        room := case when now_at < bounds.starts_at + l.jitter or now_at >= bounds.ends_at - l.jitter then 0
            else l.requests - granted + sync.logged_before(l.bucket_id, bounds.starts_at) end;
    elsif l.counts = 'in_flight' then
        room := l.requests - (
            select coalesce(sum(e.calls), 0) from sync.rate_lease e where e.bucket_id = l.bucket_id and e.expires_at > now_at);
    elsif l.counts = 'told_only' then
        room := l.requests;
    else
        room := floor(extract(epoch from l.tolerance - greatest(sync.level_full_at(l, now_at) - now_at, interval '0'))
            / extract(epoch from l.cost));
    end if;
    return greatest(0, least(room, l.left_calls));
end $$;

revoke execute on all functions in schema sync from public;
