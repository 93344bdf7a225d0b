-- Shared validation (writer: sync_validate); states of quality.due. One process judges at a time: it holds the lock.

-- name: ask
-- A run wants its slices judged, again when it asks again; what ended a week ago goes.
with old as (
    delete from quality.due where ended_at < now() - interval '7 days' and (partner, run_key) <> (%(partner)s, %(run_key)s)
)
insert into quality.due as d (partner, run_key, dag, organizations, entities)
values (%(partner)s, %(run_key)s, %(dag)s, %(organizations)s, %(entities)s)
on conflict (partner, run_key) do update
set organizations = excluded.organizations, entities = excluded.entities, state = 'asked', asked = d.asked + 1,
    attempts = 0, code = null, asked_at = clock_timestamp(), ended_at = null

-- name: find_state
-- What became of what a run has asked for.
select state, code from quality.due where partner = %(partner)s and run_key = %(run_key)s

-- name: give_up
-- Nobody waits any longer; returns nothing where it has ended meanwhile.
update quality.due set state = 'given_up', ended_at = clock_timestamp()
where partner = %(partner)s and run_key = %(run_key)s and state in ('asked', 'judging')
returning partner

-- name: find_due
-- Whether anything waits: what most ticks end with.
select exists (select from quality.due where state in ('asked', 'judging')) as any

-- name: take_lock
-- For the session. Whoever has it is the only one who judges: what stands as being judged was left behind.
select pg_try_advisory_lock(hashtextextended('partner_sync.validate_due', 0)) as taken

-- name: take_next
-- What has been begun least often first, so that one that takes its process down does not stand before the others.
update quality.due d
set state = 'judging', attempts = d.attempts + 1
from (
    select partner, run_key from quality.due where state in ('asked', 'judging') and attempts < %(most_attempts)s
      and (partner, run_key) not in (select * from unnest(%(seen_partner)s::text[], %(seen_run_key)s::text[]))
    order by attempts, asked_at, partner, run_key
    limit 1 for update skip locked
) n
where (d.partner, d.run_key) = (n.partner, n.run_key)
returning d.partner, d.run_key, d.dag, d.organizations, d.entities, d.asked

-- name: fail_worn_out
-- Begun as often as may be, and never ended.
update quality.due
set state = 'failed', code = %(code)s, ended_at = clock_timestamp()
where state in ('asked', 'judging') and attempts >= %(most_attempts)s

-- name: end
-- The judgement's word, unless the run has asked anew or given up since it began.
update quality.due
set state = case when %(code)s::text is null then 'done' else 'failed' end, code = %(code)s, ended_at = clock_timestamp()
where partner = %(partner)s and run_key = %(run_key)s and asked = %(asked)s and state = 'judging'
