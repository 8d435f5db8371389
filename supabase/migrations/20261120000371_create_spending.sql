-- Spending of a generation: reserved with its lead, booked with a submit, corrected by the bill.
--
--             acquire_generation             begin_submit                   intend_upload, fail_generation
--   (none) ────────────────────► reserved ─────────────────► booked ─────────────────► the bill, or nothing
--                                   │
--     fail, complete, sweep, delete ▼
--     lapsed, and somebody needs it: given back
--
-- Lapsed: the lease of the generation ran out. What it reserved counts as free from then on, whether a sweep came by or
-- not. What a submit booked does not: money may be out.

create function copperplate.reserved_changes(p_reserved jsonb)
returns copperplate.budget_change array
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    if p_reserved is null then
        return array[]::copperplate.budget_change [];
    end if;
    return array(
        select row(
            n.name, copperplate.budget_day(n.name, (p_reserved ->> 'day')::date),
            -(p_reserved ->> 'amount_micro_usd')::bigint, -1, null, null, false
        )::copperplate.budget_change
        from jsonb_array_elements_text(p_reserved -> 'budgets') as n (name)
    );
end;
$$;

comment on function copperplate.reserved_changes(jsonb) is 'What giving a reservation back changes.';
revoke all on function copperplate.reserved_changes(jsonb) from public, anon, authenticated;
grant execute on function copperplate.reserved_changes(jsonb) to service_role;

create function copperplate.release_spending(p_reserved jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if p_reserved is not null then
        perform copperplate.change_budgets(copperplate.reserved_changes(p_reserved));
    end if;
end;
$$;

comment on function copperplate.release_spending(jsonb) is
'Give a reservation back, which the caller has taken off its generation.';
revoke all on function copperplate.release_spending(jsonb) from public, anon, authenticated;
grant execute on function copperplate.release_spending(jsonb) to service_role;

create function copperplate.release_all_spending(p_reserved jsonb[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- All in one, so that budgets are locked in order.
    perform copperplate.change_budgets(array(
        select c::copperplate.budget_change
        from unnest(p_reserved) as r (reserved)
        cross join lateral unnest(copperplate.reserved_changes(r.reserved)) as c
    ))
    where p_reserved <> '{}';
end;
$$;

comment on function copperplate.release_all_spending(jsonb[]) is
'Give these reservations back, which the caller has taken off their generations.';
revoke all on function copperplate.release_all_spending(jsonb[]) from public, anon, authenticated;
grant execute on function copperplate.release_all_spending(jsonb[]) to service_role;

create function copperplate.take_lapsed(p_budgets text[], p_key text)
returns copperplate.budget_change array
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_changes copperplate.budget_change [] := array[]::copperplate.budget_change [];
    v_reserved jsonb;
begin
    -- Generations come before budgets in the order of locks, and the caller holds one; who skips waits for nobody.
    for v_reserved in
        with lapsed as (
            select g.prompt_hash, g.reserved
            from public.generation_status as g
            where
                g.status in ('pending', 'generating') and g.lease_until <= v_now and g.prompt_hash <> p_key
                and g.reserved -> 'budgets' ?| p_budgets
            for update skip locked
        )

        update public.generation_status as g
        set reserved = null, updated_at = v_now
        from lapsed as l
        where g.prompt_hash = l.prompt_hash
        returning l.reserved
    loop
        v_changes := v_changes || copperplate.reserved_changes(v_reserved);
    end loop;
    return v_changes;
end;
$$;

comment on function copperplate.take_lapsed(text[], text) is
'Take reservations of these budgets off the generations whose lease ran out, other than the caller''s; answers what
giving them back changes.';
revoke all on function copperplate.take_lapsed(text[], text) from public, anon, authenticated;
grant execute on function copperplate.take_lapsed(text[], text) to service_role;

create function copperplate.reservation_of(p_look copperplate.budget_look, p_spending jsonb)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return jsonb_build_object(
        'day', p_look.day, 'amount_micro_usd', p_spending -> 'amount_micro_usd', 'budgets', jsonb_agg(s.budget)
    )
    from unnest(p_look.states) as s
    where s.is_own
    having count(*) > 0;
end;
$$;

comment on function copperplate.reservation_of(copperplate.budget_look, jsonb) is
'What a lead reserves, {day, amount_micro_usd, budgets}: the caller''s own budgets; null where there are none.';
revoke all on function copperplate.reservation_of(copperplate.budget_look, jsonb) from public, anon, authenticated;
grant execute on function copperplate.reservation_of(copperplate.budget_look, jsonb) to service_role;

-- What is in both is kept: only what a reservation has too much is given back, and booked what it lacks.
create function copperplate.book_spending(
    p_key text, p_look copperplate.budget_look, p_spending jsonb, p_reserved jsonb, p_is_submit boolean
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    v_amount bigint := (p_spending ->> 'amount_micro_usd')::bigint;
    v_changes copperplate.budget_change [];
begin
    v_changes := array(
        select row(s.budget, s.day, v_amount, 1, s.limit_micro_usd, s.limit_pictures, true)::copperplate.budget_change
        from unnest(p_look.states) as s
        where p_is_submit or s.is_own
    );
    if p_reserved is not null then
        v_changes := v_changes || copperplate.reserved_changes(p_reserved);
    end if;
    if p_look.needs_lapsed then
        v_changes := v_changes || copperplate.take_lapsed(array(select s.budget from unnest(p_look.states) as s), p_key);
    end if;
    perform copperplate.change_budgets(v_changes, p_spending -> 'budgets');
end;
$$;

comment on function copperplate.book_spending(text, copperplate.budget_look, jsonb, jsonb, boolean) is
'Book the caller''s own budgets, and for a submit the house''s, instead of what the generation reserved before; ZC011
where one has no room.';
revoke all on function copperplate.book_spending(text, copperplate.budget_look, jsonb, jsonb, boolean)
from public, anon, authenticated;
grant execute on function copperplate.book_spending(text, copperplate.budget_look, jsonb, jsonb, boolean)
to service_role;

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
