-- What cannot be found out about a visit is never guessed: what is there under a name that we do not know is not created
-- again, a key carries one request, and only a person's word on the visit itself opens a parked one.

-- The idempotency key of a call that may be repeated in the very same form only.
alter table sync.push_attempt add column sent_key uuid;

create function sync.note_keys(p_attempts bigint[], p_keys uuid[], p_owner bigint) returns void
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update sync.push_attempt a set sent_key = k.key
    from unnest(p_attempts, p_keys) k (attempt_id, key)
    where a.id = k.attempt_id and a.owner = p_owner and a.state = 'sent'
$$;

-- As before (0006), with what the partner is known to hold, named or not, and the key that an attempt is bound to.
drop function sync.claim_to_send(text, text, bigint, text[], text[], text, double precision);
drop function sync.calls(bigint[]);
create function sync.calls(p_attempts bigint[])
    returns table (id bigint, visit_id text, action text, week date, idempotency_key text, organization text,
        office_id bigint, partner_ref text, service_code text, start_at timestamptz, end_at timestamptz, status text,
        actual_start_at timestamptz, actual_end_at timestamptz, note text, office_key text, patient_key text,
        practitioner_key text, alone boolean, held boolean, sent_key text)
    language sql stable as $$
    select a.id, a.visit_id, a.action, a.week, a.idempotency_key::text, a.organization, a.office_id,
        held.partner_ref, v.service_code, v.start_at, v.end_at, v.status, v.actual_start_at, v.actual_end_at, v.note,
        office.source_key, patient.source_key, practitioner.source_key,
        exists (
            select from sync.push_result r
            where r.code = 'batch_refused' and r.visit_id = a.visit_id
              and (r.partner, r.week, r.action, r.version, r.generation)
                = (a.partner, a.week, a.action, a.version, a.generation)),
        held.visit_id is not null, a.sent_key::text
    from sync.push_attempt a
    left join sync.held held on held.partner = a.partner and held.visit_id = a.visit_id
    join sync.change_history c on c.visit_id = a.visit_id
        and c.version = case a.action when 'withdraw' then coalesce(held.version, a.version) else a.version end
    cross join lateral jsonb_populate_record(null::schedule.visit, c.visit) v
    left join canonical.partner_key office on (office.partner, office.organization, office.entity, office.canonical_id)
        = (a.partner, a.organization, 'office', v.office_id)
    left join canonical.partner_key patient on (patient.partner, patient.organization, patient.entity, patient.canonical_id)
        = (a.partner, a.organization, 'patient', v.patient_id)
    left join canonical.partner_key practitioner
        on (practitioner.partner, practitioner.organization, practitioner.entity, practitioner.canonical_id)
        = (a.partner, a.organization, 'practitioner', v.practitioner_id)
    where a.id = any (p_attempts)
    order by a.id
$$;

create function sync.claim_to_send(p_partner text, p_organization text, p_owner bigint, p_visits text[], p_needs text[],
    p_run_key text, p_settle_after_seconds double precision)
    returns table (id bigint, visit_id text, action text, week date, idempotency_key text, organization text,
        office_id bigint, partner_ref text, service_code text, start_at timestamptz, end_at timestamptz, status text,
        actual_start_at timestamptz, actual_end_at timestamptz, note text, office_key text, patient_key text,
        practitioner_key text, alone boolean, held boolean, sent_key text)
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
    as $$
declare
    attempts bigint[];
begin
    attempts := array(select c.id from sync.claim(p_partner, p_organization, p_owner, p_visits, p_needs, p_run_key,
        p_settle_after_seconds) c);
    -- A statement of its own: it sees what was committed while the claim waited for the organization's lock.
    return query select * from sync.calls(attempts);
end $$;

-- As before (0006). A repeated call counts as a look-up does, and who gives a visit to a person says why.
create or replace function sync.settle_items(p_items jsonb, p_run_key text, p_max_attempts integer) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    visits text[];
    again bigint[];
begin
    with item as (
        select a.id, a.partner, a.organization, a.office_id, a.visit_id, a.version, a.week, a.action, a.generation,
            a.state, i.outcome as said, coalesce(i.counted, false) as counted, coalesce(i.parked, false) as parked,
            i.code, i.status, i.fields, i.present, i.partner_ref, i.settle_seconds
        from jsonb_to_recordset(p_items) i (attempt bigint, outcome text, counted boolean, parked boolean, code text,
            status integer, fields text[], present boolean, partner_ref text, settle_seconds double precision)
        join sync.push_attempt a on a.id = i.attempt
    ), judged as (
        select i.*, before.lookups,
            case when i.said = 'retry' and i.counted and before.used + 1 >= p_max_attempts then 'dead' else i.said
            end as outcome,
            -- Nobody is asked for ever: what look-ups, or the same call again, cannot find out is for a person.
            i.said = 'unknown' and (i.parked or i.counted and before.useless + 1 >= p_max_attempts) as for_a_person
        from item i
        cross join lateral (
            select count(*) filter (where r.counted and r.outcome = 'retry') as used,
                count(*) filter (where r.attempt_id = i.id and r.outcome = 'unknown' and r.counted) as useless,
                count(*) filter (where r.attempt_id = i.id and r.outcome = 'unknown') as lookups
            from sync.push_result r
            where i.said in ('retry', 'unknown') and r.visit_id = i.visit_id
              and (r.partner, r.week, r.action, r.version, r.generation)
                = (i.partner, i.week, i.action, i.version, i.generation)) before
    ), written as (
        insert into sync.push_result (attempt_id, partner, organization, office_id, visit_id, version, week, action,
            generation, outcome, counted, code, status, fields, present, partner_ref, run_key)
        select j.id, j.partner, j.organization, j.office_id, j.visit_id, j.version, j.week, j.action, j.generation,
            j.outcome, j.counted, case when j.for_a_person and not j.parked then 'outcome_unknown_person' else j.code end, j.status,
            coalesce(j.fields, '{}'), there.present,
            -- An answer that does not name the visit again does not make its name unknown.
            coalesce(j.partner_ref, case when there.present then (
                select h.partner_ref from sync.held h where h.partner = j.partner and h.visit_id = j.visit_id) end),
            p_run_key
        from judged j
        cross join lateral (
            select coalesce(j.present, case j.outcome when 'accepted' then true when 'withdrawn' then false end) as present
        ) there
        order by j.id
        on conflict do nothing
    ), closed as (
        update sync.push_attempt b
        set state = case j.outcome when 'unknown' then 'unknown' else 'settled' end,
            settle_at = case
                when j.for_a_person then 'infinity'
                when j.outcome <> 'unknown' or j.settle_seconds is null then b.settle_at
                -- Looked up in vain: again after the settle time, twice that, and so on up to an hour.
                else clock_timestamp() + make_interval(secs => case j.state
                    when 'unknown' then least(3600, j.settle_seconds * 2 ^ least(greatest(j.lookups - 1, 0), 12))
                    else j.settle_seconds end) end
        from judged j
        where b.id = j.id
    )
    select array_agg(distinct j.visit_id), array_agg(j.id) filter (where j.outcome = 'retry') into visits, again
    from judged j;
    perform sync.refresh_todo(visits);
    if again is null then
        return;
    end if;
    -- What was read back and not found, and what was refused with others, goes again at once; what failed for a passing reason waits 5 s, 10 s ... 10 min.
    update sync.todo t
    set due_at = greatest(i.retry_at, clock_timestamp() + case when i.counted or i.code = 'batch_refused' then interval '0'
        else make_interval(secs => least(600, 5 * 2 ^ least(passed.before, 8))) end)
    from jsonb_to_recordset(p_items) i (attempt bigint, counted boolean, code text, retry_at timestamptz)
    join sync.push_attempt a on a.id = i.attempt and a.id = any (again)
    cross join lateral (
        select count(*) - 1 as before from sync.push_result r
        where r.outcome = 'retry' and r.visit_id = a.visit_id
          and (r.partner, r.week, r.action, r.version, r.generation)
            = (a.partner, a.week, a.action, a.version, a.generation)) passed
    where (t.partner, t.visit_id, t.week, t.action, t.version, t.generation)
        = (a.partner, a.visit_id, a.week, a.action, a.version, a.generation);
end $$;

-- As before (0018). Where only the visit's name was missing, 'not there' is about the visit in any form: it is created anew.
create or replace function sync.answer_parked(p_partner text, p_organization text, p_visit_id text, p_there boolean,
    p_requested_by text, p_run_key text) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    a sync.push_attempt;
    found_outcome text;
    item jsonb;
begin
    perform from sync.visit_head h where h.visit_id = p_visit_id for no key update;
    select w.outcome into found_outcome from sync.parked_answer w
    where (w.partner, w.visit_id, w.run_key) = (p_partner, p_visit_id, p_run_key);
    if found then
        return found_outcome;
    end if;
    select b.* into a from sync.push_attempt b
    where b.partner = p_partner and b.organization = p_organization and b.visit_id = p_visit_id
      and b.state = 'unknown' and b.settle_at = 'infinity'
    for update;
    if not found then
        return null;
    end if;
    found_outcome := case when p_there = (a.action = 'withdraw') then 'retry' when p_there then 'accepted' else 'withdrawn' end;
    item := jsonb_build_object('attempt', a.id, 'outcome', found_outcome, 'counted', true,
        'code', case when p_there then 'person_says_there' else 'person_says_absent' end,
        'present', case when not p_there and exists (
            select from sync.push_result r
            where r.visit_id = a.visit_id and r.partner = a.partner and r.attempt_id = a.id
              and r.code = 'visit_name_unknown') then false end);
    -- A person's word uses up no item, however often it was sent before.
    perform sync.settle_items(jsonb_build_array(item), p_run_key, 2147483647);
    insert into sync.parked_answer (partner, organization, visit_id, run_key, attempt_id, there, outcome, requested_by)
    values (p_partner, p_organization, p_visit_id, p_run_key, a.id, p_there, found_outcome, p_requested_by);
    return found_outcome;
end $$;

-- As before (0005), but a resend of a whole week is nobody's word on a parked visit: it waits for one of its own.
create or replace function sync.capture_push_request() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    office bigint;
begin
    perform sync.lock_organization(new.organization, false);
    foreach office in array new.office_ids loop
        insert into sync.release as r (partner, office_id, week, organization, generation)
        values (new.partner, office, new.week, new.organization, 1)
        on conflict (partner, office_id, week) do update set
            generation = r.generation + (new.mode = 'resend')::integer, released_at = now();
        perform sync.refresh_week(office, new.week);
    end loop;
    return null;
end $$;

revoke execute on all functions in schema sync from public;
grant execute on function sync.calls, sync.claim_to_send, sync.note_keys to sync_push;
