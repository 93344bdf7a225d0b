-- Validation (writer: sync_validate). What is judged lies in temporary tables of the session: batch (one row a record),
-- known_office, failing (one row a record that fails anything). {rows} is staging.<entity>.
-- Temporary and freshly copied tables have no statistics: nested loops are off (quality.prepare_session), and the few rows
-- that are wanted from staging or batch are picked by a hashed list (coalesce keeps it from becoming a join that hashes or
-- sorts the large side). Each statement runs once, so compiling it (jit) does not pay.

-- name: prepare_session
-- Session settings for tables without statistics; the bounds of a birth date and of a source time.
select set_config('enable_nestloop', 'off', false), set_config('work_mem', '64MB', false), set_config('jit', 'off', false),
    (now() at time zone 'Asia/Tokyo')::date as today, now() + interval '1 day' as tomorrow

-- name: restore_session
-- Back to the login's own settings.
reset enable_nestloop; reset work_mem; reset jit

-- name: drop_batch
-- What an earlier entity or a broken validation of this session left.
drop table if exists pg_temp.batch, pg_temp.aside, pg_temp.known_office, pg_temp.failing, pg_temp.twin, pg_temp.writes_files

-- name: read_slices
-- The organizations whose slice extract has left, complete or not; the others have nothing to judge. Nor has a run whose
-- rows a newer listing has taken away: it would undo what the newer one's judgement has left out and let in.
select s.organization
from staging.slice s
where s.partner = %(partner)s and s.entity = %(entity)s and s.run_key = %(run_key)s and s.state in ('complete', 'incomplete')
  and s.organization = any (%(organizations)s)
  and s.run_key = (
      select n.run_key from staging.slice n
      where (n.partner, n.organization, n.entity) = (s.partner, s.organization, s.entity)
      order by n.started_at desc, n.run_key desc limit 1)
order by s.organization

-- name: make_known_office
-- The offices that the records judged may name.
create temp table known_office (organization text not null, source_key text not null)

-- name: fill_known_office
-- Offices that merge can resolve, and those of this run that it will have merged by then.
insert into known_office (organization, source_key)
select k.organization, k.source_key
from (
    select c.organization, c.source_key, c.canonical_id
    from canonical.crosswalk c
    where c.partner = %(partner)s and c.entity = 'office' and c.organization = any (%(organizations)s)
    union
    select m.organization, m.source_key, m.canonical_id
    from canonical.key_map m
    where m.partner = %(partner)s and m.entity = 'office' and m.organization = any (%(organizations)s)
) k
join canonical.office o on o.id = k.canonical_id and o.deleted_at is null
where not exists (
    select from quality.accepted_office gone
    where gone.partner = %(partner)s and gone.organization = k.organization and gone.run_key = %(run_key)s
      and gone.organization = any (%(organizations)s) and gone.source_key = k.source_key and gone.deleted)
union
select a.organization, a.source_key
from quality.accepted_office a
where a.partner = %(partner)s and a.organization = any (%(organizations)s) and a.run_key = %(run_key)s and not a.deleted

-- name: make_writes_files
-- The organizations whose schedules go to a partner that can hold CP932 only.
create temp table writes_files (organization text not null)

-- name: fill_writes_files
-- By the enabled links to the partners whose files say so.
insert into writes_files (organization)
select distinct l.organization from sync.link l
where l.partner = any (%(cp932_partners)s) and l.enabled and 'schedule' = any (l.directions)
  and l.organization = any (%(organizations)s)

-- name: make_batch_office
-- What is judged of offices, one row a record.
create temp table batch (
    row_id bigint, quarantine_id bigint, copy integer, organization text not null, source_key text, fingerprint text,
    key_copies integer, deleted boolean not null, critical_problem text, problem_codes text not null,
    source_updated_at timestamptz, office_number text, name text, kana text, postal_code text, address text, phone text,
    name_for_file text, address_for_file text
)

-- name: fill_batch_office
-- A source (slice or quarantine) into the batch.
insert into batch
select s.row_id, s.quarantine_id, s.copy, s.organization, s.source_key, s.fingerprint, s.key_copies, s.deleted,
    s.critical_problem, s.problem_codes, s.source_updated_at, s.office_number, s.name, s.kana, s.postal_code, s.address,
    s.phone,
    case when s.for_file then concat_ws(' ', s.name, s.kana) end,
    case when s.for_file then s.address end
from {source} s

-- name: make_batch_practitioner
-- What is judged of practitioners, one row a record.
create temp table batch (
    row_id bigint, quarantine_id bigint, copy integer, organization text not null, source_key text, fingerprint text,
    key_copies integer, deleted boolean not null, critical_problem text, problem_codes text not null,
    source_updated_at timestamptz, office_key text, family_name text, given_name text, family_kana text, given_kana text,
    role text, license_number text, valid_from date, valid_to date, office_found boolean, name_for_file text
)

-- name: fill_batch_practitioner
-- A source (slice or quarantine) into the batch, with whether its office is known.
insert into batch
select s.row_id, s.quarantine_id, s.copy, s.organization, s.source_key, s.fingerprint, s.key_copies, s.deleted,
    s.critical_problem, s.problem_codes, s.source_updated_at, s.office_key, s.family_name, s.given_name, s.family_kana,
    s.given_kana, s.role, s.license_number, s.valid_from, s.valid_to,
    case when s.office_key is not null
        then (s.organization::text, s.office_key) in (select o.organization, o.source_key from known_office o) end,
    case when s.for_file then concat_ws(' ', s.family_name, s.given_name, s.family_kana, s.given_kana) end
from {source} s

-- name: make_batch_patient
-- What is judged of patients, one row a record.
create temp table batch (
    row_id bigint, quarantine_id bigint, copy integer, organization text not null, source_key text, fingerprint text,
    key_copies integer, deleted boolean not null, critical_problem text, problem_codes text not null,
    source_updated_at timestamptz, office_key text, family_name text, given_name text, family_kana text, given_kana text,
    birth_date date, gender text, postal_code text, city text, phone text, insurer_number text, insured_number text,
    care_level text, valid_from date, valid_to date, office_found boolean, insurance_complete boolean,
    insured_people integer, name_for_file text, address_for_file text
)

-- name: fill_batch_patient
-- A source (slice or quarantine) into the batch, with whether its office is known.
insert into batch
select s.row_id, s.quarantine_id, s.copy, s.organization, s.source_key, s.fingerprint, s.key_copies, s.deleted,
    s.critical_problem, s.problem_codes, s.source_updated_at, s.office_key, s.family_name, s.given_name, s.family_kana,
    s.given_kana, s.birth_date, s.gender, s.postal_code, s.city, s.phone, s.insurer_number, s.insured_number, s.care_level,
    s.valid_from, s.valid_to,
    case when s.office_key is not null
        then (s.organization::text, s.office_key) in (select o.organization, o.source_key from known_office o) end,
    (s.insurer_number is null) = (s.insured_number is null),
    case when s.insurer_number is not null and s.insured_number is not null then 1 end,
    case when s.for_file then concat_ws(' ', s.family_name, s.given_name, s.family_kana, s.given_kana) end,
    case when s.for_file then concat_ws(' ', s.prefecture, s.city, s.street) end
from {source} s

-- name: source_slice
-- A slice's rows in the form of a batch. A key of nothing but spaces is no key.
(select t.*, null::bigint as quarantine_id, 1 as copy,
    case when t.source_key is null then md5(coalesce(t.raw, '{{}}')::text) end as fingerprint,
    case when t.source_key is not null then 1 end as key_copies,
    case when t.problems is null then '' else quality.problem_codes(t.problems) end as problem_codes,
    t.organization::text in (select organization from writes_files) as for_file
 from {rows} t
 where t.partner = %(partner)s and t.organization = any (%(organizations)s) and t.run_key = %(run_key)s)

-- name: source_quarantine
-- What waits in quarantine and is not listed anew: open rows, and rows let back in by a run that was never merged.
(select k.*, q.id as quarantine_id, e.copy::integer, q.fingerprint,
    case when q.source_key is not null then jsonb_array_length(q.staged) end as key_copies,
    case when k.problems is null then '' else quality.problem_codes(k.problems) end as problem_codes,
    q.organization::text in (select organization from writes_files) as for_file
 from quarantine.row q
 cross join lateral jsonb_array_elements(q.staged) with ordinality e (staged, copy)
 cross join lateral jsonb_populate_record(null::{rows}, e.staged) k
 where q.partner = %(partner)s and q.entity = %(entity)s and q.organization = any (%(organizations)s)
   and (q.status = 'open' or (q.returned_as in ('kept', 'released') and not exists (
        select from canonical.slice_merge m
        where m.partner = q.partner and m.organization = q.organization and m.entity = q.entity
          and m.run_key = q.returned_run_key and m.state = 'merged')))
   and not exists (select from batch b where b.organization = q.organization and b.source_key = q.source_key)
   and not exists (select from batch b where b.organization = q.organization and b.fingerprint = q.fingerprint))

-- name: make_twin
-- The records whose key came more than once: which content of the key each is (0: an exact repeat), of how many.
create temp table twin (row_id bigint not null, copy integer not null, kinds integer not null)

-- name: find_twins
-- Rows of one key: exact repeats (all but one are marked), and different contents, which are counted. Content is what a
-- merge would write: every column but the raw record and where the row stood. Keys are compared by a hash first, which
-- is less to sort; keys that share one are told apart at the end.
with named as not materialized (
    select row_id, organization, source_key, fingerprint,
        hashtextextended(coalesce(source_key, fingerprint), hashtext(organization)) as hash
    from batch
    where quarantine_id is null
), same as materialized (
    select row_id, organization, coalesce(source_key, fingerprint) as name from named
    where coalesce(hash in (select hash from named group by hash having count(*) > 1), false)
), content as (
    select b.row_id, b.organization, b.name, md5((to_jsonb(s) - '{{row_id,page,raw}}'::text[])::text) as content
    from same b
    join {rows} s on s.row_id = b.row_id and s.partner = %(partner)s and s.run_key = %(run_key)s
        and s.organization = any (%(organizations)s) and coalesce(s.row_id in (select row_id from same), false)
), numbered as (
    select c.*, row_number() over (partition by organization, name, content order by row_id) as nth,
        dense_rank() over (partition by organization, name order by content) as kind
    from content c
), counted as (
    select n.*, max(kind) over (partition by organization, name) as kinds from numbered n
)
insert into twin (row_id, copy, kinds)
select row_id, case when nth > 1 then 0 else kind end, kinds from counted where nth > 1 or kinds > 1

-- name: mark_twins
-- What is known of them, into the batch.
update batch b
set copy = t.copy, key_copies = case when b.source_key is not null then t.kinds end
from twin t
where t.row_id = b.row_id and coalesce(b.row_id in (select row_id from twin), false)

-- name: set_aside
-- Out of the batch: exact repeats, and clean deletions, which need no judgement.
with gone as (
    delete from batch
    where copy = 0 or (deleted and key_copies = 1 and critical_problem is null)
    returning row_id, organization, source_key, copy = 0 as repeated
)
insert into aside (row_id, organization, source_key, repeated)
select row_id, organization, source_key, repeated from gone

-- name: make_failing
-- The records that fail anything, and what they fail; released: a person lets it in all the same.
create temp table failing (
    row_id bigint, quarantine_id bigint, organization text not null, source_key text, fingerprint text,
    failed text[] not null, released boolean not null default false, released_from bigint
)

-- name: make_aside
-- The records that need no judgement: exact repeats and clean deletions.
create temp table aside (row_id bigint not null, organization text not null, source_key text, repeated boolean not null)

-- name: mark_insured_twice
-- Patients with one certificate among them: how many they are. Compared by a hash first, as in find_twins.
with insured as not materialized (
    select organization, insurer_number, insured_number, coalesce(source_key, fingerprint) as name,
        hashtext(insured_number) as hash
    from batch
    where insured_people = 1
), candidate as materialized (
    select organization, insurer_number, insured_number, name from insured
    where coalesce(hash in (select hash from insured group by hash having count(*) > 1), false)
), shared as materialized (
    select organization, insurer_number, insured_number, count(distinct name) as people
    from candidate group by organization, insurer_number, insured_number having count(distinct name) > 1
)
update batch b
set insured_people = s.people
from shared s
where s.organization = b.organization and s.insurer_number = b.insurer_number and s.insured_number = b.insured_number
  and coalesce(b.insured_number in (select insured_number from shared), false)

-- name: count_batch
-- How many records there are to judge.
select count(*) as records from batch

-- name: count_evaluated
-- By organization, for each column how many values are there to judge.
select organization, count(*) as records{counts} from batch group by organization

-- name: count_failed
-- By organization, how many records fail each expectation.
select f.organization, code, count(*) as failed from failing f cross join unnest(f.failed) code
group by f.organization, code

-- name: take_turn
-- One validation of a partner's entity writes at a time.
select pg_advisory_xact_lock(hashtextextended(concat_ws('|', 'validate', %(partner)s::text, %(entity)s::text), 0))

-- name: forget_left_out
-- Rows of older runs are no longer in staging when a newer slice is.
delete from quality.left_out
where partner = %(partner)s and entity = %(entity)s and organization = any (%(organizations)s)

-- name: leave_out
-- What merge must not read: exact repeats, and rows that fail a critical expectation. A released row is merged once, from
-- the quarantine, and then from where it is listed.
insert into quality.left_out (partner, organization, entity, run_key, row_id)
select %(partner)s, organization, %(entity)s, %(run_key)s, row_id from aside where repeated
union all
select %(partner)s, organization, %(entity)s, %(run_key)s, row_id from failing
where quarantine_id is null and failed && %(critical)s and (not released or released_from is not null)

-- name: record_runs
-- Organizations of the run whose slice was empty get their row too.
insert into quality.run as r (partner, organization, entity, run_key, evaluated, quarantined, returned, waiting,
    last_row_id)
select %(partner)s, o.organization, %(entity)s, %(run_key)s, coalesce(b.evaluated, 0), coalesce(f.quarantined, 0),
    coalesce(q.returned, 0), coalesce(q.waiting, 0), greatest(b.last_row_id, a.last_row_id, 0)
from unnest(%(organizations)s::text[]) o (organization)
left join (select organization, count(*) as evaluated, max(row_id) as last_row_id from batch group by organization) b
    using (organization)
left join (select organization, max(row_id) as last_row_id from aside group by organization) a using (organization)
left join (
    select organization, count(*) as quarantined from failing
    where quarantine_id is null and failed && %(critical)s and not released group by organization) f using (organization)
left join (
    select organization, count(*) filter (where status = 'open') as waiting,
        count(*) filter (where returned_run_key = %(run_key)s) as returned
    from quarantine.row where partner = %(partner)s and entity = %(entity)s and organization = any (%(organizations)s)
    group by organization) q using (organization)
on conflict (partner, organization, entity, run_key) do update
set evaluated = excluded.evaluated, quarantined = excluded.quarantined, returned = excluded.returned,
    waiting = excluded.waiting, last_row_id = excluded.last_row_id, at = now()
where (r.evaluated, r.quarantined, r.returned, r.waiting, r.last_row_id) is distinct from (excluded.evaluated,
    excluded.quarantined, excluded.returned, excluded.waiting, excluded.last_row_id)

-- name: forget_results
-- The scores of an earlier validation of the same run.
delete from quality.result
where partner = %(partner)s and entity = %(entity)s and run_key = %(run_key)s and organization = any (%(organizations)s)

-- name: record_results
-- One score an organization and expectation.
insert into quality.result (partner, organization, entity, run_key, expectation, dimension, severity, owner, evaluated,
    failed)
select %(partner)s, r.organization, %(entity)s, %(run_key)s, r.expectation, e.dimension, e.severity, e.owner,
    r.evaluated, r.failed
from unnest(%(of_organization)s::text[], %(of_expectation)s::text[], %(evaluated)s::integer[], %(failed)s::integer[])
    r (organization, expectation, evaluated, failed)
join jsonb_to_recordset(%(expectations)s::jsonb) e (expectation text, dimension text, severity text, owner text)
    using (expectation)

-- name: read_runs
-- The figures of this run by organization.
select organization, evaluated, quarantined, returned, waiting from quality.run
where partner = %(partner)s and entity = %(entity)s and run_key = %(run_key)s and organization = any (%(organizations)s)
order by organization
