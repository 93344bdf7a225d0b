-- The to-do table of an organization against its definition, without reading the visits of all the others.

-- Takes the place of the first version (0014), which went through every visit there is. A visit stands in an office of its
-- organization (0005). A plan is made once a session, often while the tables are still small.
create or replace function sync.rebuild_todo(p_partner text, p_organization text) returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    wrong text[];
begin
    with pending as materialized (
        select p.visit_id, p.week, p.action, p.version, p.generation, p.office_id
        from canonical.office o
        join sync.visit_head h on h.office_id = o.id
        -- One visit after the other, by the index; the limit keeps the planner from another order.
        cross join lateral (
            select * from sync.pending i where i.visit_id = h.visit_id and i.partner = p_partner limit 100) p
        where o.organization = p_organization and p.organization = p_organization
    ), todo as materialized (
        select t.visit_id, t.week, t.action, t.version, t.generation, t.office_id
        from sync.todo t where t.partner = p_partner and t.organization = p_organization
    )
    select coalesce(array_agg(distinct d.visit_id), '{}') into wrong
    from ((table pending except table todo) union (table todo except table pending)) d;
    if wrong <> '{}' then
        perform sync.lock_organization(p_organization, false);
        perform sync.refresh_todo(wrong);
    end if;
    return cardinality(wrong);
end $$;
