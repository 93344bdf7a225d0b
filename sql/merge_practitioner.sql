-- The MERGE of practitioners: what is new, what really changed, and what came back after it was gone.

-- name: merge
-- A row that says the same as before is not touched. An unknown office is the validation's matter and stays empty here.
with done as (
    merge into canonical.practitioner as c
    using (
        select x.canonical_id as id, a.organization,
            coalesce(k.canonical_id, o.canonical_id) as office_id, a.family_name, a.given_name, a.family_kana,
            a.given_kana, a.role, a.license_number, a.valid_from, a.valid_to, coalesce(a.active, true) as active,
            a.extra
        from quality.accepted_practitioner a
        join canonical.crosswalk x
            on (x.partner, x.organization, x.entity, x.source_key) = (a.partner, a.organization, 'practitioner', a.source_key)
        left join canonical.key_map k
            on (k.partner, k.organization, k.entity, k.source_key) = (a.partner, a.organization, 'office', a.office_key)
        left join canonical.crosswalk o
            on (o.partner, o.organization, o.entity, o.source_key) = (a.partner, a.organization, 'office', a.office_key)
        where (a.partner, a.organization, a.run_key) = (%(partner)s, %(organization)s, %(run_key)s) and not a.deleted
    ) as s
    on c.id = s.id
    when matched and (
        c.deleted_at is not null or (
            c.office_id, c.family_name, c.given_name, c.family_kana, c.given_kana, c.role, c.license_number,
            c.valid_from, c.valid_to, c.active, c.extra
        ) is distinct from (
            s.office_id, s.family_name, s.given_name, s.family_kana, s.given_kana, s.role, s.license_number,
            s.valid_from, s.valid_to, s.active, s.extra
        )
    ) then update set
        office_id = s.office_id, family_name = s.family_name, given_name = s.given_name, family_kana = s.family_kana,
        given_kana = s.given_kana, role = s.role, license_number = s.license_number, valid_from = s.valid_from,
        valid_to = s.valid_to, active = s.active, extra = s.extra, updated_at = now(), deleted_at = null
    when not matched then insert (
        id, organization, office_id, family_name, given_name, family_kana, given_kana, role, license_number,
        valid_from, valid_to, active, extra
    ) values (
        s.id, s.organization, s.office_id, s.family_name, s.given_name, s.family_kana, s.given_kana, s.role,
        s.license_number, s.valid_from, s.valid_to, s.active, s.extra
    )
    returning merge_action() as action
)
select count(*) filter (where action = 'INSERT') as inserted, count(*) filter (where action = 'UPDATE') as updated
from done
