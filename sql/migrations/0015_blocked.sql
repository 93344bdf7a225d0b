-- What cannot leave, and why; and what a push of a week comes to before it is asked for (rules 5, 6 and 14).

-- Looks again at the items that were blocked before the keys changed, and at all when the partner wants keys of other
-- entities than before. Returns how many it freed. Rows that somebody is writing at this moment are left for the next time.
create function sync.recheck_blocked(p_partner text, p_organization text, p_needs text[]) returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    wanted text[] := array(select distinct n from unnest(p_needs) n order by n);
    freed integer;
begin
    if wanted is distinct from (
        select k.needs from sync.key_change k where (k.partner, k.organization) = (p_partner, p_organization)) then
        insert into sync.key_change as k (partner, organization, needs) values (p_partner, p_organization, wanted)
        on conflict (partner, organization) do update set needs = excluded.needs, changes = k.changes + 1;
        update sync.todo t set blocked_at_change = -1
        where t.ctid = any (array(
            select d.ctid from sync.todo d
            where d.partner = p_partner and d.organization = p_organization and d.action = 'put'
              and d.blocked_at_change is null
            for no key update skip locked));
    end if;
    with looked_at as materialized (
        select t.visit_id, t.week, case when blocked.so then k.changes end as after
        from sync.key_change k
        join sync.todo t on t.partner = k.partner and t.organization = k.organization and t.blocked_at_change < k.changes
        cross join lateral (select * from sync.visit_head v where v.visit_id = t.visit_id limit 1) h
        left join lateral sync.lacks_key(t.partner, t.organization, k.needs, h.office_id, h.patient_id, h.practitioner_id)
            blocked (so) on true
        where (k.partner, k.organization) = (p_partner, p_organization)
        for no key update of t skip locked
    ), written as (
        update sync.todo t set blocked_at_change = l.after
        from looked_at l
        where (t.visit_id, t.partner, t.week, t.action) = (l.visit_id, p_partner, l.week, 'put')
        returning t.blocked_at_change
    )
    select count(*) filter (where w.blocked_at_change is null) into freed from written w;
    return freed;
end $$;

-- Which of these rows of ours have an identifier that an open row of the quarantine carries as well: ids, and nothing of a
-- record. It says why a key is missing; nobody is joined by it.
create function sync.in_quarantine(p_partner text, p_organization text, p_entity text, p_ids bigint[]) returns setof bigint
    language sql stable security definer set search_path = pg_catalog, pg_temp set enable_nestloop = off as $$
    with theirs as materialized (
        select k.insurer_number, k.insured_number, k.license_number, k.office_number
        from quarantine.row q
        cross join lateral jsonb_to_recordset(q.staged) k (
            insurer_number text, insured_number text, license_number text, office_number text)
        where (q.partner, q.organization, q.entity, q.status) = (p_partner, p_organization, p_entity, 'open')
    )
    select o.id from canonical.patient o join theirs using (insurer_number, insured_number)
    where p_entity = 'patient' and o.id = any (p_ids)
    union
    select o.id from canonical.practitioner o join theirs using (license_number)
    where p_entity = 'practitioner' and o.id = any (p_ids)
    union
    select o.id from canonical.office o join theirs using (office_number)
    where p_entity = 'office' and o.id = any (p_ids)
$$;

-- Why visits cannot leave: for whom the partner has no key, and whether their record waits in our quarantine. Each person
-- is looked at once, however many visits there are. Codes of the catalogue and our own ids only.
create function sync.missing_of(p_partner text, p_organization text, p_needs text[], p_visits text[])
    returns table (visit_id text, entity text, reason text)
    language sql stable security definer set search_path = pg_catalog, pg_temp set enable_nestloop = off as $$
    with visit as materialized (
        select h.visit_id, h.office_id, h.patient_id, h.practitioner_id from sync.visit_head h where h.visit_id = any (p_visits)
    ), named as materialized (
        select distinct 'office' as entity, v.office_id as id from visit v
        union all select distinct 'patient', v.patient_id from visit v
        union all select distinct 'practitioner', v.practitioner_id from visit v
    ), nobody as materialized (
        select n.entity, n.id
        from named n
        where n.entity = any (p_needs) and n.id is not null
          and not exists (
              select from canonical.partner_key k
              where k.partner = p_partner and k.organization = p_organization and k.entity = n.entity
                and k.canonical_id = n.id)
    ), waiting as materialized (
        select e.entity, q.id
        from unnest(p_needs) e (entity)
        cross join lateral sync.in_quarantine(p_partner, p_organization, e.entity,
            array(select n.id from nobody n where n.entity = e.entity)) q (id)
    ), why as materialized (
        select n.entity, n.id, case when w.id is null then 'no_key_' || n.entity else n.entity || '_in_quarantine' end as reason
        from nobody n left join waiting w on w.entity = n.entity and w.id = n.id
    )
    select v.visit_id, w.entity, w.reason from visit v join why w on w.entity = 'office' and w.id = v.office_id
    union all
    select v.visit_id, w.entity, w.reason from visit v join why w on w.entity = 'patient' and w.id = v.patient_id
    union all
    select v.visit_id, w.entity, w.reason from visit v join why w on w.entity = 'practitioner' and w.id = v.practitioner_id
$$;

-- The items that cannot leave now, one row for each reason.
create function sync.blocked_reasons(p_partner text, p_organization text, p_needs text[], p_week date default null)
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
    order by m.visit_id, n.entity
$$;
comment on function sync.blocked_reasons is 'Visits that cannot leave now, and why (rule 14).';

create function sync.blocked(partner text, organization text, needs text[])
    returns table (visit_id text, week date, office_id bigint, missing text[])
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select b.visit_id, b.week, b.office_id, array_agg(b.entity order by b.entity)
    from sync.blocked_reasons($1, $2, $3) b
    group by b.visit_id, b.week, b.office_id
$$;
comment on function sync.blocked is 'Visits that cannot leave because the partner has no key for whom they name (rule 14).';

-- The calls that a push of a week would make for an organization, without the release that it begins with: of its
-- finalized offices everything when p_anew, else what has no final result; and what such a visit has left in another
-- released week. p_only: of these visits alone, all of it. named: the partner has given the visit a name of its own.
create function sync.planned_calls(p_partner text, p_organization text, p_week date, p_needs text[], p_anew boolean,
    p_only text[] default null)
    returns table (visit_id text, week date, office_id bigint, action text, named boolean, reason text)
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with office as materialized (
        select o.id
        from canonical.office o
        cross join lateral (
            select s.state from schedule.week_state s
            where s.office_id = o.id and s.week = p_week order by s.step desc limit 1) s
        where o.organization = p_organization and s.state = 'finalized'
    ), visit as materialized (
        select h.visit_id from office o join sync.visit_head h on h.office_id = o.id and h.week = p_week
        union
        select r.visit_id from office o
        join sync.push_result r on r.office_id = o.id and r.week = p_week and r.partner = p_partner and r.present
    ), item as materialized (
        select v.visit_id, i.week, i.office_id, i.action, h.version, coalesce(r.generation, 1) + (
                select count(*) from sync.requeue q
                where (q.partner, q.visit_id, q.week) = (p_partner, v.visit_id, i.week)) as generation,
            coalesce(held.present and held.partner_ref is not null, false) as named
        from visit v
        cross join lateral (select * from sync.visit_head k where k.visit_id = v.visit_id limit 1) h
        left join lateral (
            select * from sync.push_result k
            where k.visit_id = v.visit_id and k.partner = p_partner and k.present is not null
            order by k.id desc limit 1
        ) held on true
        -- As in sync.item, without what needs no call.
        cross join lateral (
            select h.office_id, h.week, 'put' as action where not h.cancelled
            union all
            select held.office_id, held.week, 'withdraw'
            where held.present and (h.cancelled or (held.office_id, held.week) <> (h.office_id, h.week))
        ) i
        left join lateral (
            select k.generation, s.state
            from sync.release k
            join schedule.week_state s on s.office_id = k.office_id and s.week = k.week
            where k.partner = p_partner and k.office_id = i.office_id and k.week = i.week order by s.step desc limit 1
        ) r on true
        where (i.week = p_week and i.office_id in (select o.id from office o)) or r.state = 'finalized'
    )
    select i.visit_id, i.week, i.office_id, i.action, i.named, min(m.reason)
    from item i
    left join sync.missing_of(p_partner, p_organization, p_needs, array(select k.visit_id from item k where k.action = 'put')) m
        on m.visit_id = i.visit_id and i.action = 'put'
    where (p_only is null or i.visit_id = any (p_only))
      and (i.week = p_week and (p_anew or p_only is not null) or (
          select true from sync.push_result d
          where d.final and (d.partner, d.visit_id, d.week, d.action, d.version, d.generation)
              = (p_partner, i.visit_id, i.week, i.action, i.version, i.generation)
          limit 1) is null)
    group by i.visit_id, i.week, i.office_id, i.action, i.named
    order by i.visit_id, i.action desc
$$;

revoke execute on all functions in schema sync from public;
grant execute on function sync.recheck_blocked to sync_push;
grant execute on function sync.planned_calls to sync_release;
grant execute on function sync.blocked_reasons, sync.blocked to sync_push, sync_release, sync_run, sync_reader;
