-- Capture: every change of a visit becomes one row of the change history in the same transaction, and every event that
-- changes what is to be delivered refreshes the to-do rows of the visits it touches.

create function sync.refuse_stranger() returns void language plpgsql as $$
begin
    raise exception 'a visit keeps its id and its organization' using errcode = 'check_violation';
end $$;

-- The visits that a statement has written, as they stand now: what the statement saw may be overtaken by a trigger of the
-- product. What differs from the last version only in its revision is none. Heads are locked in the order of their ids.
create function sync.capture_standing(touched text[]) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    meta constant text[] := array ['revision', 'updated_at'];
    changed text[];
    captured integer;
begin
    select array_agg(v.visit_id order by v.visit_id) into changed
    from schedule.visit v
    left join lateral (select * from sync.visit_head k where k.visit_id = v.visit_id limit 1) h on true
    left join lateral (
        select k.visit from sync.change_history k where k.visit_id = v.visit_id and k.version = h.version limit 1
    ) c on true
    where v.visit_id = any (touched)
      and (c.visit - meta is distinct from to_jsonb(v) - meta or h.cancelled <> (v.status = 'cancelled'));
    if changed is null then
        return;
    end if;
    insert into sync.visit_head as h (visit_id, version, organization, office_id, patient_id, practitioner_id, week,
        cancelled)
    select v.visit_id, 1, v.organization, v.office_id, v.patient_id, v.practitioner_id, schedule.week_of(v.start_at),
        v.status = 'cancelled'
    from schedule.visit v where v.visit_id = any (changed)
    order by v.visit_id
    on conflict (visit_id) do update set
        version = h.version + 1, office_id = excluded.office_id, patient_id = excluded.patient_id,
        practitioner_id = excluded.practitioner_id, week = excluded.week, cancelled = excluded.cancelled
    where h.organization = excluded.organization;
    get diagnostics captured = row_count;
    if captured <> cardinality(changed) then
        -- Another organization had this id.
        perform sync.refuse_stranger();
    end if;
    insert into sync.change_history (visit_id, version, revision, organization, office_id, week, cancelled, visit)
    select h.visit_id, h.version, v.revision, h.organization, h.office_id, h.week, h.cancelled, to_jsonb(v)
    from sync.visit_head h
    cross join lateral (select * from schedule.visit k where k.visit_id = h.visit_id limit 1) v
    where h.visit_id = any (changed);
    perform sync.refresh_todo(changed);
end $$;

-- A deleted visit counts as cancelled; its last version names the revision that deleted it. One that stands again by now is
-- captured by the statement that wrote it anew.
create function sync.capture_deleted(deleted text[], deleted_revisions bigint[]) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    gone text[];
    revisions bigint[];
begin
    select array_agg(d.visit_id order by d.visit_id), array_agg(d.revision order by d.visit_id) into gone, revisions
    from unnest(deleted, deleted_revisions) d (visit_id, revision)
    where (select true from schedule.visit v where v.visit_id = d.visit_id limit 1) is null;
    perform from (
        select from sync.visit_head h where h.visit_id = any (gone) order by h.visit_id for no key update) locked;
    update sync.visit_head h set version = h.version + 1, cancelled = true where h.visit_id = any (gone);
    insert into sync.change_history (visit_id, version, revision, organization, office_id, week, cancelled, visit)
    select h.visit_id, h.version, d.revision, h.organization, h.office_id, h.week, true,
        c.visit || jsonb_build_object('revision', d.revision)
    from unnest(gone, revisions) d (visit_id, revision)
    cross join lateral (select * from sync.visit_head k where k.visit_id = d.visit_id limit 1) h
    cross join lateral (
        select k.visit from sync.change_history k where k.visit_id = h.visit_id and k.version = h.version - 1 limit 1) c;
    perform sync.refresh_todo(gone);
end $$;

-- Once a statement, for all its rows: `changed` are the new rows, of a DELETE the old ones. An upsert of several rows
-- comes as an INSERT and an UPDATE.
create function sync.capture_visits() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    touched text[];
    revisions bigint[];
begin
    select array_agg(c.visit_id order by c.visit_id), array_agg(c.revision order by c.visit_id)
    into touched, revisions from changed c;
    if touched is null then
        return null;
    end if;
    perform sync.lock_organization(o.organization, true)
    from (select distinct c.organization from changed c order by c.organization) o;
    if tg_op = 'DELETE' then
        perform sync.capture_deleted(touched, revisions);
    else
        perform sync.capture_standing(touched);
    end if;
    return null;
end $$;
create trigger capture_insert after insert on schedule.visit
    referencing new table as changed for each statement execute function sync.capture_visits();
create trigger capture_update after update on schedule.visit
    referencing new table as changed for each statement execute function sync.capture_visits();
create trigger capture_delete after delete on schedule.visit
    referencing old table as changed for each statement execute function sync.capture_visits();

create function sync.keep_identity() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform sync.refuse_stranger();
    return null;
end $$;
create trigger keep_identity before update of visit_id, organization on schedule.visit for each row
    when ((new.visit_id, new.organization) is distinct from (old.visit_id, old.organization))
    execute function sync.keep_identity();

-- The revision of a visit's newest change, also after it was deleted; 0: it was never seen.
create function sync.captured_revision(p_visit_id text) returns bigint
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce((
        select c.revision from sync.visit_head h
        join sync.change_history c on c.visit_id = h.visit_id and c.version = h.version
        where h.visit_id = p_visit_id), 0)
$$;
grant execute on function sync.captured_revision to sync_product;

-- Which of a document's visits and deletions are news: one row a visit, the document's newest word on it. The row's lock
-- orders two documents that speak of the same visit at the same moment.
create function schedule.take_revisions(document jsonb) returns table (visit_id text, revision bigint, deleted boolean)
    language sql volatile set search_path = pg_catalog, pg_temp as $$
    insert into schedule.applied_revision as a (visit_id, revision, deleted)
    select distinct on (n.visit_id) n.visit_id, n.revision, n.deleted
    from (
        select v.visit_id, v.revision, false as deleted
        from jsonb_to_recordset(coalesce(document -> 'visits', '[]')) v (visit_id text, revision bigint)
        union all
        select d.visit_id, d.revision, true
        from jsonb_to_recordset(coalesce(document -> 'deleted', '[]')) d (visit_id text, revision bigint)
    ) n
    -- Also of a visit that the product wrote without this door, an older revision is old. None at all is refused below.
    cross join lateral (select sync.captured_revision(n.visit_id) as revision) known
    where n.revision is null or n.revision > known.revision or n.deleted and n.revision = known.revision
    order by n.visit_id, n.revision desc, n.deleted desc
    on conflict (visit_id) do update set revision = excluded.revision, deleted = excluded.deleted
    where a.revision < excluded.revision or a.revision = excluded.revision and excluded.deleted and not a.deleted
    returning a.visit_id, a.revision, a.deleted
$$;

create function sync.count_week_state() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform sync.lock_organization(new.organization, false);
    -- A late copy of an older state must not close a week that is open again.
    if exists (
        select from schedule.week_state w
        where w.office_id = new.office_id and w.week = new.week and w.revision >= new.revision) then
        return null;
    end if;
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
    from (
        select distinct k.visit_id from sync.push_result k
        where k.partner = p_partner and k.organization = p_organization and k.week = p_week
          and k.outcome in ('rejected', 'dead')
    ) failed
    -- One visit after the other, by the index.
    cross join lateral (
        select * from sync.item k where k.visit_id = failed.visit_id and k.partner = p_partner and k.week = p_week offset 0
    ) i
    join sync.push_result r on r.final and r.outcome in ('rejected', 'dead')
        and (r.partner, r.visit_id, r.week, r.action, r.version, r.generation)
            = (i.partner, i.visit_id, i.week, i.action, i.version, i.generation)
    where i.organization = p_organization
    order by i.visit_id, i.action
$$;
comment on function sync.failed_visits is 'What of a week the partner rejected or was given up, in its present version and generation.';
grant execute on function sync.failed_visits to sync_release, sync_push, sync_run, sync_reader;

-- Keys are only ever added by a merge; a person's word can also change or go.
create function sync.count_key_change() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into sync.key_change as k (partner, organization, changes)
    select distinct c.partner, c.organization, 1 from changed c order by 1, 2
    on conflict (partner, organization) do update set
        changes = k.changes + 1, needs = case when tg_op = 'INSERT' then k.needs end;
    return null;
end $$;
create trigger count_change after insert on canonical.crosswalk
    referencing new table as changed for each statement execute function sync.count_key_change();
create trigger count_added after insert on canonical.key_map
    referencing new table as changed for each statement execute function sync.count_key_change();
create trigger count_changed after update on canonical.key_map
    referencing new table as changed for each statement execute function sync.count_key_change();
create trigger count_removed after delete on canonical.key_map
    referencing old table as changed for each statement execute function sync.count_key_change();

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
grant select on sync.release, sync.todo, sync.key_change, sync.item, sync.pending, sync.held, sync.requeue to sync_release, sync_push, sync_run;
grant select on sync.visit_head, sync.change_history to sync_release, sync_push, sync_run;
grant select on sync.push_request, sync.push_attempt, sync.push_result to sync_release, sync_push, sync_run;
