-- Work: who carries wishes out, and how they end.

create function copperplate.is_led(p_generation_key text, p_now timestamptz)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return exists (
        select from public.generation_status as g
        where g.prompt_hash = p_generation_key and g.status in ('pending', 'generating') and g.lease_until > p_now
    );
end;
$$;

comment on function copperplate.is_led(text, timestamptz) is 'Whether this generation is under a live lease.';
revoke all on function copperplate.is_led(text, timestamptz) from public, anon, authenticated;
grant execute on function copperplate.is_led(text, timestamptz) to service_role;

create function copperplate.is_paid(p_generation_key text)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return exists (
        select from public.generation_status as g
        where
            g.prompt_hash = p_generation_key
            and (
                g.status in ('generating', 'completed')
                -- As copperplate.resumes has it: the next leader goes on with what was sent.
                or (
                    g.status = 'failed' and g.error_class in ('abandoned', 'uncollected')
                    and g.phase in ('submitting', 'submitted', 'uploading')
                )
            )
    );
end;
$$;

comment on function copperplate.is_paid(text) is
'Whether a request for this generation was sent that may be billed, and its picture can be had without another.';
revoke all on function copperplate.is_paid(text) from public, anon, authenticated;
grant execute on function copperplate.is_paid(text) to service_role;

create function copperplate.count_wishes_in_flight(p_now timestamptz)
returns bigint
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    -- What callers' own calls make is not work of a step, which must not wait for it.
    -- From the leases, which are few, to the wishes. Two wishes for one generation are one picture at the provider.
    return count(*)
    from (
        select w.generation_key
        from copperplate.wishes as w
        where w.status = 'open' and w.held_until is not null and w.held_until > p_now and w.tries > 0
        union
        select w.generation_key
        from (
            select g.prompt_hash
            from public.generation_status as g
            where g.status in ('pending', 'generating') and g.lease_until > p_now
            offset 0
        ) as l
        inner join copperplate.wishes as w on l.prompt_hash = w.generation_key and w.status = 'open' and w.tries > 0
    ) as f;
end;
$$;

comment on function copperplate.count_wishes_in_flight(timestamptz) is
'For how many generations open wishes that were taken are held, or wait while they are under a live lease.';
revoke all on function copperplate.count_wishes_in_flight(timestamptz) from public, anon, authenticated;
grant execute on function copperplate.count_wishes_in_flight(timestamptz) to service_role;

create function public.is_work_due()
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    -- Of those that are due by their own times, few have a generation that is led.
    return exists (
        select from copperplate.wishes as w
        where w.status = 'open' and w.due_at <= v_now and not copperplate.is_led(w.generation_key, v_now)
    );
end;
$$;

comment on function public.is_work_due() is 'Whether a wish may be taken now.';
revoke all on function public.is_work_due() from public, anon, authenticated;
grant execute on function public.is_work_due() to service_role;

create function copperplate.forget_wish_after(p_batch uuid)
returns interval
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    -- Longer where it is still to be seen how many warmed pictures were asked for.
    return case
        when exists (select from copperplate.batches as b where b.id = p_batch and b.purpose = 'warm')
            then interval '90 days'
        else interval '7 days'
    end;
end;
$$;

comment on function copperplate.forget_wish_after(uuid) is 'How long settled wishes of this batch are kept.';
revoke all on function copperplate.forget_wish_after(uuid) from public, anon, authenticated;
grant execute on function copperplate.forget_wish_after(uuid) to service_role;

create function copperplate.end_wishes(p_wishes bigint[], p_status text, p_code text default null)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_changed text[];
begin
    with ended as (
        update copperplate.wishes as w
        set
            status = p_status, code = p_code, held_until = null, retry_at = null, settled_at = v_now,
            forget_at = v_now + copperplate.forget_wish_after(w.batch_id)
        where w.id = any(p_wishes) and w.status = 'open'
        returning coalesce(w.batch_id::text, w.generation_key) as subject
    )

    select array_agg(e.subject) into v_changed from ended as e;
    -- Who watches a batch, or a generation.
    perform pg_notify('copperplate', s.subject) from (select distinct u.subject from unnest(v_changed) as u (subject)) as s;
    return coalesce(cardinality(v_changed), 0);
end;
$$;

comment on function copperplate.end_wishes(bigint[], text, text) is
'End those of the wishes that are open; answers how many. Their batches are announced, or their generations.';
revoke all on function copperplate.end_wishes(bigint[], text, text) from public, anon, authenticated;
grant execute on function copperplate.end_wishes(bigint[], text, text) to service_role;

create function copperplate.abandon_wishes(p_limit integer)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_old bigint[];
    v_made bigint[];
begin
    v_old := array(
        select w.id
        from copperplate.wishes as w
        where
            w.status = 'open' and w.created_at <= v_now - interval '1 day'
            and (w.held_until is null or w.held_until <= v_now)
            and not copperplate.is_led(w.generation_key, v_now)
        order by w.created_at
        limit p_limit
        for update skip locked
    );
    -- The end of a transaction with a notification is not free.
    if v_old = '{}' then
        return 0;
    end if;
    v_made := array(
        select w.id
        from copperplate.wishes as w
        inner join public.generation_status as g on w.generation_key = g.prompt_hash
        where w.id = any(v_old) and g.status = 'completed'
    );
    return copperplate.end_wishes(v_made, 'completed') + copperplate.end_wishes(v_old, 'failed', 'abandoned');
end;
$$;

comment on function copperplate.abandon_wishes(integer) is
'End wishes that stayed open for a day and that nobody makes, at most p_limit: as completed where somebody else had the
picture made, else as failed. Answers how many.';
revoke all on function copperplate.abandon_wishes(integer) from public, anon, authenticated;
grant execute on function copperplate.abandon_wishes(integer) to service_role;
