-- name: acquire
-- Up to so many calls over all limits that bind them, and the end of an earlier grant; one row, also when none fits.
select grant_id, calls, granted_at, expires_at, retry_at, reason, buckets, rooms, clock_at
from sync.acquire(%(partner)s, %(organization)s, %(call_class)s, %(count)s, %(limits)s, %(jitter_seconds)s,
    %(hold_seconds)s, %(lease_seconds)s, %(finished)s, %(finished_buckets)s::bigint[], %(left_at)s,
    %(lead_seconds)s)

-- name: finish_grant
-- All calls of the grant that will ever leave have left, the last one at a time.
select sync.finish_grant(%(grant_id)s, %(buckets)s::bigint[], %(left_at)s)

-- name: free_places
-- So many calls of a grant are back; the others are not.
select sync.free_places(%(grant_id)s, %(buckets)s::bigint[], %(calls)s)

-- name: pause
-- The partner asked us to stop until a time; returns what is paused, and until when.
select scope, until_at from sync.pause(%(partner)s, %(organization)s, %(until_at)s, %(scope)s)

-- name: refused
-- A call was answered with 429: what is paused, and until when; the limits learn from it.
select scope, until_at
from sync.refused(%(partner)s, %(organization)s, %(until_at)s, %(scope)s, %(limits)s, %(jitter_seconds)s, %(granted_at)s,
    %(unsent)s)

-- name: told
-- What the partner says is left, and its policy, for some of the limits.
select sync.told(%(partner)s, %(organization)s, %(limits)s, %(jitter_seconds)s, %(told)s::jsonb)

-- name: queue_up
-- Organizations that will ask one after the other.
select sync.queue_up(%(partner)s, %(organizations)s, %(call_class)s, %(wanted)s, %(limits)s, %(jitter_seconds)s)
