-- name: answered_by_run
-- The visits that this run has answered already: a task that is run again finds them no longer parked.
select visit_id from sync.parked_answer
where partner = %(partner)s and organization = %(organization)s and run_key = %(run_key)s;

-- name: waiting
-- The visits of these organizations that wait for a person's word, those that wait longest first, and why (a code of the
-- catalogue).
select p.organization, p.visit_id, why.code
from sync.parked p
left join lateral (
    select r.code from sync.push_result r
    where r.visit_id = p.visit_id and r.partner = p.partner and r.attempt_id = p.attempt_id order by r.id desc limit 1) why on true
where p.partner = %(partner)s and p.organization = any (%(organizations)s)
order by p.sent_at, p.visit_id;
