-- By the owner: two months before the runs of today, so that there is something to plot: the figures of today, gently changing.
insert into quality.day (partner, organization, entity, expectation, day, dimension, severity, runs, evaluated, failed)
select s.partner, s.organization, s.entity, s.expectation, (now() at time zone 'Asia/Tokyo')::date - ago, s.dimension,
    s.severity, 1, sum(s.evaluated),
    least(sum(s.evaluated), (sum(s.failed) * (1 + 0.4 * sin(ago / 5.0 + hashtext(s.expectation) % 7) + ago / 90.0))::bigint)
from quality.result s, generate_series(0, 60) ago
where extract(isodow from (now() at time zone 'Asia/Tokyo')::date - ago) < 7 or ago = 0
group by s.partner, s.organization, s.entity, s.expectation, ago, s.dimension, s.severity
on conflict do nothing;
insert into quality.day_score (partner, entity, day, dimension, severity, evaluated, failed)
select partner, entity, day, dimension, severity, sum(evaluated), sum(failed)
from quality.day group by partner, entity, day, dimension, severity
on conflict do nothing
