-- One trouble that does not stop others: windows of long days, answers that are kept, look-ups that go on.

-- The fixed window that a moment lies in. Windows of up to a day begin anew at the anchor of each day of the zone, and the
-- last one of a day ends with it: on a day of 25 hours it is an hour longer, so that no day has a window more. Windows of
-- several whole days are counted in days of the zone from Monday 1970-01-05, other long ones in hours from its anchor.
create or replace function sync.fixed_window(l sync.limit_spec, at timestamptz, out starts_at timestamptz, out ends_at timestamptz)
    language plpgsql stable as $$
declare
    day date := ((at at time zone l.zone) - l.anchor)::date;
    per double precision := extract(epoch from l.per);
    days integer := round(per / 86400)::integer;
    origin timestamptz;
    place double precision;
begin
    if days >= 1 and per = days * 86400 then
        day := date '1970-01-05' + floor((day - date '1970-01-05') / days::double precision)::integer * days;
        starts_at := (day + l.anchor) at time zone l.zone;
        ends_at := ((day + days) + l.anchor) at time zone l.zone;
        return;
    end if;
    origin := ((case when per > 86400 then date '1970-01-05' else day end) + l.anchor) at time zone l.zone;
    place := floor(extract(epoch from at - origin) / per);
    if per < 86400 then
        place := least(place, ceil(86400 / per) - 1);
        ends_at := ((day + 1) + l.anchor) at time zone l.zone;
    end if;
    starts_at := origin + place * l.per;
    if per > 86400 or place < ceil(86400 / per) - 1 then
        ends_at := least(starts_at + l.per, ends_at);
    end if;
end $$;

alter table sync.push_attempt
    -- What came back for a call whose visit was being edited at the end of its push, as sync.settle takes it, and of which
    -- of its calls: the next pusher writes it down. An answer is never turned into 'unknown' because somebody types.
    add column answer jsonb,
    add column answered_call integer,
    -- Where a look-up of several pages stopped for the limits, and what it has found: it goes on there.
    add column look_up jsonb;

-- Keeps what came back ([{"attempt", ...}] as for sync.settle_free) without waiting for anybody.
create function sync.keep_answers(p_items jsonb, p_owner bigint) returns void
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update sync.push_attempt a
    set answer = i.item, answered_call = a.calls
    from jsonb_array_elements(p_items) i (item)
    where a.id = (i.item ->> 'attempt')::bigint and a.owner = p_owner and a.state = 'sent'
$$;

-- What dead sessions left: an answer that was kept becomes this pusher's to write down; of the rest, not yet sent is given
-- up, sent becomes unknown and waits for its settle time.
create or replace function sync.recover(p_partner text, p_owner bigint, p_run_key text) returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    recovered integer;
begin
    with dead as (
        select o.owner
        from (select distinct a.owner from sync.push_attempt a
              where a.partner = p_partner and a.state in ('claimed', 'sent') and a.owner <> p_owner offset 0) o
        where pg_try_advisory_xact_lock(7350, o.owner::integer)
    ), left_behind as (
        update sync.push_attempt a
        set state = case when a.answered_call = a.calls then a.state when a.state = 'claimed' then 'given_up' else 'unknown' end,
            owner = case when a.answered_call = a.calls then p_owner else a.owner end
        from dead
        where a.owner = dead.owner and a.partner = p_partner and a.state in ('claimed', 'sent')
        returning a.*
    ), noted as (
        insert into sync.push_result (attempt_id, partner, organization, office_id, visit_id, version, week, action,
            generation, outcome, code, run_key)
        select id, partner, organization, office_id, visit_id, version, week, action, generation, 'unknown',
            'outcome_unknown', p_run_key
        from left_behind where state = 'unknown'
    )
    select count(*) into recovered from left_behind;
    return recovered;
end $$;

-- The answers that this pusher has taken over.
create function sync.kept_answers(p_partner text, p_owner bigint) returns setof jsonb
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select answer from sync.push_attempt
    where partner = p_partner and owner = p_owner and state = 'sent' and answered_call = calls
    order by id
$$;

-- These look-ups have not come to their end: {"attempt id": where they go on}; null forgets where one was.
create function sync.note_look_ups(p_places jsonb, p_owner bigint) returns void
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update sync.push_attempt a
    set look_up = nullif(p.place, 'null')
    from jsonb_each(p_places) p (attempt, place)
    where a.id = p.attempt::bigint and a.owner = p_owner and a.state = 'unknown'
$$;

revoke execute on function sync.keep_answers, sync.kept_answers, sync.note_look_ups from public;
grant execute on function sync.keep_answers, sync.kept_answers, sync.note_look_ups to sync_push;

-- A step went well for an organization: its causes are over, but for those that a part of it still meets.
drop function sync.close_incidents(text, text, text, text);
create function sync.close_incidents(p_partner text, p_organization text, p_step text, p_run_key text,
    p_but text[] default '{}')
    returns setof sync.incident
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update sync.incident set closed_at = clock_timestamp(), closed_run_key = p_run_key
    where partner = p_partner and organization = p_organization and step = p_step and closed_at is null
      and code <> all (p_but)
    returning *
$$;
revoke execute on function sync.close_incidents from public;
grant execute on function sync.close_incidents to sync_run;
