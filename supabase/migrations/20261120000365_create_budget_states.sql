-- What is left of budgets, and who is refused for it: reads alone.

-- One of the budgets that a caller names, as it stands.
create type copperplate.budget_state as (
    -- As sent, and as stored; null where there is no salt yet, and so nothing used.
    name text,
    budget text,
    day date,
    is_own boolean,
    cap_micro_usd bigint,
    cap_pictures bigint,
    -- The cap, and what resets added; null without a cap.
    limit_micro_usd bigint,
    limit_pictures bigint,
    -- Without what the asking generation itself reserved.
    used_micro_usd bigint,
    used_pictures bigint
);

comment on type copperplate.budget_state is 'The caps of a budget and what is used of them.';
revoke all on type copperplate.budget_state from public, anon, authenticated;
grant usage on type copperplate.budget_state to service_role;

-- What a look at all budgets of a caller finds.
create type copperplate.budget_look as (
    refusal jsonb,
    near_caps jsonb,
    -- Whether the room is what lapsed reservations hold.
    needs_lapsed boolean,
    lacks_salt boolean,
    day date,
    states copperplate.budget_state array,
    -- As they are stored: the caller's own, and all of them.
    own text array,
    budgets text array
);

comment on type copperplate.budget_look is 'What a look at the budgets of a caller finds.';
revoke all on type copperplate.budget_look from public, anon, authenticated;
grant usage on type copperplate.budget_look to service_role;

-- Of a cap as many thousandths as are set; in two parts, so that no cap is too high for it.
create function copperplate.share(p_cap bigint, p_permille integer)
returns bigint
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return p_cap / 1000 * p_permille + p_cap % 1000 * p_permille / 1000;
end;
$$;

comment on function copperplate.share(bigint, integer) is 'So many thousandths of a cap; null of none.';
revoke all on function copperplate.share(bigint, integer) from public, anon, authenticated;
grant execute on function copperplate.share(bigint, integer) to service_role;

create function copperplate.address_budget(p_name text, p_day date)
returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return 'address:' || left(encode(sha256(s.salt || convert_to(p_name, 'UTF8')), 'hex'), 40)
    from copperplate.address_salts as s
    where s.day = p_day;
end;
$$;

comment on function copperplate.address_budget(text, date) is
'The name under which the budget of an address is stored on a day; null where that has no salt yet.';
revoke all on function copperplate.address_budget(text, date) from public, anon, authenticated;
grant execute on function copperplate.address_budget(text, date) to service_role;

create function copperplate.set_caps(p_budgets jsonb, p_now timestamptz)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return jsonb_object_agg(b.name, jsonb_build_object(
        -- An override stands until its end.
        'micro_usd', coalesce(case when b.override_until > p_now then b.override_micro_usd end, b.cap_micro_usd),
        'pictures', coalesce(case when b.override_until > p_now then b.override_pictures end, b.cap_pictures),
        'reset_micro_usd', coalesce(r.micro_usd, 0),
        'reset_pictures', coalesce(r.pictures, 0)
    ))
    from jsonb_to_recordset(p_budgets) as a (name text)
    inner join copperplate.budgets as b on b.name in (a.name, 'prepaid/' || a.name)
    left join copperplate.budget_resets as r
        on b.name = r.budget and copperplate.budget_day(b.name, (p_now at time zone 'UTC')::date) = r.day;
end;
$$;

comment on function copperplate.set_caps(jsonb, timestamptz) is
'What operators did to these budgets and to the prepaid ones beside them, by name; null where they did nothing.';
revoke all on function copperplate.set_caps(jsonb, timestamptz) from public, anon, authenticated;
grant execute on function copperplate.set_caps(jsonb, timestamptz) to service_role;

create function copperplate.limited(
    p_name text, p_budget text, p_day date, p_is_own boolean, p_cap_micro_usd bigint, p_cap_pictures bigint,
    p_set jsonb, p_used_micro_usd bigint, p_used_pictures bigint, p_reserved jsonb
)
returns copperplate.budget_state
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
    c_most constant bigint := 1000000000000000;
    v_is_ours boolean := p_reserved -> 'budgets' ? p_budget
    and (p_day = '-infinity' or (p_reserved ->> 'day')::date = p_day);
begin
    return row(
        p_name, p_budget, p_day, p_is_own, p_cap_micro_usd, p_cap_pictures,
        -- A cap of zero refuses, whatever was reset; of one that nobody can spend the sums are to fit.
        case
            when p_cap_micro_usd > 0
                then least(p_cap_micro_usd, c_most) + coalesce((p_set ->> 'reset_micro_usd')::bigint, 0)
            else p_cap_micro_usd
        end,
        case
            when p_cap_pictures > 0
                then least(p_cap_pictures, c_most) + coalesce((p_set ->> 'reset_pictures')::bigint, 0)
            else p_cap_pictures
        end,
        coalesce(p_used_micro_usd, 0) - case when v_is_ours then (p_reserved ->> 'amount_micro_usd')::bigint else 0 end,
        coalesce(p_used_pictures, 0) - case when v_is_ours then 1 else 0 end
    )::copperplate.budget_state;
end;
$$;

comment on function copperplate.limited(
    text, text, date, boolean, bigint, bigint, jsonb, bigint, bigint, jsonb
) is
'A budget with its limits: its caps, and what resets added; without what the asking generation reserved.';
revoke all on function copperplate.limited(text, text, date, boolean, bigint, bigint, jsonb, bigint, bigint, jsonb)
from public, anon, authenticated;
grant execute on function copperplate.limited(
    text, text, date, boolean, bigint, bigint, jsonb, bigint, bigint, jsonb
) to service_role;

-- Read at every miss, so the statement for what is used stays small: starting it costs more than its look-ups.
create function copperplate.budget_states(p_budgets jsonb, p_now timestamptz, p_reserved jsonb default null)
returns copperplate.budget_state array
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_day date := (p_now at time zone 'UTC')::date;
    v_states copperplate.budget_state [] := array[]::copperplate.budget_state [];
    v_caps jsonb := jsonb_build_object();
    v_set jsonb;
    v record;
begin
    if exists (select from copperplate.budgets) then
        v_set := copperplate.set_caps(p_budgets, p_now);
    end if;
    -- From the last to the first: whose share a budget is stands after it.
    for v in
        select
            a.name, a.cap_micro_usd, a.cap_pictures, a.share_of, a.permille, coalesce(a.is_own, false) as is_own,
            a.budget, a.day, u.micro_usd, u.pictures
        from (
            select
                r.*, case when r.name like 'prepaid/%' then '-infinity' else v_day end as day,
                case
                    when r.name like 'address:%' then copperplate.address_budget(r.name, v_day) else r.name
                end as budget
            from rows from (
                jsonb_to_recordset(p_budgets) as (
                    name text, cap_micro_usd bigint, cap_pictures bigint, share_of text, permille integer, is_own boolean
                )
            ) with ordinality as r
        ) as a
        cross join lateral (
            select sum(s.spent_micro_usd)::bigint as micro_usd, sum(s.pictures)::bigint as pictures
            from copperplate.budget_usage as s
            where s.budget = a.budget and s.day = a.day
        ) as u
        order by a.ordinality desc
    loop
        if v_set ? v.name then
            v.cap_micro_usd := coalesce((v_set -> v.name ->> 'micro_usd')::bigint, v.cap_micro_usd);
            v.cap_pictures := coalesce((v_set -> v.name ->> 'pictures')::bigint, v.cap_pictures);
        end if;
        if v.share_of is not null and v.cap_micro_usd is null then
            v.cap_micro_usd := copperplate.share((v_caps ->> v.share_of)::bigint, v.permille);
        end if;
        v_caps := v_caps || jsonb_build_object(v.name, v.cap_micro_usd);
        if v.name like 'user:%' and copperplate.is_forgotten(v.name) then
            v.cap_micro_usd := 0;
        end if;
        if v_set ? ('prepaid/' || v.name) then
            v_states := copperplate.prepaid_state('prepaid/' || v.name, v.is_own, v_set, p_reserved) || v_states;
        end if;
        v_states := copperplate.limited(
            v.name, v.budget, v.day, v.is_own, v.cap_micro_usd, v.cap_pictures, v_set -> v.name, v.micro_usd,
            v.pictures, p_reserved
        ) || v_states;
    end loop;
    return v_states;
end;
$$;

comment on function copperplate.budget_states(jsonb, timestamptz, jsonb) is
'The state of each of these budgets, [{name, cap_micro_usd, cap_pictures, share_of, permille, is_own}], and after it
that of the prepaid one beside it; p_reserved, of the asking generation, counts as free. A cap in pictures has no shares.';
revoke all on function copperplate.budget_states(jsonb, timestamptz, jsonb) from public, anon, authenticated;
grant execute on function copperplate.budget_states(jsonb, timestamptz, jsonb) to service_role;

-- Counts from the moment it is set.
create function copperplate.prepaid_state(p_name text, p_is_own boolean, p_set jsonb, p_reserved jsonb)
returns copperplate.budget_state
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return copperplate.limited(
        p_name, p_name, '-infinity', p_is_own, (p_set -> p_name ->> 'micro_usd')::bigint,
        (p_set -> p_name ->> 'pictures')::bigint, p_set -> p_name, sum(s.spent_micro_usd)::bigint,
        sum(s.pictures)::bigint, p_reserved
    )
    from copperplate.budget_usage as s
    where s.budget = p_name and s.day = '-infinity';
end;
$$;

comment on function copperplate.prepaid_state(text, boolean, jsonb, jsonb) is
'The state of the prepaid budget beside a daily one.';
revoke all on function copperplate.prepaid_state(text, boolean, jsonb, jsonb) from public, anon, authenticated;
grant execute on function copperplate.prepaid_state(text, boolean, jsonb, jsonb) to service_role;

-- What generations under way may give back yet: reservations, and the bookings of submits whose bill is not known. Of
-- a lease that ran out it is the reservation alone: its submit may have been billed.
create function copperplate.unsettled(p_budgets text[], p_day date, p_key text)
returns table (budget text, is_lapsed boolean, micro_usd bigint, pictures bigint)
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    return query
    select n.name, not h.is_live, sum(h.micro_usd)::bigint, count(*)
    from public.generation_status as g
    cross join lateral (
        select
            array(select jsonb_array_elements_text(g.reserved -> 'budgets')) as budgets,
            (g.reserved ->> 'day')::date as day, (g.reserved ->> 'amount_micro_usd')::bigint as micro_usd,
            g.lease_until > v_now as is_live
        where g.reserved -> 'budgets' ?| p_budgets
        union all
        (
            select
                s.budgets, (s.sent_at at time zone 'UTC')::date,
                case when s.cost_micro_usd is null then s.booked_micro_usd end, true
            from copperplate.submits as s
            where s.generation_key = g.prompt_hash and g.status = 'generating' and g.lease_until > v_now
            order by s.id desc
            limit 1
        )
    ) as h
    inner join lateral unnest(h.budgets) as n (name) on n.name = any(p_budgets)
    where
        g.status in ('pending', 'generating') and g.prompt_hash is distinct from p_key
        and h.micro_usd is not null and (h.day = p_day or n.name like 'prepaid/%')
    group by n.name, h.is_live;
end;
$$;

comment on function copperplate.unsettled(text[], date, text) is
'What generations hold of these budgets on a day and may give back, other than the one with p_key: while they are led,
and where their lease ran out and the reservation counts as free.';
revoke all on function copperplate.unsettled(text[], date, text) from public, anon, authenticated;
grant execute on function copperplate.unsettled(text[], date, text) to service_role;
