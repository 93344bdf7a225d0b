-- The MERGE of patients: what is new, what really changed, and what came back after it was gone.

-- name: merge
-- A row that says the same as before is not touched. An unknown office is the validation's matter and stays empty here.
with done as (
    merge into canonical.patient as c
    using (
        select x.canonical_id as id, a.organization,
            coalesce(k.canonical_id, o.canonical_id) as office_id, a.family_name, a.given_name, a.family_kana,
            a.given_kana, a.birth_date, a.gender, a.postal_code, a.prefecture, a.city, a.street, a.phone,
            a.insurer_number, a.insured_number, a.care_level, a.valid_from, a.valid_to,
            coalesce(a.active, true) as active, a.extra
        from quality.accepted_patient a
        join canonical.crosswalk x
            on (x.partner, x.organization, x.entity, x.source_key) = (a.partner, a.organization, 'patient', a.source_key)
        left join canonical.key_map k
            on (k.partner, k.organization, k.entity, k.source_key) = (a.partner, a.organization, 'office', a.office_key)
        left join canonical.crosswalk o
            on (o.partner, o.organization, o.entity, o.source_key) = (a.partner, a.organization, 'office', a.office_key)
        where (a.partner, a.organization, a.run_key) = (%(partner)s, %(organization)s, %(run_key)s) and not a.deleted
    ) as s
    on c.id = s.id
    when matched and (
        c.deleted_at is not null or (
            c.office_id, c.family_name, c.given_name, c.family_kana, c.given_kana, c.birth_date, c.gender,
            c.postal_code, c.prefecture, c.city, c.street, c.phone, c.insurer_number, c.insured_number, c.care_level,
            c.valid_from, c.valid_to, c.active, c.extra
        ) is distinct from (
            s.office_id, s.family_name, s.given_name, s.family_kana, s.given_kana, s.birth_date, s.gender,
            s.postal_code, s.prefecture, s.city, s.street, s.phone, s.insurer_number, s.insured_number, s.care_level,
            s.valid_from, s.valid_to, s.active, s.extra
        )
    ) then update set
        office_id = s.office_id, family_name = s.family_name, given_name = s.given_name, family_kana = s.family_kana,
        given_kana = s.given_kana, birth_date = s.birth_date, gender = s.gender, postal_code = s.postal_code,
        prefecture = s.prefecture, city = s.city, street = s.street, phone = s.phone,
        insurer_number = s.insurer_number, insured_number = s.insured_number, care_level = s.care_level,
        valid_from = s.valid_from, valid_to = s.valid_to, active = s.active, extra = s.extra, updated_at = now(),
        deleted_at = null
    when not matched then insert (
        id, organization, office_id, family_name, given_name, family_kana, given_kana, birth_date, gender,
        postal_code, prefecture, city, street, phone, insurer_number, insured_number, care_level, valid_from,
        valid_to, active, extra
    ) values (
        s.id, s.organization, s.office_id, s.family_name, s.given_name, s.family_kana, s.given_kana, s.birth_date,
        s.gender, s.postal_code, s.prefecture, s.city, s.street, s.phone, s.insurer_number, s.insured_number,
        s.care_level, s.valid_from, s.valid_to, s.active, s.extra
    )
    returning merge_action() as action
)
select count(*) filter (where action = 'INSERT') as inserted, count(*) filter (where action = 'UPDATE') as updated
from done
