-- A lead: looked for in every budget of a caller, reserved in its own.

create function copperplate.count_in_flight(p_budget text, p_key text)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return count(*)
    from public.generation_status as g
    left join lateral (
        select s.budgets
        from copperplate.submits as s
        where s.generation_key = g.prompt_hash
        order by s.id desc
        limit 1
    ) as n on g.reserved is null
    where
        g.status in ('pending', 'generating') and g.lease_until > copperplate.clock() and g.prompt_hash <> p_key
        and (g.reserved -> 'budgets' ? p_budget or p_budget = any(n.budgets));
end;
$$;

comment on function copperplate.count_in_flight(text, text) is
'How many generations are led now, other than the one with p_key, that spend from this budget.';
revoke all on function copperplate.count_in_flight(text, text) from public, anon, authenticated;
grant execute on function copperplate.count_in_flight(text, text) to service_role;

create function copperplate.look_for_lead(p_spending jsonb, p_key text, p_is_new boolean)
returns copperplate.budget_look
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v copperplate.budget_look;
    v_now timestamptz := copperplate.clock();
    v_reserved jsonb;
    v_most bigint := (p_spending ->> 'max_in_flight')::bigint;
begin
    if not p_is_new then
        select g.reserved into v_reserved from public.generation_status as g where g.prompt_hash = p_key;
    end if;
    v := copperplate.find_refusal(p_spending, v_now, p_key, v_reserved);
    if v.refusal is null and v.lacks_salt then
        perform copperplate.make_salts(v.day);
        v := copperplate.find_refusal(p_spending, v_now, p_key, v_reserved);
    end if;
    -- Only who may pass holds the user: a deletion of many is waited for by nobody whom a budget refuses.
    if v.refusal is null then
        perform copperplate.hold_user(p_spending);
        if copperplate.is_forgotten(p_spending #>> '{budgets,0,name}') then
            v := copperplate.find_refusal(p_spending, v_now, p_key, v_reserved);
        end if;
    end if;
    if v.refusal is not null or v_most is null or not v.states[1].is_own then
        return v;
    end if;

    -- Refused by a look; who may pass counts again while nobody else of this caller does.
    if copperplate.count_in_flight(v.states[1].budget, p_key) < v_most then
        perform pg_advisory_xact_lock(hashtextextended('copperplate ' || v.states[1].budget, 0));
        if copperplate.count_in_flight(v.states[1].budget, p_key) < v_most then
            return v;
        end if;
    end if;
    v.refusal := copperplate.refusal(
        v.states[1], 'too_many', v.states[1].used_micro_usd, v.states[1].used_pictures, v_now
    );
    return v;
end;
$$;

comment on function copperplate.look_for_lead(jsonb, text, boolean) is
'Look whether a caller may lead, by all its budgets and by how much of its own is under way. A caller with a limit of
that is held apart from itself until its transaction ends.';
revoke all on function copperplate.look_for_lead(jsonb, text, boolean) from public, anon, authenticated;
grant execute on function copperplate.look_for_lead(jsonb, text, boolean) to service_role;

create function copperplate.reserve_spending(
    p_key text, p_look copperplate.budget_look, p_spending jsonb, p_is_new boolean
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_reserved jsonb;
begin
    if not p_is_new then
        -- Read again, as the caller holds the row only now.
        select g.reserved into v_reserved from public.generation_status as g where g.prompt_hash = p_key;
        update public.generation_status as g
        set reserved = copperplate.reservation_of(p_look, p_spending)
        where g.prompt_hash = p_key;
    end if;
    perform copperplate.book_spending(p_key, p_look, p_spending, v_reserved, false);
end;
$$;

comment on function copperplate.reserve_spending(text, copperplate.budget_look, jsonb, boolean) is
'Reserve a new leader''s own budgets: what its predecessor reserved of the same is kept, the rest of it given back.';
revoke all on function copperplate.reserve_spending(text, copperplate.budget_look, jsonb, boolean)
from public, anon, authenticated;
grant execute on function copperplate.reserve_spending(text, copperplate.budget_look, jsonb, boolean) to service_role;
