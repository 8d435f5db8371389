-- The steps of work: take what is due, and settle it.

create function copperplate.next_wishes(p_limit bigint, p_now timestamptz)
returns bigint[]
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_paid bigint[];
    v_next bigint[];
begin
    -- Of what is due, that alone whose holder died, or which was put back paid, still has an end of its hold.
    v_paid := array(
        select w.id
        from copperplate.wishes as w
        where
            w.status = 'open' and w.held_until is not null and w.held_until <= p_now and w.due_at <= p_now
            and not copperplate.is_led(w.generation_key, p_now) and copperplate.is_paid(w.generation_key)
        order by w.priority, w.due_at, w.id
        limit p_limit
        for update skip locked
    );
    v_next := array(
        select w.id
        from copperplate.wishes as w
        where w.status = 'open' and w.due_at <= p_now and not copperplate.is_led(w.generation_key, p_now)
        order by w.priority, (w.batch_id is not null), w.due_at, w.id
        limit p_limit
        for update skip locked
    );
    return array(
        select w.id
        from copperplate.wishes as w
        where w.id = any(v_paid || v_next)
        order by w.priority, (w.id <> all(v_paid)), (w.batch_id is not null), w.due_at, w.id
        limit p_limit
    );
end;
$$;

comment on function copperplate.next_wishes(bigint, timestamptz) is
'At most p_limit due wishes, locked, the most urgent first. Of one urgency what was paid for and lost its leader comes
first, then wishes outside of batches, then members of batches; of those what waits longest.';
revoke all on function copperplate.next_wishes(bigint, timestamptz) from public, anon, authenticated;
grant execute on function copperplate.next_wishes(bigint, timestamptz) to service_role;

create function copperplate.is_key_over(p_owner text, p_now timestamptz)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    if p_owner !~ '^key:[0-9a-f-]{36}$' then
        return false;
    end if;
    return exists (
        select from copperplate.api_keys as k
        where
            k.id = substr(p_owner, length('key:') + 1)::uuid
            and (k.revoked_at is not null or k.expires_at <= p_now)
    );
end;
$$;

comment on function copperplate.is_key_over(text, timestamptz) is
'Whether this owner of wishes is an API key that is revoked or has expired.';
revoke all on function copperplate.is_key_over(text, timestamptz) from public, anon, authenticated;
grant execute on function copperplate.is_key_over(text, timestamptz) to service_role;

create function public.take_wishes(p_in_flight integer, p_held_for interval, p_limit integer default null)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz;
    v_due bigint[];
    v_withdrawn bigint[];
    v_refused bigint[];
    v_taken jsonb;
begin
    -- Most who ask find nothing, and wait for nobody.
    if not public.is_work_due() then
        return '[]'::jsonb;
    end if;
    -- Until the commit nobody else counts what is in flight.
    perform pg_advisory_xact_lock(hashtextextended('copperplate work', 0));
    v_now := copperplate.clock();
    perform copperplate.abandon_wishes(1000);
    loop
        v_due := copperplate.next_wishes(
            greatest(least(p_in_flight - copperplate.count_wishes_in_flight(v_now), p_limit), 0), v_now
        );
        -- Its batch was canceled while it was held: it goes on only where something was paid.
        v_withdrawn := array(
            select w.id
            from copperplate.wishes as w
            inner join copperplate.batches as b on w.batch_id = b.id
            where w.id = any(v_due) and b.canceled_at is not null and not copperplate.is_paid(w.generation_key)
        );
        -- Nor does an API key spend more by its wishes than by its requests. What it paid for is collected.
        v_refused := array(
            select w.id
            from copperplate.wishes as w
            where
                w.id = any(v_due) and w.id <> all(v_withdrawn) and copperplate.is_key_over(w.owner, v_now)
                and not copperplate.is_paid(w.generation_key)
        );
        exit when v_withdrawn = '{}' and v_refused = '{}';
        perform copperplate.end_wishes(v_withdrawn, 'canceled');
        perform copperplate.end_wishes(v_refused, 'failed', 'unauthorized');
    end loop;

    with taken as (
        update copperplate.wishes as w
        set held_until = v_now + p_held_for, retry_at = null, tries = w.tries + 1
        where w.id = any(v_due)
        returning w.*
    )

    select
        jsonb_agg(
            jsonb_build_object(
                'id', t.id, 'generation_key', t.generation_key, 'recipe', t.recipe, 'owner', t.owner,
                'spending', t.spending, 'charge_user', t.charge_user, 'charge_credits', t.charge_credits,
                'tries', t.tries, 'paths', t.paths
            )
            order by array_position(v_due, t.id)
        )
    into v_taken
    from taken as t;
    return coalesce(v_taken, '[]');
end;
$$;

comment on function public.take_wishes(integer, interval, integer) is
'Take due wishes in the order of next_wishes, so that at most p_in_flight that were taken are in flight over all
callers: held, or waiting for a generation under a live lease; no more than p_limit at once. Answers [{id,
generation_key, recipe, owner, spending, charge_user, charge_credits, tries, paths}]; for p_held_for nobody else takes
them. Wishes that stayed open for a day fail as abandoned, those of an API key that is revoked or has expired as
unauthorized.';
revoke all on function public.take_wishes(integer, interval, integer) from public, anon, authenticated;
grant execute on function public.take_wishes(integer, interval, integer) to service_role;

create function public.settle_wish(
    p_wish bigint, p_status text, p_code text default null, p_retry_after interval default '0'
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_is_canceled boolean;
begin
    if p_status <> 'open' then
        return copperplate.end_wishes(array[p_wish], p_status, p_code) = 1;
    end if;

    -- Locked first: a cancel that comes now waits, and then finds it open and not held.
    perform from copperplate.wishes as w where w.id = p_wish and w.status = 'open' for update;
    if not found then
        return false;
    end if;
    v_is_canceled := exists (
        select from copperplate.wishes as w
        inner join copperplate.batches as b on w.batch_id = b.id
        where w.id = p_wish and b.canceled_at is not null and not copperplate.is_paid(w.generation_key)
    );
    if v_is_canceled then
        perform copperplate.end_wishes(array[p_wish], 'canceled');
    else
        update copperplate.wishes as w
        set
            -- next_wishes finds what was paid for by it.
            held_until = case when copperplate.is_paid(w.generation_key) then copperplate.clock() end,
            retry_at = copperplate.clock() + p_retry_after
        where w.id = p_wish;
    end if;
    return true;
end;
$$;

comment on function public.settle_wish(bigint, text, text, interval) is
'End a wish as completed, failed (with the code that callers are told) or canceled, or put it back as open, to be due
after p_retry_after: a member of a canceled batch that nothing was paid for is canceled instead. False where it has ended
before.';
revoke all on function public.settle_wish(bigint, text, text, interval) from public, anon, authenticated;
grant execute on function public.settle_wish(bigint, text, text, interval) to service_role;

create function public.get_pending_prompts(p_limit integer default 5)
returns table (
    generation_key text,
    kind text,
    prompt text,
    priority integer,
    tries integer,
    created_at timestamptz
)
language sql
stable
security invoker
set search_path = ''
as $$
    select w.generation_key, w.kind, coalesce(w.recipe ->> 'prompt', w.kind), w.priority, w.tries, w.created_at
    from copperplate.wishes as w
    where w.status = 'open'
    order by w.priority, w.id
    limit p_limit;
$$;

comment on function public.get_pending_prompts(integer) is
'What is still to be made, at most p_limit, the most urgent first: the prompt, or the kind of a picture without one.';
revoke all on function public.get_pending_prompts(integer) from public, anon, authenticated;
grant execute on function public.get_pending_prompts(integer) to service_role;
