-- Validation: what may be merged, what waits in quarantine, and the figures. One writer: validate.
--
-- For merge: read quality.accepted_office | accepted_practitioner | accepted_patient with
--     where partner = .. and organization = .. and run_key = ..
-- Columns: partner, organization, run_key, source_key, source_updated_at, deleted, the typed columns of staging, extra.
-- A key comes once. run_key is the run that may merge the row: the slice's own, or, for a record that came back from
-- quarantine, the run that judged it good. Rows with deleted = true pass through. A slice that was not validated
-- (or was read again after its validation) gives no row at all.

-- One run's judgement of one organization's entity.
create table quality.run (
    partner sync.code not null,
    organization sync.code not null,
    entity text not null check (entity in ('office', 'practitioner', 'patient')),
    run_key text not null,
    evaluated integer not null,
    quarantined integer not null,
    returned integer not null,
    -- Open rows of the quarantine after the run.
    waiting integer not null,
    -- Rows of the slice above this id came later and are not judged.
    last_row_id bigint not null,
    at timestamptz not null default now(),
    primary key (partner, organization, entity, run_key)
);
comment on table quality.run is 'How many records a run judged, put into quarantine and let back in; the merge takes only what stands here.';
comment on column quality.run.evaluated is 'Records of the slice and records that waited in quarantine, without exact repeats and deletions.';
comment on column quality.run.quarantined is 'Records of the slice that failed a critical expectation.';

create table quality.result (
    partner sync.code not null,
    organization sync.code not null,
    entity text not null,
    run_key text not null,
    expectation text not null,
    dimension text not null
        check (dimension in ('completeness', 'accuracy', 'uniqueness', 'consistency', 'timeliness')),
    severity text not null check (severity in ('critical', 'warning', 'info')),
    owner text not null check (owner in ('user', 'partner', 'us')),
    evaluated integer not null,
    failed integer not null check (failed between 0 and evaluated),
    primary key (partner, organization, entity, run_key, expectation),
    foreign key (partner, organization, entity, run_key) references quality.run on delete cascade
);
comment on table quality.result is 'One expectation in one run: how many values were judged (empty ones are not, unless emptiness is the question), how many failed.';

-- Rows of a judged slice that the merge leaves out: quarantined ones, and exact repeats of a row that stays.
create table quality.left_out (
    partner sync.code not null,
    organization sync.code not null,
    entity text not null,
    run_key text not null,
    row_id bigint not null,
    primary key (partner, organization, entity, run_key, row_id)
);

-- Personal data: the record as it came. Only validate reads and writes it; pages will read it through an audited door.
create table quarantine.row (
    id bigint generated always as identity primary key,
    partner sync.code not null,
    organization sync.code not null,
    entity text not null check (entity in ('office', 'practitioner', 'patient')),
    source_key text,
    -- Names a record that has no readable key, by its content.
    fingerprint text,
    status text not null default 'open' check (status in ('open', 'returned')),
    -- [{"expectation", "dimension", "severity", "column"}], never a value.
    reasons jsonb not null,
    -- Arrays of the same length, one element a record: a key that came with different contents keeps every copy.
    staged jsonb not null,
    raw jsonb not null,
    first_seen_at timestamptz not null default now(),
    first_run_key text not null,
    last_seen_at timestamptz not null default now(),
    last_run_key text not null,
    returned_at timestamptz,
    returned_run_key text,
    -- kept: this record itself passed and is merged from here; newer: the partner sent one that passed;
    -- deleted: the partner deleted it.
    returned_as text check (returned_as in ('kept', 'newer', 'deleted')),
    check (num_nonnulls(source_key, fingerprint) = 1),
    check (num_nonnulls(returned_at, returned_run_key, returned_as) = case status when 'open' then 0 else 3 end),
    check (jsonb_array_length(staged) = jsonb_array_length(raw))
);
create unique index open_row on quarantine.row (partner, organization, entity, source_key, fingerprint)
    nulls not distinct where status = 'open';
create index on quarantine.row (partner, organization, entity, returned_run_key);
comment on table quarantine.row is 'Records that failed a critical expectation; judged again by each run, they come back by themselves (rule 11).';

-- The partner's keys behind quality.result.failed. A partner's key is personal, so it lies here and not in quality.
create table quarantine.failing_key (
    partner sync.code not null,
    organization sync.code not null,
    entity text not null,
    expectation text not null,
    source_key text not null,
    first_seen_at timestamptz not null default now(),
    first_run_key text not null,
    last_seen_at timestamptz not null default now(),
    last_run_key text not null,
    primary key (partner, organization, entity, expectation, source_key)
);
comment on table quarantine.failing_key is 'Which records fail which expectation now; a key goes when it is judged and passes. The first 1,000 an expectation and run.';

create view quality.accepted_office as
select s.partner, s.organization, s.run_key, s.source_key, s.source_updated_at, s.deleted,
    s.office_number, s.name, s.kana, s.postal_code, s.address, s.phone, s.active, s.extra
from staging.office s
join quality.run r on r.partner = s.partner and r.organization = s.organization and r.entity = 'office'
    and r.run_key = s.run_key and s.row_id <= r.last_row_id
where not exists (
    select from quality.left_out l
    where l.partner = s.partner and l.organization = s.organization and l.entity = 'office' and l.run_key = s.run_key
      and l.row_id = s.row_id)
union all
select q.partner, q.organization, q.returned_run_key, q.source_key, k.source_updated_at, false,
    k.office_number, k.name, k.kana, k.postal_code, k.address, k.phone, k.active, k.extra
from quarantine.row q
cross join lateral jsonb_populate_record(null::staging.office, q.staged -> 0) k
where q.entity = 'office' and q.returned_as = 'kept';

create view quality.accepted_practitioner as
select s.partner, s.organization, s.run_key, s.source_key, s.source_updated_at, s.deleted,
    s.office_key, s.family_name, s.given_name, s.family_kana, s.given_kana, s.role, s.license_number,
    s.valid_from, s.valid_to, s.active, s.extra
from staging.practitioner s
join quality.run r on r.partner = s.partner and r.organization = s.organization and r.entity = 'practitioner'
    and r.run_key = s.run_key and s.row_id <= r.last_row_id
where not exists (
    select from quality.left_out l
    where l.partner = s.partner and l.organization = s.organization and l.entity = 'practitioner'
      and l.run_key = s.run_key and l.row_id = s.row_id)
union all
select q.partner, q.organization, q.returned_run_key, q.source_key, k.source_updated_at, false,
    k.office_key, k.family_name, k.given_name, k.family_kana, k.given_kana, k.role, k.license_number,
    k.valid_from, k.valid_to, k.active, k.extra
from quarantine.row q
cross join lateral jsonb_populate_record(null::staging.practitioner, q.staged -> 0) k
where q.entity = 'practitioner' and q.returned_as = 'kept';

create view quality.accepted_patient as
select s.partner, s.organization, s.run_key, s.source_key, s.source_updated_at, s.deleted,
    s.office_key, s.family_name, s.given_name, s.family_kana, s.given_kana, s.birth_date, s.gender, s.postal_code,
    s.prefecture, s.city, s.street, s.phone, s.insurer_number, s.insured_number, s.care_level,
    s.valid_from, s.valid_to, s.active, s.extra
from staging.patient s
join quality.run r on r.partner = s.partner and r.organization = s.organization and r.entity = 'patient'
    and r.run_key = s.run_key and s.row_id <= r.last_row_id
where not exists (
    select from quality.left_out l
    where l.partner = s.partner and l.organization = s.organization and l.entity = 'patient' and l.run_key = s.run_key
      and l.row_id = s.row_id)
union all
select q.partner, q.organization, q.returned_run_key, q.source_key, k.source_updated_at, false,
    k.office_key, k.family_name, k.given_name, k.family_kana, k.given_kana, k.birth_date, k.gender, k.postal_code,
    k.prefecture, k.city, k.street, k.phone, k.insurer_number, k.insured_number, k.care_level,
    k.valid_from, k.valid_to, k.active, k.extra
from quarantine.row q
cross join lateral jsonb_populate_record(null::staging.patient, q.staged -> 0) k
where q.entity = 'patient' and q.returned_as = 'kept';

-- M10-W21 on a number of at most 10 digits, its check digit included (leading zeros change nothing): from the right the
-- weights 1 (the check digit), 2, 1, 2 ..; the digits of the products are added; the sum must end in 0. Twice a digit d
-- has the digit sum 2d - 9 (d > 4), which is 2d + d / 5 modulo 10, and tens above a digit vanish modulo 10.
create function quality.check_digit_ok(n bigint) returns boolean
    language sql immutable parallel safe
    return (n + 2 * (n / 10) + n / 50 % 2
        + n / 100 + 2 * (n / 1000) + n / 5000 % 2
        + n / 10000 + 2 * (n / 100000) + n / 500000 % 2
        + n / 1000000 + 2 * (n / 10000000) + n / 50000000 % 2
        + n / 100000000 + 2 * (n / 1000000000) + n / 5000000000 % 2) % 10 = 0;

-- A letter in the third place of an office number counts from A = 10 to Z = 32 (I, O and Q are not used), with weight 2:
-- this is the digit whose doubled digit sum is the same modulo 10.
create function quality.letter_digit(letter text) returns text
    language sql immutable parallel safe
    return substr('0516273849', (2 * (9 + strpos('ABCDEFGHJKLMNPRSTUVWXYZ', letter)) / 10
        + 2 * (9 + strpos('ABCDEFGHJKLMNPRSTUVWXYZ', letter)) % 10) % 10 + 1, 1);

-- The number of a care office: prefecture 2, kind 1, area 2, serial 4, check digit. Of the published samples, kinds 1, 3,
-- 4 and 6 (from medical codes) keep the rule on the 6 digits before the check digit, the others on all 9; the hand-outs
-- say 9 for all, so for those four either is taken.
create function quality.office_number_ok(number text) returns boolean
    language sql immutable parallel safe
    return case
        when number !~ '^[0-9]{2}[0-9A-HJ-NPR-Z][0-9]{7}$' then false
        when substr(number, 3, 1) ~ '[1346]'
            then quality.check_digit_ok(substr(number, 4)::bigint) or quality.check_digit_ok(number::bigint)
        when substr(number, 3, 1) ~ '[0-9]' then quality.check_digit_ok(number::bigint)
        else quality.check_digit_ok(
            (left(number, 2) || quality.letter_digit(substr(number, 3, 1)) || substr(number, 4))::bigint)
    end;

create function quality.insurer_number_ok(number text) returns boolean
    language sql immutable parallel safe
    return case when number ~ '^[0-9]{6}([0-9]{2})?$' then quality.check_digit_ok(number::bigint) else false end;

-- "field:code field:code" of a staged row's problems, for expectations to look into.
create function quality.problem_codes(problems jsonb) returns text
    language sql immutable parallel safe
    return (select coalesce(string_agg(p ->> 'field' || ':' || (p ->> 'code'), ' '), '')
            from jsonb_array_elements(problems) p);

revoke execute on all functions in schema quality from public;
grant execute on all functions in schema quality to sync_validate;
grant select on quality.run, quality.result to sync_validate, sync_merge, sync_run, sync_reader;
grant insert, update, delete on quality.run, quality.result, quality.left_out to sync_validate;
grant select on quality.left_out to sync_validate;
grant select on quality.accepted_office, quality.accepted_practitioner, quality.accepted_patient to sync_validate, sync_merge;
grant usage on schema quality to sync_reader;
grant select, insert, update on quarantine.row to sync_validate;
grant select, insert, update, delete on quarantine.failing_key to sync_validate;
