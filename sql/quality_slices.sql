-- Checks across runs (writer: sync_validate): what a slice as a whole is like beside what was read before. The batch has
-- one row an organization. {rows} is staging.<entity>.

-- name: make_slices
-- What is judged of slices. A fact that a slice cannot tell is null, and is not judged.
create temp table batch (
    row_id bigint, quarantine_id bigint, organization text not null, source_key text, fingerprint text,
    idle boolean not null, last_page_reached boolean, total_agrees boolean, pages_differ boolean, below_cap integer,
    row_change numeric, gone_with_visits bigint, hours_late numeric, fields_new bigint, fields_changed bigint,
    fields_vanished bigint
)

-- name: fill_slices
-- Facts of each slice. Up to 20 records may come or go anywhere, as with the guard of a merge.
-- Idle: nothing was sent, by a partner of which nothing is overdue; it is not worth loading the library for.
insert into batch (organization, idle, last_page_reached, total_agrees, pages_differ, below_cap, row_change, hours_late,
    fields_new, fields_changed, fields_vanished)
select l.organization, l.mode = 'incremental' and l.state = 'complete' and l.records = 0 and coalesce(h.hours_late, 0) <= 0,
    l.last_page_reached,
    case when l.last_page_reached then l.reported_total = l.records end,
    not l.repeated_page,
    l.most_records - l.records,
    case
        when l.mode <> 'full' or l.state <> 'complete' or u.fewest is null then null
        when l.records < u.fewest - 20 then l.records::numeric / u.fewest - 1
        when l.records > u.most + 20 then l.records::numeric / greatest(u.most, 1) - 1
        else 0
    end,
    h.hours_late, f.fields_new, f.fields_changed, f.fields_vanished
from staging.slice l
cross join lateral quality.usual_records(l.partner, l.organization, l.entity, l.run_key) u
left join lateral (
    -- A change dated in the future says nothing of freshness.
    select extract(epoch from now() - greatest(max(s.source_updated_at) filter (where s.source_updated_at <= now()),
        w.source_at)) / 3600 - l.fresh_within_hours as hours_late
    from (values (1)) one
    left join canonical.watermark w on (w.partner, w.organization, w.entity) = (l.partner, l.organization, l.entity)
    left join {rows} s on (s.partner, s.organization, s.run_key) = (l.partner, l.organization, l.run_key)
    group by w.source_at
) h on l.fresh_within_hours is not null
left join lateral (
    select count(*) filter (where d.status = 'new') as fields_new, count(*) filter (where d.status = 'changed') as fields_changed,
        count(*) filter (where d.status = 'vanished') as fields_vanished
    from report.drift d
    where (d.partner, d.organization, d.entity) = (l.partner, l.organization, l.entity)
) f on l.records > 0
where l.partner = %(partner)s and l.entity = %(entity)s and l.run_key = %(run_key)s and l.organization = any (%(organizations)s)

-- name: count_gone
-- Patients of this partner with visits to come who are absent from a complete full listing, or listed as deleted. Where
-- a record has no readable key nothing is absent.
update batch b
set gone_with_visits = g.gone
from (
    select l.organization, count(p.source_key) filter (where r.deleted or (r.deleted is null and l.absence_tells)) as gone
    from (
        select s.organization, s.mode = 'full' and s.state = 'complete' and not exists (
                select from staging.patient k
                where (k.partner, k.organization, k.run_key) = (s.partner, s.organization, s.run_key)
                  and k.source_key is null) as absence_tells
        from staging.slice s
        where s.partner = %(partner)s and s.entity = 'patient' and s.run_key = %(run_key)s
          and s.organization = any (%(organizations)s)
    ) l
    left join (
        select x.organization, x.source_key
        from canonical.crosswalk x
        join canonical.patient c on c.id = x.canonical_id and c.deleted_at is null
        where x.partner = %(partner)s and x.entity = 'patient' and x.mastered and x.organization = any (%(organizations)s)
          and x.canonical_id in (
            select v.patient_id from schedule.visit v
            where v.organization = any (%(organizations)s) and v.status <> 'cancelled' and v.start_at > now())
    ) p using (organization)
    left join (
        select k.organization, k.source_key, bool_and(k.deleted) as deleted
        from staging.patient k
        where k.partner = %(partner)s and k.run_key = %(run_key)s and k.organization = any (%(organizations)s)
        group by k.organization, k.source_key
    ) r on r.organization = p.organization and r.source_key = p.source_key
    group by l.organization
) g
where g.organization = b.organization

-- name: drop_idle
-- When all of them are idle there is nothing to judge.
delete from batch where (select bool_and(idle) from batch)
