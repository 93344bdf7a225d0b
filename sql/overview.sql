-- name: by_link
-- One row a partner and organization: what came in, what is quarantined, what went out, what waits.
select partner, organization, extracted, quarantined, merged, planned, sent, accepted, rejected, waiting, blocked
from sync.overview
order by partner, organization;
