-- 200 partners, a year of nightly runs of 3 entities, {expectations} expectations each; findings and quarantine to match.
create table public.partner as
select 'partner-' || to_char(n, 'FM000') as partner, n from generate_series(1, {partners}) n;
create table public.rule as
select e as entity, 'expectation_' || to_char(n, 'FM00') as expectation,
    (array['completeness', 'accuracy', 'uniqueness', 'consistency', 'timeliness'])[n % 5 + 1] as dimension,
    (array['critical', 'warning', 'warning', 'info'])[n % 4 + 1] as severity, n
from unnest(array['office', 'patient', 'practitioner']) e, generate_series(1, {expectations}) n;
insert into quality.expectation (entity, expectation, column_name, dimension, severity, owner, ja, en)
select entity, expectation, 'family_name', dimension, severity, 'partner', '期待する文 ' || n, 'Something is expected ' || n
from public.rule;
insert into quality.run (partner, organization, entity, run_key, evaluated, quarantined, returned, waiting, last_row_id, at)
select p.partner, 'aoba', e, p.partner || '__master_sync/scheduled__' || d::date, 1000, 3, 1, 20, 1, d
from public.partner p, unnest(array['office', 'patient', 'practitioner']) e,
    generate_series(now() - interval '1 day' * ({days} - 1), now(), interval '1 day') d
order by 1, 2, 3, 4;
insert into quality.result (partner, organization, entity, run_key, expectation, dimension, severity, owner, evaluated, failed)
select r.partner, r.organization, r.entity, r.run_key, x.expectation, x.dimension, x.severity, 'partner', 1000,
    (x.n * 7 + extract(doy from r.at)::integer) % 23
from quality.run r join public.rule x using (entity)
order by 1, 2, 3, 4, 5;
insert into quality.day (partner, organization, entity, expectation, day, dimension, severity, runs, evaluated, failed)
select r.partner, r.organization, r.entity, x.expectation, (r.at at time zone 'Asia/Tokyo')::date, x.dimension,
    x.severity, 1, 1000, (x.n * 7 + extract(doy from r.at)::integer) % 23
from quality.run r join public.rule x using (entity)
order by 1, 2, 3, 4, 5;
insert into quality.day_score (partner, entity, day, dimension, severity, evaluated, failed)
select partner, entity, day, dimension, severity, sum(evaluated), sum(failed)
from quality.day group by 1, 2, 3, 4, 5;
insert into quality.finding (partner, organization, entity, expectation, severity, opened_run_key, opened_at, last_run_key,
    last_seen_at, runs, evaluated, failed, closed_run_key, closed_at)
select p.partner, 'aoba', x.entity, x.expectation, x.severity, p.partner || '__master_sync/scheduled__' || (now() - age)::date,
    now() - age, p.partner || '__master_sync/scheduled__' || (now() - age / 2)::date, now() - age / 2, 10, 1000, 5,
    case when m > 1 then p.partner || '__master_sync/scheduled__' || (now() - age / 3)::date end,
    case when m > 1 then now() - age / 3 end
from public.partner p, public.rule x, generate_series(1, 12) m, lateral (select interval '1 day' * (m * 30 - 20) as age) a;
insert into quarantine.row (partner, organization, entity, source_key, status, reasons, staged, raw, first_seen_at,
    first_run_key, last_run_key, returned_at, returned_run_key, returned_as)
select p.partner, 'aoba', 'patient', 'key-' || m, case when m > 40 then 'returned' else 'open' end,
    '[{{"expectation": "expectation_04", "column": "birth_date", "dimension": "accuracy", "severity": "critical", "owner": "partner"}}]',
    '[{{"family_name": "山田"}}]',
    jsonb_build_array(jsonb_build_object('id', m, 'name', jsonb_build_object('family', '山田', 'given', '太郎'), 'birth', '1940-02-30',
        'address', repeat('東京都文京区', 5))),
    now() - interval '1 hour' * m, 'first', 'last', case when m > 40 then now() end, case when m > 40 then 'r' end,
    case when m > 40 then 'newer' end
from public.partner p, generate_series(1, 500) m;
insert into quarantine.failing_key (partner, organization, entity, expectation, source_key, first_run_key, last_run_key)
select p.partner, 'aoba', x.entity, x.expectation, 'key-' || m, 'first', 'last'
from public.partner p, public.rule x, generate_series(1, 20) m;
insert into audit.event (who, action, partner, organization, entity, subject, rows)
select 'op', 'unmask_record', p.partner, 'aoba', 'patient', m, 1 from public.partner p, generate_series(1, 100) m;
drop table public.partner;
drop table public.rule;
vacuum analyze
