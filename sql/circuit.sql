-- name: report_calls
-- How many calls got through, and how many have failed since the last of these.
select sync.report_calls(%(partner)s, %(organization)s, %(reached)s, %(failed)s, %(rule)s::jsonb)

-- name: set_hold
-- A person holds or resumes a partner or an organization; news is false when it is so already.
select sync.set_hold(%(partner)s, %(organization)s, %(held)s, %(reason)s, %(by)s) as news

-- name: stops
-- What of a partner (null: of all) is held, or has a circuit that is not closed.
select partner, organization, state, since_at, until_at, reason, by, failures from sync.circuit_state
where %(partner)s::text is null or partner = %(partner)s
order by partner, organization, state

-- name: links
-- Which organizations are linked to which partners, also when the link is not enabled.
select partner::text as partner, organization::text as organization from sync.link
