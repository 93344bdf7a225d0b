-- What stops calls besides limits and pauses: the circuit of an organization or of a whole partner, which opens by itself
-- after repeated failure, and a hold, which a person sets and takes away. Nobody writes these tables directly.

-- A circuit without a row is closed and nothing speaks against it: where all is well this table is empty.
-- A failed call is one that shows no working partner: no answer, or one of its 5xx.
create table sync.circuit (
    partner sync.code not null,
    -- '' is the partner as a whole. Its row is locked before any other of the partner.
    organization text not null,
    -- Failed calls since the last one that got through.
    failures integer not null default 0,
    -- Of an organization: its last failed call that speaks against the partner as well. Not while its own circuit is open:
    -- such calls fail for a reason that is known.
    failed_at timestamptz,
    -- Of the partner: failures before this time speak against it no more (a call got through, or they opened it).
    counted_from_at timestamptz not null default '-infinity',
    -- Null: closed. opens: how often it has opened since it was last closed.
    opened_at timestamptz,
    opens integer not null default 0,
    -- From then on one call may leave as a probe. While one is on its way: when it counts as lost.
    probe_at timestamptz,
    -- Whose probe is on its way.
    probed_by text,
    -- How long a probe may take.
    probe_for interval,
    changed_at timestamptz not null,
    primary key (partner, organization),
    check ((opened_at is null) = (probe_at is null))
);

-- Append-only: who held or resumed what, and why. The latest row of a partner and organization counts; '' is the partner
-- as a whole, and an organization is held by its own row or by the partner's.
create table sync.hold (
    id bigint generated always as identity primary key,
    partner sync.code not null,
    organization text not null check (organization ~ '^([a-z0-9][a-z0-9_-]{0,62})?$'),
    held boolean not null,
    reason text not null check (length(reason) between 1 and 500),
    by text not null check (length(by) between 1 and 200),
    at timestamptz not null default clock_timestamp()
);
create index on sync.hold (partner, organization, id desc) include (held);
create trigger append_only before update or delete or truncate on sync.hold
    for each statement execute function schedule.refuse('what happened stays; say what is so now by a new row');

create function sync.is_held(p_partner text, p_organization text) returns boolean
    language plpgsql stable as $$
begin
    return coalesce((
        select h.held from sync.hold h where h.partner = p_partner and h.organization = p_organization
        order by h.id desc limit 1), false);
end $$;

-- Takes the place of the first version (0007), which knows pauses only. A circuit that is not closed stays locked until
-- the grant is written: two callers must not both get the one probe.
create or replace function sync.stop_of(p_partner text, p_organization text, now_at timestamptz,
    out until_at timestamptz, out reason text, out most_calls integer)
    language plpgsql volatile as $$
declare
    c sync.circuit;
    closed_until_at timestamptz;
begin
    select coalesce(max(p.until_at), '-infinity') into until_at
    from sync.rate_pause p
    where p.partner = p_partner
      and ((p.scope = 'vendor' and p.owner = '') or (p.scope = 'organization' and p.owner = p_organization));
    reason := case when until_at > now_at then 'paused' end;
    for c in
        select * from sync.circuit o
        where o.partner = p_partner and o.organization in ('', p_organization) and o.opened_at is not null
        order by o.organization for update
    loop
        -- A probe is answered within seconds, as a rule: whoever waits for it looks again soon.
        closed_until_at := case when c.probed_by is null then c.probe_at else least(c.probe_at, now_at + interval '5 seconds') end;
        if c.probe_at <= now_at then
            most_calls := 1;
            reason := coalesce(reason, 'circuit_open');
        elsif closed_until_at > until_at then
            until_at := closed_until_at;
            reason := 'circuit_open';
        end if;
    end loop;
    if sync.is_held(p_partner, '') or sync.is_held(p_partner, p_organization) then
        until_at := 'infinity';
        reason := 'held';
    end if;
end $$;

-- The one call that was granted is the probe of every circuit that is not closed on its way.
create function sync.take_probe(p_partner text, p_organization text, now_at timestamptz) returns void
    language sql volatile as $$
    update sync.circuit
    set probed_by = p_organization, probe_at = now_at + probe_for, changed_at = now_at
    where partner = p_partner and organization in ('', p_organization) and opened_at is not null
$$;

-- open_seconds, twice as long each time in a row, at most longest_open_seconds.
create function sync.open_circuit(p_partner text, p_organization text, p_rule jsonb, now_at timestamptz) returns void
    language sql volatile set search_path = pg_catalog, pg_temp as $$
    update sync.circuit
    set opened_at = coalesce(opened_at, now_at), opens = opens + 1, probed_by = null, changed_at = now_at,
        counted_from_at = now_at, probe_for = sync.seconds((p_rule ->> 'probe_seconds')::double precision),
        probe_at = now_at + sync.seconds(least((p_rule ->> 'longest_open_seconds')::double precision,
            (p_rule ->> 'open_seconds')::double precision * 2 ^ least(opens, 30)))
    where (partner, organization) = (p_partner, p_organization)
$$;

-- A call of the organization got through: its circuit is closed, and nothing that failed before speaks against the
-- partner. If the partner's circuit was not closed, the partner is back: what stopped its organizations is past as well.
create function sync.circuit_reached(p_partner text, p_organization text, now_at timestamptz) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    was_open boolean;
begin
    select opened_at is not null into was_open
    from sync.circuit where partner = p_partner and organization = '' for update;
    delete from sync.circuit where partner = p_partner and (was_open or organization = p_organization);
    update sync.circuit w set counted_from_at = now_at, failures = 0
    where w.partner = p_partner and w.organization = '' and exists (
        select from sync.circuit o where o.partner = p_partner and o.failed_at > w.counted_from_at);
    delete from sync.circuit w
    where w.partner = p_partner and w.organization = '' and not exists (
        select from sync.circuit o where o.partner = p_partner and o.organization <> '');
end $$;

-- Whether calls of enough organizations failed within a minute, or failed until their circuits opened, and none of
-- anybody's got through between.
create function sync.speaks_against_partner(p_partner text, p_rule jsonb, now_at timestamptz) returns boolean
    language sql stable set search_path = pg_catalog, pg_temp as $$
    select count(*) >= (p_rule ->> 'organizations')::integer
    from sync.circuit o join sync.circuit w on w.partner = o.partner and w.organization = ''
    where o.partner = p_partner and o.failed_at > w.counted_from_at
      and (o.failed_at > now_at - interval '1 minute' or o.opened_at is not null)
$$;

-- Calls of the organization failed. While a circuit is open only its probe says anything: other calls left before.
-- Who fails as the partner's probe steps back by its own circuit, and lets another organization try: one that is broken by
-- itself must not keep the partner closed for the others.
create function sync.circuit_failed(p_partner text, p_organization text, p_failed integer, p_rule jsonb,
    now_at timestamptz) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    whole sync.circuit;
    own sync.circuit;
begin
    insert into sync.circuit (partner, organization, changed_at) values (p_partner, '', now_at) on conflict do nothing;
    select * into whole from sync.circuit where partner = p_partner and organization = '' for update;
    if whole.opened_at is not null and whole.probed_by is distinct from p_organization then
        return;
    end if;
    insert into sync.circuit (partner, organization, changed_at) values (p_partner, p_organization, now_at)
    on conflict do nothing;
    select * into own from sync.circuit where partner = p_partner and organization = p_organization for update;
    if own.opened_at is not null and own.probed_by is null then
        return;
    end if;
    update sync.circuit
    set failures = failures + p_failed, failed_at = case when own.opened_at is null then now_at else failed_at end
    where partner = p_partner and organization = p_organization;
    if own.opened_at is not null or whole.opened_at is not null
        or own.failures + p_failed >= (p_rule ->> 'failures')::integer then
        perform sync.open_circuit(p_partner, p_organization, p_rule, now_at);
    end if;
    update sync.circuit set failures = failures + p_failed, probed_by = null,
        probe_at = case when opened_at is not null then now_at end, changed_at = now_at
    where partner = p_partner and organization = '';
    if sync.speaks_against_partner(p_partner, p_rule, now_at) then
        perform sync.open_circuit(p_partner, o.organization, p_rule, now_at)
        from sync.circuit o
        where o.partner = p_partner and o.opened_at is null and o.organization <> '' and o.failed_at > whole.counted_from_at;
        perform sync.open_circuit(p_partner, '', p_rule, now_at);
    end if;
end $$;

-- What became of calls: p_reached got an answer that shows a working partner, and p_failed have failed since the last of
-- these. p_rule: {"failures", "open_seconds", "longest_open_seconds", "organizations", "probe_seconds"}.
create function sync.report_calls(p_partner text, p_organization text, p_reached integer, p_failed integer, p_rule jsonb)
    returns void
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    now_at timestamptz := sync.limiter_now();
begin
    -- Where all is well nothing is written.
    if p_reached > 0 and exists (select from sync.circuit where partner = p_partner) then
        perform sync.circuit_reached(p_partner, p_organization, now_at);
    end if;
    if p_failed > 0 then
        perform sync.circuit_failed(p_partner, p_organization, p_failed, p_rule, now_at);
    end if;
end $$;

-- Holds or resumes a partner ('') or one of its organizations; what is so already is not written again.
-- Returns whether it was news.
create function sync.set_hold(p_partner text, p_organization text, p_held boolean, p_reason text, p_by text)
    returns boolean
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_advisory_xact_lock(hashtextextended(concat_ws('/', 'sync.set_hold', p_partner, p_organization), 0));
    if sync.is_held(p_partner, p_organization) = p_held then
        return false;
    end if;
    insert into sync.hold (partner, organization, held, reason, by)
    values (p_partner, p_organization, p_held, p_reason, p_by);
    return true;
end $$;

-- What stands in the way of calls now, for people and for whoever lists what waits. until_at null: until a person resumes.
create view sync.circuit_state as
select h.partner::text as partner, h.organization, 'held' as state, h.at as since_at, null::timestamptz as until_at, h.reason,
    h.by, 0 as failures
from (select distinct on (partner, organization) * from sync.hold order by partner, organization, id desc) h
where h.held
union all
select c.partner, c.organization,
    case when c.probe_at <= sync.limiter_now() or c.probed_by is not null then 'half_open' else 'open' end,
    c.opened_at, c.probe_at, null, null, c.failures
from sync.circuit c
where c.opened_at is not null;
comment on view sync.circuit_state is 'Partners ('''') and organizations that are held, or whose circuit is not closed.';

revoke execute on all functions in schema sync from public;
grant execute on function sync.report_calls to sync_extract, sync_push, sync_onboarding;
grant execute on function sync.set_hold to sync_run;
-- A view's functions run as its reader.
grant execute on function sync.limiter_now to sync_extract, sync_push, sync_onboarding, sync_release, sync_run, sync_reader;
grant select on sync.circuit_state to sync_extract, sync_push, sync_onboarding, sync_release, sync_run, sync_reader;
