-- Why a merge was held, with its figures (design, rule 13). Writer: merge.

alter table canonical.slice_merge
    add column held jsonb,
    add constraint held_has_a_reason check (held is null or state = 'held');
comment on column canonical.slice_merge.held is 'Why, the figures, and at most 20 of our own ids that would have changed and 20 that would have gone.';
