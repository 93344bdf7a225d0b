-- Two partners of the demo with a history of quality, some of it hostile to whoever shows it. By the owner.
insert into quality.expectation (entity, expectation, column_name, dimension, severity, owner, ja, en) values
    ('patient', 'record_readable', 'critical_problem', 'accuracy', 'critical', 'partner', '項目がすべて読み取れること。', 'Every field can be read.'),
    ('patient', 'family_name_present', 'family_name', 'completeness', 'warning', 'partner', '姓があること。', 'There is a family name.'),
    ('patient', 'hostile', 'phone', 'consistency', 'info', 'user', '<script>alert("ja")</script>', '<script>alert("en")</script>');
insert into quality.run (partner, organization, entity, run_key, evaluated, quarantined, returned, waiting, last_row_id, at)
select p, o, 'patient', p || '__master_sync/manual__2026-11-28T11:00:00+00:00', 100, 2, 1, 3, 1, now()
from unnest(array['honoka', 'tsubaki']) p, unnest(array['aoba', 'midori']) o;
insert into quality.result (partner, organization, entity, run_key, expectation, dimension, severity, owner, evaluated, failed)
select r.partner, r.organization, r.entity, r.run_key, x.expectation, x.dimension, x.severity, x.owner, 100, 3
from quality.run r join quality.expectation x using (entity);
insert into quality.day (partner, organization, entity, expectation, day, dimension, severity, runs, evaluated, failed)
select 'honoka', o, 'patient', x.expectation, (d at time zone 'Asia/Tokyo')::date, x.dimension, x.severity, 1, 100,
    case x.severity when 'critical' then 1 when 'warning' then 10 else 0 end
from quality.expectation x, unnest(array['aoba', 'midori']) o,
    generate_series(now() - interval '40 days', now(), interval '1 day') d;
insert into quality.day_score (partner, entity, day, dimension, severity, evaluated, failed)
select partner, entity, day, dimension, severity, sum(evaluated), sum(failed) from quality.day group by 1, 2, 3, 4, 5;
insert into quality.finding (partner, organization, entity, expectation, severity, opened_run_key, last_run_key, evaluated, failed)
select partner, organization, entity, expectation, severity, run_key, run_key, evaluated, failed from quality.result;
insert into quality.finding (partner, organization, entity, expectation, severity, opened_run_key, opened_at, last_run_key,
    evaluated, failed, closed_run_key, closed_at)
values ('honoka', 'aoba', 'patient', 'record_readable', 'critical', 'old/run', now() - interval '9 days', 'old/run', 10, 1,
    'old/run-2', now() - interval '8 days');
insert into quarantine.row (partner, organization, entity, source_key, fingerprint, reasons, staged, raw, first_run_key,
    last_run_key, first_seen_at)
select 'honoka', 'aoba', 'patient', case when n <> 3 then 'KEY-' || n end, case when n = 3 then 'f' end,
    '[{"expectation": "record_readable", "column": "critical_problem", "dimension": "accuracy", "severity": "critical", "owner": "partner"}]',
    '[{"family_name": "=SECRET山田", "given_name": "𠮷郎"}]',
    '[{"name": {"family": "=SECRET山田", "given": "<img src=x onerror=alert(1)>"}, "<b>field</b>": "𠮷", "n": 12, "f": 1.5, "ok": true, "none": null, "list": ["a", {"b": 1}]}]',
    'honoka__master_sync/manual__2026-11-28T11:00:00+00:00', 'honoka__master_sync/manual__2026-11-28T11:00:00+00:00',
    now() - n * interval '1 day'
from generate_series(1, 4) n;
insert into quarantine.failing_key (partner, organization, entity, expectation, source_key, first_run_key, last_run_key)
select 'honoka', 'aoba', 'patient', 'family_name_present', 'KEY-' || n, 'r', 'r' from generate_series(1, 60) n;
insert into audit.event (who, action, partner, organization, rows, reason)
values ('<i>somebody</i>', 'download_csv', 'honoka', 'aoba', 3, '<script>alert("reason")</script>');
