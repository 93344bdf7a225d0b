-- Releasing a quarantined record (login sync_page).

-- name: refusal
-- A code of the catalogue, or null.
select quarantine.release_refusal(%(id)s, %(content)s) as refusal

-- name: release
-- Writes the release and its audit event.
select quarantine.release_record(%(id)s, %(who)s, %(reason)s, %(content)s) as released
