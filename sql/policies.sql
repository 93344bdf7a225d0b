-- name: note_policies
-- What a partner's answers said of its policies; true when something of it was new.
select sync.note_policies(%(partner)s, %(organization)s, %(policies)s::jsonb, %(run_key)s) as news
