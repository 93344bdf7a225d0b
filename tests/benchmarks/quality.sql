-- A slice of %(records)s patients as extract leaves it, 2 %% of them dirty in six kinds (those of tests/sandbox/dirt.py).
insert into staging.patient (partner, organization, run_key, page, source_key, source_updated_at, problems, office_key,
    family_name, given_name, family_kana, given_kana, birth_date, gender, postal_code, prefecture, city, street, phone,
    insurer_number, insured_number, care_level, valid_from, valid_to, active, extra, raw)
select %(partner)s, %(organization)s, %(run_key)s, i / 500 + 1,
    'p-' || lpad((case when kind = 0 then i - 1 else i end)::text, 7, '0'),
    timestamptz '2026-01-01' + i * interval '1 second',
    case when kind = 1 then '[{"field": "care_level", "code": "unmapped_code", "critical": false}]'::jsonb end,
    'f-' || case when kind = 2 then 99 else i %% 3 + 1 end,
    (array ['佐藤', '鈴木', '高橋', '田中', '渡辺', '伊藤', '山本', '中村', '小林', '加藤'])[i %% 10 + 1],
    (array ['太郎', '花子', '一郎', '美咲', '健太', '陽子', '直樹', '裕美子', '翔', 'さくら', '学'])[i %% 11 + 1],
    case when kind = 3 then 'ｻﾄｳ'
        else (array ['サトウ', 'スズキ', 'タカハシ', 'タナカ', 'ワタナベ', 'イトウ', 'ヤマモト'])[i %% 7 + 1] end,
    (array ['タロウ', 'ハナコ', 'イチロウ', 'ミサキ', 'ケンタ', 'ヨウコ', 'ナオキ', 'ユミコ'])[i %% 8 + 1],
    case when kind = 4 then date '2093-05-01' else date '1925-01-01' + i %% 20000 end,
    (array ['male', 'female'])[i %% 2 + 1], lpad((i::bigint * 7919 %% 10000000)::text, 7, '0'), '東京都',
    (array ['文京区', '世田谷区', '八王子市', '武蔵野市'])[i %% 4 + 1], (i %% 9 + 1) || '丁目' || i %% 30 || '番',
    '03-' || lpad((i::bigint * 31 %% 10000)::text, 4, '0') || '-' || lpad((i::bigint * 17 %% 10000)::text, 4, '0'),
    case when kind = 5 then '138058' else (array ['138057', '33120015', '131011', '131029'])[i %% 2 + 1] end,
    lpad(i::text, 10, '0'), case when kind <> 1 then 'care_' || i %% 5 + 1 end, date '2020-04-01',
    case when i %% 3 = 0 then date '2027-03-31' end, true, '{"blood_type": "A"}',
    jsonb_build_object('id', i, 'name', jsonb_build_object('family', '佐藤', 'given', '太郎'), 'kana',
        jsonb_build_object('family', 'サトウ', 'given', 'タロウ'), 'birth', '1940-02-29', 'sex', 'male', 'address',
        jsonb_build_object('postal_code', '113-0021', 'prefecture', '東京都', 'city', '文京区', 'street', '本郷1-2-3'),
        'phone', '03-1234-5678', 'care', jsonb_build_object('insurer_number', '138057', 'insured_number', i, 'level', '21'),
        'valid_from', '2020-04-01', 'active', true, 'updated_at', '2026-01-01T09:00:00+09:00', 'blood_type', 'A')
from (select i, case when i %% 50 = 0 then i / 50 %% 6 else -1 end as kind from generate_series(1, %(records)s::integer) i) n;
insert into staging.slice (partner, organization, entity, run_key, mode, state, records)
values (%(partner)s, %(organization)s, 'patient', %(run_key)s, 'full', 'complete', %(records)s);
insert into canonical.office (id, organization)
select nextval('canonical.id_seq'), %(organization)s from generate_series(1, 3);
insert into canonical.crosswalk (partner, organization, entity, source_key, canonical_id, mastered, first_run_key)
select %(partner)s, %(organization)s, 'office', 'f-' || row_number() over (order by id), id, true, 'before'
from canonical.office
