-- The steps of work: take what is due, and settle it.

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
    v_taken jsonb;
begin
    -- Most who ask find nothing, and wait for nobody.
    if not public.is_work_due() then
        return '[]';
    end if;
    -- Until the commit nobody else counts what is in flight.
    perform pg_advisory_xact_lock(hashtextextended('copperplate work', 0));
    v_now := copperplate.clock();
    perform copperplate.abandon_wishes(1000);
    loop
        v_due := array(
            select w.id
            from copperplate.wishes as w
            where w.status = 'open' and w.due_at <= v_now and not copperplate.is_led(w.generation_key, v_now)
            order by w.priority, w.due_at, w.id
            limit greatest(least(p_in_flight - copperplate.count_wishes_in_flight(v_now), p_limit), 0)
            for update skip locked
        );
        -- Its batch was canceled while it was held: it goes on only where something was paid.
        v_withdrawn := array(
            select w.id
            from copperplate.wishes as w
            inner join copperplate.batches as b on w.batch_id = b.id
            where w.id = any(v_due) and b.canceled_at is not null and not copperplate.is_paid(w.generation_key)
        );
        exit when v_withdrawn = '{}';
        perform copperplate.end_wishes(v_withdrawn, 'canceled');
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
            order by t.priority, t.id
        )
    into v_taken
    from taken as t;
    return coalesce(v_taken, '[]');
end;
$$;

comment on function public.take_wishes(integer, interval, integer) is
'Take due wishes, the most urgent first, so that at most p_in_flight that were taken are in flight over all callers:
held, or waiting for a generation under a live lease; no more than p_limit at once. Answers [{id, generation_key, recipe,
owner, spending, charge_user, charge_credits, tries, paths}]; for p_held_for nobody else takes them. Wishes that stayed open for a day fail as abandoned.';
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
        set held_until = null, retry_at = copperplate.clock() + p_retry_after
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
