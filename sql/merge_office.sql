-- The MERGE of offices: what is new, what really changed, and what came back after it was gone.

-- name: merge
-- A row that says the same as before is not touched. An unknown office is the validation's matter and stays empty here.
with done as (
    merge into canonical.office as c
    using (
        select x.canonical_id as id, a.organization,
            a.office_number, a.name, a.kana, a.postal_code, a.address, a.phone, coalesce(a.active, true) as active,
            a.extra
        from quality.accepted_office a
        join canonical.crosswalk x
            on (x.partner, x.organization, x.entity, x.source_key) = (a.partner, a.organization, 'office', a.source_key)
        where (a.partner, a.organization, a.run_key) = (%(partner)s, %(organization)s, %(run_key)s) and not a.deleted
    ) as s
    on c.id = s.id
    when matched and (
        c.deleted_at is not null or (
            c.office_number, c.name, c.kana, c.postal_code, c.address, c.phone, c.active, c.extra
        ) is distinct from (
            s.office_number, s.name, s.kana, s.postal_code, s.address, s.phone, s.active, s.extra
        )
    ) then update set
        office_number = s.office_number, name = s.name, kana = s.kana, postal_code = s.postal_code,
        address = s.address, phone = s.phone, active = s.active, extra = s.extra, updated_at = now(),
        deleted_at = null
    when not matched then insert (
        id, organization, office_number, name, kana, postal_code, address, phone, active, extra
    ) values (
        s.id, s.organization, s.office_number, s.name, s.kana, s.postal_code, s.address, s.phone, s.active, s.extra
    )
    returning merge_action() as action
)
select count(*) filter (where action = 'INSERT') as inserted, count(*) filter (where action = 'UPDATE') as updated
from done
