-- name: answered_by_run
-- The visits that this run has answered already: a task that is run again finds them no longer parked.
select visit_id from sync.parked_answer
where partner = %(partner)s and organization = %(organization)s and run_key = %(run_key)s;

-- name: waiting
-- The visits of these organizations that wait for a person's word, those that wait longest first.
select organization, visit_id from sync.parked
where partner = %(partner)s and organization = any (%(organizations)s)
order by sent_at, visit_id;
