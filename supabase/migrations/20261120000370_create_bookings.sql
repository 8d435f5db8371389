-- What is counted in budgets: booked where it fits, given back, corrected by bills.
--
-- A limit is one number for a budget and day, kept through shares: each stripe may spend up to its own allowed_*, and
-- the sum of all allowed_* never exceeds the limit, or what was spent where bills exceeded it. So a booking holds one
-- stripe, asks nobody else (fits), and the sum stays under the limit. limit_* of a stripe is the limit that its
-- share was cut from. Where that is no longer the limit, or no stripe has room for a booking though the sum has,
-- rebalance holds all stripes, in order, compares the sum with the limit and cuts new shares (share_room).

-- By how much one counter changes. Bound: only where it fits under the limits; otherwise it is a fact to be counted.
create type copperplate.budget_change as (
    budget text,
    day date,
    micro_usd bigint,
    pictures bigint,
    limit_micro_usd bigint,
    limit_pictures bigint,
    is_bound boolean
);

comment on type copperplate.budget_change is 'By how much the counter of a budget changes.';
revoke all on type copperplate.budget_change from public, anon, authenticated;
grant usage on type copperplate.budget_change to service_role;

-- The exact way: every stripe is held, so the sum is the sum. What room is left is shared out anew.
create function copperplate.rebalance(p_change copperplate.budget_change, p_budgets jsonb)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    c_stripes constant integer := case when copperplate.budget_rank(p_change.budget) in (1, 2) then 1 else 16 end;
    v record;
    v_limit bigint := p_change.limit_micro_usd;
    v_limit_pictures bigint := p_change.limit_pictures;
begin
    perform from copperplate.budget_usage as u
    where u.budget = p_change.budget and u.day = p_change.day
    order by u.stripe
    for update;
    if not found then
        -- A day so long ago that nothing is counted for it any more.
        if not p_change.is_bound then
            return true;
        end if;
        insert into copperplate.budget_usage (budget, day, stripe)
        select p_change.budget, p_change.day, n.stripe
        from generate_series(0, c_stripes - 1) as n (stripe)
        on conflict (budget, day, stripe) do nothing;
        perform from copperplate.budget_usage as u
        where u.budget = p_change.budget and u.day = p_change.day
        order by u.stripe
        for update;
    end if;

    select
        sum(u.spent_micro_usd)::bigint + p_change.micro_usd as spent, sum(u.pictures)::bigint + p_change.pictures as pictures,
        max(u.limit_micro_usd) as shared, max(u.limit_pictures) as shared_pictures
    into v
    from copperplate.budget_usage as u
    where u.budget = p_change.budget and u.day = p_change.day;
    if p_change.is_bound then
        -- Looked up after the wait: a cap may have been set meanwhile.
        select s.limit_micro_usd, s.limit_pictures
        into v_limit, v_limit_pictures
        from unnest(copperplate.budget_states(p_budgets, copperplate.clock())) as s
        where s.budget = p_change.budget and s.day = p_change.day;
        if not found then
            -- The day is over by now; its last caps are those that were seen.
            v_limit := p_change.limit_micro_usd;
            v_limit_pictures := p_change.limit_pictures;
        end if;
        if v.spent > v_limit or v.pictures > v_limit_pictures or 0 in (v_limit, v_limit_pictures) then
            return false;
        end if;
    else
        v_limit := v.shared;
        v_limit_pictures := v.shared_pictures;
    end if;
    perform copperplate.share_room(p_change, v_limit, v_limit_pictures, v.spent, v.pictures);
    return true;
end;
$$;

comment on function copperplate.rebalance(copperplate.budget_change, jsonb) is
'Change a counter with all its stripes held, and share what room is left among them; false where it does not fit.';
revoke all on function copperplate.rebalance(copperplate.budget_change, jsonb) from public, anon, authenticated;
grant execute on function copperplate.rebalance(copperplate.budget_change, jsonb) to service_role;

create function copperplate.share_room(
    p_change copperplate.budget_change, p_limit bigint, p_limit_pictures bigint, p_spent bigint, p_pictures bigint
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- Null without a limit.
    v_room bigint := case when p_limit is not null then greatest(p_limit - p_spent, 0) end;
    v_room_pictures bigint := case when p_limit_pictures is not null then greatest(p_limit_pictures - p_pictures, 0) end;
    -- No more stripes than have room for another of the same: a room in parts that are too small helps nobody.
    v_shares bigint := greatest(1, least(
        (select count(*) from copperplate.budget_usage as u where u.budget = p_change.budget and u.day = p_change.day),
        v_room / nullif(greatest(p_change.micro_usd, 0), 0), v_room_pictures
    ));
begin
    update copperplate.budget_usage as u
    set
        spent_micro_usd = n.spent_micro_usd,
        pictures = n.pictures,
        allowed_micro_usd = n.spent_micro_usd + n.is_shared * (v_room / v_shares + (n.place < v_room % v_shares)::integer),
        allowed_pictures
        = n.pictures + n.is_shared * (v_room_pictures / v_shares + (n.place < v_room_pictures % v_shares)::integer),
        limit_micro_usd = p_limit,
        limit_pictures = p_limit_pictures
    from (
        select
            s.stripe, p.place, (p.place < v_shares)::integer as is_shared,
            s.spent_micro_usd + case when p.place = 0 then p_change.micro_usd else 0 end as spent_micro_usd,
            s.pictures + case when p.place = 0 then p_change.pictures else 0 end as pictures
        from copperplate.budget_usage as s
        inner join (
            select o.stripe, row_number() over (order by o.stripe) - 1 as place
            from copperplate.budget_usage as o
            where o.budget = p_change.budget and o.day = p_change.day
        ) as p on s.stripe = p.stripe
        where s.budget = p_change.budget and s.day = p_change.day
    ) as n
    where u.budget = p_change.budget and u.day = p_change.day and u.stripe = n.stripe;
end;
$$;

comment on function copperplate.share_room(copperplate.budget_change, bigint, bigint, bigint, bigint) is
'Count a change in the first of the stripes, which the caller holds, and share what is left of the limits among them.';
revoke all on function copperplate.share_room(copperplate.budget_change, bigint, bigint, bigint, bigint)
from public, anon, authenticated;
grant execute on function copperplate.share_room(copperplate.budget_change, bigint, bigint, bigint, bigint)
to service_role;

create function copperplate.fits(p_stripe copperplate.budget_usage, p_change copperplate.budget_change)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    if p_change.is_bound then
        -- Limits that are not the shared ones are shared out first, and what is no plain booking is weighed as a whole.
        return p_change.pictures = 1
            and p_stripe.limit_micro_usd is not distinct from p_change.limit_micro_usd
            and p_stripe.limit_pictures is not distinct from p_change.limit_pictures
            and (p_stripe.spent_micro_usd + p_change.micro_usd <= p_stripe.allowed_micro_usd) is not false
            and (p_stripe.pictures + p_change.pictures <= p_stripe.allowed_pictures) is not false;
    end if;
    -- What gives back fits everywhere.
    return (
        p_change.micro_usd <= 0 or p_stripe.spent_micro_usd + p_change.micro_usd <= p_stripe.allowed_micro_usd
    ) is not false
    and (p_change.pictures <= 0 or p_stripe.pictures + p_change.pictures <= p_stripe.allowed_pictures) is not false;
end;
$$;

comment on function copperplate.fits(copperplate.budget_usage, copperplate.budget_change) is
'Whether one stripe alone may take a change of its budget.';
revoke all on function copperplate.fits(copperplate.budget_usage, copperplate.budget_change)
from public, anon, authenticated;
grant execute on function copperplate.fits(copperplate.budget_usage, copperplate.budget_change) to service_role;

-- Where bills exceeded a limit, all that is allowed is what was spent. What comes back then is nobody's room: only
-- rebalance sees whether the sum is under the limit again.
create function copperplate.still_allowed(p_allowed bigint, p_spent bigint, p_change bigint)
returns bigint
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return case when p_spent >= p_allowed then least(p_allowed, p_spent + p_change) else p_allowed end;
end;
$$;

comment on function copperplate.still_allowed(bigint, bigint, bigint) is
'What a stripe may spend after a change: a full one has no room for what it gives back, which rebalance shares out.';
revoke all on function copperplate.still_allowed(bigint, bigint, bigint) from public, anon, authenticated;
grant execute on function copperplate.still_allowed(bigint, bigint, bigint) to service_role;

-- A row that another transaction changes while it is picked stays locked, though it does not fit any more. Each block
-- is undone with such locks where it fails: nobody waits for a stripe while holding another, but for rebalance, in
-- order.
create function copperplate.change_budget(p_change copperplate.budget_change, p_budgets jsonb)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- A stripe with room that nobody holds.
    begin
        update copperplate.budget_usage as u
        set
            spent_micro_usd = u.spent_micro_usd + p_change.micro_usd, pictures = u.pictures + p_change.pictures,
            allowed_micro_usd = copperplate.still_allowed(u.allowed_micro_usd, u.spent_micro_usd, p_change.micro_usd),
            allowed_pictures = copperplate.still_allowed(u.allowed_pictures, u.pictures, p_change.pictures)
        where u.budget = p_change.budget and u.day = p_change.day and u.stripe = (
            select s.stripe
            from copperplate.budget_usage as s
            where s.budget = p_change.budget and s.day = p_change.day and copperplate.fits(s, p_change)
            limit 1
            for update skip locked
        );
        if not found then
            raise exception 'no stripe is free' using errcode = 'ZC013';
        end if;
        return true;
    exception
        when sqlstate 'ZC013' then
            null;
    end;
    -- All are held, or have no room. One wait is shorter than that for all of them.
    begin
        update copperplate.budget_usage as u
        set
            spent_micro_usd = u.spent_micro_usd + p_change.micro_usd, pictures = u.pictures + p_change.pictures,
            allowed_micro_usd = copperplate.still_allowed(u.allowed_micro_usd, u.spent_micro_usd, p_change.micro_usd),
            allowed_pictures = copperplate.still_allowed(u.allowed_pictures, u.pictures, p_change.pictures)
        where
            u.budget = p_change.budget and u.day = p_change.day and u.stripe = pg_backend_pid() % 16
            and copperplate.fits(u, p_change);
        if not found then
            raise exception 'this stripe has no room' using errcode = 'ZC013';
        end if;
        return true;
    exception
        when sqlstate 'ZC013' then
            return copperplate.rebalance(p_change, p_budgets);
    end;
end;
$$;

comment on function copperplate.change_budget(copperplate.budget_change, jsonb) is
'Change one counter; false where a bound change does not fit. p_budgets are those of the caller, for their caps.';
revoke all on function copperplate.change_budget(copperplate.budget_change, jsonb) from public, anon, authenticated;
grant execute on function copperplate.change_budget(copperplate.budget_change, jsonb) to service_role;

create function copperplate.change_budgets(p_changes copperplate.budget_change[], p_budgets jsonb default null)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    v_change copperplate.budget_change;
begin
    -- Each counter once, in the one order: a caller never comes back to a budget that it passed.
    for v_change in
        select
            c.budget, c.day, sum(c.micro_usd)::bigint, sum(c.pictures)::bigint, max(c.limit_micro_usd),
            max(c.limit_pictures), bool_or(c.is_bound)
        from unnest(p_changes) as c
        group by c.budget, c.day
        having sum(c.micro_usd) <> 0 or sum(c.pictures) <> 0
        order by copperplate.budget_rank(c.budget), c.day = '-infinity', c.day, c.budget
    loop
        if not copperplate.change_budget(v_change, p_budgets) then
            raise exception 'a budget is used up' using errcode = 'ZC011';
        end if;
    end loop;
end;
$$;

comment on function copperplate.change_budgets(copperplate.budget_change[], jsonb) is
'Change counters, all or none, in the order of locks; ZC011 where a bound change does not fit.';
revoke all on function copperplate.change_budgets(copperplate.budget_change[], jsonb) from public, anon, authenticated;
grant execute on function copperplate.change_budgets(copperplate.budget_change[], jsonb) to service_role;
