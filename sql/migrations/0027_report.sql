-- The report: read-only views over quality.* for any BI tool (login sync_analyst) and for the pages (login sync_page).
-- No view shows a partner's key or a value of a record: those only the functions at the end give, and each use is audited.

create schema report;

create view report.expectation as
select entity, expectation, column_name, dimension, severity, owner, ja, en, quality.weight(severity) as weight
from quality.expectation;
comment on view report.expectation is '期待値の一覧 / What is expected of each entity, in Japanese and English, with who acts on a failure.';
comment on column report.expectation.weight is '重み / How much one value counts in a score: critical 5, warning 2, info 1.';

create view report.run as
select r.partner, r.organization, r.entity, r.run_key, r.at, r.evaluated, r.quarantined, r.returned, r.waiting
from quality.run r;
comment on view report.run is '検証の実行 / One judgement of one organization''s entity by one run.';
comment on column report.run.evaluated is '判定件数 / Records judged, those that waited in quarantine included.';
comment on column report.run.quarantined is '隔離件数 / Records of this run that failed a critical expectation.';
comment on column report.run.returned is '復帰件数 / Records that left the quarantine by this run.';
comment on column report.run.waiting is '隔離中 / Records in quarantine after this run.';

create view report.result as
select s.partner, s.organization, s.entity, s.run_key, r.at, s.expectation, s.dimension, s.severity, s.owner, s.evaluated,
    s.failed, case when s.evaluated > 0 then 1 - s.failed::numeric / s.evaluated end as passed_share
from quality.result s
join quality.run r using (partner, organization, entity, run_key);
comment on view report.result is '期待値ごとの結果 / One expectation in one run: values judged, failed, and the share that passed (0 to 1).';

create view report.expectation_day as
select d.partner, d.organization, d.entity, d.expectation, d.day, d.dimension, d.severity, d.runs, d.evaluated, d.failed,
    case when d.evaluated > 0 then 1 - d.failed::numeric / d.evaluated end as passed_share
from quality.day d;
comment on view report.expectation_day is '期待値の日次推移 / One expectation on one day (Asia/Tokyo), all its runs together.';

create view report.score_day as
select d.partner, d.entity, d.day, d.dimension,
    sum(d.evaluated)::bigint as evaluated, sum(d.failed)::bigint as failed,
    sum(d.evaluated * quality.weight(d.severity))::bigint as weight_evaluated,
    sum(d.failed * quality.weight(d.severity))::bigint as weight_failed,
    1 - sum(d.failed * quality.weight(d.severity))::numeric / nullif(sum(d.evaluated * quality.weight(d.severity)), 0) as score
from quality.day_score d
group by d.partner, d.entity, d.day, d.dimension;
comment on view report.score_day is '観点別スコア / Score of a dimension on a day: the share of judged values that passed, each weighted by severity. To join several rows add the weights and divide.';
comment on column report.score_day.score is '0 から 1 / 1 - weight_failed / weight_evaluated; null when nothing was judged.';

create view report.finding as
select f.id, f.partner, f.organization, f.entity, f.expectation, f.severity, e.dimension, e.owner, e.column_name, e.ja, e.en,
    f.opened_at, f.opened_run_key, f.last_seen_at, f.last_run_key, f.runs, f.evaluated, f.failed, f.closed_at,
    f.closed_run_key, f.closed_at is null as open
from quality.finding f
left join quality.expectation e using (entity, expectation);
comment on view report.finding is '指摘 / One row for one cause, from the first run that failed to the next good one.';

create view report.quarantine as
select q.id, q.partner, q.organization, q.entity, q.status, q.first_seen_at, q.last_seen_at, q.first_run_key, q.last_run_key,
    q.returned_at, q.returned_as, jsonb_array_length(q.raw) as copies, q.source_key is not null as has_key,
    array(select e ->> 'expectation' from jsonb_array_elements(q.reasons) e order by 1) as expectations,
    q.reasons, l.released_at
from quarantine.row q
left join lateral (
    select max(r.at) as released_at from quarantine.release r where r.quarantine_id = q.id) l on true;
comment on view report.quarantine is '隔離レコード / One record that waits or has waited, by our own id, without its key or values.';
comment on column report.quarantine.reasons is 'What it failed: expectation, column, dimension, severity, owner; never a value.';

create view report.failing_key as
select k.partner, k.organization, k.entity, k.expectation, x.canonical_id, length(k.source_key) as key_length,
    k.first_seen_at, k.last_seen_at, k.first_run_key, k.last_run_key
from quarantine.failing_key k
left join canonical.partner_key x using (partner, organization, entity, source_key);
comment on view report.failing_key is '不合格レコード / Which records fail an expectation now, by our own id where they have one; the first 1,000 an expectation.';

create view report.audit as
select id, at, who, action, partner, organization, entity, subject, rows, reason from audit.event;
comment on view report.audit is '閲覧記録 / Who has looked at personal values of the quarantine, downloaded or released them.';

-- The functions that show or change something personal. The page has checked the right of p_who; they write the event.

create function quarantine.audited(p_who text, p_action text, p_partner text, p_organization text, p_entity text,
    p_subject bigint, p_rows integer, p_reason text) returns void
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    insert into audit.event (who, action, partner, organization, entity, subject, rows, reason)
    values (p_who, p_action, p_partner, coalesce(p_organization, ''), coalesce(p_entity, ''), p_subject, p_rows, p_reason)
$$;

-- One record as it came (an array: a key that came with different contents has several), and its partner's key.
create function quarantine.read_record(p_id bigint, p_who text)
    returns table (source_key text, staged jsonb, raw jsonb)
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    found quarantine.row;
begin
    select * into found from quarantine.row q where q.id = p_id;
    if found.id is null then
        return;
    end if;
    perform quarantine.audited(p_who, 'unmask_record', found.partner, found.organization, found.entity, p_id,
        jsonb_array_length(found.raw), null);
    return query select found.source_key, found.staged, found.raw;
end $$;

-- The partner's keys that fail an expectation now.
create function quarantine.read_keys(p_partner text, p_organization text, p_entity text, p_expectation text, p_who text)
    returns table (source_key text, first_seen_at timestamptz, last_seen_at timestamptz)
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    counted integer;
begin
    return query
        select k.source_key, k.first_seen_at, k.last_seen_at from quarantine.failing_key k
        where (k.partner, k.organization, k.entity, k.expectation) = (p_partner, p_organization, p_entity, p_expectation)
        order by k.source_key;
    get diagnostics counted = row_count;
    perform quarantine.audited(p_who, 'unmask_keys', p_partner, p_organization, p_entity, null, counted, p_expectation);
end $$;

-- The open rows of an organization, for the file that goes to the partner's office. Empty p_entity: all.
create function quarantine.read_open(p_partner text, p_organization text, p_entity text, p_who text)
    returns table (id bigint, entity text, source_key text, first_seen_at timestamptz, reasons jsonb, staged jsonb, raw jsonb)
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    counted integer;
begin
    return query
        select q.id, q.entity, q.source_key, q.first_seen_at, q.reasons, q.staged, q.raw from quarantine.row q
        where (q.partner, q.organization) = (p_partner, p_organization) and p_entity in ('', q.entity) and q.status = 'open'
        order by q.entity, q.first_seen_at, q.id;
    get diagnostics counted = row_count;
    perform quarantine.audited(p_who, 'download_csv', p_partner, p_organization, p_entity, null, counted, null);
end $$;

-- Lets one open record in, as it is now; the next validation does it. A record without a key, or a key with several
-- contents, cannot be merged and is refused. Returns whether it was released.
create function quarantine.release_record(p_id bigint, p_who text, p_reason text) returns boolean
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    found quarantine.row;
begin
    select * into found from quarantine.row q where q.id = p_id and q.status = 'open' for update;
    if found.id is null or found.source_key is null or jsonb_array_length(found.staged) <> 1 then
        return false;
    end if;
    insert into quarantine.release (quarantine_id, content, released_by, reason)
    values (p_id, md5(found.staged::text), p_who, p_reason) on conflict do nothing;
    perform quarantine.audited(p_who, 'release_record', found.partner, found.organization, found.entity, p_id, 1, p_reason);
    return true;
end $$;

revoke execute on all functions in schema quarantine from public;
grant usage on schema report to sync_analyst, sync_page, sync_run;
grant select on all tables in schema report to sync_analyst, sync_page;
revoke select on report.audit from sync_analyst;
grant select on report.finding to sync_run;
grant usage on schema quarantine to sync_page;
grant execute on function quarantine.read_record, quarantine.read_keys, quarantine.read_open, quarantine.release_record
    to sync_page;
