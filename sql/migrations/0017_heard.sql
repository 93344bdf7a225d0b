-- What the partner says: it stops the calls, or narrows the limits of 0007, at once and for everybody (design, rule 8).

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

revoke execute on all functions in schema sync from public;
grant execute on function sync.pause, sync.refused, sync.told to sync_extract, sync_push, sync_onboarding;
