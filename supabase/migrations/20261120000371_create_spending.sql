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
    if p_look.own is null then
        return null;
    end if;
    return jsonb_build_object(
        'day', p_look.day, 'amount_micro_usd', p_spending -> 'amount_micro_usd', 'budgets', p_look.own
    );
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
as $$
declare
    v_amount bigint := (p_spending ->> 'amount_micro_usd')::bigint;
    v_state copperplate.budget_state;
    v_is_kept boolean := p_reserved is not null;
begin
    if p_look.needs_lapsed or (v_is_kept and p_reserved is distinct from copperplate.reservation_of(p_look, p_spending)) then
        perform copperplate.change_budgets(
            copperplate.spending_changes(p_key, p_look, v_amount, p_reserved, p_is_submit), p_spending -> 'budgets'
        );
        return;
    end if;
    -- Nearly always: nothing to give back, and a caller names budgets in the order of locks.
    foreach v_state in array p_look.states loop
        continue when v_state.is_own and v_is_kept or not (v_state.is_own or p_is_submit);
        begin
            update copperplate.budget_usage as u
            set spent_micro_usd = u.spent_micro_usd + v_amount, pictures = u.pictures + 1
            where u.budget = v_state.budget and u.day = v_state.day and u.stripe = (
                -- As copperplate.fits has it.
                select s.stripe
                from copperplate.budget_usage as s
                where
                    s.budget = v_state.budget and s.day = v_state.day
                    and s.limit_micro_usd is not distinct from v_state.limit_micro_usd
                    and s.limit_pictures is not distinct from v_state.limit_pictures
                    and (s.spent_micro_usd + v_amount <= s.allowed_micro_usd) is not false
                    and (s.pictures < s.allowed_pictures) is not false
                limit 1
                for update skip locked
            );
            if not found then
                raise exception 'no stripe is free' using errcode = 'ZC013';
            end if;
        exception
            when sqlstate 'ZC013' then
                perform copperplate.change_budgets(
                    array[row(
                        v_state.budget, v_state.day, v_amount, 1, v_state.limit_micro_usd, v_state.limit_pictures, true
                    )::copperplate.budget_change],
                    p_spending -> 'budgets'
                );
        end;
    end loop;
end;
$$;

comment on function copperplate.book_spending(text, copperplate.budget_look, jsonb, jsonb, boolean) is
'Book the caller''s own budgets, and for a submit the house''s, instead of what the generation reserved before; ZC011
where one has no room.';
revoke all on function copperplate.book_spending(text, copperplate.budget_look, jsonb, jsonb, boolean)
from public, anon, authenticated;
grant execute on function copperplate.book_spending(text, copperplate.budget_look, jsonb, jsonb, boolean)
to service_role;

create function copperplate.spending_changes(
    p_key text, p_look copperplate.budget_look, p_amount bigint, p_reserved jsonb, p_is_submit boolean
)
returns copperplate.budget_change array
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_changes copperplate.budget_change [];
begin
    v_changes := array(
        select row(s.budget, s.day, p_amount, 1, s.limit_micro_usd, s.limit_pictures, true)::copperplate.budget_change
        from unnest(p_look.states) as s
        where p_is_submit or s.is_own
    );
    v_changes := v_changes || copperplate.reserved_changes(p_reserved);
    if p_look.needs_lapsed then
        v_changes := v_changes || copperplate.take_lapsed(p_look.own, p_key);
    end if;
    return v_changes;
end;
$$;

comment on function copperplate.spending_changes(text, copperplate.budget_look, bigint, jsonb, boolean) is
'What booking changes where the generation reserved something else before, or what lapsed is to make the room.';
revoke all on function copperplate.spending_changes(text, copperplate.budget_look, bigint, jsonb, boolean)
from public, anon, authenticated;
grant execute on function copperplate.spending_changes(text, copperplate.budget_look, bigint, jsonb, boolean)
to service_role;
