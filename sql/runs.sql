-- name: record_outcome
-- What became of one step for one organization; news is false when the same was said already.
select sync.record_outcome(%(partner)s, %(run_key)s, %(dag)s, %(step)s, %(organization)s, %(entity)s, %(outcome)s, %(code)s,
    %(counts)s::jsonb) as news

-- name: outcomes_of_run
-- The latest word on each key of a run.
select dag, step, organization, entity, outcome, code, counts from sync.run_outcome
where partner = %(partner)s and run_key = %(run_key)s
order by step, organization, entity

-- name: open_incident
-- The open row of a cause, made when there is none.
select id, partner, organization, step, code, runs, opened_run_key = %(run_key)s as newly_opened
from sync.open_incident(%(partner)s, %(organization)s, %(step)s, %(code)s, %(run_key)s)

-- name: close_incidents
-- The step went well for the organization: its causes are over, but for those that a part of it still meets.
select id, partner, organization, step, code, runs, false as newly_opened
from sync.close_incidents(%(partner)s, %(organization)s, %(step)s, %(run_key)s, %(but)s::text[])

-- name: stopped
-- Organizations that an open cause with one of these codes stops at a step: until a run closes it, or something shows
-- since it was met last that it may be mended. Then one more run may try.
select distinct i.organization from sync.incident i
where i.partner = %(partner)s and i.step = %(step)s and i.code = any (%(codes)s) and i.closed_at is null
  and i.organization <> ''
  -- The link was changed.
  and not exists (
      select from sync.link l
      where (l.partner, l.organization) = (i.partner, i.organization) and l.updated_at > i.last_seen_at)
  -- A person has checked the connection, and it works.
  and not exists (
      select from sync.run_event e
      where (e.partner, e.organization, e.step, e.outcome) = (i.partner, i.organization, 'check', 'ok')
        and e.at > i.last_seen_at)
  -- The same connection had the same trouble with master data, and has it no longer.
  and not exists (
      select from sync.incident o
      where (o.partner, o.organization, o.step, o.code) = (i.partner, i.organization, 'extract', i.code)
        and o.closed_at > i.last_seen_at)

-- name: open_incidents
-- All open causes of a partner.
select id, partner, organization, step, code, runs, false as newly_opened from sync.incident
where partner = %(partner)s and closed_at is null order by opened_at, id

-- name: claim_notice
-- Those of the incidents that this address has not been told of; they count as told from now on. With after, only those
-- that this other address knows of.
select id, partner, organization, step, code, runs, true as newly_opened
from sync.claim_notice(array(
    select i.id from sync.incident i
    where i.id = any (%(incidents)s::bigint[]) and (%(after)s::text is null or %(after)s::text = any (i.notified_to))), %(to)s)

-- name: notices
-- Open differences that turn no run red: what this run has met first, and what nobody was told of yet.
select id, partner, organization, step, code, runs, opened_run_key = %(run_key)s as newly_opened
from sync.incident
where partner = %(partner)s and step = %(step)s and closed_at is null
  and (opened_run_key = %(run_key)s or notified_at is null)
order by code, organization
