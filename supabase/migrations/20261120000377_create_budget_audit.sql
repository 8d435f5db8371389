-- Budgets at a glance, sums that must agree, and what is old.

create function public.list_budgets()
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_day date := (v_now at time zone 'UTC')::date;
begin
    return coalesce(jsonb_agg(to_jsonb(l) order by copperplate.budget_rank(l.budget) desc, l.budget), '[]')
    from (
        select
            coalesce(b.name, u.name) as budget,
            -- Where an operator set none: what was shared out for the last election, resets included.
            coalesce(
                case when b.override_until > v_now then b.override_micro_usd end, b.cap_micro_usd, u.limit_micro_usd
            ) as cap_micro_usd,
            coalesce(
                case when b.override_until > v_now then b.override_pictures end, b.cap_pictures, u.limit_pictures
            ) as cap_pictures,
            coalesce(u.micro_usd, 0) - coalesce(r.micro_usd, 0) as used_micro_usd,
            coalesce(u.pictures, 0) - coalesce(r.pictures, 0) as used_pictures,
            case when b.override_until > v_now then b.override_until end as override_until
        from copperplate.budgets as b
        full join (
            select
                n.name, sum(s.spent_micro_usd)::bigint as micro_usd, sum(s.pictures)::bigint as pictures,
                max(s.limit_micro_usd) filter (where s.budget = n.name) as limit_micro_usd,
                max(s.limit_pictures) filter (where s.budget = n.name) as limit_pictures
            from copperplate.budget_usage as s
            left join copperplate.budgets as c on s.budget = c.name
            -- Addresses and users are many: a sum each, but for those that have a cap of their own.
            cross join lateral (
                select
                    case
                        when c.name is not null then s.budget
                        when s.budget like 'address:%' then 'address:*'
                        when s.budget like 'user:%' then 'user:*'
                        else s.budget
                    end as name
            ) as n
            -- Of a prepaid one that was taken off only the counter is left.
            where
                s.day = v_day
                or (s.day = '-infinity' and c.name is not null)
            group by n.name
        ) as u on b.name = u.name
        left join copperplate.budget_resets as r
            on
                coalesce(b.name, u.name) = r.budget
                and copperplate.budget_day(coalesce(b.name, u.name), v_day) = r.day
    ) as l;
end;
$$;

comment on function public.list_budgets() is
'Every budget with a cap of its own or used today (UTC): caps, and use since the last reset, with what is reserved; all
addresses as address:*, users without a cap of their own as user:*. Money in millionths of a dollar.';
revoke all on function public.list_budgets() from public, anon, authenticated;
grant execute on function public.list_budgets() to service_role;

create function public.audit_budgets()
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_day date := (copperplate.clock() at time zone 'UTC')::date;
begin
    return (
        with counted as (
            select u.budget, u.day, sum(u.spent_micro_usd)::bigint as micro_usd, sum(u.pictures)::bigint as pictures
            from copperplate.budget_usage as u
            group by u.budget, u.day
        ),

        due as (
            select
                h.budget, copperplate.budget_day(h.budget, h.day) as day,
                sum(h.micro_usd)::bigint as micro_usd, count(*) as pictures
            from (
                select
                    n.name as budget, (s.sent_at at time zone 'UTC')::date as day,
                    coalesce(s.cost_micro_usd, s.booked_micro_usd) as micro_usd
                from copperplate.submits as s
                cross join lateral unnest(s.budgets) as n (name)
                where s.booked_micro_usd is not null
                union all
                select n.name, (g.reserved ->> 'day')::date, (g.reserved ->> 'amount_micro_usd')::bigint
                from public.generation_status as g
                cross join lateral jsonb_array_elements_text(g.reserved -> 'budgets') as n (name)
                where g.status in ('pending', 'generating')
            ) as h
            group by h.budget, copperplate.budget_day(h.budget, h.day)
        ),

        compared as (
            select
                coalesce(c.budget, d.budget) as budget, coalesce(c.day, d.day) as day,
                coalesce(c.micro_usd, 0) as counted_micro_usd, coalesce(d.micro_usd, 0) as micro_usd,
                coalesce(c.pictures, 0) as counted_pictures, coalesce(d.pictures, 0) as pictures
            from counted as c
            full join due as d on c.budget = d.budget and c.day = d.day
            -- What is old enough to be forgotten is in no sum.
            where c.budget is not null or d.day >= v_day - 1 or d.day = '-infinity'
        )

        select jsonb_build_object(
            'counters', (select count(*) from counted),
            'faults', coalesce(
                jsonb_agg(to_jsonb(f)) filter (
                    where (f.counted_micro_usd, f.counted_pictures) <> (f.micro_usd, f.pictures)
                ),
                '[]'
            )
        )
        from compared as f
    );
end;
$$;

comment on function public.audit_budgets() is
'How many counters there are, and faults: counters that are not the sum of bookings and reservations, none of which
there should be.';
revoke all on function public.audit_budgets() from public, anon, authenticated;
grant execute on function public.audit_budgets() to service_role;

create function copperplate.fold_budgets(p_limit integer)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_day date := (copperplate.clock() at time zone 'UTC')::date;
    v record;
begin
    -- Bills come a day late at most. What somebody holds is left for another time: nothing here waits.
    delete from copperplate.address_salts as s where s.day < v_day - 1;
    delete from copperplate.budget_resets as r where r.day < v_day - 35 and r.day > '-infinity';
    delete from copperplate.forgotten_users as f where f.forgotten_at < copperplate.clock() - interval '35 days';
    -- Overrides that are over, and what only a reset of a day before kept.
    delete from copperplate.budgets as b
    where b.ctid = any(array(
        select o.ctid
        from copperplate.budgets as o
        where
            o.cap_micro_usd is null and o.cap_pictures is null
            and (o.override_until > copperplate.clock()) is not true
            and (o.updated_at < v_day::timestamp at time zone 'UTC' or o.name like 'prepaid/%')
        for update skip locked
    ));
    delete from copperplate.budget_usage as u
    where u.ctid = any(array(
        select o.ctid
        from copperplate.budget_usage as o
        where o.day < v_day - 35 and o.day > '-infinity'
        limit 20 * p_limit
        for update skip locked
    ));
    delete from copperplate.budget_usage as u
    where u.ctid = any(array(
        select o.ctid
        from copperplate.budget_usage as o
        where o.day < v_day - 1 and o.day > '-infinity' and o.budget like 'address:%'
        limit 20 * p_limit
        for update skip locked
    ));
    for v in
        select u.budget, u.day, count(*) as stripes
        from copperplate.budget_usage as u
        where u.day < v_day - 1 and u.day > '-infinity' and u.stripe > 0
        group by u.budget, u.day
        limit p_limit
    loop
        perform copperplate.fold_budget_day(v.budget, v.day, v.stripes + 1);
    end loop;
end;
$$;

comment on function copperplate.fold_budgets(integer) is
'Forget what addresses used before yesterday with their salts, counters of more than 35 days and budgets that nothing
is set of any more; fold the stripes of days that are over into one. Spending stays in copperplate.submits.';
revoke all on function copperplate.fold_budgets(integer) from public, anon, authenticated;
grant execute on function copperplate.fold_budgets(integer) to service_role;

create function copperplate.fold_budget_day(p_budget text, p_day date, p_stripes bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_held bigint;
begin
    select count(*) into v_held
    from (
        select from copperplate.budget_usage as u
        where u.budget = p_budget and u.day = p_day
        for update skip locked
    ) as h;
    if v_held <> p_stripes then
        return;
    end if;
    -- A bill that comes later still is counted without regard to shares.
    update copperplate.budget_usage as u
    set
        spent_micro_usd = s.spent_micro_usd, pictures = s.pictures,
        allowed_micro_usd = u.limit_micro_usd, allowed_pictures = u.limit_pictures
    from (
        select sum(o.spent_micro_usd) as spent_micro_usd, sum(o.pictures) as pictures
        from copperplate.budget_usage as o
        where o.budget = p_budget and o.day = p_day
    ) as s
    where u.budget = p_budget and u.day = p_day and u.stripe = 0;
    delete from copperplate.budget_usage as u where u.budget = p_budget and u.day = p_day and u.stripe > 0;
end;
$$;

comment on function copperplate.fold_budget_day(text, date, bigint) is
'Fold the stripes of a day into its first, unless somebody holds one.';
revoke all on function copperplate.fold_budget_day(text, date, bigint) from public, anon, authenticated;
grant execute on function copperplate.fold_budget_day(text, date, bigint) to service_role;

create function copperplate.forget_reserved(p_budget text)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    update public.generation_status as g
    set reserved = jsonb_set(g.reserved, '{budgets}', (g.reserved -> 'budgets') - p_budget - ('prepaid/' || p_budget))
    where g.status in ('pending', 'generating') and g.reserved -> 'budgets' ?| array[p_budget, 'prepaid/' || p_budget];
$$;

comment on function copperplate.forget_reserved(text) is 'Take the name of a budget off what generations reserved.';
revoke all on function copperplate.forget_reserved(text) from public, anon, authenticated;
grant execute on function copperplate.forget_reserved(text) to service_role;

create function copperplate.forget_budget(p_budget text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_names text[] := array[p_budget, 'prepaid/' || p_budget];
begin
    update copperplate.submits as s
    set budgets = array_remove(array_remove(s.budgets, p_budget), 'prepaid/' || p_budget)
    where s.budgets && v_names;
    delete from copperplate.budget_usage as u where u.budget = any(v_names);
    delete from copperplate.budget_resets as r where r.budget = any(v_names);
    delete from copperplate.budgets as b where b.name = any(v_names);
end;
$$;

comment on function copperplate.forget_budget(text) is
'Remove a budget and its name from every booking; what was spent stays in the others.';
revoke all on function copperplate.forget_budget(text) from public, anon, authenticated;
grant execute on function copperplate.forget_budget(text) to service_role;
