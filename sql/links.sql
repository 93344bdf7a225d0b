-- name: enabled_links
-- The enabled links of a partner for one direction.
select l.partner, l.organization, l.connection_id, l.directions, l.release_mode, l.enabled,
    array(select m.entity from sync.link_master m
          where m.partner = l.partner and m.organization = l.organization order by m.entity) as master_of
from sync.link l
where l.partner = %(partner)s and l.enabled and %(direction)s = any (l.directions)
order by l.organization;

-- name: organization_codes
-- Every organization that we know.
select code from sync.organization order by code;

-- name: link
-- A link as it is, also a disabled one.
select l.partner, l.organization, l.connection_id, l.directions, l.release_mode, l.enabled,
    array(select m.entity from sync.link_master m
          where m.partner = l.partner and m.organization = l.organization order by m.entity) as master_of
from sync.link l
where l.partner = %(partner)s and l.organization = %(organization)s;

-- name: put_organization
-- Adds an organization (without a name it is called by its code), or renames it (without one it keeps its own).
insert into sync.organization as known (code, name) values (%(code)s::text, coalesce(%(name)s::text, %(code)s::text))
on conflict (code) do update set name = coalesce(%(name)s::text, known.name);

-- name: put_link
-- Adds a link, or replaces what it says.
insert into sync.link (partner, organization, connection_id, directions, release_mode, enabled)
values (%(partner)s, %(organization)s, %(connection_id)s, %(directions)s, %(release_mode)s, %(enabled)s)
on conflict (partner, organization) do update set
    connection_id = excluded.connection_id, directions = excluded.directions,
    release_mode = excluded.release_mode, enabled = excluded.enabled, updated_at = now();

-- name: drop_masters
-- Takes away the entities that the link no longer names.
delete from sync.link_master
where partner = %(partner)s and organization = %(organization)s and entity <> all (%(master_of)s);

-- name: put_master
-- Makes the partner the master of an entity, and says who is it: the key allows one only (rule 14).
with mine as (
    insert into sync.link_master (organization, entity, partner)
    values (%(organization)s, %(entity)s, %(partner)s)
    on conflict (organization, entity) do nothing
    returning partner
)
select partner from mine
union all
select partner from sync.link_master where organization = %(organization)s and entity = %(entity)s
limit 1;

-- name: ensure_partition
-- Makes the partner's staging partitions.
select staging.ensure_partition(%(partner)s);

-- name: has_row
-- Whether an organization has a row of an entity with this id.
select exists (select from canonical.office
               where %(entity)s = 'office' and id = %(canonical_id)s and organization = %(organization)s)
    or exists (select from canonical.practitioner
               where %(entity)s = 'practitioner' and id = %(canonical_id)s and organization = %(organization)s)
    or exists (select from canonical.patient
               where %(entity)s = 'patient' and id = %(canonical_id)s and organization = %(organization)s) as found;

-- name: key_is_taken
-- Whether a person has joined the partner's key to another row already.
select exists (select from canonical.key_map
               where (partner, organization, entity) = (%(partner)s, %(organization)s, %(entity)s)
               and source_key = %(source_key)s and canonical_id <> %(canonical_id)s) as found;

-- name: put_key
-- A person joins a canonical row to the partner's key.
insert into canonical.key_map (partner, organization, entity, canonical_id, source_key, joined_by)
values (%(partner)s, %(organization)s, %(entity)s, %(canonical_id)s, %(source_key)s, %(joined_by)s)
on conflict (partner, organization, entity, canonical_id) do update set
    source_key = excluded.source_key, joined_by = excluded.joined_by, joined_at = now();
