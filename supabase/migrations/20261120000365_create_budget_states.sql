-- What is left of budgets, and who is refused for it: reads alone.

-- One of the budgets that a caller names, as it stands.
create type copperplate.budget_state as (
    position integer,
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
    states copperplate.budget_state array
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

create function copperplate.budget_states(p_budgets jsonb, p_now timestamptz, p_reserved jsonb default null)
returns setof copperplate.budget_state
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    v_day date := (p_now at time zone 'UTC')::date;
begin
    -- One statement: each more of this language costs as much as the look-ups of a budget.
    return query
    with asked as materialized (
        select
            a.ordinality::integer as position, n.name, n.is_prepaid, a.permille, a.is_own,
            case when not n.is_prepaid then a.share_of end as share_of,
            -- An override stands until its end, then what an operator set, then what the program sent.
            coalesce(
                case when b.override_until > p_now then b.override_micro_usd end, b.cap_micro_usd,
                case when n.name = a.name then a.cap_micro_usd end
            ) as cap_micro_usd,
            coalesce(
                case when b.override_until > p_now then b.override_pictures end, b.cap_pictures,
                case when n.name = a.name then a.cap_pictures end
            ) as cap_pictures,
            case
                when n.name like 'address:%' then (
                    select 'address:' || left(encode(sha256(s.salt || convert_to(n.name, 'UTF8')), 'hex'), 40)
                    from copperplate.address_salts as s
                    where s.day = v_day
                )
                else n.name
            end as budget,
            case when n.is_prepaid then '-infinity' else v_day end as day
        from rows from (
            jsonb_to_recordset(p_budgets) as (
                name text, cap_micro_usd bigint, cap_pictures bigint, share_of text, permille integer, is_own boolean
            )
        ) with ordinality as a
        cross join lateral (
            values (a.name, a.name like 'prepaid/%'), ('prepaid/' || a.name, true)
        ) as n (name, is_prepaid)
        left join copperplate.budgets as b on n.name = b.name
        -- A prepaid budget counts beside the daily one as soon as it is set.
        where n.name = a.name or b.name is not null
    ),

    capped as (
        select
            a.*,
            coalesce(
                a.cap_micro_usd,
                copperplate.share(p.cap_micro_usd, a.permille),
                copperplate.share(copperplate.share(g.cap_micro_usd, p.permille), a.permille)
            ) as cap
        from asked as a
        -- The address's share is of the anonymous, and theirs of everything: no chain is longer.
        left join asked as p on a.share_of = p.name
        left join asked as g on p.share_of = g.name
    )

    select
        c.position, c.name, c.budget, c.day, c.is_own, c.cap, c.cap_pictures,
        -- A cap of zero refuses, whatever was reset; of one that nobody can spend the sums are to fit.
        case when c.cap > 0 then least(c.cap, 1000000000000000) + coalesce(r.micro_usd, 0) else c.cap end,
        case
            when c.cap_pictures > 0 then least(c.cap_pictures, 1000000000000000) + coalesce(r.pictures, 0)
            else c.cap_pictures
        end,
        coalesce(u.micro_usd, 0) - case when h.is_ours then (p_reserved ->> 'amount_micro_usd')::bigint else 0 end,
        coalesce(u.pictures, 0) - h.is_ours::integer
    from capped as c
    left join copperplate.budget_resets as r on c.budget = r.budget and c.day = r.day
    cross join lateral (
        select sum(s.spent_micro_usd)::bigint as micro_usd, sum(s.pictures)::bigint as pictures
        from copperplate.budget_usage as s
        where s.budget = c.budget and s.day = c.day
    ) as u
    cross join lateral (
        select coalesce(
            p_reserved -> 'budgets' ? c.budget and (c.is_prepaid or (p_reserved ->> 'day')::date = c.day), false
        ) as is_ours
    ) as h
    order by c.position, c.is_prepaid;
end;
$$;

comment on function copperplate.budget_states(jsonb, timestamptz, jsonb) is
'The state of each of these budgets, [{name, cap_micro_usd, cap_pictures, share_of, permille, is_own}], and of the
prepaid ones beside them; p_reserved, of the asking generation, counts as free. A cap in pictures has no shares.';
revoke all on function copperplate.budget_states(jsonb, timestamptz, jsonb) from public, anon, authenticated;
grant execute on function copperplate.budget_states(jsonb, timestamptz, jsonb) to service_role;

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
        where g.reserved is not null
        union all
        (
            select s.budgets, (s.sent_at at time zone 'UTC')::date, s.booked_micro_usd, true
            from copperplate.submits as s
            where s.generation_key = g.prompt_hash and g.status = 'generating' and g.lease_until > v_now
            order by s.id desc
            limit 1
        )
    ) as h
    cross join lateral unnest(h.budgets) as n (name)
    where
        g.status in ('pending', 'generating') and g.prompt_hash is distinct from p_key
        and h.micro_usd is not null
        and n.name = any(p_budgets) and (h.day = p_day or n.name like 'prepaid/%')
    group by n.name, h.is_live;
end;
$$;

comment on function copperplate.unsettled(text[], date, text) is
'What generations hold of these budgets on a day and may give back, other than the one with p_key: while they are led,
and where their lease ran out and the reservation counts as free.';
revoke all on function copperplate.unsettled(text[], date, text) from public, anon, authenticated;
grant execute on function copperplate.unsettled(text[], date, text) to service_role;
