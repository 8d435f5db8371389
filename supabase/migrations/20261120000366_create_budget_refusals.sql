-- Who is refused by a budget, told without a lock and before anything is written.

create function copperplate.is_closed(p_state copperplate.budget_state)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return coalesce(0 in (p_state.cap_micro_usd, p_state.cap_pictures), false);
end;
$$;

comment on function copperplate.is_closed(copperplate.budget_state) is
'Whether a cap of zero refuses everything, whatever is reset.';
revoke all on function copperplate.is_closed(copperplate.budget_state) from public, anon, authenticated;
grant execute on function copperplate.is_closed(copperplate.budget_state) to service_role;

create function copperplate.refusal(
    p_state copperplate.budget_state, p_reason text, p_used_micro_usd bigint, p_used_pictures bigint,
    p_now timestamptz
)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
    -- Midnight opens nothing that was closed.
    v_resets_at timestamptz := case
        when p_state.day > '-infinity' and not copperplate.is_closed(p_state)
            then (p_state.day + 1)::timestamp at time zone 'UTC'
    end;
begin
    return jsonb_build_object(
        'reason', p_reason,
        -- An address is in no answer.
        'budget', case when p_state.name like 'address:%' then 'address' else p_state.name end,
        'cap_micro_usd', p_state.cap_micro_usd,
        'left_micro_usd', case
            when p_state.cap_micro_usd > 0 then greatest(p_state.limit_micro_usd - p_used_micro_usd, 0)
            else p_state.cap_micro_usd
        end,
        'cap_pictures', p_state.cap_pictures,
        'left_pictures', case
            when p_state.cap_pictures > 0 then greatest(p_state.limit_pictures - p_used_pictures, 0)
            else p_state.cap_pictures
        end,
        'resets_at', to_char(v_resets_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        'retry_after_ms', case
            when p_reason <> 'used_up' then 5000
            -- Somebody has to put something in, or to open it.
            when v_resets_at is null then 3600000
            else ceil(extract(epoch from v_resets_at - p_now) * 1000)::bigint
        end
    );
end;
$$;

comment on function copperplate.refusal(copperplate.budget_state, text, bigint, bigint, timestamptz) is
'What a caller is told whom a budget refuses: used_up, in_flight or too_many, what is left, and when to come again.';
revoke all on function copperplate.refusal(copperplate.budget_state, text, bigint, bigint, timestamptz)
from public, anon, authenticated;
grant execute on function copperplate.refusal(copperplate.budget_state, text, bigint, bigint, timestamptz)
to service_role;

-- The slow half of the look, for who finds no room: what lapsed is free, and what is under way may come back.
create function copperplate.look_again(
    p_look copperplate.budget_look, p_amount bigint, p_now timestamptz, p_key text
)
returns copperplate.budget_look
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v copperplate.budget_look := p_look;
    v_short record;
    v_lasting integer;
    v_most_lasting integer := 0;
begin
    for v_short in
        with short as (
            select s.*
            from unnest(p_look.states) with ordinality as s (
                name, budget, day, is_own, cap_micro_usd, cap_pictures, limit_micro_usd, limit_pictures,
                used_micro_usd, used_pictures, place
            )
            where not copperplate.has_room(p_look.states[s.place], p_amount, 0, 0)
        ),

        held as (
            select
                h.budget,
                coalesce(sum(h.micro_usd) filter (where h.is_lapsed), 0)::bigint as lapsed,
                coalesce(sum(h.pictures) filter (where h.is_lapsed), 0)::bigint as lapsed_pictures,
                sum(h.micro_usd)::bigint as all_of_it, sum(h.pictures)::bigint as all_pictures
            from copperplate.unsettled(array(select s.budget from short as s), p_look.day, p_key) as h
            group by h.budget
        )

        select
            s.place, s.used_micro_usd - coalesce(h.lapsed, 0) as used_micro_usd,
            s.used_pictures - coalesce(h.lapsed_pictures, 0) as used_pictures,
            h.budget is not null
            and copperplate.has_room(p_look.states[s.place], p_amount, h.lapsed, h.lapsed_pictures) as has_room,
            h.budget is not null
            and copperplate.has_room(p_look.states[s.place], p_amount, h.all_of_it, h.all_pictures) as is_in_flight
        from short as s
        left join held as h on s.budget = h.budget
        order by s.place
    loop
        if v_short.has_room then
            v.needs_lapsed := true;
            continue;
        end if;
        -- What lasts longest is told, and of that the widest, which stands last: neither midnight nor another key helps.
        v_lasting := case
            when copperplate.is_closed(p_look.states[v_short.place]) then 3
            when not v_short.is_in_flight then 2
            else 1
        end;
        if v_lasting >= v_most_lasting then
            v_most_lasting := v_lasting;
            v.refusal := copperplate.refusal(
                p_look.states[v_short.place], case when v_lasting = 1 then 'in_flight' else 'used_up' end,
                v_short.used_micro_usd, v_short.used_pictures, p_now
            );
        end if;
    end loop;
    return v;
end;
$$;

comment on function copperplate.look_again(copperplate.budget_look, bigint, timestamptz, text) is
'Of the budgets without room: whether lapsed reservations make it, or else the refusal.';
revoke all on function copperplate.look_again(copperplate.budget_look, bigint, timestamptz, text)
from public, anon, authenticated;
grant execute on function copperplate.look_again(copperplate.budget_look, bigint, timestamptz, text) to service_role;

create function copperplate.has_room(
    p_state copperplate.budget_state, p_amount bigint, p_free_micro_usd bigint, p_free_pictures bigint
)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return (
        p_state.cap_micro_usd > 0 and p_state.used_micro_usd - p_free_micro_usd + p_amount <= p_state.limit_micro_usd
    ) is not false
    and (
        p_state.cap_pictures > 0 and p_state.used_pictures - p_free_pictures + 1 <= p_state.limit_pictures
    ) is not false;
end;
$$;

comment on function copperplate.has_room(copperplate.budget_state, bigint, bigint, bigint) is
'Whether one more picture of this amount fits, where so much of what is used were free. A cap of zero has no room.';
revoke all on function copperplate.has_room(copperplate.budget_state, bigint, bigint, bigint)
from public, anon, authenticated;
grant execute on function copperplate.has_room(copperplate.budget_state, bigint, bigint, bigint) to service_role;

create function copperplate.find_refusal(p_spending jsonb, p_now timestamptz, p_key text, p_reserved jsonb)
returns copperplate.budget_look
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v copperplate.budget_look;
    v_amount bigint := (p_spending ->> 'amount_micro_usd')::bigint;
    v_state copperplate.budget_state;
    v_is_short boolean := false;
    v_permille bigint;
begin
    -- Closed where it cannot be told: a program that does not know what it spends may not.
    if (v_amount between 0 and 1000000000000000) is not true then
        raise exception 'the amount to spend is not known'
            using errcode = 'ZC012', hint = 'Send amount_micro_usd, from 0 to 1000000000000000.';
    end if;
    v.day := (p_now at time zone 'UTC')::date;
    v.states := copperplate.budget_states(p_spending -> 'budgets', p_now, p_reserved);
    foreach v_state in array v.states loop
        v.budgets := v.budgets || v_state.budget;
        if v_state.is_own then
            v.own := v.own || v_state.budget;
        end if;
        v.lacks_salt := v.lacks_salt or v_state.budget is null;
        if
            (v_state.cap_micro_usd > 0 and v_state.used_micro_usd + v_amount <= v_state.limit_micro_usd) is false
            or (v_state.cap_pictures > 0 and v_state.used_pictures < v_state.limit_pictures) is false
        then
            v_is_short := true;
        end if;
        v_permille := greatest(
            (v_state.used_micro_usd + v_amount) * 1000 / nullif(v_state.limit_micro_usd, 0),
            (v_state.used_pictures + 1) * 1000 / nullif(v_state.limit_pictures, 0)
        );
        -- Addresses and users are many, and in no line.
        if v_permille >= 800 and v_state.name !~ '^(prepaid/)?(address|user):' then
            v.near_caps := coalesce(v.near_caps, '[]')
                || jsonb_build_object('budget', v_state.name, 'permille', v_permille);
        end if;
    end loop;
    return case when v_is_short then copperplate.look_again(v, v_amount, p_now, p_key) else v end;
end;
$$;

comment on function copperplate.find_refusal(jsonb, timestamptz, text, jsonb) is
'Look whether budgets have room for p_spending, {amount_micro_usd, max_in_flight, budgets}: null as refusal where all
have room, or would by what lapsed. Volatile, as each call is to see what was committed before it.';
revoke all on function copperplate.find_refusal(jsonb, timestamptz, text, jsonb) from public, anon, authenticated;
grant execute on function copperplate.find_refusal(jsonb, timestamptz, text, jsonb) to service_role;
