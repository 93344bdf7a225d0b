-- What a 429 teaches, also one that says nothing, and when to ask again: takes the place of the lessons of 0017 and of the
-- raises of 0008, and of what is named there to those who wait.

alter table sync.rate_limit
    -- When a refusal was heard that was news: not of a call granted before the refusal ahead of it.
    add column refused_at timestamptz not null default '-infinity',
    -- All calls ever granted on the bucket by then; how many calls got through between the two last refusals.
    add column refused_granted bigint not null default 0,
    add column got_through bigint not null default 1,
    -- How long its pause was, unless the partner named a time.
    add column unnamed_for interval,
    -- What the last lesson was reckoned from: what was allowed until then, and how many calls got through. Null: nothing
    -- was reckoned.
    add column taught_most double precision,
    add column taught_calls double precision,
    -- What held until the last raise.
    add column held double precision;

-- Who is meant by a partner that asks us to stop. No scope named: the organization first, and the vendor when another
-- organization was told so too and its pause still runs or is less than a minute old.
create function sync.scope_of_pause(p_partner text, p_organization text, p_scope text, now_at timestamptz) returns text
    language plpgsql stable as $$
begin
    if p_scope = 'vendor' or p_scope is null and exists (
        select from sync.rate_pause o
        where o.partner = p_partner and o.scope = 'organization' and o.owner <> p_organization and o.guessed
          and (o.until_at > now_at or o.noted_at > now_at - interval '1 minute')) then
        return 'vendor';
    end if;
    return 'organization';
end $$;

create or replace function sync.pause(p_partner text, p_organization text, p_until_at timestamptz, p_scope text)
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
    scope := sync.scope_of_pause(p_partner, p_organization, p_scope, now_at);
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

-- For how long a call stays counted.
create function sync.span_of(l sync.limit_spec) returns interval
    language sql immutable return greatest(l.per, l.tolerance);

-- Which limit has refused a call, of those that count for the scopes that are meant: the one with the shortest window that
-- is at least a fifth full of calls that got through, because a second client is felt there first, and a lesson there
-- costs least where it is wrong. Else the fullest, as among windows of one length. used: calls in its window, less unsent.
create function sync.refusing_limit(binding sync.rate_binding, p_scopes text[], p_unsent bigint, held sync.held_buckets,
    out l sync.limit_spec, out used double precision)
    language plpgsql stable as $$
declare
    one sync.limit_spec;
    here double precision;
    share double precision;
    full_share double precision;
begin
    foreach one in array binding.limits loop
        continue when one.counts = 'told_only' or one.scope <> all (p_scopes);
        one := sync.narrowed(one, held.now_at);
        here := greatest(0, sync.calls_counted(one, (held.granted)[array_position(held.ids, one.bucket_id)], held.now_at)
            - p_unsent * sync.calls_of_span(one));
        share := here / one.requests;
        if full_share is null
            or (case when one.counts = 'in_flight' or l.counts = 'in_flight' or least(share, full_share) < 0.2
                    or sync.span_of(one) = sync.span_of(l)
                then share > full_share else sync.span_of(one) < sync.span_of(l) end) then
            l := one;
            used := here;
            full_share := share;
        end if;
    end loop;
end $$;

-- What one call in the span of a limit is in its `per`.
create function sync.calls_of_span(l sync.limit_spec) returns double precision
    language sql immutable
    return case when l.counts in ('token_bucket', 'spaced')
        then extract(epoch from l.per)::double precision / extract(epoch from sync.span_of(l))::double precision else 1 end;

-- A little less than what got through, and about half of what was allowed at least: one stray 429 must not stop us. A token
-- bucket's window says less. Spaced calls come too close by a way that was longer than ever before, as a rule.
create function sync.lesson_of(counts text, most double precision, calls double precision) returns double precision
    language sql immutable
    return case counts when 'spaced' then 0.8 * most
        when 'token_bucket' then greatest(0.45 * most, least(0.9 * calls, 0.7 * most))
        else greatest(1, floor(greatest(0.45 * most, least(0.9 * calls, 0.9 * most)))) end;

drop function sync.learn(sync.rate_binding, text[], timestamptz, integer);

-- A 429 says that fewer calls fit than the file allows: somebody else uses the partner's quota, or the file is wrong. The
-- lesson holds for five minutes or 500 calls, whichever is longer. A raise that meets a 429 goes back to what held before
-- it, for twice as long. p_granted_at: of the refused call; one that was granted before the last refusal is no news, but the
-- lesson took it for one that got through. p_unsent: how many calls of its grant did not get through. Returns for how
-- long nothing should leave, where the partner has named no time: as long as the window, at most half a minute; twice as
-- long as before when nothing got through between.
create function sync.learn(binding sync.rate_binding, p_scopes text[], p_granted_at timestamptz, p_unsent integer)
    returns interval
    language plpgsql volatile as $$
declare
    held sync.held_buckets := sync.hold_buckets(binding.buckets);
    e sync.rate_limit;
    refusing record;
    most double precision;
    granted bigint;
begin
    select r.* into e from sync.rate_limit r
    where r.id in (select id from unnest(binding.limits)) and r.refused_at >= p_granted_at order by r.refused_at desc limit 1;
    if found then
        perform sync.amend_lesson(e, p_unsent);
        return greatest(interval '0', e.refused_at + e.unnamed_for - held.now_at);
    end if;
    refusing := sync.refusing_limit(binding, p_scopes, p_unsent, held);
    if refusing.used is null then
        return interval '30 seconds';
    end if;
    select * into e from sync.rate_limit where id = (refusing.l).id;
    granted := (held.granted)[array_position(held.ids, e.bucket_id)];
    most := least(e.requests, e.learned, case when e.told_until_at > held.now_at then e.told_requests end);
    e.taught_most := null;
    e.taught_calls := null;
    if e.raised_at > e.learned_at and e.raised_at + 4 * e.hold > held.now_at then
        e.learned := e.held;
        e.hold := least(interval '4 hours', 2 * e.hold);
        e.learned_at := held.now_at;
    -- Of a long window a lesson can be a stop for hours: not before a pause has turned out not to help.
    elsif sync.span_of(refusing.l) <= interval '1 hour' or e.got_through <= 0 then
        e.taught_most := most;
        e.taught_calls := refusing.used;
        e.learned := sync.lesson_of(e.counts, most, refusing.used);
        e.hold := least(interval '4 hours', greatest(e.hold, interval '5 minutes', 500 / e.learned * e.per));
        e.learned_at := held.now_at;
    end if;
    update sync.rate_limit r
    set learned = e.learned, learned_at = e.learned_at, hold = e.hold, hold_until_at = e.learned_at + e.hold,
        taught_most = e.taught_most, taught_calls = e.taught_calls, refused_at = held.now_at, refused_granted = granted,
        got_through = granted - e.refused_granted - p_unsent,
        unnamed_for = case when e.got_through <= 0 then least(interval '1 hour', 2 * e.unnamed_for)
            else least(interval '30 seconds', greatest(interval '1 second', sync.span_of(refusing.l) + e.jitter)) end,
        -- The partner's token bucket is empty, whatever ours says.
        level_full_at = coalesce(held.now_at + e.tolerance, e.level_full_at), level_cost = e.cost, level_at = held.now_at,
        level_total = (held.logged)[array_position(held.ids, e.bucket_id)]
    where r.id = e.id
    returning r.unnamed_for into e.unnamed_for;
    update sync.rate_bucket set narrowed = true where id = e.bucket_id;
    return e.unnamed_for;
end $$;

-- Calls that the lesson took for such as got through were refused as well.
create function sync.amend_lesson(e sync.rate_limit, p_unsent integer) returns void
    language plpgsql volatile as $$
declare
    l sync.limit_spec;
begin
    l.counts := e.counts;
    l.per := e.per;
    l.tolerance := e.tolerance;
    e.taught_calls := e.taught_calls - p_unsent * sync.calls_of_span(l);
    update sync.rate_limit r
    set got_through = r.got_through - p_unsent, taught_calls = e.taught_calls,
        learned = case when e.taught_calls is null or r.raised_at > r.learned_at then r.learned
            else sync.lesson_of(e.counts, e.taught_most, e.taught_calls) end
    where r.id = e.id;
end $$;

-- A call of this grant was answered with 429: everybody stops (sync.pause), and the limits learn. p_until_at: null when the
-- partner named no time.
create or replace function sync.refused(p_partner text, p_organization text, p_until_at timestamptz, p_scope text,
    p_limits text, p_jitter_seconds double precision, p_granted_at timestamptz, p_unsent integer)
    returns table (scope text, until_at timestamptz)
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    binding sync.rate_binding := sync.binding_of(p_partner, p_limits, p_jitter_seconds);
    everybody constant text[] := array ['vendor', 'organization', 'office', 'endpoint'];
    meant text[];
    unnamed_for interval;
begin
    -- As sync.pause does, and before any bucket is locked.
    perform pg_advisory_xact_lock(hashtextextended('sync.pause/' || p_partner, 0));
    meant := case when sync.scope_of_pause(p_partner, p_organization, p_scope, sync.limiter_now()) = 'vendor'
            then array ['vendor', 'endpoint']
        when p_scope is not null then array [p_scope] else everybody end;
    if not exists (select from unnest(binding.limits) l where l.scope = any (meant) and l.counts <> 'told_only') then
        meant := everybody;
    end if;
    unnamed_for := sync.learn(binding, meant, p_granted_at, p_unsent);
    select s.scope, s.until_at into refused.scope, refused.until_at
    from sync.pause(p_partner, p_organization, coalesce(p_until_at, sync.limiter_now() + unnamed_for), p_scope) s;
    return next;
end $$;

-- What a 429 has taught is raised by a quarter each time that it held for long enough, until the file's own limit binds again.
create or replace function sync.raise_learned(held sync.held_buckets) returns void
    language plpgsql volatile as $$
begin
    update sync.rate_limit
    set learned = (select r from (values (case when cost is null then greatest(learned + 1, floor(learned * 1.25))
            else learned * 1.25 end)) v (r) where r < requests),
        held = learned, raised_at = held.now_at, hold_until_at = held.now_at + hold
    where bucket_id = any (held.ids) and learned is not null and hold_until_at <= held.now_at;
    update sync.rate_bucket b set narrowed = exists (
        select from sync.rate_limit l where l.bucket_id = b.id
            and (l.learned is not null or l.told_until_at > held.now_at or l.left_until_at > held.now_at))
    where b.id = any (held.ids) and b.narrowed;
end $$;

-- Where one call goes at a time (else null): how much later than its moment it may leave. Nobody knows the next moment
-- for certain before it has left.
create function sync.slack_of(l sync.limit_spec) returns interval
    language sql immutable
    return case when l.tolerance < 2 * l.cost then greatest(interval '50 milliseconds', 0.1 * l.cost) end;

-- When the bucket will be full again (GCRA's theoretical arrival time): each grant adds its cost at the time it leaves.
-- Rows of the ledger are folded into the level once; open ones are added anew each time, as they may still be narrowed.
-- With sums from the end, the recursion full := greatest(full, left_at) + calls * cost is one maximum over the rows.
-- p_soon: open ones leave now, which they nearly always do, or have left at their moment: for a time to ask again, never
-- for a grant.
create or replace function sync.level_full_at(l sync.limit_spec, now_at timestamptz, p_soon boolean default false) returns timestamptz
    language plpgsql volatile as $$
declare
    level record;
    -- Not the bucket's figure: a grant that ends in this transaction stands in the ledger already, and there only.
    sum_now bigint := coalesce((
        select total from sync.rate_ledger where bucket_id = l.bucket_id order by left_at desc, total desc limit 1), 0);
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
    select sum(o.calls), max(case when p_soon then least(now_at, o.leaves_by_at - sync.slack_of(l)) else o.leaves_by_at end + o.from_here * l.cost) into opened, latest
    from (select calls, leaves_by_at, sum(calls) over (order by leaves_by_at desc, grant_id desc) as from_here
          from sync.rate_open where bucket_id = l.bucket_id) o;
    return greatest(level.full_at + coalesce(opened, 0) * l.cost, latest);
end $$;

-- The first moment, from from_at on, at which one (narrowed) limit lets so many calls through at once; when it never does,
-- when as many would have gone through one after the other.
create or replace function sync.limit_opens_at(l sync.limit_spec, granted bigint, calls bigint, from_at timestamptz, now_at timestamptz)
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
            at := greatest(at, least(now_at + interval '0.1 seconds',
                (select min(e.expires_at) from sync.rate_lease e where e.bucket_id = l.bucket_id and e.expires_at > now_at)));
        end if;
    elsif l.counts <> 'told_only' then
        return greatest(at, sync.level_full_at(l, now_at, true) + calls * l.cost - l.tolerance);
    end if;
    return at + rounds * l.per;
end $$;

-- Who stands where on one limit.
create or replace function sync.places(l sync.limit_spec, p_partner text, p_organization text, p_class text, now_at timestamptz)
    returns sync.place[]
    language plpgsql stable as $$
declare
    -- For how long a call that is granted now stays counted. Where one goes at a time nothing is kept for who comes later:
    -- the next moment is for him.
    horizon interval := case when l.counts = 'in_flight' then interval '2 seconds'
        when l.tolerance < 2 * l.cost then interval '0' else coalesce(l.tolerance, l.per) end;
    grace interval := greatest(interval '2 seconds', least(horizon, interval '30 seconds'));
begin
    return (
        with waiting as materialized (
            -- n: also those who are away, or a floor would grow as others are served.
            select d.*, count(*) over () as n, greatest(d.served_at, d.since_at) as waits_since_at,
                d.ready_at <= now_at and d.returns_at <= now_at + 0.9 * horizon and now_at <= d.returns_at + grace as counts
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

-- When to ask again: not before all limits have room for one call, and then when those ahead have had theirs, or in a
-- minute, as they may not come.
create or replace function sync.retry_of(binding sync.rate_binding, ahead bigint, from_at timestamptz, now_at timestamptz)
    returns timestamptz
    language plpgsql volatile as $$
declare
    opens_at timestamptz := sync.limits_open_at(binding.limits, 0, from_at, now_at);
begin
    if ahead > 0 then
        opens_at := greatest(opens_at, least(sync.limits_open_at(binding.limits, ahead, from_at, now_at), from_at + interval '1 minute'));
    end if;
    -- Room that is kept for those before us: look again when they have had the time to take it.
    return case when opens_at > now_at then opens_at
        when exists (select from unnest(binding.limits) where counts = 'in_flight') then now_at + interval '0.1 seconds'
        else now_at + interval '1 second' end;
end $$;

-- So many calls of a grant are back, others are still in flight: their places are free. Its end frees the rest.
create function sync.free_places(p_grant bigint, p_buckets bigint[], p_calls integer) returns void
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    update sync.rate_lease set calls = calls - p_calls
    where bucket_id = any (p_buckets) and grant_id = p_grant and calls > p_calls;
end $$;

revoke execute on all functions in schema sync from public;
grant execute on function sync.free_places to sync_extract, sync_push, sync_onboarding;
