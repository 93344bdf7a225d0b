-- name: become_owner
-- Takes the session lock by which others see that this pusher lives.
select sync.become_owner() as owner;

-- name: recover
-- What dead pushers left: unsent claims are given up, sent calls become unknown.
select sync.recover(%(partner)s, %(owner)s, %(run_key)s) as recovered;

-- name: close_without_call
-- Closes the items that need no call, and looks again at those that were blocked before the partner's keys changed.
select sync.close_without_call(%(partner)s, %(organization)s, %(run_key)s) as closed,
    sync.recheck_blocked(%(partner)s, %(organization)s, %(needs)s) as freed;

-- name: candidates
-- The next items that may be claimed, whether the partner is known to hold the visit, and has given it a name of its own;
-- without those whose limits are reached.
select c.visit_id, c.action, c.office_id, there.named, there.held
from sync.claimable(%(partner)s, %(organization)s, %(needs)s, %(week)s) c
left join lateral (
    select h.visit_id, h.partner_ref from sync.held h
    where h.partner = c.partner and h.visit_id = c.visit_id limit 1) h on true
cross join lateral (select h.partner_ref is not null as named, h.visit_id is not null as held) there
where c.visit_id <> all (%(but)s::text[]) and c.office_id <> all (%(offices)s::bigint[])
  and not exists (
      select from unnest(%(closed_office_id)s::bigint[], %(closed_action)s::text[], %(closed_named)s::boolean[],
          %(closed_held)s::boolean[]) x (office_id, action, named, held)
      where (x.office_id is null or x.office_id = c.office_id)
        and (x.action, x.named, x.held) = (c.action, there.named, there.held))
limit %(count)s;

-- name: claim_to_send
-- Writes the claims, says that the calls leave, and gives what is to be sent; only what it returns may be sent.
select * from sync.claim_to_send(%(partner)s, %(organization)s, %(owner)s, %(visits)s, %(needs)s, %(run_key)s,
    %(settle_after_seconds)s);

-- name: unknown_due
-- Lost answers whose settle time has come, the oldest first.
select a.id as attempt_id, a.visit_id, a.action, a.office_id, held.partner_ref is not null as named,
    held.visit_id is not null as held
from sync.push_attempt a
left join sync.held held on held.partner = a.partner and held.visit_id = a.visit_id
where a.partner = %(partner)s and a.organization = %(organization)s and a.state = 'unknown'
  and a.settle_at <= clock_timestamp()
order by a.settle_at, a.id
limit %(count)s;

-- name: take_unknown
-- Leases these of the lost answers whose settle time has come.
select id from sync.take_unknown(%(partner)s, %(organization)s, %(owner)s, %(count)s, %(settle_after_seconds)s,
    %(attempts)s);

-- name: note_keys
-- Under which keys these calls leave, written before they do.
select sync.note_keys(%(attempts)s, %(keys)s::uuid[], %(owner)s);

-- name: before
-- What the partner has last accepted of the visits of these attempts, when nothing is known to have come after it.
select a.id, v.service_code, v.start_at, v.end_at, v.status, v.actual_start_at, v.actual_end_at, v.note,
    c.visit_id, a.organization, c.week, office.source_key as office_key, patient.source_key as patient_key,
    practitioner.source_key as practitioner_key
from sync.push_attempt a
cross join lateral (
    select r.version, r.outcome from sync.push_result r
    where r.visit_id = a.visit_id and r.partner = a.partner and r.present is not null order by r.id desc limit 1) last
join sync.change_history c on c.visit_id = a.visit_id and c.version = last.version
cross join lateral jsonb_populate_record(null::schedule.visit, c.visit) v
left join canonical.partner_key office on (office.partner, office.organization, office.entity, office.canonical_id)
    = (a.partner, a.organization, 'office', v.office_id)
left join canonical.partner_key patient on (patient.partner, patient.organization, patient.entity, patient.canonical_id)
    = (a.partner, a.organization, 'patient', v.patient_id)
left join canonical.partner_key practitioner
    on (practitioner.partner, practitioner.organization, practitioner.entity, practitioner.canonical_id)
    = (a.partner, a.organization, 'practitioner', v.practitioner_id)
where a.id = any (%(attempts)s) and a.action = 'put' and last.outcome = 'accepted';

-- name: mark_sent
-- The last write before the call leaves.
select id from sync.mark_sent(%(attempts)s, %(owner)s, %(settle_after_seconds)s) as id;

-- name: give_up
-- These calls have surely not left.
select sync.give_up(%(attempts)s, %(owner)s);

-- name: settle_free
-- Writes what became of calls; returns the attempts whose visits are being edited at this moment.
select attempt_id from sync.settle_free(%(items)s, %(owner)s, %(run_key)s, %(max_attempts)s) as attempt_id;

-- name: keep_answers
-- Keeps what came back for visits that are being edited; the next pusher writes it down.
select sync.keep_answers(%(items)s, %(owner)s);

-- name: kept_answers
-- The answers that this pusher has taken over from one that had to end.
select answer from sync.kept_answers(%(partner)s, %(owner)s) as answer;

-- name: look_ups
-- Where look-ups that the limits stopped go on.
select id, look_up from sync.push_attempt where id = any (%(attempts)s) and look_up is not null;

-- name: note_look_ups
-- Where look-ups have stopped; null: it begins anew.
select sync.note_look_ups(%(places)s, %(owner)s);

-- name: calls
-- What is to be sent for claimed attempts.
select * from sync.calls(%(attempts)s);

-- name: unsettled
-- What of this week (or of all weeks) is not settled, with what has to be taken back before it can come, and the first
-- moment at which something can be done about it. What another pusher has in its hands is looked at again soon: most
-- calls are answered at once, and the settle time is for those that are not.
select count(*) as count, min(at) as retry_at
from (
    select a.visit_id, case a.state when 'unknown' then a.settle_at
        else least(a.settle_at, clock_timestamp() + interval '2 seconds') end as at
    from sync.push_attempt a
    where a.partner = %(partner)s and a.organization = %(organization)s and a.state in ('claimed', 'sent', 'unknown')
      and coalesce(a.settle_at < 'infinity', true) and (%(week)s::date is null or a.week = %(week)s or a.visit_id in (
          select here.visit_id from sync.todo here where here.partner = %(partner)s and here.week = %(week)s))
    union all
    select t.visit_id, t.due_at from sync.todo t
    where t.partner = %(partner)s and t.organization = %(organization)s and t.blocked_at_change is null
      and t.due_at > (select clock_timestamp())
      and (%(week)s::date is null or t.week = %(week)s or t.visit_id in (
          select here.visit_id from sync.todo here where here.partner = %(partner)s and here.week = %(week)s))
) u;

-- name: due_organizations
-- Organizations of a partner with something to deliver or to read back now, those who wait longest first; also those with
-- blocked items whose keys have changed since. One look into an index for each, however much there is to do.
select l.organization, min(w.at) as waiting_since
from sync.link l
left join sync.key_change k on k.partner = l.partner and k.organization = l.organization
cross join lateral (
    (select t.due_at as at from sync.todo t
     where t.partner = l.partner and t.organization = l.organization and t.blocked_at_change is null
       -- A value of its own, or the index could not be entered by it.
       and t.due_at <= (select clock_timestamp())
     order by t.due_at, t.visit_id limit 1)
    union all
    (select t.due_at from sync.todo t
     where t.partner = l.partner and t.organization = l.organization and t.blocked_at_change < k.changes
     order by t.blocked_at_change limit 1)
    union all
    (select t.due_at from sync.todo t
     where k.needs is distinct from %(needs)s::text[]
       and t.partner = l.partner and t.organization = l.organization and t.blocked_at_change is not null
     order by t.blocked_at_change limit 1)
    union all
    (select a.settle_at from sync.push_attempt a
     where a.partner = l.partner and a.organization = l.organization
       and (a.state = 'unknown' and a.settle_at <= clock_timestamp() or a.state in ('claimed', 'sent'))
     limit 1)
) w
where l.partner = %(partner)s and l.enabled and 'schedule' = any (l.directions)
group by l.organization
order by waiting_since, l.organization;

-- name: run_counts
-- What one run has done for an organization, by outcome.
select outcome, count(*)::integer as count
from sync.push_result
where run_key = %(run_key)s and organization = %(organization)s and partner = %(partner)s
group by outcome;

-- name: parked
-- Lost answers of which only a person can say what became of them: of all weeks, of this one, and found by this run.
select count(*)::integer as parked,
    (count(*) filter (where %(week)s::date is null or p.week = %(week)s))::integer as parked_here,
    (count(*) filter (where exists (
        select from sync.push_result r
        where r.attempt_id = p.attempt_id and r.visit_id = p.visit_id and r.run_key = %(run_key)s
          and r.code = 'outcome_unknown_person')))::integer as parked_now
from sync.parked p
where p.partner = %(partner)s and p.organization = %(organization)s;

-- name: still_failed
-- How many visits stand rejected or given up, of a week or of all.
select count(distinct f.visit_id)::integer as count
from (select distinct r.week from sync.push_result r
      where r.partner = %(partner)s and r.organization = %(organization)s and r.outcome in ('rejected', 'dead')
        and (%(week)s::date is null or r.week = %(week)s)) w
cross join lateral sync.failed_visits(%(partner)s, %(organization)s, w.week) f;

-- name: failed_in_run
-- What a run's visits were rejected or given up for: by code, status and field, the most frequent first.
select r.organization, r.outcome, r.code, r.status, f.field, count(*)::integer as count
from sync.push_result r
left join lateral unnest(r.fields) f (field) on true
where r.run_key = %(run_key)s and r.partner = %(partner)s and r.organization = any (%(organizations)s)
  and r.outcome in ('rejected', 'dead')
group by 1, 2, 3, 4, 5
order by r.organization, r.outcome, count(*) desc, r.code, f.field;

-- name: parked_visits
-- The visits that wait for a person's word, the oldest first.
select visit_id, action, week, office_id, sent_at from sync.parked
where partner = %(partner)s and organization = %(organization)s
order by sent_at, visit_id;

-- name: answer_parked
-- A person's word on a parked visit; null when nothing of it is parked.
select sync.answer_parked(%(partner)s, %(organization)s, %(visit_id)s, %(there)s, %(requested_by)s, %(run_key)s) as outcome;

-- name: blocked_count
-- How many visits cannot leave because the partner has no key for whom they name; sync.blocked_reasons lists them.
select count(*)::integer as blocked from sync.todo
where partner = %(partner)s and organization = %(organization)s and blocked_at_change is not null
  and (%(week)s::date is null or week = %(week)s);

-- name: blocked_by_reason
-- The visits of a week that cannot leave, counted by reason; one that has several counts once, by its own before what
-- stops all of them.
select b.reason, count(*)::integer as count
from (
    select distinct on (r.visit_id) r.visit_id, r.reason
    from sync.blocked_reasons(%(partner)s, %(organization)s, %(needs)s, %(week)s) r
    order by r.visit_id, r.entity in ('organization', 'partner'), r.reason
) b
group by b.reason order by b.reason;
