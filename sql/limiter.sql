-- name: acquire
-- Up to so many calls over all limits that bind them; one row, also when none fits.
select grant_id, calls, granted_at, expires_at, retry_at, reason, buckets
from sync.acquire(%(partner)s, %(organization)s, %(call_class)s, %(count)s, %(limits)s::jsonb, %(jitter_seconds)s,
    %(hold_seconds)s)

-- name: finish_grant
-- All calls of the grant that will ever leave have left.
select sync.finish_grant(%(grant_id)s, %(buckets)s::bigint[])

-- name: pause
-- The partner asked us to stop until a time; returns what is paused, and until when.
select scope, until_at from sync.pause(%(partner)s, %(organization)s, %(until_at)s, %(scope)s)
