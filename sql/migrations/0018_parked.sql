-- Lost answers at a partner that takes no key and cannot be asked: a person says what became of them (rule 4).

-- What only a person can say (rule 4): the partner takes no idempotency key and cannot be asked, or its answers are of no use.
create view sync.parked as
select a.id as attempt_id, a.partner, a.organization, a.office_id, a.visit_id, a.version, a.week, a.action, a.sent_at
from sync.push_attempt a
where a.state = 'unknown' and a.settle_at = 'infinity';
comment on view sync.parked is 'Lost answers that a person answers with sync.answer_parked.';

-- Append-only: who said what became of which parked attempt. The key makes a task's retry say nothing twice.
create table sync.parked_answer (
    partner sync.code not null,
    organization sync.code not null,
    visit_id text not null,
    run_key text not null,
    attempt_id bigint not null references sync.push_attempt (id),
    there boolean not null,
    outcome text not null,
    requested_by text not null,
    at timestamptz not null default clock_timestamp(),
    primary key (partner, visit_id, run_key)
);
create trigger append_only before update or delete or truncate on sync.parked_answer
    for each statement execute function schedule.refuse('what a person said stays');

-- A person's word on a parked visit: whether the partner holds it now, as it was sent (a withdraw: whether it still holds
-- it). There: a put is accepted, a withdraw goes again. Not there: a put goes again, a withdraw is done. Returns what
-- becomes of it; null when nothing of this visit is parked. The same run_key again changes nothing and says the same.
-- 'Not there' says nothing about an older version, so what was held before stays known: a partner that names visits
-- itself is asked to change that one, and to create it only when it answers that there is none.
create function sync.answer_parked(p_partner text, p_organization text, p_visit_id text, p_there boolean,
    p_requested_by text, p_run_key text) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    a sync.push_attempt;
    found_outcome text;
    item jsonb;
begin
    perform from sync.visit_head h where h.visit_id = p_visit_id for no key update;
    select w.outcome into found_outcome from sync.parked_answer w
    where (w.partner, w.visit_id, w.run_key) = (p_partner, p_visit_id, p_run_key);
    if found then
        return found_outcome;
    end if;
    select b.* into a from sync.push_attempt b
    where b.partner = p_partner and b.organization = p_organization and b.visit_id = p_visit_id
      and b.state = 'unknown' and b.settle_at = 'infinity'
    for update;
    if not found then
        return null;
    end if;
    found_outcome := case when p_there = (a.action = 'withdraw') then 'retry' when p_there then 'accepted' else 'withdrawn' end;
    item := jsonb_build_object('attempt', a.id, 'outcome', found_outcome, 'counted', true,
        'code', case when p_there then 'person_says_there' else 'person_says_absent' end);
    -- A person's word uses up no item, however often it was sent before.
    perform sync.settle_items(jsonb_build_array(item), p_run_key, 2147483647);
    insert into sync.parked_answer (partner, organization, visit_id, run_key, attempt_id, there, outcome, requested_by)
    values (p_partner, p_organization, p_visit_id, p_run_key, a.id, p_there, found_outcome, p_requested_by);
    return found_outcome;
end $$;

revoke execute on all functions in schema sync from public;
grant execute on function sync.answer_parked to sync_release;
grant select on sync.parked, sync.parked_answer to sync_release, sync_push, sync_run;
