-- name: failed
-- What of a week was rejected or given up, with what this run has asked for anew already: a task that is run again sees
-- the same.
select f.visit_id from sync.failed_visits(%(partner)s, %(organization)s, %(week)s) f
union
select q.visit_id from sync.requeue q
join sync.todo t on t.partner = q.partner and t.visit_id = q.visit_id and t.week = q.week
where q.partner = %(partner)s and q.week = %(week)s and q.run_key = %(run_key)s and t.organization = %(organization)s
order by visit_id;

-- name: requeue
-- A new generation for just these visits; once a run.
select sync.requeue_visits(%(partner)s, %(organization)s, %(week)s, %(visits)s, %(reason)s, %(requested_by)s,
    %(run_key)s) as requeued;
