-- What stands where, in numbers: the owner's view shows counts to logins that may not read a record.

create view sync.overview as
select l.partner, l.organization,
    (select coalesce(sum(last.records), 0)::integer
     from (select distinct on (s.entity) s.records from staging.slice s
           where s.partner = l.partner and s.organization = l.organization
           order by s.entity, s.started_at desc) last) as extracted,
    (select count(*)::integer from quarantine.row q
     where q.partner = l.partner and q.organization = l.organization and q.status = 'open') as quarantined,
    (select count(*)::integer from canonical.crosswalk c
     where c.partner = l.partner and c.organization = l.organization) as merged,
    (select count(*)::integer from sync.visit_head h
     join sync.release r on r.partner = l.partner and r.office_id = h.office_id and r.week = h.week
     where h.organization = l.organization and not h.cancelled) as planned,
    (select count(*)::integer from sync.push_attempt a
     where a.partner = l.partner and a.organization = l.organization and a.sent_at is not null) as sent,
    (select count(*)::integer from sync.push_result r
     where r.partner = l.partner and r.organization = l.organization and r.outcome in ('accepted', 'withdrawn')) as accepted,
    (select count(*)::integer from sync.push_result r
     where r.partner = l.partner and r.organization = l.organization and r.outcome in ('rejected', 'dead')) as rejected,
    (select count(*)::integer from sync.todo t
     where t.partner = l.partner and t.organization = l.organization) as waiting,
    (select count(*)::integer from sync.todo t
     where t.partner = l.partner and t.organization = l.organization and t.blocked_at_change is not null) as blocked
from sync.link l;
comment on view sync.overview is 'One row a partner and organization: what came in, what is quarantined, what went out, what waits.';

grant select on sync.overview to sync_run, sync_reader;
grant usage on schema sync to sync_reader;
