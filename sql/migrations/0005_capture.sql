-- Capture: every change of a visit becomes one row of the change history in the same transaction, and every event that
-- changes what is to be delivered refreshes the to-do rows of the visits it touches.

create function sync.capture_visit() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    visit schedule.visit := case when tg_op = 'DELETE' then old else new end;
    head sync.visit_head;
begin
    if tg_op = 'UPDATE' then
        if new.visit_id <> old.visit_id or new.organization <> old.organization then
            raise exception 'a visit keeps its id and its organization' using errcode = 'check_violation';
        end if;
        if to_jsonb(new) - array ['revision', 'updated_at'] = to_jsonb(old) - array ['revision', 'updated_at'] then
            return null;
        end if;
    end if;
    perform sync.lock_organization(visit.organization, true);
    insert into sync.visit_head as h (visit_id, version, organization, office_id, week, cancelled)
    values (visit.visit_id, 1, visit.organization, visit.office_id, schedule.week_of(visit.start_at),
            tg_op = 'DELETE' or visit.status = 'cancelled')
    on conflict (visit_id) do update set
        version = h.version + 1, office_id = excluded.office_id, week = excluded.week, cancelled = excluded.cancelled
    where h.organization = excluded.organization
    returning * into head;
    if not found then
        raise exception 'a visit keeps its id and its organization' using errcode = 'check_violation';
    end if;
    insert into sync.change_history (visit_id, version, revision, organization, office_id, week, cancelled, visit)
    values (head.visit_id, head.version, visit.revision, head.organization, head.office_id, head.week, head.cancelled,
            to_jsonb(visit));
    perform sync.refresh_todo(array [head.visit_id]);
    return null;
end $$;
create trigger capture after insert or update or delete on schedule.visit
    for each row execute function sync.capture_visit();

-- The revision of a visit's newest change, also after it was deleted; 0: it was never seen.
create function sync.captured_revision(p_visit_id text) returns bigint
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce((
        select c.revision from sync.visit_head h
        join sync.change_history c on c.visit_id = h.visit_id and c.version = h.version
        where h.visit_id = p_visit_id), 0)
$$;
grant execute on function sync.captured_revision to sync_product;

create function sync.count_week_state() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform sync.lock_organization(new.organization, false);
    select coalesce(max(w.step), 0) + 1 into new.step
    from schedule.week_state w where w.office_id = new.office_id and w.week = new.week;
    return new;
end $$;
create trigger count_step before insert on schedule.week_state
    for each row execute function sync.count_week_state();

create function sync.capture_week_state() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if new.state = 'finalized' then
        insert into sync.push_request (partner, organization, office_ids, week, mode, requested_by, run_key)
        select l.partner, l.organization, array [new.office_id], new.week, 'on_finalize', new.changed_by,
            format('finalize:%s:%s:%s', new.office_id, new.week, new.step)
        from sync.link l
        where l.organization = new.organization and l.enabled and l.release_mode = 'on_finalize'
          and 'schedule' = any (l.directions)
          and not exists (select from sync.release r
                          where r.partner = l.partner and r.office_id = new.office_id and r.week = new.week);
    end if;
    perform sync.refresh_week(new.office_id, new.week);
    return null;
end $$;
create trigger capture after insert on schedule.week_state
    for each row execute function sync.capture_week_state();

-- A request is the release: a resend raises the generation, any other first request starts it.
create function sync.capture_push_request() returns trigger
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
        -- Parked: nobody but a person could say what became of the call, and a resend is that person's word.
        update sync.push_attempt a set state = 'settled'
        where new.mode = 'resend' and (a.partner, a.office_id, a.week) = (new.partner, office, new.week)
          and a.state = 'unknown' and a.settle_at = 'infinity';
        perform sync.refresh_week(office, new.week);
    end loop;
    return null;
end $$;
create trigger capture after insert on sync.push_request
    for each row execute function sync.capture_push_request();

-- A new generation for just these visits, in a finalized and released week that is theirs or in which the partner holds
-- them. Once for a run key; returns how many of the visits stand requeued by it. What is on its way or parked stays so.
create function sync.requeue_visits(p_partner text, p_organization text, p_week date, p_visits text[], p_reason text,
    p_requested_by text, p_run_key text) returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    requeued text[];
begin
    perform sync.lock_organization(p_organization, false);
    -- Against the answers that come at this moment (see refresh_week).
    perform from (
        select from sync.visit_head h
        where h.visit_id = any (p_visits) and h.organization = p_organization
        order by h.visit_id for no key update) locked;
    insert into sync.requeue (partner, visit_id, week, reason, requested_by, run_key)
    select distinct p_partner, i.visit_id, p_week, p_reason, p_requested_by, p_run_key
    from sync.item i
    where i.partner = p_partner and i.organization = p_organization and i.week = p_week and i.visit_id = any (p_visits)
    on conflict do nothing;
    select coalesce(array_agg(q.visit_id), '{}') into requeued
    from sync.requeue q
    where q.partner = p_partner and q.week = p_week and q.run_key = p_run_key and q.visit_id = any (p_visits);
    perform sync.refresh_todo(requeued);
    return cardinality(requeued);
end $$;
grant execute on function sync.requeue_visits to sync_release;

create function sync.failed_visits(p_partner text, p_organization text, p_week date)
    returns table (visit_id text, office_id bigint, action text, outcome text, code text, status integer,
        fields text[], at timestamptz)
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select i.visit_id, i.office_id, i.action, r.outcome, r.code, r.status, r.fields, r.at
    from sync.item i
    join sync.push_result r on r.final
        and (r.partner, r.visit_id, r.week, r.action, r.version, r.generation)
            = (i.partner, i.visit_id, i.week, i.action, i.version, i.generation)
    where i.partner = p_partner and i.organization = p_organization and i.week = p_week
      and r.outcome in ('rejected', 'dead')
    order by i.visit_id, i.action
$$;
comment on function sync.failed_visits is 'What of a week the partner rejected or was given up, in its present version and generation.';
grant execute on function sync.failed_visits to sync_release, sync_push, sync_run, sync_reader;

create function sync.capture_link() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform sync.lock_organization(new.organization, false);
    perform sync.refresh_week(r.office_id, r.week)
    from sync.release r where r.partner = new.partner and r.organization = new.organization;
    return null;
end $$;
create trigger capture after insert or update on sync.link
    for each row execute function sync.capture_link();

create trigger append_only before update or delete or truncate on sync.push_request
    for each statement execute function schedule.refuse('requests are appended');
create trigger append_only before update or delete or truncate on sync.change_history
    for each statement execute function schedule.refuse('the change history is appended by capture');
create trigger append_only before update or delete or truncate on sync.push_result
    for each statement execute function schedule.refuse('results are appended by push');

create trigger append_only before update or delete or truncate on sync.requeue
    for each statement execute function schedule.refuse('requeues are appended');

grant select, insert on sync.push_request to sync_release;
grant select on sync.release, sync.todo, sync.pending, sync.held to sync_release, sync_push, sync_run;
grant select on sync.visit_head, sync.change_history to sync_release, sync_push, sync_run;
grant select on sync.push_request, sync.push_attempt, sync.push_result to sync_release, sync_push, sync_run;
