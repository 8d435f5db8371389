-- What operators call about budgets.

create function copperplate.check_budget_name(p_name text)
returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    if (
        p_name ~ '^(prepaid/)?(all|anonymous|(user|key|link|provider|model):[^[:space:]]{1,200})$'
    ) is not true then
        raise exception 'not the name of a budget'
            using
                errcode = 'ZC012',
                hint = 'Name all, anonymous, user:ID, key:ID, link:ID, provider:NAME or model:PROVIDER/MODEL, '
                    || 'with prepaid/ before it for a cap that nothing resets.';
    end if;
end;
$$;

comment on function copperplate.check_budget_name(text) is
'ZC012 for what is no budget that an operator can set. Addresses have shares, and none has a cap of its own.';
revoke all on function copperplate.check_budget_name(text) from public, anon, authenticated;
grant execute on function copperplate.check_budget_name(text) to service_role;

create function copperplate.drop_unset_budget(p_name text)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    delete from copperplate.budgets as b
    where
        b.name = p_name and b.cap_micro_usd is null and b.cap_pictures is null
        and (b.override_until > copperplate.clock()) is not true
        -- A reset of today stands until midnight; of a prepaid one there is nothing left to raise.
        and not exists (
            select from copperplate.budget_resets as r
            where r.budget = b.name and r.day = (copperplate.clock() at time zone 'UTC')::date
        );
$$;

comment on function copperplate.drop_unset_budget(text) is
'Remove what an operator set of a budget where nothing of it stands. A prepaid one is over: its counter stays in the
book, and goes on where it is set again.';
revoke all on function copperplate.drop_unset_budget(text) from public, anon, authenticated;
grant execute on function copperplate.drop_unset_budget(text) to service_role;

create function public.set_budget(p_name text, p_cap_micro_usd bigint, p_cap_pictures bigint)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform copperplate.check_budget_name(p_name);
    if (least(p_cap_micro_usd, p_cap_pictures) < 0 or greatest(p_cap_micro_usd, p_cap_pictures) > 1000000000000000) then
        raise exception 'not a cap'
            using errcode = 'ZC012', hint = 'Caps are from 0 to 1000000000000000, or null for none of its own.';
    end if;
    -- Everybody can read a visible key: without a cap it spends nothing, as when it was made.
    if
        p_cap_micro_usd is null and p_cap_pictures is null
        and exists (select from copperplate.api_keys as k where k.is_visible and 'key:' || k.id::text = p_name)
    then
        p_cap_micro_usd := 0;
        p_cap_pictures := 0;
    end if;
    insert into copperplate.budgets as b (name, cap_micro_usd, cap_pictures, updated_at)
    values (p_name, p_cap_micro_usd, p_cap_pictures, copperplate.clock())
    on conflict (name) do update
    set
        cap_micro_usd = excluded.cap_micro_usd, cap_pictures = excluded.cap_pictures,
        updated_at = excluded.updated_at;
    perform copperplate.drop_unset_budget(p_name);
    return public.read_budgets(jsonb_build_array(jsonb_build_object('name', p_name))) -> 0;
end;
$$;

comment on function public.set_budget(text, bigint, bigint) is
'Set the caps of a budget, of money in millionths of a dollar and of pictures, above what programs send; null: what they
send stands, and a visible key spends nothing. Answers what read_budgets does. From the next election on; what is under way goes on.';
revoke all on function public.set_budget(text, bigint, bigint) from public, anon, authenticated;
grant execute on function public.set_budget(text, bigint, bigint) to service_role;

create function public.override_budget(
    p_name text, p_cap_micro_usd bigint, p_cap_pictures bigint, p_until timestamptz
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform copperplate.check_budget_name(p_name);
    if (
        (p_until > copperplate.clock() and least(p_cap_micro_usd, p_cap_pictures) >= 0
            and greatest(p_cap_micro_usd, p_cap_pictures) <= 1000000000000000)
        or (p_until is null and p_cap_micro_usd is null and p_cap_pictures is null)
    ) is not true then
        raise exception 'not an override'
            using errcode = 'ZC012', hint = 'Give a cap and an end in the future, or three nulls to end it now.';
    end if;
    insert into copperplate.budgets as b (name, override_micro_usd, override_pictures, override_until, updated_at)
    values (p_name, p_cap_micro_usd, p_cap_pictures, p_until, copperplate.clock())
    on conflict (name) do update
    set
        override_micro_usd = excluded.override_micro_usd, override_pictures = excluded.override_pictures,
        override_until = excluded.override_until, updated_at = excluded.updated_at;
    perform copperplate.drop_unset_budget(p_name);
    return public.read_budgets(jsonb_build_array(jsonb_build_object('name', p_name))) -> 0;
end;
$$;

comment on function public.override_budget(text, bigint, bigint, timestamptz) is
'Let other caps stand for a budget until p_until; three nulls end it now. Answers what read_budgets does.';
revoke all on function public.override_budget(text, bigint, bigint, timestamptz) from public, anon, authenticated;
grant execute on function public.override_budget(text, bigint, bigint, timestamptz) to service_role;

-- What may come back is not forgiven: it would make room twice, when it does and by the reset.
create function copperplate.settled(p_budget text, p_day date)
returns table (micro_usd bigint, pictures bigint)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return query
    select
        greatest(coalesce(sum(c.micro_usd), 0), 0)::bigint, greatest(coalesce(sum(c.pictures), 0), 0)::bigint
    from (
        select u.spent_micro_usd as micro_usd, u.pictures
        from copperplate.budget_usage as u
        where u.budget = p_budget and u.day = p_day
        union all
        select -(g.reserved ->> 'amount_micro_usd')::bigint, -1
        from public.generation_status as g
        where
            g.status in ('pending', 'generating') and g.reserved -> 'budgets' ? p_budget
            and copperplate.budget_day(p_budget, (g.reserved ->> 'day')::date) = p_day
        union all
        -- Whether its lease runs or not, and where a leader gave up: whoever resumes it may learn that it was free.
        select -s.booked_micro_usd, -1
        from public.generation_status as g
        cross join lateral (
            select n.*
            from copperplate.submits as n
            where n.generation_key = g.prompt_hash
            order by n.id desc
            limit 1
        ) as s
        where
            (g.status = 'generating' or (g.status = 'failed' and g.error_class in ('abandoned', 'uncollected')))
            and s.cost_micro_usd is null and s.booked_micro_usd is not null
            and p_budget = any(s.budgets)
            and copperplate.budget_day(p_budget, (s.sent_at at time zone 'UTC')::date) = p_day
    ) as c;
end;
$$;

comment on function copperplate.settled(text, date) is
'What a budget counts on a day without what is reserved, and without submits under way whose bill is not known.';
revoke all on function copperplate.settled(text, date) from public, anon, authenticated;
grant execute on function copperplate.settled(text, date) to service_role;

create function public.reset_budget(p_name text)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_day date := copperplate.budget_day(p_name, (copperplate.clock() at time zone 'UTC')::date);
begin
    perform copperplate.check_budget_name(p_name);
    -- Every stripe is held, as for a booking: what is booked after it counts against the new room.
    perform from copperplate.budget_usage as u
    where u.budget = p_name and u.day = v_day
    order by u.stripe
    for update;
    -- An election looks for resets where there is a row, and a row makes a prepaid budget. One that is there is locked,
    -- and as young as the reset, so that no sweep takes it for what is over.
    insert into copperplate.budgets as b (name, updated_at)
    select p_name, copperplate.clock()
    where p_name not like 'prepaid/%'
    on conflict (name) do update set updated_at = excluded.updated_at;
    insert into copperplate.budget_resets (budget, day, micro_usd, pictures)
    select p_name, v_day, s.micro_usd, s.pictures
    from copperplate.settled(p_name, v_day) as s
    on conflict (budget, day) do update set micro_usd = excluded.micro_usd, pictures = excluded.pictures;
    return public.read_budgets(jsonb_build_array(jsonb_build_object('name', p_name))) -> 0;
end;
$$;

comment on function public.reset_budget(text) is
'Begin the day of a budget anew: its caps apply to what is under way and to what is booked from now on. Answers what
read_budgets does.';
revoke all on function public.reset_budget(text) from public, anon, authenticated;
grant execute on function public.reset_budget(text) to service_role;

create function public.read_budgets(p_budgets jsonb)
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
    -- One look at all generations, however many budgets are asked for.
    return (
        with states as materialized (
            select t.*
            from unnest(copperplate.budget_states(p_budgets, v_now)) with ordinality as t (
                name, budget, day, is_own, cap_micro_usd, cap_pictures, limit_micro_usd, limit_pictures,
                used_micro_usd, used_pictures, place
            )
        ),

        lapsed as materialized (
            select f.budget, f.micro_usd, f.pictures
            from copperplate.unsettled((select array_agg(t.budget) from states as t), v_day, null) as f
            where f.is_lapsed
        )

        select coalesce(jsonb_agg(
            jsonb_build_object(
                -- As they are in a refusal.
                'budget', case when s.name like 'address:%' then 'address' else s.name end,
                'cap_micro_usd', s.cap_micro_usd,
                'used_micro_usd', greatest(u.micro_usd - coalesce(r.micro_usd, 0), 0),
                'left_micro_usd', case
                    when s.cap_micro_usd > 0 then greatest(s.limit_micro_usd - u.micro_usd, 0) else s.cap_micro_usd
                end,
                'cap_pictures', s.cap_pictures,
                'used_pictures', greatest(u.pictures - coalesce(r.pictures, 0), 0),
                'left_pictures', case
                    when s.cap_pictures > 0 then greatest(s.limit_pictures - u.pictures, 0) else s.cap_pictures
                end,
                'resets_at', case
                    when s.day > '-infinity'
                        then to_char((v_day + 1)::timestamp, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
                end,
                'override_until', to_char(b.override_until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            )
            order by s.place
        ), '[]')
        from states as s
        left join copperplate.budgets as b on s.name = b.name and b.override_until > v_now
        left join copperplate.budget_resets as r on s.budget = r.budget and s.day = r.day
        left join lapsed as h on s.budget = h.budget
        cross join lateral (
            select
                s.used_micro_usd - coalesce(h.micro_usd, 0) as micro_usd, s.used_pictures - coalesce(h.pictures, 0) as pictures
        ) as u
    );
end;
$$;

comment on function public.read_budgets(jsonb) is
'Caps, use and rest of each of these budgets, [{name, cap_micro_usd, cap_pictures, share_of, permille}], and of the
prepaid ones beside them, since they were last reset; what lapsed is not used. Money in millionths of a dollar.';
revoke all on function public.read_budgets(jsonb) from public, anon, authenticated;
grant execute on function public.read_budgets(jsonb) to service_role;
