-- What stops all calls of an organization is a reason why its visits do not leave, and decides when a push can be done.

-- What stops an organization's calls now: a hold or an open circuit, its own or the partner's. A circuit that is half open
-- stops nothing: somebody has to probe. entity: whose it is. reason: a code of the catalogue.
create function sync.stops_of(p_partner text, p_organization text) returns table (entity text, reason text)
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select w.entity, case c.state when 'held' then w.entity || '_held' else 'circuit_open' end
    from sync.circuit_state c
    cross join lateral (select case c.organization when '' then 'partner' else 'organization' end as entity) w
    where c.partner = p_partner and c.organization in ('', p_organization) and c.state <> 'half_open'
$$;

-- Takes the place of the first version (0015), which knows missing keys only.
create or replace function sync.blocked_reasons(p_partner text, p_organization text, p_needs text[], p_week date default null)
    returns table (visit_id text, week date, office_id bigint, entity text, reason text)
    language sql stable security definer set search_path = pg_catalog, pg_temp set enable_nestloop = off as $$
    with marked as materialized (
        select t.visit_id, t.week, t.office_id from sync.todo t
        where t.partner = p_partner and t.organization = p_organization and t.blocked_at_change is not null
          and (p_week is null or t.week = p_week)
    )
    select m.visit_id, m.week, m.office_id, n.entity, n.reason
    from sync.missing_of(p_partner, p_organization, p_needs, array(select k.visit_id from marked k)) n
    join marked m on m.visit_id = n.visit_id
    union all
    select t.visit_id, t.week, t.office_id, s.entity, s.reason
    from sync.stops_of(p_partner, p_organization) s
    cross join sync.todo t
    where t.partner = p_partner and t.organization = p_organization and (p_week is null or t.week = p_week)
      and (t.action = 'put' or sync.needs_call(t))
    order by visit_id, entity
$$;
comment on function sync.blocked_reasons is
    'Visits that cannot leave now, and why: a key that is missing (rule 14), a circuit that is open, a hold.';

-- How long it takes until the last of p_calls may leave when nobody else asks: what is granted already counts, and what the
-- partner has said, as long as that holds. Null: until somebody resumes. Told to people, never to a caller; what is written
-- on the way (expired grants, new buckets) is the limiter's own, and may be rolled back.
create function sync.seconds_until_gone(p_partner text, p_organization text, p_limits text, p_jitter_seconds double precision,
    p_calls bigint) returns double precision
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
declare
    binding sync.rate_binding := sync.binding_of(p_partner, p_limits, p_jitter_seconds);
    held sync.held_buckets := sync.hold_buckets(binding.buckets);
    from_at timestamptz := greatest(held.now_at, (sync.stop_of(p_partner, p_organization, held.now_at)).until_at);
    gone_at timestamptz := from_at;
    l sync.limit_spec;
begin
    if p_calls < 1 or not isfinite(from_at) then
        return case when p_calls < 1 then 0 end;
    end if;
    foreach l in array binding.limits loop
        l := sync.narrowed(l, held.now_at);
        gone_at := greatest(gone_at, sync.limit_opens_at(l, (held.granted)[array_position(held.ids, l.bucket_id)], p_calls,
            from_at, held.now_at));
        if l.left_calls < p_calls then
            gone_at := greatest(gone_at, l.left_until_at);
        end if;
    end loop;
    return extract(epoch from gone_at - held.now_at);
end $$;

revoke execute on function sync.stops_of, sync.seconds_until_gone from public;
grant execute on function sync.seconds_until_gone to sync_release;
