-- The rate policies that partners name in their answers, beside what our partner file says (design, rule 8).

-- One row a policy, as it was said last; first_seen_at is since when it has been said so. What a partner calls its policy
-- is a plain code, or a digest of what it calls it.
create table sync.rate_policy (
    partner sync.code not null,
    organization sync.code not null,
    name text not null check (name ~ '^[A-Za-z0-9_.:/-]{1,40}$'),
    requests bigint not null check (requests >= 0),
    window_seconds double precision not null check (window_seconds > 0),
    differs text not null check (differs in ('same', 'smaller', 'larger')),
    file_scope text not null check (file_scope in ('vendor', 'organization', 'office', 'endpoint')),
    file_requests bigint not null,
    file_seconds double precision not null,
    first_seen_at timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz not null default clock_timestamp(),
    primary key (partner, organization, name)
);
comment on table sync.rate_policy is 'What each partner says it allows, and how that differs from the partner file.';

-- Notes what was said; writes only what is new, and once an hour that it is still said. A difference is an open cause of
-- the step 'limits', which is told once and turns no run red; it is over when the partner and the file agree, or when the
-- partner has not said so for two days. Returns whether anything was written.
create function sync.note_policies(p_partner text, p_organization text, p_policies jsonb, p_run_key text) returns boolean
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    written integer;
begin
    insert into sync.rate_policy as r (partner, organization, name, requests, window_seconds, differs, file_scope,
        file_requests, file_seconds)
    select distinct on (s.name) p_partner, p_organization, s.name, s.requests, s.window_seconds, s.differs, s.file_scope,
        s.file_requests, s.file_seconds
    from jsonb_to_recordset(p_policies) as s (name text, requests bigint, window_seconds double precision, differs text,
        file_scope text, file_requests bigint, file_seconds double precision)
    on conflict (partner, organization, name) do update
        set requests = excluded.requests, window_seconds = excluded.window_seconds, differs = excluded.differs,
            file_scope = excluded.file_scope, file_requests = excluded.file_requests, file_seconds = excluded.file_seconds,
            last_seen_at = excluded.last_seen_at,
            first_seen_at = case when (r.requests, r.window_seconds) = (excluded.requests, excluded.window_seconds)
                then r.first_seen_at else excluded.first_seen_at end
        where r.last_seen_at < clock_timestamp() - interval '1 hour'
           or (r.requests, r.window_seconds, r.differs, r.file_scope, r.file_requests, r.file_seconds) is distinct from
              (excluded.requests, excluded.window_seconds, excluded.differs, excluded.file_scope, excluded.file_requests,
               excluded.file_seconds);
    get diagnostics written = row_count;
    if written = 0 then
        return false;
    end if;
    if exists (
        select from sync.rate_policy r
        where r.partner = p_partner and r.organization = p_organization and r.differs <> 'same'
          and r.last_seen_at > clock_timestamp() - interval '2 days') then
        perform sync.open_incident(p_partner, p_organization, 'limits', 'policy_differs', p_run_key);
    else
        perform sync.close_incidents(p_partner, p_organization, 'limits', p_run_key);
    end if;
    return true;
end $$;

revoke execute on function sync.note_policies from public;
grant execute on function sync.note_policies to sync_run;
grant select on sync.rate_policy to sync_run, sync_reader;
